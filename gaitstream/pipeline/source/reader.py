"""One camera's decode thread: reads, picks frames at the analysis rate, reconnects, says how it is."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.data import Frame
from gaitstream.errors import GaitstreamError, SourceError
from gaitstream.pipeline.source.backoff import Backoff
from gaitstream.pipeline.source.base import (
    CameraRefusedError,
    Picture,
    Source,
    scale_down,
    scaled_size,
)
from gaitstream.pipeline.source.clock import SECOND_NS, RateGate
from gaitstream.pipeline.source.queue import FrameQueue
from gaitstream.pipeline.source.select import create_source
from gaitstream.pipeline.source.video import VideoSource

log = logging.getLogger(__name__)

MOST_PIXELS = 67_000_000
"""Of a picture, twice those of 8K: a camera is not to decide how much memory a site has."""


class State(StrEnum):
    """How a camera is."""

    CONNECTING = "connecting"
    ONLINE = "online"
    OFFLINE = "offline"
    """At fault; it is being tried again."""
    ENDED = "ended"
    """A file came to its end."""
    FAILED = "failed"
    """A file cannot be read, or its pictures cannot be used; it is not tried again."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """What happened to a camera, without credentials."""

    camera: str
    state: State
    reason: str
    """Empty unless something is wrong."""
    time_ns: int
    """UTC."""


@dataclass(slots=True)
class ReaderCounters:
    """Frames of one camera by fate. The decode thread alone writes them."""

    decoded: int = 0
    """decoded = skipped + delivered; pictures that the decoder was spared are in it."""
    skipped: int = 0
    """Not due at the analysis rate."""
    delivered: int = 0
    """Handed to the queue; `FrameQueue.dropped` of them were pushed out again."""
    corrupt: int = 0
    """Packets and frames that could not be decoded."""
    reconnects: int = 0
    """Times the camera was opened again."""


class CameraReader:
    """Reads one camera in a thread of its own and hands frames over through a bounded queue.

    `on_state` and `notify` are called in the decode thread and must be quick.

    Args:
        camera: the camera's entry.
        sources: queue and reconnection settings.
        realtime: pace files and the synthetic world by their timestamps.
        on_state: called on every change of state, and again when the reason changes; never once it was
            stopped.
        notify: called after a frame was handed over and when the reader ends.
        factory: makes the source; tests give their own.
        jitter: random share of the back-off, in 0..1.

    Attributes:
        state: how the camera is now.
        counters: frames by fate.
        queue: where the frames wait.
        size: width and height of the last picture, or None.
    """

    REFUSED_WAIT_S = 30.0
    """Wait after refused credentials: cameras lock accounts after a few wrong attempts."""

    def __init__(
        self,
        camera: Camera,
        sources: Sources,
        *,
        realtime: bool = False,
        on_state: Callable[[StateChange], None] | None = None,
        notify: Callable[[], None] | None = None,
        factory: Callable[[Camera, Sources], Source] = create_source,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.camera = camera
        self.state = State.CONNECTING
        self.reason = ""
        self.counters = ReaderCounters()
        self.queue = FrameQueue(sources.queue, notify)
        self.size: tuple[int, int] | None = None
        self.live = True
        self._sources = sources
        self._realtime = realtime
        self._on_state = on_state
        self._notify = notify
        self._factory = factory
        self._backoff = Backoff(sources.backoff_min_s, sources.backoff_max_s, jitter)
        self._gate = RateGate(camera.fps)
        self._stop = threading.Event()
        self._last_frame_s = time.monotonic()
        self._pace: tuple[float, int] | None = None
        self._told_damage = False
        self._loop_shift_ns = 0
        self._first_ns = 0
        self._last_ns = 0
        self._thread = threading.Thread(target=self._run, name=f"camera-{camera.id}", daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; returns at once."""
        self._stop.set()
        self.queue.close()

    def fail(self, reason: str) -> None:
        """Stop for good: its pictures cannot be used."""
        self._become(State.FAILED, reason)
        self.stop()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; False when it still hangs in the network (it ends after `stall_s` at most)."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def get(self, timeout_s: float = 0.0) -> Frame | None:
        """The oldest frame that waits, or None."""
        return self.queue.get(timeout_s)

    @property
    def finished(self) -> bool:
        """No frame waits and none will come."""
        return not len(self.queue) and not self._thread.is_alive() and self._thread.ident is not None

    def adjust(self, camera: Camera) -> None:
        """Take over a new analysis rate while running."""
        if camera.fps != self.camera.fps:
            self._gate = RateGate(camera.fps)
        self.camera = camera

    def watch(self) -> None:
        """Report a live camera whose decode thread hangs in a driver; call about once a second.

        Network stalls end the read by themselves; USB drivers can block without limit.
        """
        silent_s = time.monotonic() - self._last_frame_s
        if self.live and self.state is State.ONLINE and silent_s > self._sources.stall_s + 1.0:
            self._become(State.OFFLINE, f"{self.camera.url}: no frame for {silent_s:.0f} s, its driver hangs")

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                wait_s = self._read_once()
                if wait_s is None:
                    break
                if self._stop.wait(wait_s):
                    break
                self.counters.reconnects += self.state is State.OFFLINE
        finally:
            self.queue.close()
            if self._notify is not None:
                self._notify()

    def _read_once(self) -> float | None:
        """Read the source until it ends or fails; seconds to wait before the next try, None for no more."""
        source: Source | None = None
        try:
            source = self._factory(self.camera, self._sources)
            if isinstance(source, VideoSource):
                source.needed = self._may_be_due
            source.open()
            self.live = source.live
            while not self._stop.is_set():
                picture = source.read()
                self._count(source)
                if picture is None:
                    self._tell_damage(source)
                    return self._end()
                self._take(picture, source.live)
            return None
        except GaitstreamError as error:
            # A wrong path or scheme stays wrong; a camera comes back.
            return self._fail(error, retry=source is not None and source.live)
        except Exception as error:
            log.debug("camera %s", self.camera.id, exc_info=True)
            what = f"{self.camera.url}: unexpected {type(error).__name__}: {error}"
            return self._fail(SourceError(what), retry=source is not None and source.live)
        finally:
            if source is not None:
                self._count(source)
                self._close(source)

    def _may_be_due(self, time_ns: int, spacing_ns: int) -> bool:
        """Whether a picture of about this time may be analysed."""
        return self._gate.may_be_due(time_ns + self._loop_shift_ns, spacing_ns)

    def _count(self, source: Source) -> None:
        """Take over what a source counted since the last time."""
        self.counters.corrupt += source.corrupt
        source.corrupt = 0
        if isinstance(source, VideoSource):  # what was not even decoded counts as what is not analysed
            self.counters.decoded += source.passed
            self.counters.skipped += source.passed
            source.passed = 0

    def _close(self, source: Source) -> None:
        try:
            source.close()
        except Exception as error:  # noqa: BLE001 - it is over; the next try begins anew
            log.warning("camera %s: closing failed: %s", self.camera.id, self.camera.url.scrub(str(error)))

    def _take(self, picture: Picture, live: bool) -> None:
        """Count a picture and hand it over when it is due."""
        index = self.counters.decoded
        self.counters.decoded += 1
        self._last_frame_s = time.monotonic()
        self.size = scaled_size(picture.width, picture.height, self.camera.max_height)
        if self.size[0] * self.size[1] > MOST_PIXELS:
            raise SourceError(
                f"{self.camera.url}: its pictures have {self.size[0]} x {self.size[1]} pixels, of at most "
                f"{MOST_PIXELS // 10**6} million; set max_height for the camera, as max_height: 1080"
            )
        if index == 0:
            self._first_ns = picture.time_ns
        if self.state is not State.ONLINE:
            self._backoff.reset()
            self._become(State.ONLINE, "")
        time_ns = picture.time_ns + self._loop_shift_ns
        if time_ns < self._last_ns:
            back_s = (self._last_ns - time_ns) / SECOND_NS
            log.warning("camera %s: the clock was set back by %.1f s; its tracks end", self.camera.id, back_s)
        self._last_ns = time_ns
        if not self._gate.due(time_ns):
            self.counters.skipped += 1
            return
        if self._realtime and not live:
            self._wait_until_due(time_ns)
        image = scale_down(picture.to_image(), self.camera.max_height)  # unless its source has done so
        frame = Frame(self.camera.id, index, time_ns, image)
        self.counters.delivered += self.queue.put(frame, live=live)

    def _wait_until_due(self, time_ns: int) -> None:
        now = time.monotonic()
        if self._pace is None:
            self._pace = (now, time_ns)
        started_s, first_ns = self._pace
        self._stop.wait(max(0.0, started_s + (time_ns - first_ns) / SECOND_NS - now))

    def _tell_damage(self, source: Source) -> None:
        """Say of a file that was read to its end what is missing; of one that is looped, once."""
        told, self._told_damage = self._told_damage, True
        if told:
            return
        if self.counters.corrupt:
            log.warning(
                "camera %s: %s is damaged: %d faulty packets, pictures or times; what can be read was taken",
                *(self.camera.id, self.camera.url, self.counters.corrupt),
            )
        if isinstance(source, VideoSource) and source.missing_s:
            log.warning(
                "camera %s: %s ended %.1f s before the length that it states: it was cut off, or is damaged",
                *(self.camera.id, self.camera.url, source.missing_s),
            )
        if isinstance(source, VideoSource) and source.unread:
            log.warning(
                "camera %s: the last %.0f%% of %s hold no picture of the stream that was read: several "
                "recordings, or those of several cameras, may be joined in it; give each as a file",
                *(self.camera.id, 100 * source.unread, self.camera.url),
            )

    def _end(self) -> float | None:
        if self.camera.loop and self.counters.decoded:
            # Times go on behind the last frame, one frame of the analysis rate later.
            self._loop_shift_ns = self._last_ns - self._first_ns + int(SECOND_NS / (self.camera.fps or 25.0))
            return 0.0
        self._become(State.ENDED, "")
        return None

    def _fail(self, error: GaitstreamError, *, retry: bool) -> float | None:
        reason = self.camera.url.scrub(str(error))
        if not retry:
            self._become(State.FAILED, reason)
            return None
        self._become(State.OFFLINE, reason)
        return max(
            self._backoff.next(), self.REFUSED_WAIT_S if isinstance(error, CameraRefusedError) else 0.0
        )

    def _become(self, state: State, reason: str) -> None:
        if (state, reason) == (self.state, self.reason) or self.state is State.FAILED:
            return
        if self._stop.is_set():  # what becomes of it now is nobody's concern
            return
        self.state, self.reason = state, reason
        if self._on_state is not None:
            self._on_state(StateChange(self.camera.id, state, reason, time.time_ns()))
