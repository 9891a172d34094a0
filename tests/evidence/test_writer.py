"""The writer in trouble: a full disk, a queue that is full, a gallery that is not there; the run goes on."""

from __future__ import annotations

import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from gaitstream.config.output_sections import Evidence
from gaitstream.config.schema import Config
from gaitstream.data import Decision, Embedding, Frame, Person, Tracklet
from gaitstream.errors import GalleryError
from gaitstream.evidence.desk import Desk
from gaitstream.evidence.folder import SealedFolder
from gaitstream.evidence.keeping import EvidenceKeeper, hash_config
from gaitstream.evidence.pictures import Views
from gaitstream.evidence.records import TrackKey
from gaitstream.evidence.tracks import MOST_DECISIONS, GatheredTrack, Origin, Strip, TakenPicture
from gaitstream.evidence.writer import Begin, Crop, Decided, EvidenceWriter
from gaitstream.gallery import Gallery
from gaitstream.gallery.matching import Matcher
from gaitstream.pipeline.basis import Basis
from gaitstream.pipeline.identify import Identifier
from gaitstream.pipeline.known import DecisionLimits, KnownPeople
from gaitstream.telemetry.stats import Snapshot, Stats

RUN = Begin("run", {"gaitheat": "print"}, "hash")
ORIGIN = Origin("gallery", {}, "hash")
ADA = np.ones((1, 4, 8), np.float32)


class Walk:
    """A track that gets one more window, and one more decision, whenever it is asked."""

    def __init__(self) -> None:
        self._known = KnownPeople.of({"gaitheat": Matcher.build([("Ada", ADA)])})
        self._identifier = Identifier("gate", self._known, DecisionLimits(9.0))
        self._second = 0

    def sighting(self) -> Person:
        self._second += 1
        return Person("gate", 1, self._second, self._second, np.array([0, 0, 20, 60], np.float32), 0.9)

    def decide(self) -> Basis:
        self._identifier.observe([self.sighting()])
        parts = ADA[0] + np.float32(self._second / 100)
        one = Embedding(Tracklet("gaitheat", "gate", 1, 0, self._second, 9, parts, False), parts, "print")
        self._identifier.add(one, self._known.match([one])[0])
        decision: Decision = self._identifier.decide(1)
        self.state = self._identifier.tracks[1]
        return self._identifier.basis(self._identifier.tracks[1], decision)


@pytest.fixture
def folder(tmp_path: Path) -> SealedFolder:
    with Gallery(tmp_path / "people.gallery", create=True) as gallery:
        return SealedFolder.of(tmp_path / "kept", gallery)


@contextmanager
def writing(open_folder: Callable[[], SealedFolder | None], counts: Counter[str]) -> Iterator[EvidenceWriter]:
    writer = EvidenceWriter(open_folder, Evidence(keep=True), {True: 4, False: 1})
    writer.start(RUN, counts)
    try:
        yield writer
    finally:
        writer.close()


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_disk_is_counted_and_what_comes_later_is_kept(
    folder: SealedFolder, caplog: pytest.LogCaptureFixture
) -> None:
    counts: Counter[str] = Counter()
    walk = Walk()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with writing(lambda: folder, counts) as writer:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
            for _ in range(3):
                writer.put(Decided(walk.decide()))
            wait_for(lambda: counts["no_space"] == 3)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        assert not list(folder.folder.path.rglob("*.part")), "nothing half is left"
        writer.put(Decided(walk.decide()))
        wait_for(lambda: counts["kept"] == 1)
    assert caplog.text.count("is not kept") == 1
    evidence = folder.read(TrackKey("gate", "run", 1))
    assert len(evidence.decisions) == 4, "what did not fit before is in it now"


def test_workers_counts_come_together() -> None:
    one, other = Snapshot(), Snapshot()
    one.evidence.update(kept=2)
    other.evidence.update(kept=3, no_space=1)
    one.merge(other)
    assert one.evidence == {"kept": 5, "no_space": 1}


def test_a_full_queue_drops_and_counts_and_never_waits() -> None:
    desk: Desk[int] = Desk(2, 100)
    assert desk.put(1, 60)
    assert not desk.put(2, 60), "too many bytes"
    assert desk.put(3, 40)
    assert not desk.put(4, 0), "too many"
    assert (desk.take(0), desk.take(0), desk.take(0)) == (1, 3, None)
    assert desk.put(5, 100)


def test_without_its_gallery_nothing_is_kept_and_that_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    def away() -> SealedFolder | None:
        raise GalleryError("people.gallery cannot be reached")

    for open_folder in (away, lambda: None):
        counts: Counter[str] = Counter()
        with writing(open_folder, counts) as writer:
            for _ in range(2):
                writer.put(Decided(Walk().decide()))
        assert counts == {"no_gallery": 2}
    assert caplog.text.count("evidence is not kept yet") == 1


def test_a_track_that_was_erased_does_not_come_back_with_its_next_decision(folder: SealedFolder) -> None:
    counts: Counter[str] = Counter()
    walk, key = Walk(), TrackKey("gate", "run", 1)
    with writing(lambda: folder, counts) as writer:
        writer.put(Crop(walk.sighting(), np.zeros((40, 20, 3), np.uint8), Views({})), 0)
        writer.put(Decided(walk.decide()))
        wait_for(lambda: counts["kept"] == 1)
        assert len(folder.read(key).shots) == 1
        folder.folder.track_file(key).unlink()
        writer.put(Decided(walk.decide()))
        wait_for(lambda: counts["kept"] == 2)
    evidence = folder.read(key)
    assert evidence.shots == ()
    assert len(evidence.decisions) == 1


def test_a_strip_is_spread_over_the_life_of_a_track() -> None:
    strip, track = Strip(8), GatheredTrack({True: 8, False: 1})
    walk = Walk()
    for _ in range(500):
        sighting = walk.sighting()
        if strip.is_due():
            track.add_picture(TakenPicture(sighting, {"crop": b"x"}))
    shots = track.record(TrackKey("gate", "run", 1), ORIGIN).shots
    assert 4 <= len(shots) <= 8
    gaps = np.diff([shot.frame_index for shot in shots])
    assert (gaps == gaps[0]).all()
    assert shots[0].frame_index == 1
    assert shots[-1].frame_index > 400


def test_a_track_that_never_ends_is_bounded() -> None:
    walk, track = Walk(), GatheredTrack({True: 8, False: 1})
    for _ in range(MOST_DECISIONS + 300):
        track.add_decision(walk.decide())
    evidence = track.record(TrackKey("gate", "run", 1), ORIGIN)
    assert len(evidence.decisions) <= MOST_DECISIONS
    assert {n for one in evidence.decisions for n in one.used} == {one.number for one in evidence.windows}
    assert len(track.embeddings()) == len(evidence.windows) <= 256
    assert evidence.missed["decisions"] > 0


@pytest.fixture
def keeper(folder: SealedFolder) -> Iterator[EvidenceKeeper]:
    cams = {"cameras": [{"id": "gate", "url": "synth://corridor"}], "gallery": {"path": "people.gallery"}}
    config = Config.model_validate({**cams, "evidence": {"keep": True, "pictures": 4}})
    made = EvidenceKeeper(config, EvidenceWriter(lambda: folder, config.evidence, {True: 4, False: 1}))
    made.on_begin("run", {"gaitheat": "print"}, config, Stats())
    yield made
    made.close()


def test_without_frames_everything_is_kept_but_pictures(folder: SealedFolder, keeper: EvidenceKeeper) -> None:
    """As behind DeepStream, where no picture leaves the GPU."""
    walk = Walk()
    for _ in range(3):
        keeper.on_basis(walk.decide())
    keeper.on_track_ended(walk.state, walk.decide().decision, "lost")
    keeper.close()
    evidence = folder.read(TrackKey("gate", "run", 1))
    assert len(evidence.decisions) == 3
    assert len(evidence.windows) == 3
    assert evidence.shots == ()
    assert evidence.models == {"gaitheat": "print"}


def test_frames_of_a_track_that_ended_in_their_batch_are_held_for_nobody(keeper: EvidenceKeeper) -> None:
    walk = Walk()
    frame = Frame("gate", 1, 1, np.zeros((90, 160, 3), np.uint8))
    keeper.on_basis(walk.decide())
    keeper.on_track_ended(walk.state, walk.decide().decision, "lost")
    keeper.on_looks([])
    keeper.on_frame(frame, [walk.sighting()], {})
    assert keeper._strips == {}
    keeper.close()
    assert keeper._writer._tracks == {}


def test_a_changed_configuration_is_told_by_its_hash(folder: SealedFolder, keeper: EvidenceKeeper) -> None:
    walk, key = Walk(), TrackKey("gate", "run", 1)
    keeper.on_basis(walk.decide())
    cams = {"cameras": [{"id": "gate", "url": "rtsp://viewer:secret@10.0.0.5/1"}]}
    changed = Config.model_validate(cams)
    keeper.on_config(changed)
    keeper.on_basis(walk.decide())
    keeper.close()
    assert folder.read(key).config_hash == hash_config(changed)
    other = Config.model_validate({"cameras": [{"id": "gate", "url": "rtsp://viewer:other@10.0.0.5/1"}]})
    assert hash_config(other) == hash_config(changed), "a password has no part in it"
