"""Live pictures with boxes, names and reasons: made only for cameras that somebody watches, a few a second.

The pipeline's thread leaves a watched camera's newest frame in a place of its own and goes on; a thread draws
it. Whoever watches takes the newest picture there is, so that a slow viewer sees fewer and delays nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from gaitstream.data import Decision, Frame, Person
from gaitstream.evidence.pictures import encode_jpeg, shrink
from gaitstream.pipeline.annotate import draw
from gaitstream.pipeline.observe import Observer

RATE = 5.0
"""Pictures a second of a watched camera at most."""
WIDTH_PX = 960
"""Width of a live picture at most."""
QUALITY = 75
WAIT_S = 1.0
BOUNDARY = "frame"
CONTENT_TYPE = f"multipart/x-mixed-replace; boundary={BOUNDARY}"


@dataclass(frozen=True, slots=True)
class _Moment:
    """A frame and what is known of the people in it, before it is drawn."""

    frame: Frame
    persons: Sequence[Person]
    labels: Mapping[int, Decision]


class LiveFrames(Observer):
    """The newest drawn picture of each watched camera.

    Args:
        rate: pictures a second and camera at most.
        width_px: width of a picture at most; None keeps the camera's.

    Attributes:
        cameras: of which frames have come.
    """

    def __init__(self, rate: float = RATE, width_px: int | None = WIDTH_PX) -> None:
        self.cameras: set[str] = set()
        self._pause_s = 1.0 / rate
        self._width_px = width_px
        self._changed = threading.Condition()
        self._watchers: dict[str, int] = {}
        self._due_s: dict[str, float] = {}
        self._moments: dict[str, _Moment] = {}
        self._pictures: dict[str, tuple[int, bytes]] = {}
        self._over = False
        self._thread: threading.Thread | None = None

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        """Leave the frame for the thread that draws, when somebody watches and one is due."""
        if frame.camera not in self.cameras:
            self.cameras = self.cameras | {frame.camera}
        now_s = time.monotonic()
        if not self._watchers.get(frame.camera) or now_s < self._due_s.get(frame.camera, 0.0):
            return
        self._due_s[frame.camera] = now_s + self._pause_s
        with self._changed:
            self._moments[frame.camera] = _Moment(frame, tuple(persons), dict(labels))
            self._changed.notify_all()

    def watch(self, camera: str) -> Generator[bytes, None, None]:
        """Pictures of a camera as JPEG, the newest each time, until the run is over."""
        self._begin_watching(camera)
        try:
            last = -1
            while (picture := self._next(camera, last)) is not None:
                last, data = picture
                yield data
        finally:
            with self._changed:
                self._watchers[camera] -= 1
                if not self._watchers[camera]:
                    self._pictures.pop(camera, None)

    def close(self) -> None:
        """The run is over: everybody who watches is told."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _begin_watching(self, camera: str) -> None:
        with self._changed:
            self._watchers[camera] = self._watchers.get(camera, 0) + 1
            if self._thread is None and not self._over:
                self._thread = threading.Thread(target=self._draw_all, name="live-pictures", daemon=True)
                self._thread.start()

    def _draw_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or self._moments)
                if self._over:
                    return
                camera, moment = self._moments.popitem()
            data = self._draw(moment)
            with self._changed:
                number, _ = self._pictures.get(camera, (0, b""))
                if self._watchers.get(camera):
                    self._pictures[camera] = (number + 1, data)
                self._changed.notify_all()

    def _draw(self, moment: _Moment) -> bytes:
        drawn = draw(moment.frame.image, moment.persons, moment.labels)
        scale = 1.0 if self._width_px is None else self._width_px / drawn.shape[1]
        return encode_jpeg(shrink(drawn, scale), QUALITY)

    def _next(self, camera: str, last: int) -> tuple[int, bytes] | None:
        """The next picture after number `last`; None when the run is over."""
        with self._changed:
            while not self._over:
                picture = self._pictures.get(camera)
                if picture is not None and picture[0] != last:
                    return picture
                self._changed.wait(WAIT_S)
        return None


def part_of(picture: bytes) -> bytes:
    """A picture as a part of a multipart stream."""
    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
    return head.encode() + picture + b"\r\n"
