"""What a run can leave on the disk: annotated video, and the pictures of each track with its decision.

    DIR/<camera>/<begin, UTC>-<run>.mp4
    DIR/<camera>/<begin, UTC>-<run>/<track>-<status>[-<person>]/

No run writes into files of another. Everything is for its owner alone: these are pictures of people.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gaitstream.config.output_sections import Evidence, Saving
from gaitstream.config.schema import Config
from gaitstream.data import Decision, Frame, Person
from gaitstream.errors import ConfigError
from gaitstream.gallery.retention import ClockWatch
from gaitstream.pipeline.annotate import cut, draw
from gaitstream.pipeline.base import RunOptions
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.observe import DecisionLog, Observer
from gaitstream.telemetry.stats import Stats

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

log = logging.getLogger(__name__)

FRAGMENT_S = 2.0
"""A video can be played up to its last whole fragment, whatever ends the process."""
RETRY_S = 30.0
"""After a fault, such as a full disk, saving is tried again at this pause; the run goes on meanwhile."""
SWEEP_S = 60.0
"""Pause between looks at what has grown too old or too much."""
_OURS = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6,8}(\.mp4)?")


class Shelf:
    """The folder one saver writes to: names of this run, modes, and what is kept for how long.

    Names carry `run`, the id of the run in its events, or one of their own until the run begins.

    Args:
        folder: made when missing.
        rules: how much is kept.
        clock: seconds since 1970.

    Raises:
        ConfigError: the folder cannot be made or written.
    """

    def __init__(self, folder: str | Path, rules: Saving, clock: Callable[[], float] = time.time) -> None:
        self.folder = make_folder(folder)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise ConfigError(f"{self.folder} cannot be written to; give another folder")
        self.run = secrets.token_hex(3)
        self._rules = rules
        self._clock = clock
        self._watch = ClockWatch(clock)
        self._swept_s = -SWEEP_S
        self._begun = self._stamp(clock())

    def file(self, camera: str, time_ns: int) -> Path:
        """A new, empty file for a camera's video that begins at a time; only its owner may read it."""
        folder = make_folder(self.folder / camera)
        for second in range(1000):
            path = folder / f"{self._stamp(time_ns / 1e9 + second)}-{self.run}.mp4"
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                continue
            return path
        raise OSError(f"no free name in {folder}")

    def subfolder(self, camera: str, name: str) -> Path:
        """A new folder for something of a camera."""
        return make_folder(self.folder / camera / f"{self._begun}-{self.run}" / name)

    def sweep(self, keep: Sequence[Path] = ()) -> None:
        """Delete what is older or more than the rules allow, the oldest first; now and then only.

        Args:
            keep: files being written.
        """
        if time.monotonic() - self._swept_s < SWEEP_S or not self._watch.trusted():
            return
        self._swept_s = time.monotonic()
        for path in too_much(list(self._saved(keep)), self._rules, self._clock()):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            log.info("deleted %s: it is beyond what saving.keep_days and saving.most_gib allow", path)

    def _saved(self, keep: Sequence[Path]) -> Iterator[tuple[float, int, Path]]:
        """Last change, size and path of whatever any run saved here."""
        for path in self.folder.glob("*/*"):
            if not _OURS.fullmatch(path.name) or path in keep:
                continue
            for one in path.iterdir() if path.is_dir() else (path,):
                try:
                    inside = list(one.iterdir()) if one.is_dir() else [one]
                    yield one.stat().st_mtime, sum(file.stat().st_size for file in inside), one
                except OSError:
                    continue  # another process was quicker

    @staticmethod
    def _stamp(time_s: float) -> str:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y%m%dT%H%M%SZ")


def too_much(saved: Sequence[tuple[float, int, Path]], rules: Saving | Evidence, now_s: float) -> list[Path]:
    """What of the saved is to go.

    Args:
        saved: last change in seconds since 1970, bytes, path.
        rules: how much is kept.
        now_s: seconds since 1970.
    """
    room = float("inf") if rules.most_gib is None else rules.most_gib * 2**30
    oldest_s = float("-inf") if rules.keep_days is None else now_s - rules.keep_days * 86400
    gone = []
    for changed_s, size, path in sorted(saved, reverse=True):
        room -= size
        if room < 0 or changed_s < oldest_s:
            gone.append(path)
    return gone[::-1]


class _Video:
    """One file being written: fragmented MP4, H.264, each frame at its capture time."""

    def __init__(self, path: Path, frame: Frame, rate: float, bitrate_kbps: int | None) -> None:
        import av

        height, width = frame.image.shape[:2]
        self.path = path
        self.size = (width, height)
        self.first_ns = self.last_ns = frame.time_ns
        self._last_ms = -1
        # Fragments need no index at the end of the file, and are on the disk as soon as they are whole.
        options = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        self._container: OutputContainer = av.open(str(path), "w", format="mp4", options=options)
        stream: VideoStream = self._container.add_stream("libx264", rate=max(1, round(rate)))
        stream.width, stream.height = width // 2 * 2, height // 2 * 2  # 4:2:0 needs even sizes
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.gop_size = max(1, round(rate * FRAGMENT_S))
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", **_quality(bitrate_kbps)}
        if bitrate_kbps is not None:
            stream.bit_rate = bitrate_kbps * 1000
        self._stream = stream

    def add(self, image: Any, time_ns: int) -> None:
        """Append a picture, BGR."""
        import av

        picture = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(
            width=self._stream.width, height=self._stream.height, format="yuv420p"
        )
        self._last_ms = max(self._last_ms + 1, (time_ns - self.first_ns) // 1_000_000)
        picture.pts, picture.time_base = self._last_ms, Fraction(1, 1000)
        self.last_ns = time_ns
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        """Write the rest."""
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


def _quality(bitrate_kbps: int | None) -> dict[str, str]:
    if bitrate_kbps is None:
        return {"crf": "23"}
    return {"maxrate": f"{bitrate_kbps}k", "bufsize": f"{2 * bitrate_kbps}k"}


class VideoSaver(Observer):
    """Writes annotated video of every camera, in files of `saving.minutes`.

    A fault of the disk is told and tried again later; it stops no run.

    Args:
        folder: made when missing.
        fps: frames per second by camera, for those that are analysed at a fixed rate; others get 25.
        rules: bit rate, length of the files, and what is kept.
    """

    def __init__(
        self, folder: str | Path, fps: Mapping[str, float | None], rules: Saving | None = None
    ) -> None:
        self._rules = rules or Saving()
        self._shelf = Shelf(folder, self._rules)
        self._fps = fps
        self._open: dict[str, _Video] = {}
        self._paused_s: dict[str, float] = {}

    def on_begin(self, run: str, _models: Mapping[str, str], _config: Config, _stats: Stats) -> None:
        """Name what follows after the run."""
        self._shelf.run = run

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        """Append the frame."""
        if time.monotonic() < self._paused_s.get(frame.camera, 0.0):
            return
        try:
            self._video(frame).add(draw(frame.image, persons, labels), frame.time_ns)
        except _faults() as error:
            self._paused_s[frame.camera] = time.monotonic() + RETRY_S
            log.error("camera %s: video is not saved, tried again in %g s: %s", frame.camera, RETRY_S, error)
            self._finish(frame.camera)

    def close(self) -> None:
        """Finish the files."""
        for camera in list(self._open):
            self._finish(camera)

    def _video(self, frame: Frame) -> _Video:
        """The camera's file; a new one at the first frame, after `saving.minutes`, and at another size."""
        video = self._open.get(frame.camera)
        size = (frame.image.shape[1], frame.image.shape[0])
        if video is not None:
            full = frame.time_ns - video.first_ns >= self._rules.minutes * 60e9
            if not full and video.size == size and frame.time_ns > video.last_ns:
                return video
            self._finish(frame.camera)
        self._shelf.sweep([one.path for one in self._open.values()])
        path = self._shelf.file(frame.camera, frame.time_ns)
        rate = self._fps.get(frame.camera) or 25.0
        video = self._open[frame.camera] = _Video(path, frame, rate, self._rules.bitrate_kbps)
        return video

    def _finish(self, camera: str) -> None:
        video = self._open.pop(camera, None)
        if video is not None:
            try:
                video.close()
            except _faults() as error:
                log.error("camera %s: the end of %s is not saved: %s", camera, video.path, error)


class TrackletSaver(Observer):
    """Writes pictures of each track with its final decision.

    Args:
        folder: made when missing.
        rules: what is kept.
        most: pictures kept per track, spread over its life.
        known_only: leave nothing of tracks that match nobody.
    """

    def __init__(
        self, folder: str | Path, rules: Saving | None = None, most: int = 30, *, known_only: bool = False
    ) -> None:
        self._known_only = known_only
        self._shelf = Shelf(folder, rules or Saving())
        self._most = most
        self._pictures: dict[tuple[str, int], dict[int, bytes]] = defaultdict(dict)
        self._every: dict[tuple[str, int], int] = {}
        self._seen: dict[tuple[str, int], int] = defaultdict(int)

    def on_begin(self, run: str, _models: Mapping[str, str], _config: Config, _stats: Stats) -> None:
        """Name what follows after the run."""
        self._shelf.run = run

    def on_frame(self, frame: Frame, persons: Sequence[Person], _: Mapping[int, Decision]) -> None:
        """Keep a crop of everybody who is evidence, when it is their turn."""
        for person in persons:
            if person.rejected is None:
                self._keep((person.camera, person.track), frame, person)

    def on_track_ended(self, state: TrackState, decision: Decision, cause: str) -> None:
        """Write the track's folder."""
        key = (state.camera, state.track)
        pictures = self._pictures.pop(key, {})
        self._every.pop(key, None)
        self._seen.pop(key, None)
        if self._known_only and decision.person is None:
            return
        try:
            folder = self._shelf.subfolder(state.camera, folder_name(decision))
            try:
                # First what says whose pictures they are.
                write_private(folder / "decision.json", _as_json(decision, cause))
                for index, data in pictures.items():
                    write_private(folder / f"{index:08d}.jpg", data)
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            self._shelf.sweep()
        except (OSError, ConfigError) as error:
            log.error("camera %s: track %d is not saved: %s", state.camera, state.track, error)

    def folder_of(self, camera: str, track: int) -> Path | None:
        """Where an ended track of this run was saved."""
        found = self._shelf.folder.glob(f"{camera}/*-{self._shelf.run}/{track:05d}-*")
        return next(found, None)

    def _keep(self, key: tuple[str, int], frame: Frame, person: Person) -> None:
        """Every k-th crop; k doubles, and every other crop goes, when too many are held."""
        import cv2

        every = self._every.setdefault(key, 1)
        count = self._seen[key]
        self._seen[key] += 1
        if count % every:
            return
        crop = cut(frame.image, person)
        if not crop.size:
            return
        _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 90])
        pictures = self._pictures[key]
        pictures[frame.index] = data.tobytes()
        if len(pictures) > self._most:
            self._every[key] = every * 2
            self._pictures[key] = dict(list(pictures.items())[::2])


def folder_name(decision: Decision) -> str:
    """`00012-known-Ada`, short enough for any file system."""
    return track_folder(decision.track, decision.status.value, decision.person)


def track_folder(track: int, status: str, person: str | None) -> str:
    """As `folder_name`."""
    parts = [f"{track:05d}", status, *([person] if person else [])]
    name = re.sub(r"[^\w.-]+", "_", "-".join(parts))
    return name.encode()[:120].decode(errors="ignore")


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
        file.write(data)


def make_folder(folder: str | Path) -> Path:
    """The folder, made when missing, then for its owner alone.

    Raises:
        ConfigError: it cannot be.
    """
    path = Path(folder)
    try:
        missing = [one for one in (path, *path.parents) if not one.exists()]
        for one in reversed(missing):
            one.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be made ({error.strerror}); give another folder") from error
    return path


def make_observers(options: RunOptions, config: Config) -> list[Observer]:
    """The hooks the command line asked for."""
    observers: list[Observer] = [DecisionLog()]
    known_only = config.gallery.watchlist_only
    if options.save_video is not None:
        if known_only:
            raise ConfigError(
                "--save-video keeps everybody, which gallery.watchlist_only forbids; leave it out"
            )
        fps = {camera.id: camera.fps for camera in config.cameras}
        observers.append(VideoSaver(options.save_video, fps, config.saving))
    if options.save_tracklets is not None:
        observers.append(TrackletSaver(options.save_tracklets, config.saving, known_only=known_only))
    for make in options.observe:
        observers += make(options, config)
    return observers


def _as_json(decision: Decision, cause: str) -> bytes:
    plain = {
        "camera": decision.camera,
        "track": decision.track,
        "status": decision.status.value,
        "person": decision.person,
        "person_id": decision.person_id,
        "distance": decision.distance,
        "margin": decision.margin,
        "threshold": decision.threshold,
        "reason": decision.reason.value if decision.reason else None,
        "frames": decision.frames,
        "windows": decision.windows,
        "first_ns": decision.first_ns,
        "time_ns": decision.time_ns,
        "candidates": decision.candidates,
        "candidate_ids": decision.candidate_ids,
        "rejections": decision.rejections,
        "cause": cause,
    }
    return msgspec.json.format(msgspec.json.encode(plain), indent=2)


def _faults() -> tuple[type[Exception], ...]:
    import av

    return (OSError, ConfigError, av.error.FFmpegError)
