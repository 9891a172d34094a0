"""A gallery in shards on real Ray actors: the same ranking as on one machine, ties and changes included."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitstream.config.schema import Config
from gaitstream.errors import GalleryError
from gaitstream.gallery import Gallery, shards_ray
from gaitstream.gallery.editing import keep_until
from gaitstream.gallery.feed import PersonLine
from gaitstream.gallery.gallery import Enrolment
from gaitstream.gallery.keeper import Keeper
from gaitstream.gallery.keys import make_key_file
from gaitstream.gallery.people import People
from gaitstream.gallery.retention import RetentionRules
from gaitstream.gallery.shards import ShardedPeople
from gaitstream.gallery.shards_ray import RayShard, start_shards, stop_shards
from gaitstream.gallery.shards_server import ShardPlace, shard_of
from gaitstream.pipeline.known import GalleryFollower
from gaitstream.pipeline.ranking import ComparedWindow, Ranking, ScoreScale, rank

pytestmark = pytest.mark.slow
os.environ["RAY_AUTH_MODE"] = "token"  # Ray reads it when it is loaded
ray = pytest.importorskip("ray", reason="needs Ray: pip install 'gaitstream[cluster]'")
SHAPE = (4, 64)
PRINT = "0" * 64
SHARDS, REPLICAS = 2, 2
SCALES = {"gait": ScoreScale()}


@dataclass
class Halls:
    """The same gallery on one machine and in shards."""

    path: Path
    whole: People
    parts: ShardedPeople
    handles: list[RayShard]


def crowd() -> list[Enrolment]:
    """People so near to each other that bounds cannot tell them apart, and some who are the same."""
    rng = np.random.default_rng(5)
    base = rng.normal(size=SHAPE)
    people: list[Enrolment] = []
    for number in range(150):
        nearness = 1e-6 if number < 100 else 1.0
        templates = (base + nearness * rng.normal(size=(2, *SHAPE))).astype(np.float32)
        if number in (40, 41, 42):
            templates = people[0].templates
        people.append(Enrolment(f"person {number:03}", "gait", PRINT, templates))
    return people


@pytest.fixture(scope="module")
def halls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Halls]:
    path = tmp_path_factory.mktemp("shards") / "gallery"
    with Gallery(path, create=True, key="none") as gallery:
        gallery.enroll_many(crowd())
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("RAY_ADDRESS", raising=False)  # a cluster of this test's own
        environment.setenv("RAY_AUTH_TOKEN", "a-token-for-this-test-alone-0123456789")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        places = [ShardPlace(path, "none", ("gait",), number, SHARDS) for number in range(SHARDS)]
        try:
            parts = start_shards(places, REPLICAS)
            handles = [shard for shard in parts.shards if isinstance(shard, RayShard)]
            with Keeper(path, ["gait"], "none") as keeper:
                keeper.start()
                yield Halls(path, keeper.people(), parts, handles)
            stop_shards(places, REPLICAS)
        finally:
            ray.shutdown()


def named(people: People, ranking: Ranking) -> list[tuple[np.float32, str]]:
    return [(far, people.names[one]) for far, one in zip(ranking.distances, ranking.persons, strict=True)]


def both(halls: Halls, probes: list[Any], **asked: Any) -> tuple[list[Any], list[Any]]:
    found = []
    for people in (halls.whole, halls.parts):
        windows = {"gait": [ComparedWindow(probe) for probe in probes]}
        found.append(named(people, rank(people, SCALES, windows, **asked)))
    return found[0], found[1]


def until(what: Any, within_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.mark.parametrize("count", [1, 5, 90])
@pytest.mark.parametrize("nearness", [1e-7, 1e-5, 0.5])
def test_the_ranking_is_that_of_one_machine_bit_for_bit(halls: Halls, nearness: float, count: int) -> None:
    rng = np.random.default_rng(count)
    base = crowd()[0].templates[0]
    probes = [(base + nearness * rng.normal(size=SHAPE)).astype(np.float32) for _ in range(3)]
    whole, parts = both(halls, probes, count=count)
    assert len(whole) >= count
    assert parts == whole


def test_everybody_is_in_one_shard_and_no_shard_is_empty(halls: Halls) -> None:
    held = [shard_of(uid, SHARDS) for uid in halls.parts.uids.values()]
    assert len(held) == 150
    assert set(held) == set(range(SHARDS))
    assert sorted(halls.parts.names.values()) == sorted(halls.whole.names.values())


def test_who_is_enrolled_and_erased_is_followed(halls: Halls) -> None:
    probe = np.full(SHAPE, 3.0, np.float32)
    with Gallery(halls.path, key="none") as gallery:
        gallery.enroll("Zoe", "gait", PRINT, probe[None])
        until(lambda: is_everywhere(halls, "Zoe"))
        whole, parts = both(halls, [probe], count=1)
        assert parts == whole == [(np.float32(0.0), "Zoe")]
        gallery.remove("Zoe")
    until(lambda: len(_names(halls.whole)) == len(_names(halls.parts)) == 150)
    whole, parts = both(halls, [probe], count=1)
    assert parts == whole
    assert parts[0][1] != "Zoe"


def _names(people: People) -> list[str]:
    if people.has_news:
        people.poll()
    return list(people.names.values())


def is_everywhere(halls: Halls, name: str) -> bool:
    """Whether all know somebody, every replica of the shard too: one tells the news, another may be asked."""
    if any(name not in _names(people) for people in (halls.whole, halls.parts)):
        return False
    uids = {halls.parts.names[index]: uid for index, uid in halls.parts.uids.items()}
    for replica in halls.handles[shard_of(uids[name], SHARDS)].replicas:
        lines = ray.get(replica.news.remote("", 0)).lines
        if not any(isinstance(line, PersonLine) and line.name == name for line in lines):
            return False
    return True


def pid_of(actor: Any) -> int:
    found: list[int] = []

    def is_there() -> bool:
        with suppress(ray.exceptions.RayActorError):  # it may just be started again
            found.append(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))
        return bool(found)

    until(is_there, 60.0)
    return found[0]


def kill(actor: Any) -> None:
    os.kill(pid_of(actor), signal.SIGKILL)


@pytest.mark.parametrize("dead", [1, 2], ids=["one replica", "all replicas"])
def test_of_a_shard_that_dies_nobody_is_missing(halls: Halls, dead: int) -> None:
    for actor in halls.handles[1].replicas[:dead]:
        kill(actor)
    probe = crowd()[120].templates[0]
    for _ in range(2):  # of each replica
        whole, parts = both(halls, [probe], count=3)
        assert parts == whole
    until(lambda: halls.parts.has_news)
    halls.parts.poll()
    assert len(halls.parts.uids) == 150


@pytest.mark.parametrize("hung", range(REPLICAS))
def test_a_replica_that_hangs_without_dying_is_not_waited_for(
    halls: Halls, monkeypatch: pytest.MonkeyPatch, hung: int
) -> None:
    monkeypatch.setattr(shards_ray, "LATE_S", 0.5)
    probe = np.full(SHAPE, 3.0, np.float32)
    with Gallery(halls.path, key="none") as gallery:
        gallery.enroll("Zoe", "gait", PRINT, probe[None])
        until(lambda: is_everywhere(halls, "Zoe"))
        stopped = [pid_of(shard.replicas[hung]) for shard in halls.handles]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(REPLICAS):
                whole, parts = both(halls, [probe], count=3)
                assert parts == whole
            gallery.remove("Zoe")
            until(lambda: "Zoe" not in _names(halls.whole), 30)
            until(lambda: "Zoe" not in _names(halls.parts), 30)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


def test_a_run_finds_its_gallery_in_shards(halls: Halls) -> None:
    gallery = {
        "path": str(halls.path),
        "key": "none",
        "shards": {"count": SHARDS, "replicas": REPLICAS},
        "threshold": 1.0,
    }
    config = Config.model_validate({"cameras": [{"id": "a", "url": "synth://plaza"}], "gallery": gallery})
    follower = GalleryFollower(config, {"gait": PRINT})
    try:
        probe = crowd()[120].templates[0]
        ranking = follower.known.rank({"gait": [ComparedWindow(probe)]}, count=1, threshold=1.0)
        assert follower.known.people.names[ranking.persons[0]] == "person 120"
        assert follower.limits("a").threshold == 1.0
    finally:
        follower.close()


def test_shards_that_are_there_erase_by_the_rules_of_the_run_that_begins(halls: Halls) -> None:
    def begin(rules: RetentionRules | None) -> None:
        place = ShardPlace(halls.path, "none", ("gait",), 0, SHARDS, rules)
        start_shards([place, replace(place, number=1)], REPLICAS)

    begin(None)
    with Gallery(halls.path, key="none") as gallery:
        gallery.enroll("Yan", "gait", PRINT, np.full((1, *SHAPE), 2.0, np.float32))
        keep_until(gallery, "Yan", 1)
        until(lambda: "Yan" in _names(halls.parts), 30)
        begin(RetentionRules())
        until(lambda: "Yan" not in _names(halls.parts), 30)
        assert "Yan" not in [entry.name for entry in gallery.persons()]


def test_a_shard_that_loads_for_long_is_waited_for(
    halls: Halls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards_ray, "PATIENCE_S", 4.0)
    make_key_file(tmp_path / "key")
    with Gallery(tmp_path / "gallery", create=True, key=f"file:{tmp_path}/key") as gallery:
        gallery.enroll("Ada", "gait", PRINT, np.full((1, *SHAPE), 2.0, np.float32))
    slow = f"command:sh -c 'sleep 6; cat {tmp_path}/key'"
    places = [ShardPlace(tmp_path / "gallery", slow, ("gait",), 0, 1)]
    try:
        assert list(start_shards(places).names.values()) == ["Ada"]
    finally:
        stop_shards(places)


def test_a_probe_of_another_model_is_refused_by_its_shape(halls: Halls) -> None:
    with pytest.raises(GalleryError, match="come from different models"):
        halls.parts.search("gait", [np.zeros((2, 2), np.float32)])
