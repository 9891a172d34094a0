"""Enrolling and identifying: a video, a stream, a camera or saved pictures, their tracks collected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.camera_sections import Camera
from gaitstream.config.gallery_section import GallerySection, Visitors
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.data import Decision, Embedding, Frame, Person
from gaitstream.errors import ConfigError, GalleryError, SourceError
from gaitstream.gallery import Enrolment
from gaitstream.gallery.sightings import spread
from gaitstream.gallery.verifying import twins
from gaitstream.models.detector import DetectorModel
from gaitstream.pipeline.annotate import cut
from gaitstream.pipeline.embed import Embedder, Filled
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.known import open_configured
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.pool import Window, WindowRule
from gaitstream.pipeline.runner import Pipeline
from gaitstream.pipeline.saving import make_folder, write_private
from gaitstream.pipeline.source.clock import SECOND_NS
from gaitstream.pipeline.source.video import NETWORK
from gaitstream.pipeline.timed import CaptureLimit, stopping_after
from gaitstream.pipeline.upstream import upstream_of
from gaitstream.synth.address import parse_address
from gaitstream.telemetry.stats import CameraCounters

Floats = NDArray[np.float32]
CAMERA = "video"
TRACKLET_STEP_S = 1 / 15
"""Time that is assumed between the pictures of a saved track."""
MOST_PICTURES = 12
FIRST_STEP = 5
"""Frames from one picture of a walk to the next; twice as many each time there are too many pictures."""
SHEET_PICTURES = 3
SHEET_PX = 240
"""Height of the people in a picture of a track."""


@dataclass
class Walk:
    """One track of a video.

    Attributes:
        track: its id; the same file and settings give the same ids.
        embeddings: windows by model: the full ones, or the last provisional one.
        fingerprints: by model.
        decision: the final one.
        seconds: from its first picture to its last.
        first_ns: capture time of its first picture, UTC.
        pictures: at most `MOST_PICTURES` crops, spread over its life, BGR.
    """

    track: int
    embeddings: dict[str, list[Floats]] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    decision: Decision | None = None
    seconds: float = 0.0
    first_ns: int = 0
    pictures: list[NDArray[np.uint8]] = field(default_factory=list)
    full: bool = False

    @property
    def usable(self) -> bool:
        """Whether there is something to enrol."""
        return bool(self.embeddings)

    def seconds_beside(self, other: Walk) -> float:
        """For how long both were there at a time."""
        later_ns = max(self.first_ns, other.first_ns)
        ends_ns = (one.first_ns + int(one.seconds * SECOND_NS) for one in (self, other))
        return max(0, min(ends_ns) - later_ns) / SECOND_NS


class _WalkCollector(Observer):
    """Keeps what enrolling needs."""

    def __init__(self) -> None:
        self.walks: dict[int, Walk] = {}
        self._seen: dict[int, int] = {}
        self._step: dict[int, int] = {}

    def on_frame(self, frame: Frame, persons: Sequence[Person], _: Mapping[int, Decision]) -> None:
        """Keep pictures of frames that are evidence."""
        for person in persons:
            if person.rejected is None:
                count = self._seen[person.track] = self._seen.get(person.track, 0) + 1
                if count % self._step.get(person.track, FIRST_STEP) == 0:
                    self._keep_picture(person.track, cut(frame.image, person).copy())

    def on_embedding(self, embedding: Embedding) -> None:
        """Keep full windows, or the latest provisional one."""
        tracklet = embedding.tracklet
        walk = self._walk(tracklet.track)
        kept = walk.embeddings.setdefault(tracklet.model, [])
        if not tracklet.provisional and not walk.full:
            walk.embeddings = {model: [] for model in walk.embeddings}
            kept = walk.embeddings[tracklet.model]
            walk.full = True
        if tracklet.provisional:
            kept.clear()
        kept.append(embedding.parts)
        walk.fingerprints[tracklet.model] = embedding.fingerprint

    def on_track_ended(self, state: TrackState, decision: Decision, _: str) -> None:
        """Keep the last word."""
        walk = self._walk(state.track)
        walk.decision = decision
        walk.first_ns = state.first_ns
        walk.seconds = (state.last_ns - state.first_ns) / 1e9

    def _keep_picture(self, track: int, crop: NDArray[np.uint8]) -> None:
        walk = self._walk(track)
        walk.pictures.append(crop)
        if len(walk.pictures) > MOST_PICTURES:
            walk.pictures = walk.pictures[1::2]  # the steps of which are whole ones of the next length
            self._step[track] = 2 * self._step.get(track, FIRST_STEP)

    def _walk(self, track: int) -> Walk:
        return self.walks.setdefault(track, Walk(track))


@dataclass(frozen=True)
class Watched:
    """What came of watching a video or camera.

    Attributes:
        walks: its tracks, by id.
        why_none: what to look at when there are none; empty otherwise.
    """

    walks: list[Walk]
    why_none: str


def watch_video(config: Config, video: str | Path, *, match: bool) -> list[Walk]:
    """Run a video through the configured models; see `watch`.

    Args:
        config: models, tracking, windows, quality; rate and thresholds are those of its first camera.
        video: a file, or the URL of a stream.
        match: compare with the gallery.

    Returns:
        Its tracks, by id.
    """
    return watch(config, video_camera(config, str(video)), match=match).walks


def video_camera(config: Config, video: str) -> Camera:
    """A video or stream as a camera with the rate and thresholds of a configuration's first one.

    Raises:
        ConfigError: it is no URL that can be right.
    """
    url = SecretUrl(video)
    if not video.strip():
        raise ConfigError(f"{video!r} is no video: give a file, a folder of images or a stream's URL")
    if fault := url.fault():
        raise ConfigError(f"{url}: {fault}")
    try:
        video.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{video!r}: videos need names in UTF-8: rename it") from error
    first = config.cameras[0]
    return Camera(id=CAMERA, url=url, fps=first.fps, thresholds=first.thresholds)


def is_live(camera: Camera) -> bool:
    """Whether a camera's pictures come at their time, unless it turns out to be a recording on the web."""
    url = camera.url.reveal()
    synthetic = camera.url.scheme == "synth" and "live=1" in url
    return synthetic or camera.url.scheme in NETWORK or url.startswith("/dev/video")


def is_endless(camera: Camera) -> bool:
    """Whether a camera goes on for ever, as the synthetic world does where its address names no end."""
    if camera.url.scheme == "synth":
        return parse_address(camera.url.reveal()).seconds is None
    return is_live(camera)


def watch(
    config: Config,
    camera: Camera,
    *,
    match: bool,
    seconds: float | None = None,
    observers: Sequence[Observer] = (),
    detector: DetectorModel | None = None,
    encoder: Encoder | None = None,
    interrupt: Callable[[Callable[[str], None]], AbstractContextManager[None]] | None = None,
) -> Watched:
    """Run a camera, stream or video through the configured models.

    Args:
        config: models, tracking, windows, quality.
        camera: what is watched.
        match: compare with the gallery.
        seconds: watch no longer, counted from the first picture: of a file or the synthetic world so much,
            however fast it is read; None: to the end, also of a file that is looped.
        observers: further hooks.
        detector: an open one, which stays open; loaded when None.
        encoder: likewise.
        interrupt: context in which somebody may call what it is given, to end early.

    Raises:
        SourceError: it cannot be read, or gave no picture.
        GalleryError: the gallery was filled by another model.
    """
    if not config.models.recognizers:
        raise ConfigError("no recognizer is configured: set models.recognizers")
    camera = camera.model_copy(update={"enabled": True, "loop": False})
    update: dict[str, object] = {"cameras": [camera]}
    gallery = config.gallery.model_copy(update={"visitors": Visitors()})  # whoever watches notes nobody
    update["gallery"] = gallery if match else GallerySection()
    collector = _WalkCollector()
    live = is_live(camera)
    limit = [] if seconds is None or live else [CaptureLimit(seconds)]
    with ExitStack() as stack:
        pipeline = stack.enter_context(
            Pipeline(
                config.model_copy(update=update),
                observers=[collector, *observers, *limit],
                detector=detector,
                encoder=encoder,
            )
        )
        for one in limit:
            one.stop = pipeline.stop
        if interrupt is not None:
            stack.enter_context(interrupt(pipeline.stop))
        if seconds is not None and live:
            stack.enter_context(stopping_after(pipeline, seconds, 2 * config.sources.connect_s))
        outcome = pipeline.run()
        stats = pipeline.snapshot().cameras[camera.id]
    if outcome.failed:
        raise SourceError(outcome.failed[camera.id])
    if not stats.decoded:
        raise SourceError(stats.reason or f"{camera.url}: no picture came")
    walks = sorted(collector.walks.values(), key=lambda walk: walk.track)
    return Watched(walks, "" if walks else _why_none(stats))


def _why_none(stats: CameraCounters) -> str:
    if stats.person_frames:
        return "people were seen, but nobody long enough to be tracked: a longer video, or a higher fps"
    return (
        f"nobody was detected in {stats.analysed} frames: is somebody in the picture, at least "
        "quality.min_height_px high, and models.detector.score low enough?"
    )


def read_tracklet(config: Config, folder: str | Path) -> Walk:
    """The walk that a run saved with `--save-tracklets`: a folder of one person's pictures.

    The pictures are cut out tightly and some frames apart, so their templates are somewhat poorer than those
    of the video they come from.

    Raises:
        ConfigError: no pictures are in it, or too few of them show a gait.
    """
    import cv2

    root = Path(folder)
    paths = sorted(root.glob("*.jpg")) if root.is_dir() else []
    if not paths:
        raise ConfigError(
            f"{root} holds no pictures of a track; give a folder such as DIR/gate/20260101T080000Z-a1b2c3/"
            "00012-unknown, which 'gaitstream run --save-tracklets DIR' writes"
        )
    walk = Walk(track=0)
    works = []
    for number, path in enumerate(paths):
        image = cv2.imread(str(path))
        if image is None:
            continue
        pixels = np.asarray(image, np.uint8)
        time_ns = int(number * TRACKLET_STEP_S * 1e9)
        box = np.array([0, 0, pixels.shape[1], pixels.shape[0]], np.float32)
        person = Person(CAMERA, 0, number, time_ns, box, 1.0)
        works.append(Work(Frame(CAMERA, number, time_ns, pixels), (person,)))
        walk.pictures.append(pixels)
    _embed_works(config, works, walk)
    if not walk.usable:
        least = config.tracklets.provisional_from
        raise ConfigError(
            f"{root}: fewer than {least} of its {len(paths)} pictures show a gait; take another"
        )
    walk.pictures = walk.pictures[:: max(1, len(walk.pictures) // 3)][:3]
    return walk


def _embed_works(config: Config, works: Sequence[Work], walk: Walk) -> None:
    """Encode pictures of one person and add what their windows give to a walk."""
    entry = Camera(id=CAMERA, url=SecretUrl("/dev/null"))
    own = config.model_copy(update={"cameras": [entry]})
    rule = own.tracklets
    encoder = Encoder.load(own)
    try:
        judge = EvidenceJudge(own, encoder.recognizers.values())
        embedder = Embedder(
            encoder.recognizers, WindowRule(rule.length, rule.stride, rule.provisional_from, rule.max_gap_s)
        )
        windows: dict[str, Window] = {}
        filled: list[Filled] = []
        for work in works:
            for feature in encoder.encode([work], judge).features:
                if feature.model not in windows:
                    windows[feature.model] = embedder.window(feature.model, feature.map)
                emitted = windows[feature.model].add(feature.person.time_ns, feature.map)
                if emitted is not None:
                    filled.append(Filled(feature.model, CAMERA, 0, emitted))
        for model, window in windows.items():
            last = window.finish()
            if last is not None:
                filled.append(Filled(model, CAMERA, 0, last))
        collector = _WalkCollector()
        collector.walks[0] = walk
        for embedding in embedder.embed(filled):
            collector.on_embedding(embedding)
    finally:
        encoder.close()


def choose(walks: Sequence[Walk], track: int | None) -> Walk | None:
    """The track to enrol; None when there are several and none was named.

    Raises:
        ConfigError: nobody walks in the video long enough, or the named track does not.
    """
    usable = [walk for walk in walks if walk.usable]
    if track is not None:
        named = [walk for walk in usable if walk.track == track]
        if not named:
            have = ", ".join(str(walk.track) for walk in usable) or "none"
            raise ConfigError(f"--track {track} has nothing to enrol; tracks that have: {have}")
        return named[0]
    if not usable:
        reasons = {walk.decision.reason.value for walk in walks if walk.decision and walk.decision.reason}
        why = f" ({', '.join(sorted(reasons))})" if reasons else ""
        raise ConfigError(f"nobody walks long enough to be enrolled{why}")
    return usable[0] if len(usable) == 1 else None


def who_else(config: Config, person: str) -> list[str]:
    """Who else of the configured gallery somebody may be, in words; nobody where it is damaged."""
    with suppress(GalleryError):
        gallery = open_configured(config)
        if gallery is not None:
            with gallery:
                return twins(gallery, person)
    return []


def enroll_walk(config: Config, person: str, walk: Walk, source: str, pictures: Sequence[bytes] = ()) -> int:
    """Put a walk's windows of all models into the configured gallery, made when missing; all or nothing.

    Args:
        config: names the gallery.
        person: the name; whoever has it already gets the templates added.
        walk: with something to enrol.
        source: where it came from, free of credentials.
        pictures: JPEGs of the walk, in the order of time, to be kept beside the templates.

    Returns:
        How many templates were added.

    Raises:
        ConfigError: no gallery is configured.
        GalleryError: the gallery was filled by another model.
    """
    windows = {model: np.stack(parts) for model, parts in walk.embeddings.items() if parts}
    beside = {next(iter(windows), ""): pictures}
    upstream = upstream_of(config)
    enrolments = [
        Enrolment(
            person, model, walk.fingerprints[model], held, source, beside.get(model, ()), [upstream[model]]
        )
        for model, held in windows.items()
    ]
    gallery = open_configured(config, create=True)
    if gallery is None:
        raise ConfigError("no gallery is configured: add 'gallery: {path: people.gallery}'")
    with gallery:
        return gallery.enroll_many(enrolments)


def describe_walk(walk: Walk) -> dict[str, Any]:
    """A walk and who it was, as plain data."""
    decision = walk.decision
    facts: dict[str, Any] = {"track": walk.track, "seconds": round(walk.seconds, 3)}
    if decision is not None:
        facts |= {
            "frames": decision.frames,
            "windows": decision.windows,
            "status": decision.status.value,
            "person": decision.person,
            "distance": decision.distance,
            "threshold": decision.threshold,
            "margin": decision.margin,
            "reason": decision.reason.value if decision.reason else None,
            "candidates": [{"person": name, "distance": distance} for name, distance in decision.candidates],
        }
    return facts


def save_pictures(walks: Sequence[Walk], folder: Path) -> dict[int, Path]:
    """Write a picture of each track: some of its crops side by side."""
    import cv2

    make_folder(folder)
    paths = {}
    for walk in walks:
        whole = [crop for crop in walk.pictures if crop.size]
        crops = [whole[index] for index in spread(len(whole), SHEET_PICTURES)]
        if not crops:
            continue
        scaled = [
            cv2.resize(crop, (max(1, round(crop.shape[1] * SHEET_PX / crop.shape[0])), SHEET_PX))
            for crop in crops
        ]
        paths[walk.track] = folder / f"track-{walk.track}.jpg"
        _, data = cv2.imencode(".jpg", np.hstack(scaled))
        write_private(paths[walk.track], data.tobytes())
    return paths
