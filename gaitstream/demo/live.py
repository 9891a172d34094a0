"""The demo from start to end: load, enrol, watch, score, report."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress

from gaitstream import __version__, zoo
from gaitstream.demo.ear import Ear
from gaitstream.demo.enrolment import MODEL, Enrolled, enrol, enrolment_frames
from gaitstream.demo.plan import FPS, IOU, LOST_S, Plan
from gaitstream.demo.record import CameraRun, Person, Record
from gaitstream.demo.referee import Referee, heatmap_picture, picture
from gaitstream.demo.report import render
from gaitstream.demo.score import Score, score
from gaitstream.demo.show import Show
from gaitstream.demo.view import Viewer, open_browser
from gaitstream.errors import ConfigError
from gaitstream.events import Journal, Publisher
from gaitstream.gallery import Gallery
from gaitstream.pipeline.config import Config
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.launch import signals
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline, load_detector
from gaitstream.pipeline.stats import Snapshot
from gaitstream.pose import keypoints
from gaitstream.synth import SyntheticCamera
from gaitstream.synth.address import to_url

if TYPE_CHECKING:
    from gaitstream.pipeline.detect import DetectorModel

LEAD_S = 0.5
"""From the decision to start until world time 0; the cameras open meanwhile."""
LOOPBACK = "tcp://127.0.0.1:*"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for.

    Attributes:
        plan: who walks where.
        out: folder for `report.html` and `record.json`; made when missing.
        view: serve the live pictures.
        port: of the live pictures; 0 takes a free one.
        command: as typed, for the report.
    """

    plan: Plan
    out: Path
    view: bool = False
    port: int = 0
    command: str = "gaitstream demo"


@dataclass(slots=True)
class _Timing:
    """How long what took, in seconds."""

    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_s: float = field(default_factory=time.monotonic)
    enrolment_s: float = 0.0

    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s


@dataclass(frozen=True, slots=True)
class _Run:
    """What a live run left behind."""

    referee: Referee
    snapshot: Snapshot
    sent: int
    received: int
    seconds: float
    wall_s: float
    stopped: bool


def run_demo(options: Options, console: Console) -> tuple[Record, Score]:
    """Run the demo; write `report.html` and `record.json`.

    Ctrl-C during the live run ends it there; what was seen until then is scored and reported.

    Raises:
        ConfigError: the packaged models are damaged or missing, or the folder cannot be made.
        GalleryError: somebody could not be enrolled.
        KeyboardInterrupt: the user has asked to stop before the live run.
    """
    plan, timing = options.plan, _Timing()
    _make(options.out)
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gaitstream-demo-")))
        console.print("Loading the models")
        config = _config([plan.camera(number, 0) for number in plan.cameras], root / "gallery")
        detector, encoder = load_detector(config), Encoder.load(config)
        stack.callback(encoder.close)
        stack.callback(detector.close)
        timing.enrolment_s = -timing.elapsed_s()
        enrolled = _enrol(plan, console, root, detector, encoder)
        timing.enrolment_s += timing.elapsed_s()
        run = _watch(options, console, root, detector, encoder)
        console.print("Writing the report")
        record = _record(options, timing, enrolled, run)
    (options.out / "report.html").write_text(render(record), encoding="utf-8")
    (options.out / "record.json").write_bytes(msgspec.json.encode(record))
    return record, score(record)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {folder} cannot be made ({error.strerror}); name another folder") from error


def _enrol(
    plan: Plan, console: Console, root: Path, detector: DetectorModel, encoder: Encoder
) -> list[Enrolled]:
    """The enrolment under a progress bar, where there is a terminal."""
    title = f"Enrolling {plan.enrolled} people from cam{plan.cameras[0]}"
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=enrolment_frames(plan))
        enrolled = enrol(plan, root / "gallery", detector, encoder, lambda: progress.advance(task))
    templates = sum(one.templates for one in enrolled)
    console.print(f"{title}, {plan.enrol_seconds:g} s each: {templates} templates")
    return enrolled


def _config(addresses: Sequence[Any], gallery: Path) -> Config:
    """The configuration a user would write into cams.yaml for this site."""
    advice = zoo.advice()
    return Config.model_validate(
        {
            "cameras": [
                {"id": f"cam{address.camera}", "url": to_url(address), "fps": None} for address in addresses
            ],
            "models": {MODEL: "demo"},
            "tracking": {"lost_s": LOST_S, "iou": IOU},
            "gallery": {"path": str(gallery), "threshold": advice.threshold, "margin": advice.margin},
        }
    )


def _watch(options: Options, console: Console, root: Path, detector: DetectorModel, encoder: Encoder) -> _Run:
    """The live run, with everything around it."""
    plan, pose = options.plan, encoder.pose
    for number in plan.cameras:
        SyntheticCamera(plan.camera(number, 0))  # builds scene and people, which stay in memory
    with ExitStack() as stack:
        publisher = stack.enter_context(Publisher(Journal(root / "journal"), LOOPBACK, LOOPBACK))
        ear = Ear(publisher)
        with Gallery(root / "gallery") as gallery:
            matcher = gallery.matcher(MODEL, encoder.recognizers[MODEL].fingerprint)
        epoch_ns = time.time_ns() + int(LEAD_S * 1e9)
        addresses = [plan.camera(number, epoch_ns) for number in plan.cameras]
        config = _config(addresses, root / "gallery")
        truths = {f"cam{address.camera}": SyntheticCamera(address) for address in addresses}
        if pose is None:
            raise AssertionError("the enrolment needs the pose model first")
        referee = Referee(truths, epoch_ns, matcher, pose)
        observers: list[Observer] = [referee]
        if options.view:
            viewer = stack.enter_context(Viewer(list(truths), options.port))
            opened = open_browser(viewer.url)
            console.print(
                f"Live pictures: {viewer.url}" if opened else f"Live pictures: open {viewer.url} in a browser"
            )
            observers.append(viewer)
        live = "live " if plan.live else ""
        console.print(
            f"{len(truths)} {live}cameras, {plan.people} people, {plan.seconds:g} s; "
            f"events at {publisher.endpoint}"
        )
        pipeline = stack.enter_context(
            Pipeline(config, sink=publisher, observers=observers, detector=detector, encoder=encoder)
        )
        people = [(name, index < plan.enrolled) for index, name in enumerate(plan.names)]
        with signals(pipeline.stop), Show(console, people, list(truths), referee, pipeline.snapshot):
            started_s = time.monotonic()
            outcome = pipeline.run()
            wall_s = time.monotonic() - started_s
        snapshot = pipeline.snapshot()
        received = ear.finish(5.0)
        referee.settle()
        _add_pictures(referee, encoder)
        stopped = outcome.cause != "end_of_stream"
        seconds = max(referee.last_s, 1 / FPS) if stopped else plan.seconds
        return _Run(referee, snapshot, sum(snapshot.events.values()), received, seconds, wall_s, stopped)


def _add_pictures(referee: Referee, encoder: Encoder) -> None:
    """Fill in pictures and the aligned heatmaps of the same frames, for tracks that filled a window."""
    pose, recognizer = encoder.pose, encoder.recognizers[MODEL]
    full = {(window.camera, window.track) for window in referee.windows}
    for track in referee.tracks:
        crops = referee.album.crops((track.camera, track.track))
        if (track.camera, track.track) not in full or pose is None:
            continue
        heatmaps = pose.heatmaps(crops)
        parts = recognizer.align(heatmaps, keypoints(heatmaps))
        track.pictures = [picture(crop) for crop in crops]
        track.heatmaps = [heatmap_picture(part) for part in parts]


def _record(options: Options, timing: _Timing, enrolled: Sequence[Enrolled], run: _Run) -> Record:
    plan, snapshot = options.plan, run.snapshot
    advice = zoo.advice()
    by_name = {one.name: one for one in enrolled}
    people = []
    for name in plan.names:
        person = Person(name=name, enrolled=name in by_name)
        if one := by_name.get(name):
            person.templates, person.tracklets, person.pictures = one.templates, one.tracklets, one.pictures
        people.append(person)
    return Record(
        version=__version__,
        machine=machine(),
        started=timing.started.strftime("%Y-%m-%d %H:%M UTC"),
        command=options.command,
        seed=plan.seed,
        site=plan.site,
        seconds=run.seconds,
        live=plan.live,
        stopped=run.stopped,
        enrolment_s=timing.enrolment_s,
        total_s=timing.elapsed_s(),
        threshold=advice.threshold,
        margin=advice.margin,
        models={MODEL: advice.fingerprint[:16]},
        people=people,
        tracks=run.referee.tracks,
        windows=run.referee.windows,
        cameras=_cameras(run),
        stages={name: one.total / one.count for name, one in snapshot.stages.items() if one.count},
        events_sent=run.sent,
        events_received=run.received,
        event_p50_ms=snapshot.event_latency.quantile(0.5),
        event_p95_ms=snapshot.event_latency.quantile(0.95),
    )


def _cameras(run: _Run) -> list[CameraRun]:
    cameras = []
    for name, stats in sorted(run.snapshot.cameras.items()):
        still = run.referee.stills.get(name)
        cameras.append(
            CameraRun(
                name=name,
                still=b"" if still is None else _jpeg(still),
                decoded=stats.decoded,
                analysed=stats.analysed,
                dropped=stats.dropped,
                fps=stats.analysed / run.wall_s,
                p50_ms=stats.latency.quantile(0.5),
                p95_ms=stats.latency.quantile(0.95),
            )
        )
    return cameras


def _jpeg(image: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()


def machine() -> str:
    """Processor and how many of its cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"
