"""What one camera, hook or file may do to a run, on a small synthetic world."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitstream.config.camera_sections import Sources
from gaitstream.config.reading import load_config
from gaitstream.data import Decision, Frame, Person
from gaitstream.errors import EngineError
from gaitstream.events import (
    CameraOffline,
    CameraOnline,
    Event,
    IdentityFinal,
    RunStopped,
    TrackEnded,
    TrackStarted,
)
from gaitstream.gallery import Gallery
from gaitstream.gallery.audit import read_audit
from gaitstream.models.bundle import Bundle
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline, load_detector
from gaitstream.pipeline.source.reader import CameraReader, State, StateChange
from tests.pipeline.test_runner import Heard
from tests.pipeline.tiny import tiny_bundle

WORLD = "synth://corridor?people=3&fps=8&seed=3"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("tiny"), "biggait")


@pytest.fixture(scope="module")
def models(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    config = load_config(write(tmp_path_factory.mktemp("models"), bundle, {"gate": WORLD}))
    opened: dict[str, Any] = {"detector": load_detector(config), "encoder": Encoder.load(config)}
    yield opened
    for model in opened.values():
        model.close()


def write(folder: Path, bundle: Bundle, cameras: Mapping[str, str | dict[str, Any]], **sections: Any) -> Path:
    """Write a cams.yaml with these cameras, in one step."""
    entries = [
        {"id": name, "fps": 8, **({"url": entry} if isinstance(entry, str) else entry)}
        for name, entry in cameras.items()
    ]
    content = {
        "cameras": entries,
        "models": {"detector": "demo", "biggait": f"{bundle.root}/"},
        "tracklets": {"length": 10, "stride": 5, "provisional_from": 5},
        "quality": {"min_sharpness": 0, "min_motion": 0, "min_height_px": 24},
        "runtime": {"threads": 1},
        **sections,
    }
    new = folder / ".cams.yaml.new"
    new.write_text(yaml.safe_dump(content))
    return new.rename(folder / "cams.yaml")


class FailsAt(Observer):
    """Raises at a frame of one camera, and from then on at every decision."""

    def __init__(self, camera: str, index: int) -> None:
        self.camera, self.index = camera, index
        self.failed = False

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        if frame.camera == self.camera and frame.index >= self.index:
            self.failed = True
            raise RuntimeError("a hook fails")

    def on_decision(self, decision: Decision) -> None:
        if self.failed:
            raise RuntimeError("a hook fails again")


def check_last_words(events: Sequence[Event]) -> set[tuple[str, int]]:
    """Every track that began has one final decision and one end behind it; the tracks."""
    began = [(event.camera, event.track) for event in events if isinstance(event, TrackStarted)]
    finals = [(event.camera, event.track) for event in events if isinstance(event, IdentityFinal)]
    ended = [(event.camera, event.track) for event in events if isinstance(event, TrackEnded)]
    assert sorted(began) == sorted(finals) == sorted(ended)
    assert len(set(began)) == len(began), "no id is given twice in a run"
    return set(began)


def test_an_exception_ends_the_tracks_of_all_cameras_before_it_leaves_the_run(
    tmp_path: Path, bundle: Bundle, models: dict[str, Any]
) -> None:
    config = load_config(write(tmp_path, bundle, {"left": WORLD, "right": WORLD}))
    heard = Heard()
    pipeline = Pipeline(config, sink=heard, observers=[FailsAt("left", 40)], **models)
    with pipeline, pytest.raises(RuntimeError, match=r"a hook fails$"):
        pipeline.run()
    assert {camera for camera, _ in check_last_words(heard.events)} == {"left", "right"}
    assert isinstance(heard.events[-1], RunStopped)
    assert heard.events[-1].cause == "error"
    assert {e.cause for e in heard.events if isinstance(e, TrackEnded)} <= {"error", "lost"}


class Closing(Observer):
    """Notes that it was closed, and may fail at it."""

    def __init__(self, says: str = "") -> None:
        self.says, self.closed = says, 0

    def close(self) -> None:
        self.closed += 1
        if self.says:
            raise RuntimeError(self.says)


def test_a_hook_that_fails_at_its_end_keeps_nothing_else_open(
    tmp_path: Path, bundle: Bundle, models: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Evidence that is not written yet, say, and the end of the gallery's use."""
    gallery = tmp_path / "people.gallery"
    Gallery(gallery, create=True).close()
    config = load_config(write(tmp_path, bundle, {"left": WORLD}, gallery={"path": str(gallery)}))
    hooks = [Closing(), Closing("no room"), Closing("nor here"), Closing()]
    pipeline = Pipeline(config, observers=hooks, **models)
    with pytest.raises(RuntimeError, match="no room"):
        pipeline.close()
    assert [hook.closed for hook in hooks] == [1] * 4
    assert "nor here" in caplog.text
    with Gallery(gallery) as opened, opened.store.reading() as reading:
        assert [line.action for _, line in read_audit(reading, opened.sealer)][-1] == "use.ended"


def test_a_run_that_cannot_begin_lets_go_of_the_gallery(
    tmp_path: Path, bundle: Bundle, models: dict[str, Any]
) -> None:
    """Whoever tries again and again would follow it in more and more threads, and have begun to use it."""
    gallery = tmp_path / "people.gallery"
    Gallery(gallery, create=True).close()
    config = load_config(write(tmp_path, bundle, {"left": WORLD}, gallery={"path": str(gallery)}))
    before, hook, closed = threading.active_count(), Closing(), load_detector(config)
    closed.close()
    with pytest.raises(EngineError, match="the engine is closed"):
        Pipeline(config, observers=[hook], **{**models, "detector": closed})
    assert hook.closed == 1
    assert threading.active_count() == before
    with Gallery(gallery) as opened, opened.store.reading() as reading:
        assert [line.action for _, line in read_audit(reading, opened.sealer)][-1] == "use.ended"


def test_a_model_that_fails_leaves_last_words_too(
    tmp_path: Path, bundle: Bundle, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(write(tmp_path, bundle, {"left": WORLD}))
    heard = Heard()
    with Pipeline(config, sink=heard, **models) as pipeline:
        real, calls = pipeline._session.decider._embedder.embed, 0

        def embed(filled: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > 3:
                raise RuntimeError("the device is gone")
            return real(filled)

        monkeypatch.setattr(pipeline._session.decider._embedder, "embed", embed)
        with pytest.raises(RuntimeError, match="the device is gone"):
            pipeline.run()
    assert check_last_words(heard.events)
    assert isinstance(heard.events[-1], RunStopped)


def test_a_camera_whose_frames_cannot_be_tracked_fails_alone(
    tmp_path: Path, bundle: Bundle, models: dict[str, Any]
) -> None:
    config = load_config(
        write(tmp_path, bundle, {"left": f"{WORLD}&seconds=6", "right": f"{WORLD}&seconds=6"})
    )
    heard = Heard()

    class Break(Observer):
        def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
            if (frame.camera, frame.index) == ("left", 20):
                pipeline._cameras["left"].tracker._tracker = None  # type: ignore[assignment]

    with Pipeline(config, sink=heard, observers=[Break()], **models) as pipeline:
        outcome = pipeline.run()
    assert outcome.cause == "end_of_stream"
    assert set(outcome.failed) == {"left"}
    assert "unexpected AttributeError" in outcome.failed["left"]
    assert pipeline.snapshot().cameras["right"].analysed == 48
    assert {camera for camera, _ in check_last_words(heard.events)} == {"left", "right"}


class Running:
    """A pipeline in a thread of its own."""

    def __init__(self, path: Path, models: dict[str, Any], *observers: Observer, **options: Any) -> None:
        self.heard = Heard()
        self.pipeline = Pipeline(
            load_config(path), sink=self.heard, observers=observers, watch=path, **options, **models
        )
        self._thread = threading.Thread(target=self.pipeline.run)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pipeline.stop()
        self._thread.join(10)
        self.pipeline.close()
        assert not self._thread.is_alive()


def test_a_reader_that_was_replaced_is_not_heard_any_more(
    tmp_path: Path, bundle: Bundle, models: dict[str, Any]
) -> None:
    path = write(tmp_path, bundle, {"gate": f"{WORLD}&live=1"})
    with Running(path, models) as run:
        run.heard.wait(TrackStarted)
        earlier = CameraReader(run.pipeline.config.cameras[0], Sources())
        late = StateChange("gate", State.OFFLINE, "nothing came for 10 s", 1)
        run.pipeline._states.put((earlier, late))
        removed = StateChange("gone", State.OFFLINE, "nothing came for 10 s", 1)
        run.pipeline._states.put((earlier, removed))
        write(tmp_path, bundle, {"gate": f"{WORLD}&live=1", "more": f"{WORLD}&live=1"})
        run.heard.wait(CameraOnline, camera="more")
    assert not any(isinstance(event, CameraOffline) for event in run.heard.events)
    assert "camera_offline" not in {e.cause for e in run.heard.events if isinstance(e, TrackEnded)}


def test_the_tracks_of_a_file_that_is_over_end_while_others_go_on(
    tmp_path: Path, bundle: Bundle, models: dict[str, Any]
) -> None:
    path = write(tmp_path, bundle, {"file": f"{WORLD}&seconds=4", "live": f"{WORLD}&live=1"})
    with Running(path, models) as run:
        run.heard.wait(TrackEnded, camera="file", cause="end_of_stream")
        run.heard.wait(TrackStarted, camera="live")
    check_last_words(run.heard.events)


def test_another_url_and_the_regions_for_it_are_taken_over_together(
    tmp_path: Path, bundle: Bundle, models: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    world = "synth://plaza?people=1&live=1&fps=8"
    path = write(tmp_path, bundle, {"gate": f"{world}&width=320&height=180"})
    with Running(path, models) as run:
        run.heard.wait(TrackStarted)
        region = [[0, 0], [600, 0], [600, 350], [0, 350]]
        write(tmp_path, bundle, {"gate": {"url": f"{world}&width=640&height=360", "regions": [region]}})
        run.heard.wait(CameraOnline, 20, camera="gate", width=640)
        assert run.pipeline.config.cameras[0].regions == [[(0, 0), (600, 0), (600, 350), (0, 350)]]
        run.heard.wait(TrackStarted, camera="gate", track=2)
    check_last_words(run.heard.events)
    assert "lies outside the frame" not in caplog.text
