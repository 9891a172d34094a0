"""The DeepStream process as a process, with the fake in place of pyservicemaker: restarts, cameras, ends."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitstream.config.camera_sections import Camera
from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.deepstream import choose
from gaitstream.deepstream.graph import is_file
from gaitstream.deepstream.outbox import Outbox
from gaitstream.deepstream.records import FrameRecord, Gone, TrackedBox, pack, unpack
from gaitstream.deepstream.runner import DeepStreamPipeline, open_runner
from gaitstream.deepstream.watchdog import Act, Action, Watchdog
from gaitstream.engines import open_engine
from gaitstream.errors import ConfigError, JournalWriteError, MissingExtraError
from gaitstream.events import Event
from gaitstream.models.bundle import Bundle
from gaitstream.models.encoders import Head
from gaitstream.models.recognizer import Recognizer
from gaitstream.pipeline.base import RunOptions
from tests.deepstream import site, videos
from tests.deepstream.fake import pyservicemaker as fake
from tests.pipeline.tiny import tiny_bundle

FAKE = Path(__file__).parent / "fake"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("tiny"), "biggait")


def head_of(bundle: Bundle) -> Recognizer:
    engine = open_engine(bundle.graph("head", "fp32"), "onnxruntime", "fp32", 1)
    return Recognizer(bundle, Head(bundle.manifest, engine))


class Keep:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def publish(self, event: Event) -> None:
        self.events.append(event)


class Full(Keep):
    """A journal that has no room from the second event on, for as many attempts."""

    def __init__(self, attempts: int) -> None:
        super().__init__()
        self.attempts = attempts

    def publish(self, event: Event) -> None:
        if self.events and self.attempts:
            self.attempts -= 1
            raise JournalWriteError("no space left", full=True)
        super().publish(event)


def run(
    config: Config,
    bundle: Bundle,
    recording: list[Any],
    folder: Path,
    sink: Keep | None = None,
    **options: Any,
) -> tuple[Keep, Any]:
    (folder / "recording.pickle").write_bytes(pickle.dumps(recording))
    environ = {
        "PYTHONPATH": f"{FAKE}:{Path.cwd()}",
        "GAITSTREAM_FAKE_RECORDING": str(folder / "recording.pickle"),
    }
    sink = sink or Keep()
    head = head_of(bundle)
    with DeepStreamPipeline(
        config,
        sink=sink,
        plan=videos.make_plan(),
        recognizers={"biggait": head},
        environ=environ,
        prepare=False,
        **options,
    ) as pipeline:
        stopper = threading.Timer(60, pipeline.stop, ("too long",))
        stopper.start()
        outcome = pipeline.run()
        stopper.cancel()
    return sink, (outcome, pipeline.stats.now)


def kinds(events: list[Event]) -> Counter[str]:
    return Counter(type(event).__struct_config__.tag for event in events)  # type: ignore[misc]


def test_videos_run_to_their_end(bundle: Bundle, tmp_path: Path) -> None:
    sink, (outcome, stats) = run(videos.make_config(tmp_path), bundle, videos.walk(30), tmp_path)
    assert outcome.cause == "end_of_stream"
    assert outcome.frames == 30
    assert outcome.tracks == 1
    told = kinds(sink.events)
    assert told["run.started"] == told["run.stopped"] == told["camera.online"] == told["track.ended"] == 1
    assert told["identity.final"] == 1
    assert stats.cameras["north"].windows >= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_leaves_the_end_to_the_parent(
    number: int, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of Ctrl-C and of a service manager: the process ended with a traceback, or at once."""
    tell_online, told = DeepStreamPipeline._publish_online, list[int]()

    def interrupt(self: DeepStreamPipeline, action: Action) -> None:
        if not told and self.child_pid is not None:
            os.kill(self.child_pid, number)
            told.append(number)
        tell_online(self, action)

    monkeypatch.setattr(DeepStreamPipeline, "_publish_online", interrupt)
    _, (outcome, stats) = run(videos.make_config(tmp_path), bundle, videos.walk(30), tmp_path)
    assert told == [number]
    assert (outcome.cause, outcome.frames, stats.front["restarts"]) == ("end_of_stream", 30, 0)


@pytest.mark.parametrize(("attempts", "lost"), [(1, False), (1000, True)])
def test_a_full_disk_ends_no_run(attempts: int, lost: bool, bundle: Bundle, tmp_path: Path) -> None:
    full = Full(attempts)
    _, (outcome, stats) = run(videos.make_config(tmp_path), bundle, videos.walk(30), tmp_path, full)
    assert (outcome.cause, outcome.frames) == ("end_of_stream", 30)
    told = list(kinds(full.events))
    assert stats.events_waiting == 0
    assert stats.events_lost == (sum(stats.events.values()) - 1 if lost else 0)
    assert told[0] == "run.started"
    assert (told == ["run.started"]) is lost
    assert lost or (told[-1] == "run.stopped" and kinds(full.events) == stats.events)


def test_a_process_that_dies_is_followed_by_another(bundle: Bundle, tmp_path: Path, monkeypatch: Any) -> None:
    """Its tracks end, its cameras are told offline, track numbers go on, and the run survives."""
    monkeypatch.setattr("gaitstream.deepstream.supervisor.Backoff", lambda low, high: _Waits())
    keep: list[Any] = []
    config = videos.make_config(tmp_path)

    class Stopper(site.Collector):
        def on_track_ended(self, state: Any, decision: Any, cause: str) -> None:
            keep.append(state.track)
            if len(keep) == 2:
                threading.Timer(0, lambda: pipelines[0].stop("enough")).start()

    pipelines: list[Any] = []
    real = DeepStreamPipeline._start

    def start(self: Any) -> None:
        pipelines[:] = [self]
        real(self)

    monkeypatch.setattr(DeepStreamPipeline, "_start", start)
    recording = [*videos.walk(12), fake.Wait(0.3), fake.Die(3)]
    sink, (outcome, stats) = run(config, bundle, recording, tmp_path, observers=[Stopper()])
    assert outcome.cause == "enough"
    assert keep[:2] == [1, 2]
    assert stats.front["restarts"] >= 2
    assert kinds(sink.events)["camera.offline"] >= 2


@pytest.mark.parametrize("at", ["prepare", "activate"])
def test_files_that_cannot_be_started_on_end_the_run_with_a_reason(
    at: str, bundle: Bundle, tmp_path: Path, monkeypatch: Any
) -> None:
    """Three processes that never play: files will not change, so nothing is waited for."""
    monkeypatch.setattr("gaitstream.deepstream.supervisor.Backoff", lambda low, high: _Waits())
    recording = [fake.Fail(at), *videos.walk(5)]
    sink, (outcome, stats) = run(videos.make_config(tmp_path), bundle, recording, tmp_path)
    assert outcome.frames == 0
    assert outcome.failed.keys() == {"north", "south"}
    assert "before it played" in outcome.failed["north"]
    assert stats.front["restarts"] == 3
    assert kinds(sink.events)["run.stopped"] == 1


class _Waits:
    def next(self) -> float:
        return 0.0

    def reset(self) -> None:
        pass


def test_the_front_end_is_chosen(tmp_path: Path) -> None:
    config = videos.make_config(tmp_path)
    assert not choose.uses_deepstream("native", config)
    assert not choose.uses_deepstream("auto", config)
    with pytest.raises(MissingExtraError, match=r"gaitstream:gpu.*--frontend native"):
        choose.uses_deepstream("deepstream", config)


def dog() -> Watchdog:
    watchdog = Watchdog(stall_s=5, restart_s=60, start_s=300)
    watchdog.start({"a": 20, "b": 20}, 0.0)
    return watchdog


def test_the_watchdog_tells_stalls_revives_and_restarts() -> None:
    watchdog = dog()
    assert watchdog.check(100.0) == []  # engines may still load
    assert watchdog.frame("a", 101.0) == [Action(Act.ONLINE, "a")]
    assert watchdog.frame("b", 101.0) == [Action(Act.ONLINE, "b")]
    assert watchdog.check(106.0) == []
    watchdog.frame("a", 106.5)
    assert [(x.act, x.camera) for x in watchdog.check(106.6)] == [(Act.OFFLINE, "b")]
    assert watchdog.check(107.0) == []
    watchdog.frame("a", 121.0)
    assert [(x.act, x.camera) for x in watchdog.check(121.5)] == [(Act.REVIVE, "b")]
    watchdog.frame("a", 130.0)
    assert watchdog.check(130.1) == []  # once in a while, not at every look
    watchdog.frame("a", 142.0)
    assert [x.act for x in watchdog.check(142.1)] == [Act.REVIVE]
    assert watchdog.frame("b", 143.0) == [Action(Act.ONLINE, "b")]
    assert [x.act for x in watchdog.check(204.0)][-1] is Act.RESTART
    assert {x.camera for x in watchdog.start({"a": 20, "b": 20}, 205.0)} == set()


def test_cameras_that_deepstream_does_not_connect_again_are_revived_soon() -> None:
    """Also one that has never sent anything, once the pipeline plays."""
    watchdog = Watchdog(stall_s=5, restart_s=120, start_s=900)
    watchdog.start({"plain": 65.0, "tls": 10.0}, 0.0)
    played = [watchdog.plays]
    assert watchdog.check(60.0) == []
    watchdog.play(100.0)
    assert [*played, watchdog.plays] == [False, True]
    revived = []
    for now_s in range(101, 160):
        watchdog.frame("plain", float(now_s))
        actions = watchdog.check(now_s + 0.5)
        revived += [(action.camera, now_s) for action in actions if action.act is Act.REVIVE]
    assert {camera for camera, _ in revived} == {"tls"}
    assert revived[0] == ("tls", 110)
    assert len(revived) == 5


@pytest.mark.parametrize(
    ("url", "silence_s"),
    [("rtsp://h/1", 65.0), ("rtsps://h/1", 10.0), ("https://h/1", 10.0), ("http://h/1", 10.0)],
)
def test_schemes_that_nvurisrcbin_does_not_reconnect(url: str, silence_s: float, bundle: Bundle) -> None:
    """It knows `rtsp://` alone, by the prefix."""
    config = Config.model_validate(
        {"cameras": [{"id": "a", "url": url}], "deepstream": {"reconnect_s": 10}, "sources": {"stall_s": 5}}
    )
    recognizers = {"biggait": head_of(bundle)}
    with DeepStreamPipeline(config, plan=videos.make_plan(), recognizers=recognizers) as pipeline:
        assert pipeline._revivals_s() == {"a": silence_s}


def test_a_process_that_never_sends_is_restarted() -> None:
    assert [x.act for x in dog().check(301.0)] == [Act.RESTART]


def test_a_slow_parent_loses_the_oldest_and_hears_of_it() -> None:
    gate, sent = threading.Event(), []

    def send(parts: list[Any]) -> None:
        gate.wait(60)
        sent.append(unpack([bytes(p) for p in parts])[0])

    outbox = Outbox(send)
    frame = FrameRecord("a", 0, 1, 640, 360, ())
    total = Outbox.CAPACITY + 20
    for index in range(total):
        gone = [Gone("b")] if index == 5 else []
        outbox.put([frame], gone, {"a": {"shadows": 1}}, [])
    gate.set()
    assert outbox.close(60)
    dropped = sum(batch.counters["a"].get("frames_dropped", 0) for batch in sent)
    assert len(sent) + dropped == total
    assert dropped > 0
    assert sum(batch.counters["a"]["shadows"] for batch in sent) == total
    assert [gone.camera for batch in sent for gone in batch.gone] == ["b"]


def test_a_crowd_fills_the_outbox_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three large messages fit; cameras that left and counts of what is dropped go with the one behind."""
    monkeypatch.setattr(Outbox, "CAPACITY_BYTES", 3_500_000)
    gate, begun, sent = threading.Event(), threading.Event(), []

    def send(parts: list[Any]) -> None:
        begun.set()
        gate.wait(60)
        sent.append(unpack([bytes(p) for p in parts])[0])

    outbox = Outbox(send)
    maps = np.zeros((1, 500_000), np.float16)
    for index in range(10):
        frame = FrameRecord("a", index, 1, 640, 360, ())
        outbox.put([frame], [Gone(str(index))], {"a": {"shadows": 1}}, [maps])
        if index == 0:
            assert begun.wait(60)
    gate.set()
    assert outbox.close(60)
    assert [frame.index for batch in sent for frame in batch.frames] == [0, 7, 8, 9]
    assert [gone.camera for batch in sent for gone in batch.gone] == [str(i) for i in range(10)]
    assert sum(batch.counters["a"]["shadows"] for batch in sent) == 10
    assert sum(batch.counters["a"].get("frames_dropped", 0) for batch in sent) == 6


def test_files_wait_for_room_and_a_message_larger_than_the_outbox_goes_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Outbox, "CAPACITY_BYTES", 1000)
    sent = []
    outbox = Outbox(lambda parts: sent.append(parts[1].nbytes), wait=True)
    for _ in range(20):
        outbox.put([], [], {}, [np.zeros((1, 3000), np.float16)])
    assert outbox.close(60)
    assert sent == [6000] * 20


def test_messages_keep_types_and_shapes() -> None:
    person = TrackedBox(3, (1.0, 2.0, 3.0, 4.0), 0.5, False, (0, -1))
    maps = np.random.default_rng(0).normal(size=(1, 8, 16, 8)).astype(np.float16)
    nothing = np.empty((0, 0, 3), np.float32)
    frames = [FrameRecord("a", 1, 2, 640, 360, (person,))]
    batch, arrays = unpack([bytes(p) for p in pack(frames, [], {}, [maps, nothing])])
    assert batch.frames[0].persons[0] == person
    np.testing.assert_array_equal(arrays[0], maps)
    assert arrays[1].shape == (0, 0, 3)


class SilentChild:
    """A process that only remembers what it was told."""

    endpoint, exit_code, pid = "ipc://none", None, 1

    def __init__(self, environ: Any = None) -> None:
        self.specs: list[Any] = []
        self.told: list[Any] = []

    def start(self, spec: Any) -> None:
        self.specs.append(spec)

    def tell(self, command: Any) -> None:
        self.told.append((command.do, command.camera))

    def receive(self, wait_s: float) -> None:
        return None

    def end(self) -> None:
        pass

    close = end


@pytest.mark.parametrize("rest", ["127.0.0.1:9000", "null"])
def test_cameras_come_and_go_with_the_file(
    rest: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.deepstream.supervisor.ChildProcess", SilentChild)
    file = tmp_path / "cams.yaml"

    def write(**cameras: int) -> None:
        rows = "".join(
            f"  - {{id: {name}, url: 'rtsp://h/{name}', fps: {fps}}}\n" for name, fps in cameras.items()
        )
        file.write_text(f"cameras:\n{rows}deepstream: {{rest: {rest!r}}}\n".replace("'null'", "null"))

    write(a=15, b=15)
    config = load_config(file)
    recognizers = {"biggait": head_of(bundle)}

    def maintain() -> None:
        pipeline._session._due_s = 0.0  # a second later
        pipeline._maintain()

    with DeepStreamPipeline(
        config, watch=file, plan=videos.make_plan(), recognizers=recognizers, prepare=False
    ) as pipeline:
        pipeline._start()
        child: Any = pipeline._supervisor.child
        write(a=10, c=15)
        maintain()
        if rest == "null":
            assert child.told == []
            maintain()
            assert [list(spec.rates) for spec in child.specs] == [["a", "b"], ["a", "c"]]
            return
        assert child.told == [("retune", "a"), ("remove", "b"), ("add", "c")]
        write(a=10, c=15, d=15, e=15, f=15)  # more than there is room for
        maintain()
        maintain()
        assert [len(spec.rates) for spec in child.specs] == [2, 5]
        pipeline._act([Action(Act.REVIVE, "c")])
        assert child.told[-2:] == [("remove", "c"), ("add", "c")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{id: b, url: 'synth://plaza'}", "cannot read synth://"),
        ("{id: b, url: /dev/video0}", "use --frontend native for devices"),
        ("{id: b, url: 'rtsp://h/1,2'}", "a comma in the URL"),
        ("{id: b, url: 'rtsp://h/b'}", "deepstream.max_cameras is 1, but 2 cameras are enabled"),
    ],
)
def test_a_camera_that_cannot_be_added_ends_no_run(
    row: str, said: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """A file that is wrong for DeepStream changes nothing, as one that is wrong in itself."""
    monkeypatch.setattr("gaitstream.deepstream.supervisor.ChildProcess", SilentChild)
    file = tmp_path / "cams.yaml"
    before = "deepstream: {max_cameras: 1}\ncameras:\n  - {id: a, url: 'rtsp://h/a'}\n"
    file.write_text(before)
    recognizers = {"biggait": head_of(bundle)}
    with DeepStreamPipeline(
        load_config(file), watch=file, plan=videos.make_plan(), recognizers=recognizers, prepare=False
    ) as pipeline:
        pipeline._start()
        child: Any = pipeline._supervisor.child
        file.write_text(f"{before}  - {row}\n")
        for _ in range(3):
            pipeline._session._due_s = 0.0
            pipeline._maintain()
        assert said in caplog.text
        assert [camera.id for camera in pipeline.config.cameras] == ["a"]
        assert (child.told, len(child.specs)) == ([], 1)


def test_a_file_that_is_moved_while_it_is_read_stays_one(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    camera = Camera(id="a", url=SecretUrl(str(tmp_path / "a.mp4")))
    (tmp_path / "a.mp4").unlink()
    assert is_file(camera)
    assert not is_file(Camera(id="a", url=SecretUrl("rtsp://h/a.mp4")))


@pytest.mark.parametrize("rest", ["'127.0.0.1:9000'", "null"])
def test_a_site_without_a_camera_waits_for_one(
    rest: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.deepstream.supervisor.ChildProcess", SilentChild)
    file = tmp_path / "cams.yaml"
    text = f"deepstream: {{rest: {rest}}}\ncameras: [{{id: a, url: 'rtsp://h/a', enabled: true}}]\n"
    file.write_text(text)
    recognizers = {"biggait": head_of(bundle)}
    with DeepStreamPipeline(
        load_config(file), watch=file, plan=videos.make_plan(), recognizers=recognizers, prepare=False
    ) as pipeline:
        pipeline._start()
        for enabled in ("false", "true"):
            file.write_text(text.replace("true", enabled))
            for _ in range(3):
                pipeline._session._due_s = 0.0
                pipeline._maintain()
            if enabled == "false":
                pipeline._restart("it ended", pause=False)
                pipeline._maintain()
        child: Any = pipeline._supervisor.child
        assert [list(spec.rates) for spec in child.specs] == [["a"], ["a"]]
    file.write_text(text.replace("true", "false"))
    with (
        DeepStreamPipeline(
            load_config(file), plan=videos.make_plan(), recognizers=recognizers, prepare=False
        ) as pipeline,
        pytest.raises(ConfigError, match="no camera is enabled"),
    ):
        pipeline.run()


def test_what_the_native_front_end_alone_leaves_out_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gaitstream.deepstream.runner.DeepStreamPipeline", lambda *_, **__: None)
    cameras = [Camera(id="a", url="a.mp4", still_every=5)]  # type: ignore[arg-type]
    config = Config(cameras=cameras, tracklets={"every": 2}, runtime={"latency_ms": 200})  # type: ignore[arg-type]
    sink: Any = None
    open_runner(RunOptions(config=Path("cams.yaml")), config, sink)
    assert "tracklets.every, runtime.latency_ms, cameras[].still_every: the native front end" in caplog.text
    caplog.clear()
    mixed = [
        {"id": "a", "url": "a.mp4", "loop": True},
        {"id": "b", "url": "rtsp://h/1"},
        {"id": "c", "url": "rtsp://h/2", "transport": "udp"},
    ]
    open_runner(RunOptions(config=Path("cams.yaml")), Config.model_validate({"cameras": mixed}), sink)
    assert "cameras[].loop: files start again only where all" in caplog.text
    assert "cameras[].transport: DeepStream takes one for all cameras" in caplog.text
    caplog.clear()
    open_runner(RunOptions(config=Path("cams.yaml")), Config(cameras=[Camera(id="a", url="a.mp4")]), sink)  # type: ignore[arg-type]
    assert not caplog.text
