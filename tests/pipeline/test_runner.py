"""The runner in this process, on real video with real detector and pose model and a tiny recognizer."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gaitstream.config.reading import load_config
from gaitstream.data import Decision, Frame, Person, Status
from gaitstream.errors import GalleryError
from gaitstream.events import (
    CameraOffline,
    CameraOnline,
    Event,
    IdentityFinal,
    RunStarted,
    RunStopped,
    TrackEnded,
)
from gaitstream.gallery import Gallery
from gaitstream.models.bundle import Bundle
from gaitstream.models.detector import DetectorModel
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.enroll import choose, enroll_walk, save_pictures, watch_video
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline, load_detector
from gaitstream.pipeline.saving import TrackletSaver, VideoSaver
from gaitstream.pipeline.source.reader import State, StateChange
from gaitstream.pipeline.source.video import VideoSource
from tests.pipeline.tiny import tiny_bundle
from tests.pipeline.walkers import camera, walkers, write_cams

FPS = 10
SAMPLED = 79
"""Frames of the 7.8 s at 10 per second."""


PEOPLE = {"path": "p.gallery", "threshold": 0.5, "margin": 0.0}


class Heard:
    """A sink that keeps the events, for the test to look at."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.changed = threading.Condition()

    def publish(self, event: Event) -> None:
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def wait(self, kind: type[Event], timeout_s: float = 60, **fields: Any) -> Event:
        """The first event of a kind with these fields."""

        def found() -> Event | None:
            for event in list(self.events):
                if isinstance(event, kind) and all(getattr(event, k) == v for k, v in fields.items()):
                    return event
            return None

        with self.changed:
            assert self.changed.wait_for(lambda: found() is not None, timeout_s), (kind, fields)
        event = found()
        assert event is not None
        return event


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def open_models(
    shared: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, DetectorModel | Encoder]]:
    """Detector and encoder, opened once for all tests here."""
    config = load_config(write_cams(tmp_path_factory.mktemp("models"), shared, bundle.root))
    models: dict[str, DetectorModel | Encoder] = {
        "detector": load_detector(config),
        "encoder": Encoder.load(config),
    }
    yield models
    for model in models.values():
        model.close()


def test_from_enrolment_to_identity(
    shared: Path, bundle: Bundle, tmp_path: Path, open_models: dict[str, Any]
) -> None:
    """Enrol two of the four from the video, then run it: they are known, the others unknown, all is saved."""
    path = write_cams(tmp_path, shared, bundle.root, [camera(shared, fps=FPS)], gallery=PEOPLE)
    config = load_config(path)
    walks = watch_video(config, walkers(shared), match=False)
    usable = [walk for walk in walks if walk.usable]
    assert len(usable) == 4
    assert all(walk.full for walk in usable)
    assert choose(walks, None) is None
    assert len(save_pictures(usable, tmp_path / "tracks")) == 4
    for name, walk in zip(("Ada", "Bob"), usable, strict=False):
        assert enroll_walk(config, name, walk, "walkers") >= 2

    heard = Heard()
    observers = [TrackletSaver(tmp_path / "crops"), VideoSaver(tmp_path / "video", {"gate": FPS})]
    with Pipeline(config, sink=heard, observers=observers, **open_models) as pipeline:
        outcome = pipeline.run()
    assert (outcome.cause, outcome.frames) == ("end_of_stream", SAMPLED)
    finals = [event for event in heard.events if isinstance(event, IdentityFinal)]
    known = {event.person: event for event in finals if event.status == "known"}
    assert set(known) == {"Ada", "Bob"}
    for event in known.values():
        assert event.distance == pytest.approx(0, abs=1e-3)
        assert event.windows >= 2
        assert event.models == {"gaitheat": bundle.fingerprint}
    assert Counter(event.reason for event in finals if event.windows and event.status != "known") == {
        "below_threshold": 2
    }
    check_order(heard.events)
    check_saved(tmp_path, finals)


@pytest.mark.parametrize(
    ("saving", "reason"),
    [
        ({"settled_after": 1, "settled_every": 3}, "settled"),
        ({"every": 2, "length": 16, "stride": 8}, "spaced"),
    ],
)
def test_tracks_are_encoded_less_and_named_all_the_same(
    shared: Path,
    bundle: Bundle,
    tmp_path: Path,
    open_models: dict[str, Any],
    saving: dict[str, int],
    reason: str,
) -> None:
    nearest = {"path": "p.gallery", "threshold": 100.0, "margin": 0.0}  # a random network tells no strangers
    path = write_cams(
        tmp_path, shared, bundle.root, [camera(shared, fps=FPS)], gallery=nearest, tracklets=saving
    )
    config = load_config(path)
    walks = [walk for walk in watch_video(config, walkers(shared), match=False) if walk.usable]
    for name, walk in zip(("Ada", "Bob", "Cleo", "Dan"), walks, strict=True):
        enroll_walk(config, name, walk, "walkers")
    heard = Heard()
    with Pipeline(config, sink=heard, **open_models) as pipeline:
        pipeline.run()
        gate = pipeline.snapshot().cameras["gate"]
    finals = [event for event in heard.events if isinstance(event, IdentityFinal)]
    assert {event.person for event in finals if event.person} == {"Ada", "Bob", "Cleo", "Dan"}
    assert gate.rejections[reason] > gate.person_frames / 3
    assert gate.encoded + sum(gate.rejections.values()) == gate.person_frames


def test_an_objective_nobody_can_meet_sheds_work_and_counts_it(
    shared: Path, bundle: Bundle, tmp_path: Path, open_models: dict[str, Any]
) -> None:
    path = write_cams(
        tmp_path,
        shared,
        bundle.root,
        [camera(shared, fps=FPS)],
        runtime={"latency_ms": 20, "deadline_ms": 40},
    )
    with Pipeline(load_config(path), realtime=True, **open_models) as pipeline:
        pipeline.run()
        gate = pipeline.snapshot().cameras["gate"]
    assert gate.rejections["overload"] > 0
    assert gate.undetected.get("overload", 0) + gate.dropped > 0
    assert gate.analysed + gate.dropped == SAMPLED
    assert gate.encoded + sum(gate.rejections.values()) == gate.person_frames


def test_a_file_beside_a_live_camera_loses_nothing_to_the_load(
    shared: Path, bundle: Bundle, tmp_path: Path, open_models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate's camera is taken to be live, and comes much faster than it can be looked at."""
    monkeypatch.setattr(
        VideoSource,
        "live",
        property(lambda _: threading.current_thread().name == "camera-gate", lambda *_: None),
        raising=False,
    )
    monkeypatch.setattr("gaitstream.pipeline.cameras.may_be_live", lambda camera: camera.id == "gate")
    path = write_cams(
        tmp_path,
        shared,
        bundle.root,
        [{**camera(shared, fps=FPS), "loop": True}, {**camera(shared, fps=FPS), "id": "archive"}],
        runtime={"latency_ms": 100},
    )
    with Pipeline(load_config(path), **open_models) as pipeline:
        ending = threading.Thread(target=stop_at_the_end_of, args=(pipeline, "archive"))
        ending.start()
        pipeline.run()
        ending.join()
        cameras = pipeline.snapshot().cameras
    gate, archive = cameras["gate"], cameras["archive"]
    assert gate.dropped + gate.undetected.get("overload", 0) > 0
    assert gate.rejections["overload"] > 0
    assert (archive.analysed, archive.dropped, archive.abandoned) == (SAMPLED, 0, 0)
    assert "overload" not in archive.undetected
    assert "overload" not in archive.rejections


def stop_at_the_end_of(pipeline: Pipeline, camera: str) -> None:
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        found = pipeline.snapshot().cameras.get(camera)
        if found is not None and found.analysed + found.dropped >= SAMPLED:
            break
        time.sleep(0.05)
    pipeline.stop()


def check_order(events: list[Event]) -> None:
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunStopped)
    assert sum(isinstance(event, CameraOnline) for event in events) == 1
    assert [e.cause for e in events if isinstance(e, CameraOffline)] == ["end_of_stream"]
    finals = [(e.track, i) for i, e in enumerate(events) if isinstance(e, IdentityFinal)]
    ended = [(e.track, i) for i, e in enumerate(events) if isinstance(e, TrackEnded)]
    assert [(track, index + 1) for track, index in finals] == ended
    assert len({track for track, _ in finals}) == len(finals)


def check_saved(folder: Path, finals: list[IdentityFinal]) -> None:
    import av

    [video] = (folder / "video" / "gate").iterdir()
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == SAMPLED
    [run] = (folder / "crops" / "gate").iterdir()
    saved = sorted(path.name for path in run.iterdir())
    assert len(saved) == len(finals)
    assert sum(name.endswith(("-known-Ada", "-known-Bob")) for name in saved) == 2
    ada = next(path for path in run.iterdir() if path.name.endswith("Ada"))
    assert 10 <= len(list(ada.glob("*.jpg"))) <= 30
    assert '"person": "Ada"' in (ada / "decision.json").read_text()


def test_a_gallery_of_another_model_is_an_error(
    shared: Path, bundle: Bundle, tmp_path: Path, open_models: dict[str, Any]
) -> None:
    import numpy as np

    with Gallery(tmp_path / "p.gallery", create=True) as gallery:
        gallery.enroll("Ada", "gaitheat", "0" * 64, np.zeros((1, 16, 32), np.float32))
    config = load_config(write_cams(tmp_path, shared, bundle.root, gallery={"path": "p.gallery"}))
    with pytest.raises(GalleryError, match="filled by gaitheat 000000000000"):
        Pipeline(config, **open_models)


class Watch(Observer):
    """Counts frames by camera and stops the pipeline at the n-th."""

    def __init__(self, stop_at: int = 10**9) -> None:
        self.frames: Counter[str] = Counter()
        self.labels: dict[int, Decision] = {}
        self.pipeline: Pipeline | None = None
        self._stop_at = stop_at

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        self.frames[frame.camera] += 1
        self.labels.update(labels)
        if sum(self.frames.values()) == self._stop_at and self.pipeline is not None:
            self.pipeline.stop()


def test_stop_ends_tracks_with_a_last_word(
    shared: Path, bundle: Bundle, tmp_path: Path, open_models: dict[str, Any]
) -> None:
    heard, watch = Heard(), Watch(stop_at=20)
    with Pipeline(
        load_config(write_cams(tmp_path, shared, bundle.root)), sink=heard, observers=[watch], **open_models
    ) as pipeline:
        watch.pipeline = pipeline
        outcome = pipeline.run()
    assert outcome.cause == "shutdown"
    assert outcome.frames < 40, "what is in hand when it is asked, and no more"
    assert outcome.tracks >= 4
    assert {e.cause for e in heard.events if isinstance(e, TrackEnded)} == {"shutdown"}
    snapshot = pipeline.snapshot()
    gate = snapshot.cameras["gate"]
    assert gate.decoded >= gate.analysed + gate.abandoned
    assert watch.labels[1].status is Status.UNKNOWN


class Blink(Watch):
    """Reports the camera as lost at one frame and stops at a later one."""

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        super().on_frame(frame, persons, labels)
        if frame.index >= 20 and not self.blinked:
            self.blinked = True
            assert self.pipeline is not None
            change = StateChange(frame.camera, State.OFFLINE, "no frame for 5 s", frame.time_ns)
            reader = self.pipeline._cameras[frame.camera].reader
            self.pipeline._states.put((reader, change))

    blinked = False


def test_a_lost_camera_ends_its_tracks(
    shared: Path, bundle: Bundle, tmp_path: Path, open_models: dict[str, Any]
) -> None:
    heard, blink = Heard(), Blink(stop_at=45)
    with Pipeline(
        load_config(write_cams(tmp_path, shared, bundle.root)), sink=heard, observers=[blink], **open_models
    ) as pipeline:
        blink.pipeline = pipeline
        pipeline.run()
    ended = [event for event in heard.events if isinstance(event, TrackEnded)]
    before = {event.track for event in ended if event.cause == "camera_offline"}
    after = {event.track for event in ended if event.cause == "shutdown"}
    assert len(before) >= 4
    assert len(after) >= 4
    assert not before & after


def test_changes_of_the_file_reach_the_cameras_and_leave_the_others_alone(
    shared: Path, bundle: Bundle, tmp_path: Path, open_models: dict[str, Any]
) -> None:
    def cams(*cameras: dict[str, Any]) -> Path:
        return write_cams(tmp_path, shared, bundle.root, list(cameras))

    stays = camera(shared, "stays", fps=2, loop=True)
    goes = camera(shared, "goes", fps=2, loop=True)
    path = cams(stays, goes)
    heard, watch = Heard(), Watch()
    pipeline = Pipeline(
        load_config(path), sink=heard, observers=[watch], watch=path, realtime=True, **open_models
    )
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    try:
        heard.wait(CameraOnline, camera="stays")
        heard.wait(CameraOnline, camera="goes")
        cams(stays, camera(shared, "comes", fps=2, loop=True))
        heard.wait(CameraOnline, camera="comes")
        heard.wait(CameraOffline, camera="goes", cause="removed")
        frames = watch.frames["goes"]
        (tmp_path / "cams.yaml").write_text("cameras: nonsense")
        deadline = time.monotonic() + 20
        while watch.frames["comes"] < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert watch.frames["comes"] >= 4
        assert watch.frames["goes"] == frames
        counted = pipeline.snapshot().cameras["goes"].decoded
        cams(stays, goes)
        deadline = time.monotonic() + 20
        while watch.frames["goes"] < frames + 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert pipeline.snapshot().cameras["goes"].decoded >= counted + 2, "what came before is counted too"
    finally:
        pipeline.stop()
        thread.join(60)
        pipeline.close()
    assert not thread.is_alive()
    assert sum(isinstance(e, CameraOnline) and e.camera == "stays" for e in heard.events) == 1


def test_regions_that_do_not_fit_a_running_camera_change_nothing_and_stop_only_their_own(
    shared: Path,
    bundle: Bundle,
    tmp_path: Path,
    open_models: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What no reading of the file can find: polygons beyond the pictures that come."""
    far = [[[0, 0], [9000, 0], [9000, 9000]]]

    def cams(*cameras: dict[str, Any]) -> Path:
        return write_cams(tmp_path, shared, bundle.root, list(cameras))

    stays = camera(shared, "stays", fps=2, loop=True)
    path = cams(stays)
    heard, watch = Heard(), Watch()
    pipeline = Pipeline(
        load_config(path), sink=heard, observers=[watch], watch=path, realtime=True, **open_models
    )
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    try:
        heard.wait(CameraOnline, camera="stays")
        cams({**stays, "regions": far})
        deadline = time.monotonic() + 20
        while "lies outside the frame" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
        assert pipeline.config.cameras[0].regions == []
        cams(stays, camera(shared, "wrong", fps=2, loop=True, regions=far))
        heard.wait(CameraOffline, camera="wrong", cause="error")
        frames = watch.frames["stays"]
        while watch.frames["stays"] < frames + 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert watch.frames["stays"] >= frames + 3
        assert pipeline.snapshot().cameras["wrong"].state == "failed"
    finally:
        pipeline.stop()
        thread.join(60)
        pipeline.close()
    assert not thread.is_alive()


def test_cameras_share_batches_and_lose_no_frame(
    shared: Path, bundle: Bundle, tmp_path: Path, open_models: dict[str, Any]
) -> None:
    cameras = [camera(shared, f"c{number}", fps=2) for number in range(4)]
    watch = Watch()
    with Pipeline(
        load_config(write_cams(tmp_path, shared, bundle.root, cameras)), observers=[watch], **open_models
    ) as pipeline:
        outcome = pipeline.run()
    assert outcome.frames == sum(watch.frames.values()) == 4 * 16
    assert set(watch.frames.values()) == {16}
    batches = pipeline.snapshot().batches["detect"]
    assert batches.total == 64
    assert batches.count < 40
