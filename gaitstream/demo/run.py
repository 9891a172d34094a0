"""The demo from start to end: load, enrol, watch, score, report."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml
from rich.console import Console
from rich.progress import Progress

from gaitstream import zoo
from gaitstream.addresses import FREE_ENDPOINT
from gaitstream.config.schema import Config
from gaitstream.demo.enrolment import Enrolled, enrol, enrolment_frames, pose_of
from gaitstream.demo.event_counter import EventCounter
from gaitstream.demo.forgetting import forget_one, in_words
from gaitstream.demo.ground_truth import GroundTruthObserver
from gaitstream.demo.live_table import LiveTables
from gaitstream.demo.live_view import Viewer, open_browser
from gaitstream.demo.make_record import LiveRun, Timing, add_pictures, make_record
from gaitstream.demo.plan import EVIDENCE, FPS, SITE, DemoPlan
from gaitstream.demo.record import DemoRecord
from gaitstream.demo.report import render
from gaitstream.demo.score import DemoScore, score
from gaitstream.demo.strangers import in_words as strangers_in_words
from gaitstream.demo.strangers import name_one
from gaitstream.errors import ConfigError, MissingExtraError
from gaitstream.events import Journal, Publisher
from gaitstream.evidence.observing import open_observers
from gaitstream.gallery import Gallery, Matcher
from gaitstream.pipeline.base import RunOptions
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline, load_detector
from gaitstream.runners.launch import signals
from gaitstream.synth import SyntheticCamera
from gaitstream.synth.address import to_url

if TYPE_CHECKING:
    from gaitstream.models.detector import DetectorModel

LEAD_S = 0.5
"""From the decision to start until world time 0; the cameras open meanwhile."""
KEEPS_UP = 3.0
"""Frames of one enrolled person that a machine must take in the time of one live frame of the whole site, so
that few are left out: a live frame shows several people."""
LAST_MINUTES = 10.0
"""Of each camera that the console shows."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line asks for.

    Attributes:
        plan: who walks where.
        out: folder for `report.html` and `record.json`; made when missing.
        view: serve the live pictures.
        port: of the live pictures, or of the console; 0 takes a free one.
        console: open the console on the demo's world when all is done.
        command: as typed, for the report.
        may_wait: cameras that should be live wait where the enrolment shows that the machine is too slow.
    """

    plan: DemoPlan
    out: Path
    view: bool = False
    port: int = 0
    console: bool = False
    command: str = "gaitstream demo"
    may_wait: bool = False


def run_demo(
    options: DemoOptions, console: Console, told: Callable[[DemoRecord, DemoScore], None] | None = None
) -> tuple[DemoRecord, DemoScore]:
    """Run the demo; write `report.html` and `record.json`; open the console where that is asked for.

    Args:
        options: what the command line asks for.
        console: the terminal.
        told: is given the result before the console is opened, which takes until Ctrl-C.

    Ctrl-C during the live run ends it there; what was seen until then is scored and reported.

    Raises:
        ConfigError: the packaged models are damaged or missing, or the folder cannot be made.
        GalleryError: somebody could not be enrolled.
        MissingExtraError: the console is asked for and not installed.
        KeyboardInterrupt: the user has asked to stop before the live run.
    """
    timing = Timing()
    _make(options.out)
    end = _console_end() if options.console else None
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gaitstream-demo-")))
        console.print("Loading the models")
        config = _config(options, [options.plan.camera(number, 0) for number in options.plan.cameras], root)
        detector, encoder = load_detector(config), Encoder.load(config)
        stack.callback(encoder.close)
        stack.callback(detector.close)
        timing.enrolment_s = -timing.elapsed_s()
        enrolled = _enrol(options.plan, console, root, detector, encoder)
        timing.enrolment_s += timing.elapsed_s()
        options = _paced(options, timing.enrolment_s, console)
        plan = options.plan
        run = _watch(options, console, root, detector, encoder)
        enrolled_names = plan.names[: plan.enrolled]
        visitors = name_one(run.ground_truth.tracks, run.visits, enrolled_names, root / "gallery")
        if visitors is not None:
            console.print(strangers_in_words(visitors))
        forgotten = forget_one(plan.names[0], root / "gallery", root / "journal", root / EVIDENCE)
        console.print(in_words(forgotten))
        console.print("Writing the report")
        record = make_record(plan, options.command, timing, enrolled, run, visitors, forgotten)
        (options.out / "report.html").write_text(render(record), encoding="utf-8")
        (options.out / "record.json").write_bytes(msgspec.json.encode(record))
        result = score(record)
        if told is not None:
            told(record, result)
        if end is not None and not record.stopped:
            end(root, record, options.port, console)
    return record, result


def _paced(options: DemoOptions, enrolment_s: float, console: Console) -> DemoOptions:
    """Cameras that wait where they may and the machine is too slow for live ones."""
    plan = options.plan
    rate, due = enrolment_frames(plan) / enrolment_s, FPS * len(plan.cameras)
    if not (plan.live and options.may_wait and rate < KEEPS_UP * due):
        return options
    console.print(
        f"{rate:.0f} frames/s of one person: too slow for {due:.0f} frames/s of the whole site, so the "
        "cameras wait for the machine; with --no-wait they leave frames out instead"
    )
    return replace(options, plan=replace(plan, live=False))


def _console_end() -> Callable[[Path, DemoRecord, int, Console], None]:
    """What serves the console; asked for at the start, so that a missing one is told before the demo."""
    try:
        from gaitstream.demo.console_end import open_console
    except ImportError as error:
        raise MissingExtraError(str(error.name), "console", "the console") from error
    return open_console


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {folder} cannot be made ({error.strerror}); name another folder") from error


def _enrol(
    plan: DemoPlan, console: Console, root: Path, detector: DetectorModel, encoder: Encoder
) -> list[Enrolled]:
    """The enrolment under a progress bar, where there is a terminal."""
    title = f"Enrolling {plan.enrolled} people from cam{plan.cameras[0]}"
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=enrolment_frames(plan))
        enrolled = enrol(plan, root / "gallery", detector, encoder, lambda: progress.advance(task))
    templates = sum(one.templates for one in enrolled)
    console.print(f"{title}, {plan.enrol_seconds:g} s each: {templates} templates")
    return enrolled


def _config(options: DemoOptions, addresses: Sequence[Any], root: Path) -> Config:
    """The configuration a user would write for this site; it is put into cams.yaml, too."""
    plan, advice = options.plan, zoo.advice(*options.plan.gait)
    written = {
        "cameras": [
            {"id": f"cam{address.camera}", "url": to_url(address), "fps": None} for address in addresses
        ],
        "models": plan.models(),
        "gallery": {
            "path": str(root / "gallery"),
            "threshold": advice.threshold,
            "margin": advice.margin,
            "threshold_gain": advice.gain,
            "visitors": {"enabled": True},
        },
        "evidence": {
            "keep": options.console,
            "minutes": LAST_MINUTES if options.console else None,
            "folder": str(root / EVIDENCE),
        },
    }
    (root / SITE).write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
    return Config.model_validate(written)


def _matchers(root: Path, plan: DemoPlan, encoder: Encoder) -> dict[str, Matcher]:
    with Gallery(root / "gallery") as gallery:
        return {model: gallery.matcher(model, encoder.recognizers[model].fingerprint) for model in plan.gait}


def _open_viewer(cameras: Sequence[str], port: int, console: Console) -> Viewer:
    viewer = Viewer(cameras, port)
    opened = open_browser(viewer.url)
    console.print(
        f"Live pictures: {viewer.url}" if opened else f"Live pictures: open {viewer.url} in a browser"
    )
    return viewer


def _watch(
    options: DemoOptions, console: Console, root: Path, detector: DetectorModel, encoder: Encoder
) -> LiveRun:
    """The live run, with everything around it."""
    plan = options.plan
    for number in plan.cameras:
        SyntheticCamera(plan.camera(number, 0))  # builds scene and people, which stay in memory
    with ExitStack() as stack:
        publisher = stack.enter_context(Publisher(Journal(root / "journal"), FREE_ENDPOINT, FREE_ENDPOINT))
        ear = EventCounter(publisher)
        epoch_ns = time.time_ns() + int(LEAD_S * 1e9)
        addresses = [plan.camera(number, epoch_ns) for number in plan.cameras]
        config = _config(options, addresses, root)
        truths = {f"cam{address.camera}": SyntheticCamera(address) for address in addresses}
        ground_truth = GroundTruthObserver(truths, epoch_ns, _matchers(root, plan, encoder), pose_of(encoder))
        observers: list[Observer] = [ground_truth, *open_observers(RunOptions(root / SITE), config)]
        if options.view:
            observers.append(stack.enter_context(_open_viewer(list(truths), options.port, console)))
        live = "live " if plan.live else ""
        console.print(
            f"{len(truths)} {live}cameras, {plan.people} people, {plan.seconds:g} s; "
            f"events at {publisher.endpoint}"
        )
        pipeline = stack.enter_context(
            Pipeline(config, sink=publisher, observers=observers, detector=detector, encoder=encoder)
        )
        people = [(name, index < plan.enrolled) for index, name in enumerate(plan.names)]
        with (
            signals(pipeline.stop),
            LiveTables(console, people, list(truths), ground_truth, pipeline.snapshot),
        ):
            started_s = time.monotonic()
            outcome = pipeline.run()
            wall_s = time.monotonic() - started_s
        snapshot = pipeline.snapshot()
        received = ear.finish(5.0)
        ground_truth.settle()
        add_pictures(ground_truth, encoder)
        stopped = outcome.cause != "end_of_stream"
        seconds = max(ground_truth.last_s, 1 / FPS) if stopped else plan.seconds
        return LiveRun(
            ground_truth,
            snapshot,
            sum(snapshot.events.values()),
            received,
            seconds,
            wall_s,
            stopped,
            ear.visits,
        )
