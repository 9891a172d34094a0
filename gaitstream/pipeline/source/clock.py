"""Times: from stream timestamps to UTC of capture, and which frames are due at an analysis rate."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

SECOND_NS = 1_000_000_000
LATEST_NS = int(datetime(2201, 1, 1, tzinfo=UTC).timestamp()) * SECOND_NS


def is_plausible(time_ns: int) -> bool:
    """Whether a time, UTC ns, lies between 1970 and 2200, as `start_time` has to."""
    return 0 <= time_ns < LATEST_NS


class CaptureClock:
    """Maps a live stream's timestamps to UTC.

    With the sender's wall clock (RTCP sender reports, RFC 3550 section 6.4.1) the mapping is its own and
    follows its drift. Without, the time of arrival stands in: the least delayed frame seen so far is the best
    estimate of the offset between the two clocks, and the estimate may rise slowly so that it follows drift.

    How late a frame is, is judged by a steady clock, which nobody sets; the wall clock only says what time it
    is. When it is set, or the sender's clock takes over, times go on from where they belong: forward at once,
    back by a little by going slower for a while, back by more in one step (`set_back_ns`), which ends tracks.

    Holds no clock: every time is an argument.

    Attributes:
        from_sender: whether the last stamp came from the sender's clock.
        set_back_ns: by how much the last stamp lies before the one before it; 0 nearly always.
    """

    MAX_SKEW_NS = 60 * SECOND_NS
    """A sender whose clock is further off than this is not believed: its clock was never set."""
    MAX_JUMP_NS = 5 * SECOND_NS
    """A larger step of the stream's timestamps against arrival means the stream started anew."""
    CREEP = 1e-3
    """Largest drift followed, in seconds per second."""
    MAX_SLEW_NS = SECOND_NS
    """Up to this far times catch up by going slower; further back they step."""
    SLEW = 0.75
    """How much slower: motion is then seen as a third faster than it is, for four seconds at most."""

    def __init__(self) -> None:
        self.from_sender = False
        self.set_back_ns = 0
        self._offset_ns: int | None = None
        self._sender_offset_ns: int | None = None
        self._last_steady_ns = 0
        self._last_pts_ns = 0
        self._last_ns = 0

    def sender_report(self, pts_ns: int, wallclock_ns: int, arrival_ns: int) -> None:
        """The sender says its wall clock showed `wallclock_ns` at the stream's time `pts_ns`."""
        believed = abs(arrival_ns - wallclock_ns) <= self.MAX_SKEW_NS
        self._sender_offset_ns = wallclock_ns - pts_ns if believed else None

    def stamp(self, pts_ns: int, arrival_ns: int, steady_ns: int | None = None) -> int:
        """UTC nanoseconds of capture of a frame.

        Args:
            pts_ns: its time in the stream.
            arrival_ns: the wall clock when it arrived, UTC.
            steady_ns: a clock that is never set at the same moment; the wall clock when None.

        Returns:
            A time later than the last, unless `set_back_ns` says that clocks were set back.
        """
        steady_ns = arrival_ns if steady_ns is None else steady_ns
        offset = self._follow_arrival(steady_ns - pts_ns, steady_ns) + arrival_ns - steady_ns
        sender = self._sender_offset_ns
        if sender is not None and abs(arrival_ns - pts_ns - sender) > self.MAX_SKEW_NS:
            sender = self._sender_offset_ns = None  # timestamps restarted since the last report
        self.from_sender = sender is not None
        target = pts_ns + (offset if sender is None else sender)
        return self._go_on(target, max(pts_ns - self._last_pts_ns, 0), pts_ns)

    def _follow_arrival(self, candidate_ns: int, steady_ns: int) -> int:
        """From stream time to the steady clock, by the least delayed frame."""
        offset = self._offset_ns
        elapsed = steady_ns - self._last_steady_ns
        self._last_steady_ns = steady_ns
        if offset is None or candidate_ns < offset or candidate_ns - offset > self.MAX_JUMP_NS:
            self._offset_ns = candidate_ns
        else:
            self._offset_ns = offset + min(candidate_ns - offset, int(max(elapsed, 0) * self.CREEP))
        return self._offset_ns

    def _go_on(self, target_ns: int, advance_ns: int, pts_ns: int) -> int:
        """The next stamp: the time a frame should have, or on the way there."""
        slow_ns = self._last_ns + max(1, int(min(advance_ns, SECOND_NS) * self.SLEW))
        behind_ns = self._last_ns - target_ns
        self.set_back_ns = behind_ns if behind_ns > self.MAX_SLEW_NS else 0
        self._last_pts_ns = pts_ns
        self._last_ns = target_ns if self.set_back_ns else max(target_ns, slow_ns)
        return self._last_ns


class RateGate:
    """Which frames are due at an analysis rate: an even choice by time, exact on average."""

    SLACK = 0.1
    """Share of a period that a frame may come early; timestamps are rounded by containers."""

    def __init__(self, fps: float | None) -> None:
        self._period_ns = int(SECOND_NS / fps) if fps else 0
        self._next_ns: int | None = None

    def may_be_due(self, time_ns: int, spacing_ns: int) -> bool:
        """Whether a frame still to come may be due; changes nothing.

        Args:
            time_ns: of the frame, as near as it is known.
            spacing_ns: between frames; a tenth of it is allowed for as the error of `time_ns`.
        """
        if not self._period_ns or self._next_ns is None or spacing_ns >= self._period_ns:
            return True
        first_ns = self._next_ns - int(self.SLACK * self._period_ns)  # the first one from here on is due
        behind_ns = (time_ns - first_ns) % self._period_ns
        error_ns = spacing_ns // 10
        return behind_ns < spacing_ns + error_ns or behind_ns >= self._period_ns - error_ns

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


def _utc_ns(moment: datetime) -> int:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000_000) * 1000


def file_start_ns(
    path: Path, given: datetime | None, recorded: str = "", length_ns: int = 0, *, otherwise_ns: int
) -> int:
    """Capture time of a recording's first frame, UTC ns.

    Args:
        path: where it lies.
        given: by the configuration, which has the first word.
        recorded: by its own metadata, ISO 8601, which have the second; what cannot be read, or is not
            between 1970 and 2200, counts for nothing.
        length_ns: of the recording; the third is when it was written last, minus this.
        otherwise_ns: for something that is no file, minus its length.
    """
    if given is not None:
        return _utc_ns(given)
    with contextlib.suppress(ValueError):
        if is_plausible(recorded_ns := _utc_ns(datetime.fromisoformat(recorded))):
            return recorded_ns
    written_ns = path.stat().st_mtime_ns if path.is_file() else otherwise_ns
    return next(filter(is_plausible, (written_ns - length_ns, written_ns)), otherwise_ns)
