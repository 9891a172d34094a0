"""How much work fits into the time: keeps live cameras' latency under more load than a machine carries.

Every quarter of a second the controller asks what detection, encoding and the rest took lately and how much
of it is asked for. It then gives up, in the order of `STEPS`, as much as it takes for what is left to fit
into the time, and more while frames are late. So it needs no search for the right amount, and takes work up
again as soon as it fits. Files read beside live cameras wait, and nothing of them is left out.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

TURN_S = 0.25
"""Time between two decisions of the controller."""
SILENCE_S = 2.0
"""Of a time in which nothing came, what counts at most: else it would pass for room once cameras are back."""
QUIET_S = 5.0
"""Time without a frame of a live camera after which nothing is given up for them."""
FILL = 0.97
"""Share of the time that work may take."""
AIM = 0.4
"""Share of the objective above which the median makes that less, so that what waits is worked off. Where half
of the frames are within it, 95% are within the objective; one slow call alone does not move a median."""
LEAST_FILL = 0.4
TOO_LATE = 0.8
"""Share of the objective above which, for 95% of the frames, a batch may take no longer than `AIM` of it."""
MEMORY, LONG_MEMORY = 0.6, 0.9
"""Weight of what was before in sums over the turns: of what is asked for, about half a second, and of what it
costs, two and a half."""
SLOWLY = 0.6
"""Largest step by which pressure falls in a turn."""


class Urgency(enum.IntEnum):
    """What a frame of a track is worth, the most valuable first."""

    UNDECIDED = 0
    """There is no window to compare yet."""
    UNNAMED = 1
    """Compared, and nobody known."""
    NAMED = 2
    """Known."""
    SETTLED = 3
    """Known, and confirmed by several windows in a row."""


STEPS = {
    "files": 0.02,
    "known": 1 / 6,
    "detection": 1 / 3,
    "unnamed": 1 / 6,
    "frames": 1 / 3,
    "undecided": 0.1,
}
"""What is given up one after the other, and the share of it that is left in the end: time for files, which
are read more slowly; of live cameras encoding people who are known already; detection, since boxes are
carried on between two; encoding strangers, whom the next window may name; frames altogether; and at last the
encoding of people without whose next frames there is no window."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done.

    Attributes:
        files: share of the room that a batch has beside live cameras which frames of files may take.
        frames: share of the frames that are looked at.
        detected: share of those that are due which are detected on.
        encoded: share of the people in them who are encoded, by urgency.
    """

    files: float
    frames: float
    detected: float
    encoded: Mapping[Urgency, float]

    @classmethod
    def under(cls, pressure: float) -> Plan:
        """The plan under a pressure: 0 does everything, each further 1 takes one of `STEPS` to its end."""
        left = {
            name: 1.0 - (1.0 - least) * min(1.0, max(0.0, pressure - number))
            for number, (name, least) in enumerate(STEPS.items())
        }
        encoded = {
            Urgency.UNDECIDED: left["undecided"],
            Urgency.UNNAMED: left["unnamed"],
            Urgency.NAMED: left["known"],
            Urgency.SETTLED: left["known"],
        }
        return cls(left["files"], left["frames"], min(1.0, left["detection"] / left["frames"]), encoded)


PLANS = [Plan.under(n / 20) for n in range(20 * len(STEPS) + 1)]
EVERYTHING = PLANS[0]


@dataclass
class Cost:
    """What calls of an engine take, by how much they are given: a straight line through the latest ones.

    At least half of an average call is taken to be the work in it, whatever the line says.
    """

    calls: float = 0.0
    _count: float = 0.0
    _squares: float = 0.0
    _seconds: float = 0.0
    _products: float = 0.0

    def note(self, count: int, seconds: float) -> None:
        """One call."""
        self.calls += 1
        self._count += count
        self._squares += count * count
        self._seconds += seconds
        self._products += count * seconds

    def fade(self, memory: float) -> None:
        """Make what was before count less."""
        self.calls *= memory
        self._count *= memory
        self._squares *= memory
        self._seconds *= memory
        self._products *= memory

    def line(self) -> tuple[float, float]:
        """Seconds of a call, and of each frame or person in it."""
        if not self._count:
            return 0.0, 0.0
        mean, mean_s = self._count / self.calls, self._seconds / self.calls
        variance = self._squares / self.calls - mean * mean
        together = self._products / self.calls - mean * mean_s
        each_s = mean_s / mean if variance < 0.01 * mean * mean else together / variance
        each_s = min(max(each_s, 0.5 * mean_s / mean), mean_s / mean)
        return mean_s - each_s * mean, each_s


@dataclass
class FileEffort:
    """What was done for files that are read as fast as there is time.

    Attributes:
        offered: frames that waited and that batches had room for.
        taken: of them, those that were taken.
        due: of those, the ones that were detected on.
        people: in them who were encoded.
    """

    offered: float = 0.0
    taken: float = 0.0
    due: float = 0.0
    people: float = 0.0

    def fade(self, memory: float) -> None:
        """Make what was before count less."""
        self.offered *= memory
        self.taken *= memory
        self.due *= memory
        self.people *= memory

    def pace(self, share: float) -> float:
        """How many times what was done for them would be done at this share of the room."""
        return share * self.offered / self.taken if self.taken else 0.0


@dataclass
class Effort:
    """What was done and asked for, the newest counting most.

    Attributes:
        detection: what it costs, by frames.
        encoding: by people.
        wall_s: time that went by.
        batches: worked on in it.
        rest_s: time spent on them beside detection and encoding.
        offered: frames of live cameras that came.
        looked: of them, those looked at.
        due: of those, the ones that were to be detected on.
        wanted: people in them who would be encoded without load.
        files: of those that are read beside them.
    """

    detection: Cost = field(default_factory=Cost)
    encoding: Cost = field(default_factory=Cost)
    wall_s: float = 0.0
    batches: float = 0.0
    rest_s: float = 0.0
    offered: float = 0.0
    looked: float = 0.0
    due: float = 0.0
    wanted: dict[Urgency, float] = field(default_factory=lambda: dict.fromkeys(Urgency, 0.0))
    files: FileEffort = field(default_factory=FileEffort)
    _engines_s: float = 0.0
    """Of the batch at hand."""

    def detected(self, frames: int, seconds: float) -> None:
        """A call of the detector."""
        self.detection.note(frames, seconds)
        self._engines_s += seconds

    def encoded(self, people: int, seconds: float) -> None:
        """A call of the encoder."""
        self.encoding.note(people, seconds)
        self._engines_s += seconds

    def want(self, people: Mapping[Urgency, int]) -> None:
        """People of a batch who would be encoded without load."""
        for urgency, count in people.items():
            self.wanted[urgency] += count

    def end_batch(self, busy_s: float) -> None:
        """A batch is done; it took so long, all its stages together."""
        self.batches += 1
        self.rest_s += max(0.0, busy_s - self._engines_s)
        self._engines_s = 0.0

    def fade(self) -> None:
        """Make what was before count less."""
        self.detection.fade(LONG_MEMORY)
        self.encoding.fade(LONG_MEMORY)
        self.wall_s *= MEMORY
        self.batches *= MEMORY
        self.rest_s *= MEMORY
        self.offered *= MEMORY
        self.looked *= MEMORY
        self.due *= MEMORY
        self.files.fade(MEMORY)
        self.wanted = {urgency: MEMORY * count for urgency, count in self.wanted.items()}

    def needed_s(self, plan: Plan) -> float:
        """Time that the same demand would take by a plan."""
        files = self.files
        looked = plan.frames * self.offered / self.looked if self.looked else 1.0
        taken = files.pace(plan.files)
        frames = looked * self.due * plan.detected + taken * files.due
        people = looked * sum(count * plan.encoded[urgency] for urgency, count in self.wanted.items())
        people += taken * files.people
        both = self.looked + files.taken
        rest_s = self.rest_s * (looked * self.looked + taken * files.taken) / both if both else self.rest_s
        call_s, frame_s = self.detection.line()
        start_s, person_s = self.encoding.line()
        calls_s = call_s * min(self.batches, frames) + start_s * min(self.batches, people)
        return rest_s + calls_s + frame_s * frames + person_s * people


@dataclass
class LatencyControl:
    """Decides how much is given up. Use it from one thread.

    Attributes:
        objective_ms: for 95% of the frames, from capture to analysed; None gives nothing up.
        plan: what is done until the next decision.
        effort: what the pipeline did; it notes it here.
    """

    objective_ms: float | None
    clock: Callable[[], float] = time.monotonic
    plan: Plan = EVERYTHING
    effort: Effort = field(default_factory=Effort)
    _delays_ms: list[float] = field(default_factory=list)
    _observed_s: float = -math.inf
    _turned_s: float | None = None
    _level: int = 0
    """Of the plan among `PLANS`."""

    def observe(self, delay_ms: float) -> None:
        """A frame of a live camera was analysed this long after its capture."""
        self._delays_ms.append(delay_ms)
        self._observed_s = self.clock()

    def batch_done(self, busy_s: float) -> None:
        """A batch took so long, all its stages together; decides anew where it is time to."""
        self.effort.end_batch(busy_s)
        now_s = self.clock()
        if self._turned_s is None:
            self._turned_s = now_s
        elapsed_s = now_s - self._turned_s
        if elapsed_s < TURN_S:
            return
        self._turned_s = now_s
        self.effort.wall_s += min(elapsed_s, max(busy_s, SILENCE_S))
        self._level = self._decide(now_s)
        self.plan = PLANS[self._level]
        self._delays_ms.clear()
        self.effort.fade()

    def _decide(self, now_s: float) -> int:
        """The first plan whose work fits."""
        if self.objective_ms is None or now_s - self._observed_s > QUIET_S:
            return 0
        if not self._delays_ms:  # of a live camera of few frames the next comes soon
            return self._level
        median_ms, p95_ms = np.percentile(self._delays_ms, (50, 95))
        late = float(median_ms) / (AIM * self.objective_ms)
        room_s = max(LEAST_FILL, FILL / max(1.0, late)) * self.effort.wall_s
        if late > 1.0 and p95_ms > TOO_LATE * self.objective_ms:
            # Also where there is time enough: one batch may be all that takes too long.
            room_s = min(room_s, self.effort.batches * AIM * self.objective_ms / 1e3)
        last = len(PLANS) - 1
        fitting = next((n for n, plan in enumerate(PLANS) if self.effort.needed_s(plan) <= room_s), last)
        return max(fitting, self._level - round(SLOWLY * last / len(STEPS)))
