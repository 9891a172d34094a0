"""How the site is, from what the bus says of it: the newest statistics, states of cameras, faults."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil

from gaitstream.events import (
    CameraOffline,
    CameraOnline,
    CameraStats,
    Event,
    Notice,
    PipelineStats,
    RunStarted,
    RunStopped,
)
from gaitstream.events.schema import Identity

RECENT = 200
"""Final decisions per camera that suggestions rest on."""
ENOUGH = 20
"""Fewer say nothing."""
SILENT_S = 90.0
"""A run that says nothing for so long is in trouble; statistics come more often."""
MISSED, SHORTEST_S, PERIODS = 3, 5.0, 3
"""So many statistics that did not come are too many, each counted for so long at least; what a run keeps to
is the shortest of so many pauses between them."""
OFTEN = 0.4
"""A reason behind this share of the answers is worth a word."""
_ADVICE = {
    "truncated": "aim higher, or further away: {share:.0%} of the people are cut off by the picture's border",
    "too_small": "zoom in, or mount it nearer: {share:.0%} of the people are under quality.min_height_px",
    "occluded": "look from higher up: {share:.0%} of the people are covered by others",
    "blurred": "shorten the exposure, or add light: {share:.0%} of the people are blurred",
    "low_pose_score": "add light, or look from the side: in {share:.0%} the joints cannot be told",
    "standing": "point it at a way, not at a place: {share:.0%} of the people stand",
    "too_short": "show more of the way: {share:.0%} of the people are gone before they can be told",
}


@dataclass
class CameraHealth:
    """One camera, as far as the bus has said.

    Attributes:
        state: `online`, `offline`, `ended` (a file, read to its end); empty while nothing is known.
        since_ns: since when, UTC nanoseconds.
        detail: why it is offline, for people.
        width: of its picture, pixels; 0 where it is not known.
        height: of its picture, pixels; 0 where it is not known.
        outages: how often it went offline since the console was started.
        stats: of the newest statistics.
        latency_ms: of the newest decision: from capture to it, and what each stage took.
        decide_ms: from capture to decision, of the newest decisions.
        outcomes: reasons of the newest final decisions; empty for whoever was known.
        publisher: whose run it is of.
        heard_s: monotonic clock of when that run said something of it last.
    """

    state: str = ""
    since_ns: int = 0
    detail: str = ""
    width: int = 0
    height: int = 0
    outages: int = 0
    stats: CameraStats | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)
    decide_ms: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    outcomes: deque[str] = field(default_factory=lambda: deque(maxlen=RECENT))
    publisher: str = ""
    heard_s: float = 0.0

    def reasons(self) -> dict[str, float]:
        """Share of the newest final decisions that gave no name, by reason, most first."""
        counts = Counter(filter(None, self.outcomes))
        return {reason: count / len(self.outcomes) for reason, count in counts.most_common()}

    def suggestions(self) -> list[str]:
        """What would let it tell more people, in words."""
        if len(self.outcomes) < ENOUGH:
            return []
        shares = self.reasons().items()
        return [
            _ADVICE[reason].format(share=share)
            for reason, share in shares
            if reason in _ADVICE and share >= OFTEN
        ]


@dataclass
class RunHealth:
    """One publisher's run.

    Attributes:
        version: of gaitstream; empty where its start was not heard.
        stopped: why it ended; empty while it runs.
        stats: the newest.
        heard_s: monotonic clock of the last event.
        periods_s: between its newest statistics.
    """

    version: str = ""
    stopped: str = ""
    stats: PipelineStats | None = None
    heard_s: float = 0.0
    periods_s: deque[float] = field(default_factory=lambda: deque(maxlen=PERIODS))

    @property
    def patience_s(self) -> float:
        """How long it may say nothing of a camera before that is out of order."""
        return MISSED * max(min(self.periods_s), SHORTEST_S) if self.periods_s else SILENT_S


class HealthBoard:
    """Collects events; any thread may look.

    Args:
        clock: seconds, monotonic.

    Attributes:
        cameras: by id.
        runs: by publisher.
        stages_ms: what the newest batches of each stage took, by stage.
        events: how many were heard.
        lost: how many no journal had any more.
        problem: what keeps the console from keeping events now; empty when nothing does.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.cameras: dict[str, CameraHealth] = {}
        self.runs: dict[str, RunHealth] = {}
        self.stages_ms: dict[str, deque[float]] = {}
        self.events = 0
        self.lost = 0
        self.problem = ""
        self._lock = threading.Lock()

    @property
    def changes(self) -> int:
        """How often something was heard."""
        return self.events

    def note(self, event: Event) -> None:
        """Take an event into account."""
        with self._lock:
            self.events += 1
            run = self.runs.setdefault(event.publisher, RunHealth())
            run.heard_s = self._clock()
            self._note_run(run, event)
            camera = getattr(event, "camera", "")
            if isinstance(event, Identity):
                self._note_stages(event)
            if camera:
                _note_camera(self._heard(camera, event), event)

    def state_of(self, camera: str) -> str:
        """The state of a camera as it is now; `silent` where its run says nothing of it any more."""
        known = self.cameras.get(camera, CameraHealth())
        state = known.state or (known.stats.state if known.stats else "")
        run = self.runs.get(known.publisher)
        if state in ("online", "connecting") and run is not None and run.stats is not None:
            return "silent" if self._clock() - known.heard_s > run.patience_s else state
        return state

    def silent_s(self, run: RunHealth) -> float:
        """For how long a run has said nothing."""
        return self._clock() - run.heard_s

    def note_notice(self, notice: Notice) -> None:
        """Take something into account that happened to the stream."""
        if notice.kind == "lost":
            self.lost += notice.events

    def stage_times(self) -> dict[str, tuple[float, float]]:
        """Milliseconds that half, and that 95%, of the newest batches of each stage took at most."""
        with self._lock:
            kept = {stage: list(times) for stage, times in self.stages_ms.items()}
        return {
            stage: (quantile(times, 0.5) or 0.0, quantile(times, 0.95) or 0.0)
            for stage, times in kept.items()
        }

    def _note_run(self, run: RunHealth, event: Event) -> None:
        if isinstance(event, RunStarted):
            run.version, run.stopped = event.version, ""
        elif isinstance(event, RunStopped):
            run.stopped = event.cause
        elif isinstance(event, PipelineStats):
            if run.stats is not None and run.stats.run == event.run:
                run.periods_s.append((event.time_ns - run.stats.time_ns) / 1e9)
            else:
                run.periods_s.clear()
            run.stats = event
            for name, stats in event.cameras.items():
                self._heard(name, event).stats = stats

    def _heard(self, camera: str, event: Event) -> CameraHealth:
        """A camera of which a run says something now."""
        known = self.cameras.setdefault(camera, CameraHealth())
        known.publisher, known.heard_s = event.publisher, self._clock()
        return known

    def _note_stages(self, event: Identity) -> None:
        for stage, ms in event.latency_ms.items():
            if stage != "decide":
                self.stages_ms.setdefault(stage, deque(maxlen=RECENT)).append(ms)


def quantile(values: Iterable[float], share: float) -> float | None:
    """The smallest of some values that this share is not above; None without any.

    >>> quantile([4.0, 1.0, 3.0, 2.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    return ordered[max(ceil(share * len(ordered)) - 1, 0)] if ordered else None


def _note_camera(camera: CameraHealth, event: Event) -> None:
    if isinstance(event, CameraOnline):
        camera.state, camera.since_ns, camera.detail = "online", event.time_ns, ""
        camera.width, camera.height = event.width, event.height
    elif isinstance(event, CameraOffline):
        camera.state = "ended" if event.cause == "end_of_stream" else "offline"
        camera.since_ns = event.time_ns
        camera.detail = f"{event.cause}: {event.detail}" if event.detail else event.cause
        camera.outages += event.cause not in ("shutdown", "removed", "end_of_stream")
    elif isinstance(event, Identity):
        camera.latency_ms = event.latency_ms or camera.latency_ms
        if "decide" in event.latency_ms:
            camera.decide_ms.append(event.latency_ms["decide"])
        if event.type == "identity.final":
            camera.outcomes.append(event.reason or "")
