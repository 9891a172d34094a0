"""What a run reads out of the gallery: snapshots, thresholds, and models that can be fused or not."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.config.schema import Config
from gaitstream.data import Embedding, Tracklet
from gaitstream.engines.simulated import SimulatedDevice
from gaitstream.errors import GalleryError
from gaitstream.events import GalleryChanged
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.editing import merge, split
from gaitstream.gallery.people import News
from gaitstream.models.manifest import EmbeddingContract
from gaitstream.pipeline.decide import Decider
from gaitstream.pipeline.known import GalleryFollower, gallery_warnings
from gaitstream.pipeline.publish import RunEvents
from gaitstream.pipeline.session import Discard
from gaitstream.telemetry.stats import Stats

Floats = NDArray[np.float32]
PRINTS = {"biggait": "b" * 16, "gaitheat": "g" * 16}
MANIFEST = SimpleNamespace(embedding=EmbeddingContract(parts=2, dim=2, tap="x"))


def at(value: float) -> Floats:
    return np.array([[value, 0], [value, 0]], np.float32)


def site(
    path: Path,
    models: tuple[str, ...] = ("biggait", "gaitheat"),
    thresholds: dict[str, float] | None = None,
    **gallery: object,
) -> Config:
    own = thresholds or {}
    return Config.model_validate(
        {
            "cameras": [{"id": "gate", "url": "synth://?seed=1"}],
            "models": {model: {"model": "demo", "threshold": own.get(model)} for model in models},
            "gallery": {"path": str(path), **gallery},
        }
    )


def fill(path: Path, **people: dict[str, list[float]]) -> None:
    with Gallery(path, create=True) as gallery:
        gallery.enroll_many(
            Enrolment(name, model, PRINTS[model], np.stack([at(value) for value in values]))
            for name, models in people.items()
            for model, values in models.items()
        )


def names(follower: GalleryFollower) -> list[str]:
    return sorted(follower.known.people.names.values())


def wait_for_news(follower: GalleryFollower) -> News:
    """What the keeper's thread tells, within the second that is promised."""
    deadline_s = time.monotonic() + 1.0
    while not (news := follower.refresh()).persons and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return news


def distances(follower: GalleryFollower, model: str, value: float) -> dict[str, float]:
    """Distance to everybody, of a track of one window."""
    known = follower.known
    ranking = known.rank({model: known.match([embedding(model, value)])}, count=100)
    found = zip(ranking.persons, ranking.distances, strict=True)
    return {known.people.names[person]: float(distance) for person, distance in found}


def embedding(model: str, value: float) -> Embedding:
    empty = np.empty((0, 0, 0), np.float32)
    return Embedding(Tracklet(model, "gate", 1, 1, 2, 30, empty, False), at(value), PRINTS[model])


def test_with_two_models_one_without_a_threshold_takes_no_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A threshold set by hand is in units of calibrated thresholds, whatever the gallery can calibrate."""
    path = tmp_path / "p.gallery"
    fill(path, Ada={"biggait": [0, 1], "gaitheat": [0]}, Bob={"biggait": [40, 41]})
    logger = logging.getLogger("gaitstream")
    logger.addHandler(caplog.handler)
    follower = GalleryFollower(site(path, threshold=0.9), PRINTS)
    logger.removeHandler(caplog.handler)
    assert "gaitheat" in caplog.text
    [warning] = gallery_warnings(site(path))
    assert warning.startswith(f"{path} has no calibrated threshold for gaitheat")
    assert gallery_warnings(site(path, models=("gaitheat",))) == []
    with Gallery(path) as gallery:
        unit, _ = gallery.thresholds("biggait")
    assert {kind: scale.unit for kind, scale in follower.known.scales.items()} == {"biggait": unit}
    assert follower.limits("gate").threshold == 0.9
    assert distances(follower, "gaitheat", 0) == {}
    fill(path, Bob={"gaitheat": [40]})
    deadline_s = time.monotonic() + 10
    while set(follower.known.scales) == {"biggait"}:  # the threshold follows the person
        assert time.monotonic() < deadline_s
        follower.refresh()
        time.sleep(0.01)
    assert set(follower.known.scales) == {"biggait", "gaitheat"}
    assert not follower.refresh()
    follower.close()


def test_templates_of_a_cosine_that_an_earlier_release_kept_are_refused(tmp_path: Path) -> None:
    """They were kept as long as they came; compared with those of unit length nobody is known."""
    path, rng = tmp_path / "p.gallery", np.random.default_rng(0)
    config = site(path, models=("biggait",))
    own = {"biggait": PRINTS["biggait"]}
    found = rng.normal(size=(40, 1, 384)).astype(np.float32)
    unit = found / np.linalg.norm(found, axis=-1, keepdims=True)
    unit[0] = 0
    with Gallery(path, create=True) as gallery:
        for name, templates in (("Ada", unit[:20]), ("Bob", unit[20:])):
            gallery.enroll(name, "biggait", PRINTS["biggait"], templates)
    GalleryFollower(config, own, cosine=["biggait"]).close()
    with Gallery(path) as gallery:
        gallery.enroll("Cyd", "biggait", PRINTS["biggait"], found[:2] * 0.02)
    GalleryFollower(config, own).close()
    with pytest.raises(GalleryError, match=r"2 of 42 templates cannot be compared .* into a new gallery"):
        GalleryFollower(config, own, cosine=["biggait"])


def test_thresholds_of_single_models_come_before_the_gallery_s(tmp_path: Path) -> None:
    path = tmp_path / "p.gallery"
    fill(path, Ada={"biggait": [0, 1], "gaitheat": [0]}, Bob={"biggait": [40, 41], "gaitheat": [9]})
    config = site(path, thresholds={"gaitheat": 4.0})
    with Gallery(path) as gallery:
        unit, _ = gallery.thresholds("biggait")
    follower = GalleryFollower(config, PRINTS)
    assert {kind: one.unit for kind, one in follower.known.scales.items()} == {
        "biggait": unit,
        "gaitheat": 4.0,
    }
    assert follower.limits("gate").threshold == 1.0
    follower.close()
    alone = site(path, models=("biggait",), thresholds={"biggait": 2.5})
    follower = GalleryFollower(alone, {"biggait": PRINTS["biggait"]})
    assert follower.limits("gate").threshold == 2.5
    assert distances(follower, "biggait", 3) == {"Ada": 2, "Bob": 37}
    follower.close()


def test_a_threshold_of_one_model_lets_it_take_part_without_a_calibrated_one(tmp_path: Path) -> None:
    path = tmp_path / "p.gallery"
    fill(path, Ada={"biggait": [0], "gaitheat": [0]})
    config = site(path, thresholds={"gaitheat": 4.0})
    assert [line.split()[6] for line in gallery_warnings(config)] == ["biggait,"]
    follower = GalleryFollower(config, PRINTS)
    assert set(follower.known.scales) == {"gaitheat"}
    follower.close()


def test_two_models_without_any_threshold_know_nobody(tmp_path: Path) -> None:
    path = tmp_path / "p.gallery"
    fill(path, Ada={"biggait": [0], "gaitheat": [0]})
    follower = GalleryFollower(site(path), PRINTS)
    assert names(follower) == ["Ada"]
    assert follower.limits("gate").threshold is None
    follower.close()


def test_one_model_keeps_its_own_distances_and_threshold(tmp_path: Path) -> None:
    path = tmp_path / "p.gallery"
    fill(path, Ada={"biggait": [0, 1]}, Bob={"biggait": [40, 41]})
    follower = GalleryFollower(site(path, models=("biggait",)), {"biggait": PRINTS["biggait"]})
    with Gallery(path) as gallery:
        assert follower.limits("gate").threshold == gallery.thresholds("biggait")[0]
    assert distances(follower, "biggait", 3) == {"Ada": 2, "Bob": 37}
    follower.adjust(site(path, models=("biggait",), threshold=5))
    assert follower.limits("gate").threshold == 5
    follower.close()


def test_a_gallery_made_while_running_is_found(tmp_path: Path) -> None:
    path = tmp_path / "p.gallery"
    follower = GalleryFollower(site(path), PRINTS)
    assert not follower.refresh()
    fill(path, Ada={"biggait": [0, 1]})
    assert wait_for_news(follower)
    assert names(follower) == ["Ada"]
    follower.close()


def test_a_gallery_of_other_models_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.gallery"
    fill(path, Ada={"gaitheat": [0, 1]})
    with pytest.raises(GalleryError, match="enrol into a new gallery"):
        GalleryFollower(site(path, models=("biggait",)), {"biggait": PRINTS["biggait"]})


def test_templates_lie_where_embeddings_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on a device scans the gallery there, and gives its memory back; decisions are the CPU's."""
    monkeypatch.setattr("gaitstream.gallery.people.FEW", 0)
    for module in ("mirror", "table_mirror"):
        monkeypatch.setattr(f"gaitstream.gallery.{module}.WORTH", 1)
    path = tmp_path / "p.gallery"
    fill(path, Ada={"biggait": [0, 1]}, Bob={"biggait": [2]})
    config, stats, device = site(path, models=("biggait",)), Stats(), SimulatedDevice(delay_s=1e-3)
    model: Any = SimpleNamespace(fingerprint=PRINTS["biggait"], manifest=MANIFEST, on_device=device)
    monkeypatch.setattr("gaitstream.pipeline.embed.fit_rule", lambda name, manifest, rule: rule)
    decider = Decider(config, {"biggait": model}, RunEvents("run", {}, Discard(), stats), stats)
    expected = {"Ada": 0.25, "Bob": 0.75}
    deadline_s = time.monotonic() + 10
    while not device.traffic.launches and time.monotonic() < deadline_s:
        assert distances(decider._gallery, "biggait", 1.25) == expected
    assert device.traffic.launches
    decider.close()
    assert device.traffic.memory_bytes == 0
    device.close()


def test_a_run_decides_with_a_change_within_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the pause between looks at the rest: the next batch is decided with what is known by then."""
    path = tmp_path / "p.gallery"
    fill(path, Ada={"biggait": [0, 1]})
    config, stats = site(path, models=("biggait",)), Stats()
    model: Any = SimpleNamespace(fingerprint=PRINTS["biggait"], manifest=MANIFEST, on_device=None)
    monkeypatch.setattr("gaitstream.pipeline.embed.fit_rule", lambda name, manifest, rule: rule)
    decider = Decider(config, {"biggait": model}, RunEvents("run", {}, Discard(), stats), stats)
    people = decider._gallery.known.people
    fill(path, Bob={"biggait": [40, 41]})
    deadline_s = time.monotonic() + 1.0
    while "Bob" not in people.names.values() and time.monotonic() < deadline_s:
        decider.take([], [])
        time.sleep(0.01)
    assert "Bob" in people.names.values()
    decider.close()


def test_a_run_tells_who_was_merged_apart_from_who_was_erased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.gallery"
    fill(path, Ada={"biggait": [0, 1]}, Bob={"biggait": [4]}, Cyd={"biggait": [8]}, Dan={"biggait": [12]})
    config, stats, told = site(path, models=("biggait",)), Stats(), list[GalleryChanged]()
    model: Any = SimpleNamespace(fingerprint=PRINTS["biggait"], manifest=MANIFEST, on_device=None)
    monkeypatch.setattr("gaitstream.pipeline.embed.fit_rule", lambda name, manifest, rule: rule)
    sink: Any = SimpleNamespace(publish=told.append)
    decider = Decider(config, {"biggait": model}, RunEvents("run", {}, sink, stats), stats)

    def wait_until(gone: set[str], added: Collection[str] = ()) -> list[GalleryChanged]:
        told.clear()
        deadline_s = time.monotonic() + 60.0
        while not (
            gone <= {one for event in told for one in event.gone}
            and set(added) <= {one for event in told for one in event.added}
        ):
            assert time.monotonic() < deadline_s, told
            decider.take([], [])
            time.sleep(0.01)
        return told

    with Gallery(path) as gallery:
        uids = {entry.name: entry.uid for entry in gallery.persons()}
        merge(gallery, "Ada", "Bob")
        gallery.remove("Dan")
        heard = wait_until({uids["Bob"], uids["Dan"]})
        assert [pair for event in heard for pair in event.merged] == [(uids["Bob"], uids["Ada"])]
        assert [uid for event in heard for uid in event.removed] == [uids["Dan"]]
        merge(gallery, "Cyd", "Ada")
        heard = wait_until({uids["Ada"]})
        assert [pair for event in heard for pair in event.merged] == [(uids["Ada"], uids["Cyd"])]
        gallery.remove("Cyd")
        heard = wait_until({uids["Cyd"]})
        assert [pair for event in heard for pair in event.merged] == []
        assert {uid for event in heard for uid in event.removed} == {
            uids[one] for one in ("Ada", "Bob", "Cyd")
        }
        fill(path, Eve={"biggait": [20]}, Fay={"biggait": [24]})
        uids |= {entry.name: entry.uid for entry in gallery.persons()}
        wait_until(set(), added={uids["Eve"], uids["Fay"]})
        with gallery.store.reading() as reading:
            [fays] = [row.number for row in reading.templates(person=uids["Fay"])]
        merge(gallery, "Eve", "Fay")
        split(gallery, "Eve", [fays], "Fay")  # who has the old id again
        gallery.remove("Eve")
        heard = wait_until({uids["Eve"]})
        assert uids["Fay"] not in {uid for event in heard for uid in event.removed}
    decider.close()
