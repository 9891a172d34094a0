"""A gallery in shards without Ray: what a process that decides makes of what its shards tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitstream.errors import GalleryError
from gaitstream.gallery import Gallery
from gaitstream.gallery.editing import merge
from gaitstream.gallery.feed import LimitsLine, Line, PersonLine, StateLine
from gaitstream.gallery.quantise import Floats
from gaitstream.gallery.shards import ShardedPeople
from gaitstream.gallery.shards_server import ShardNews, ShardPlace, ShardServer, shard_of

SHAPE, PRINT, SHARDS = (4, 64), "0" * 64, 2
NAMES = [f"person {number}" for number in range(8)]


@dataclass
class Told:
    found: Any

    def get(self) -> Any:
        if isinstance(self.found, GalleryError):
            raise self.found
        return self.found

    def ready(self) -> bool:
        return True


@dataclass
class Here:
    """A shard in this process, to restart."""

    place: ShardPlace
    server: ShardServer = field(init=False)
    is_away: bool = False

    def __post_init__(self) -> None:
        self.server = ShardServer(self.place)

    def ask(self, method: str, *arguments: Any) -> Told:
        if self.is_away:
            return Told(GalleryError("no replica of a shard answers"))
        return Told(getattr(self.server, method)(*arguments))

    def follow(self) -> None:
        """Take over what the gallery has by now."""
        self.server._keeper.sync()

    def restart(self) -> None:
        self.server._keeper.close()
        self.server = ShardServer(self.place)


@dataclass
class Site:
    gallery: Gallery
    shards: list[Here]
    people: ShardedPeople

    def uid(self, name: str) -> str:
        return next(self.people.uids[one] for one, known in self.people.names.items() if known == name)

    def shard(self, name: str) -> Here:
        return self.shards[shard_of(self.uid(name), SHARDS)]

    def gone(self, uid: str) -> PersonLine:
        return next(line for line in self.people.gone.values() if line.uid == uid)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    rng = np.random.default_rng(3)
    path = tmp_path / "people.gallery"
    with Gallery(path, create=True, key="none") as gallery:
        for number, name in enumerate(NAMES):
            _enrol(gallery, name, number // 2 % SHARDS, rng.normal(size=(2, *SHAPE)).astype(np.float32))
        shards = [Here(ShardPlace(path, "none", ("gait",), number, SHARDS)) for number in range(SHARDS)]
        try:
            yield Site(gallery, shards, ShardedPeople.over(shards))
        finally:
            for shard in shards:
                shard.server._keeper.close()


def _enrol(gallery: Gallery, name: str, shard: int, parts: Floats) -> None:
    """Enrol somebody; ids are drawn: again until the shard is this one."""
    gallery.enroll(name, "gait", PRINT, parts)
    while shard_of(next(one.uid for one in gallery.persons() if one.name == name), SHARDS) != shard:
        gallery.remove(name)
        gallery.enroll(name, "gait", PRINT, parts)


@pytest.mark.parametrize("other", NAMES[1:3])  # of the same shard, and of another
def test_who_was_merged_while_a_shard_restarted_is_told_as_merged(site: Site, other: str) -> None:
    kept, gone = site.uid(NAMES[0]), site.uid(other)
    merge(site.gallery, NAMES[0], other)
    for shard in site.shards:
        shard.restart()
    site.people.poll()
    assert gone not in site.people.uids.values()
    assert site.gone(gone).into == kept


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (2, 0)])  # one shard, both, the other way
def test_who_was_erased_while_a_shard_restarted_takes_along_who_was_merged_into_them(
    site: Site, first: int, second: int
) -> None:
    kept, gone = site.uid(NAMES[first]), site.uid(NAMES[second])
    merge(site.gallery, NAMES[first], NAMES[second])
    site.gallery.remove(NAMES[first])
    for shard in site.shards:
        shard.restart()
    site.people.poll()
    assert (site.gone(kept).into, site.gone(kept).parts) == ("", (gone,))
    assert (site.gone(gone).into, site.gone(gone).parts) == ("", ())


def test_who_was_merged_into_somebody_new_while_their_shard_restarted_is_told_as_merged(site: Site) -> None:
    gone = site.uid(NAMES[0])
    _enrol(site.gallery, "newcomer", 1, np.ones((2, *SHAPE), np.float32))
    merge(site.gallery, "newcomer", NAMES[0])
    for shard in site.shards:
        shard.restart()
    site.people.poll()
    assert site.gone(gone).into == site.uid("newcomer")


def test_what_one_shard_told_is_not_lost_when_another_does_not_answer(site: Site) -> None:
    erased = next(name for name in NAMES if site.shard(name) is site.shards[0])
    [index] = [one for one, name in site.people.names.items() if name == erased]
    site.gallery.remove(erased)
    site.shards[0].follow()
    site.shards[1].is_away = True
    with pytest.raises(GalleryError, match="no replica"):
        site.people.poll()
    site.shards[1].is_away = False
    assert index in site.people.poll().persons
    assert not site.people.poll()


def test_no_name_of_somebody_erased_stays_in_the_memory_of_a_shard(site: Site) -> None:
    shard = site.shard(NAMES[5])
    site.gallery.remove(NAMES[5])
    shard.follow()
    site.people.poll()
    held = [line.name for line in shard.server._lines if isinstance(line, PersonLine)]
    assert held.count(None) == 1
    assert NAMES[5] not in held


class Saying:
    """A shard that tells what a test has it tell."""

    def __init__(self, *lines: Line) -> None:
        self.lines = list(lines)

    def ask(self, method: str, token: str, told: int) -> Told:
        assert method == "news"
        return Told(ShardNews("one", len(self.lines), self.lines[told:], whole=not token))


def test_visitors_and_thresholds_of_cameras_are_what_they_are_on_one_machine() -> None:
    shard = Saying(
        PersonLine(0, "u0", "Ada", ("gait",)),
        PersonLine(1, "u1", "visitor-3", ("gait",), visitor=True),
        LimitsLine("gait", 1.0, 0.1, {"gate": 0.5}),
    )
    people = ShardedPeople.over([shard])
    assert {people.names[one] for one in people.visitors} == {"visitor-3"}
    assert people.camera_limits == {"gait": {"gate": 0.5}}
    shard.lines.append(LimitsLine("gait", 1.0, 0.1, {"gate": 0.6}))
    assert people.poll().limits
    assert people.camera_limits == {"gait": {"gate": 0.6}}
    shard.lines.append(LimitsLine("gait", 1.0, 0.1, {"gate": 0.6}))
    assert not people.poll()


def test_a_shard_that_follows_again_does_not_hide_that_another_does_not() -> None:
    one, other = Saying(StateLine("the disk is full")), Saying()
    people = ShardedPeople.over([one, other])
    other.lines.append(StateLine(""))
    assert people.poll().problem is None
    one.lines.append(StateLine(""))
    assert people.poll().problem == ""
