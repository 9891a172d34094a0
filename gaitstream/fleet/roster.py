"""Which cameras a worker runs: between the thread that keeps its leases and the one that runs its pipeline.

The thread of the leases says until when the session is sure, and which cameras it has; the pipeline's
thread takes and gives up accordingly, and every event gets its camera's fencing token as it is decided.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

import msgspec

from gaitstream.events import Event
from gaitstream.fleet.clock import steady_s


class LeaseRoster:
    """See `gaitstream.pipeline.base.Roster`, and above.

    Args:
        clock: seconds, steady.

    Attributes:
        refused: events of cameras that the worker had no right to speak of any more.
    """

    def __init__(self, clock: Callable[[], float] = steady_s) -> None:
        self.refused = 0
        self._clock = clock
        self._guard = threading.Lock()
        self._stop_s = self._end_s = 0.0
        self._wanted: dict[str, int] = {}
        self._running: dict[str, int] = {}
        self._gone: set[str] = set()

    # For the thread that keeps the leases.

    def extend(self, stop_s: float, end_s: float) -> None:
        """The session is sure: cameras are to be stopped at `stop_s`, and nothing is said after `end_s`."""
        with self._guard:
            self._stop_s, self._end_s = stop_s, end_s

    def enter(self, leases: Mapping[str, int]) -> None:
        """Take cameras, with these tokens."""
        with self._guard:
            self._wanted.update(leases)

    def leave(self, cameras: Iterable[str]) -> None:
        """Give cameras up; `take_gone` tells when that is done."""
        with self._guard:
            for camera in cameras:
                if self._wanted.pop(camera, None) is not None and camera not in self._running:
                    self._gone.add(camera)  # the pipeline never had it

    def keep_only(self, leases: Mapping[str, int]) -> None:
        """Give up what is not, or not by this token, among the leases that the database knows.

        What the database knows and nobody here reads, or is about to, is given back, too.
        """
        with self._guard:
            self._wanted = {
                camera: token for camera, token in self._wanted.items() if leases.get(camera) == token
            }
            self._gone |= leases.keys() - self._wanted.keys() - self._running.keys()

    def lose(self) -> None:
        """The session is over: every camera is stopped, and no event of one leaves any more."""
        with self._guard:
            self._wanted.clear()
            self._gone.clear()
            self._stop_s = self._end_s = 0.0

    def take_gone(self) -> set[str]:
        """Cameras that were given up in order since the last call."""
        with self._guard:
            gone, self._gone = self._gone, set()
            return gone

    def expire(self) -> bool:
        """Give everything up when the session is not sure any more; whether cameras are still read then."""
        with self._guard:
            if self._clock() < self._stop_s:
                return False
            self._wanted.clear()
            return bool(self._running)

    @property
    def wanted(self) -> frozenset[str]:
        """The cameras that the worker has and keeps."""
        with self._guard:
            return frozenset(self._wanted)

    # For the pipeline's thread.

    def runs(self, camera: str) -> bool:
        """See `Roster`."""
        with self._guard:
            return camera in self._running

    def poll(self) -> tuple[list[str], list[str]]:
        """See `Roster`."""
        with self._guard:
            wanted = self._wanted if self._clock() < self._stop_s else {}
            leaving = [camera for camera, token in self._running.items() if wanted.get(camera) != token]
            coming = [camera for camera in wanted if camera not in self._running]
            return leaving, coming

    def left(self, camera: str) -> None:
        """See `Roster`."""
        with self._guard:
            if self._running.pop(camera, None) is not None and camera not in self._wanted:
                self._gone.add(camera)

    def entered(self, camera: str) -> bool:
        """See `Roster`."""
        with self._guard:
            if camera not in self._wanted or self._clock() >= self._stop_s:
                return False
            self._running[camera] = self._wanted[camera]
            return True

    def mark(self, event: Event) -> Event | None:
        """See `Roster`."""
        camera = getattr(event, "camera", None)
        if camera is None:
            return event
        with self._guard:
            token = self._running.get(camera)
            if token is None or self._clock() >= self._end_s:
                self.refused += 1
                return None
        return msgspec.structs.replace(event, lease=token)
