"""Times: from stream timestamps to UTC of capture, and which frames are due at an analysis rate."""

from __future__ import annotations

SECOND_NS = 1_000_000_000


class CaptureClock:
    """Maps a live stream's timestamps to UTC.

    With the sender's wall clock (RTCP sender reports, RFC 3550 section 6.4.1) the mapping is its own and
    follows its drift. Without, the time of arrival stands in: the least delayed frame seen so far is the best
    estimate of the offset between the two clocks, and the estimate may rise slowly so that it follows drift.

    Holds no clock: every time is an argument.

    Attributes:
        from_sender: whether the last stamp came from the sender's clock.
    """

    MAX_SKEW_NS = 60 * SECOND_NS
    """A sender whose clock is further off than this is not believed: its clock was never set."""
    MAX_JUMP_NS = 5 * SECOND_NS
    """A larger step of the stream's timestamps against arrival means the stream started anew."""
    CREEP = 1e-3
    """Largest drift followed, in seconds per second."""

    def __init__(self) -> None:
        self.from_sender = False
        self._offset_ns: int | None = None
        self._sender_offset_ns: int | None = None
        self._last_arrival_ns = 0
        self._last_ns = 0

    def sender_report(self, pts_ns: int, wallclock_ns: int, arrival_ns: int) -> None:
        """The sender says its wall clock showed `wallclock_ns` at the stream's time `pts_ns`."""
        believed = abs(arrival_ns - wallclock_ns) <= self.MAX_SKEW_NS
        self._sender_offset_ns = wallclock_ns - pts_ns if believed else None

    def stamp(self, pts_ns: int, arrival_ns: int) -> int:
        """UTC nanoseconds of capture of the frame with this stream time; strictly rising."""
        self._follow_arrival(arrival_ns - pts_ns, arrival_ns)
        offset = self._offset_ns
        sender = self._sender_offset_ns
        if sender is not None and abs(arrival_ns - pts_ns - sender) > self.MAX_SKEW_NS:
            sender = self._sender_offset_ns = None  # timestamps restarted since the last report
        self.from_sender = sender is not None
        if sender is not None:
            offset = sender
        assert offset is not None  # noqa: S101 - set by _follow_arrival
        self._last_ns = max(pts_ns + offset, self._last_ns + 1)
        return self._last_ns

    def _follow_arrival(self, candidate_ns: int, arrival_ns: int) -> None:
        offset = self._offset_ns
        elapsed = arrival_ns - self._last_arrival_ns
        self._last_arrival_ns = arrival_ns
        if offset is None or candidate_ns < offset or candidate_ns - offset > self.MAX_JUMP_NS:
            self._offset_ns = candidate_ns
        else:
            self._offset_ns = offset + min(candidate_ns - offset, int(max(elapsed, 0) * self.CREEP))


class RateGate:
    """Which frames are due at an analysis rate: an even choice by time, exact on average."""

    SLACK = 0.1
    """Share of a period that a frame may come early; timestamps are rounded by containers."""

    def __init__(self, fps: float | None) -> None:
        self._period_ns = int(SECOND_NS / fps) if fps else 0
        self._next_ns: int | None = None

    def due(self, time_ns: int) -> bool:
        """Whether the frame of this time is analysed."""
        if not self._period_ns:
            return True
        if self._next_ns is None:
            self._next_ns = time_ns
        if time_ns + self._period_ns * self.SLACK < self._next_ns:
            # A clock that went back by a lot would otherwise silence the camera.
            if self._next_ns - time_ns <= 2 * self._period_ns:
                return False
            self._next_ns = time_ns
        self._next_ns = max(self._next_ns + self._period_ns, time_ns)
        return True
