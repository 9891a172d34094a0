"""How much work is given up under load: the controller beside a server of frames that is simulated."""

from __future__ import annotations

import itertools
import random
import sys
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitstream.pipeline.latency import EVERYTHING, PLANS, Cost, LatencyControl, Plan, Urgency
from gaitstream.pipeline.shedding import Share

OBJECTIVE_MS = 200.0
BATCH, FPS = 16, 15.0
DETECT_CALL_S, DETECT_S, ENCODE_CALL_S, ENCODE_S, REST_S = 0.003, 0.0012, 0.004, 0.002, 0.0005


@dataclass
class Server:
    """Works through frames of cameras with one person each, in batches, as a pipeline does.

    Attributes:
        slow: how many times longer everything takes than at first.
        file: whether one that never ends is read beside them, of one person who is always encoded.
        read: its frames that were worked on.
        delays_ms: of the frames looked at.
        encoded: people, and those who would have been without load.
    """

    cameras: int
    urgencies: tuple[Urgency, ...] = (Urgency.UNDECIDED, Urgency.NAMED)
    slow: float = 1.0
    file: bool = False
    now_s: float = 0.0
    delays_ms: list[float] = field(default_factory=list)
    encoded: Counter[Urgency] = field(default_factory=Counter)
    wanted: Counter[Urgency] = field(default_factory=Counter)
    shares: dict[str, Share] = field(default_factory=dict)
    waiting: list[tuple[float, int]] = field(default_factory=list)
    come_s: float = 0.0
    read: int = 0

    def __post_init__(self) -> None:
        self.control = LatencyControl(OBJECTIVE_MS, lambda: self.now_s)
        self.phases = random.Random(1)

    def run(self, seconds: float) -> None:
        """For so long, from now on."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self._receive()
            most = BATCH - self.file
            batch, self.waiting = self.waiting[:most], self.waiting[most:]
            if batch or self.file:
                self._work(batch)
            else:
                self.now_s += 0.002

    def _receive(self) -> None:
        while self.come_s <= self.now_s:
            self.waiting += [(self.come_s + self.phases.random() / FPS, n) for n in range(self.cameras)]
            self.come_s += 1 / FPS
            self.waiting.sort()

    def _take(self, name: str, share: float, count: int) -> int:
        return self.shares.setdefault(name, Share()).take(share, count)

    def _work(self, batch: list[tuple[float, int]]) -> None:
        plan, effort = self.control.plan, self.control.effort
        started_s = self.now_s = max([self.now_s, *(due_s for due_s, _ in batch[-1:])])
        looked = batch[: self._take("frames", plan.frames, len(batch))]
        effort.offered, effort.looked = effort.offered + len(batch), effort.looked + len(looked)
        effort.due += len(looked)
        room = BATCH - len(batch) if self.file else 0
        read = self._take("files", plan.files, room)
        effort.files.offered, effort.files.taken = effort.files.offered + room, effort.files.taken + read
        effort.files.due, effort.files.people = effort.files.due + read, effort.files.people + read
        self.read += read
        if not (looked or read):
            self.now_s += 0.002
            return
        if detected := self._take("detected", plan.detected, len(looked)) + read:
            effort.detected(detected, self._spend(DETECT_CALL_S + DETECT_S * detected))
        people = Counter(self.urgencies[n % len(self.urgencies)] for _, n in looked)
        effort.want(people)
        chosen = {u: self._take(u.name, plan.encoded[u], count) for u, count in people.items()}
        if count := sum(chosen.values()) + read:
            effort.encoded(count, self._spend(ENCODE_CALL_S + ENCODE_S * count))
        self._spend(REST_S * (len(looked) + read))
        self.encoded += Counter(chosen)
        self.wanted += Counter(self.urgencies[n % len(self.urgencies)] for _, n in batch)
        for due_s, _ in looked:
            self.delays_ms.append(1e3 * (self.now_s - due_s))
            self.control.observe(self.delays_ms[-1])
        self.control.batch_done(self.now_s - started_s)

    def _spend(self, seconds: float) -> float:
        seconds *= self.slow * self.phases.uniform(0.8, 1.2)
        self.now_s += seconds
        return seconds

    def p95_ms(self) -> float:
        return float(np.percentile(self.delays_ms, 95))


def settled(cameras: int, urgencies: tuple[Urgency, ...], slow: float = 1.0, *, file: bool = False) -> Server:
    """A server after its first seconds, and thirty more that are counted."""
    server = Server(cameras, urgencies, slow, file)
    server.run(4.0)
    server.read = 0
    server.delays_ms.clear()
    server.encoded.clear()
    server.wanted.clear()
    server.run(30.0)
    return server


@pytest.mark.parametrize("cameras", [4, 12, 16, 20, 24, 32, 48])
def test_latency_stays_within_the_objective_whatever_the_load(cameras: int) -> None:
    assert settled(cameras, (Urgency.UNDECIDED, Urgency.NAMED)).p95_ms() <= OBJECTIVE_MS


@pytest.mark.parametrize("cameras", [2, 8, 12, 20, 32])
def test_a_file_takes_the_time_that_live_cameras_leave(cameras: int) -> None:
    urgencies = (Urgency.UNDECIDED, Urgency.NAMED)
    alone, beside = (settled(cameras, urgencies, file=file) for file in (False, True))
    assert beside.p95_ms() <= OBJECTIVE_MS
    assert beside.encoded.total() >= 0.9 * alone.encoded.total()
    each_s = DETECT_S + ENCODE_S + REST_S + (DETECT_CALL_S + ENCODE_CALL_S) / BATCH  # in full batches
    assert beside.read >= 0.4 * (30.0 / each_s - cameras * FPS * 30.0)
    assert beside.read > 5  # whatever the load, it goes on


@pytest.mark.parametrize("fps", [1.0, 2.0, 4.0, 15.0])
def test_a_file_holds_up_no_live_camera_of_few_frames(fps: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two of its frames there are turns in which none comes, and batches full of the file's."""
    monkeypatch.setattr(sys.modules[__name__], "FPS", fps)
    server = settled(1, (Urgency.UNDECIDED,), slow=8.0, file=True)
    assert server.p95_ms() <= 1.2 * OBJECTIVE_MS
    assert server.read >= 100


def test_nothing_is_left_out_that_fits() -> None:
    server = settled(10, (Urgency.UNDECIDED,))
    assert server.encoded == server.wanted
    assert server.control.plan == EVERYTHING


def test_people_without_a_window_are_encoded_while_those_with_a_name_pay() -> None:
    server = settled(24, (Urgency.UNDECIDED, Urgency.NAMED, Urgency.NAMED))
    assert server.encoded[Urgency.UNDECIDED] == server.wanted[Urgency.UNDECIDED]
    assert server.encoded[Urgency.NAMED] < 0.7 * server.wanted[Urgency.NAMED]


def test_strangers_are_given_up_before_those_without_a_window() -> None:
    server = settled(26, (Urgency.UNDECIDED, Urgency.UNNAMED))
    shares = {urgency: server.encoded[urgency] / server.wanted[urgency] for urgency in server.wanted}
    assert shares[Urgency.UNDECIDED] > 0.95 > 0.7 > shares[Urgency.UNNAMED]


def test_what_is_left_fills_the_machine() -> None:
    server = settled(24, (Urgency.UNDECIDED,))
    seconds = 30.0
    frames = 24 * FPS * seconds
    least_s = frames * (REST_S + DETECT_S / 3) + frames / BATCH * (DETECT_CALL_S + ENCODE_CALL_S)
    could = min(1.0, (seconds - least_s) / ENCODE_S / frames)
    assert server.encoded.total() / server.wanted.total() > 0.8 * could


def test_a_machine_that_becomes_slower_or_gets_more_cameras_is_followed_within_seconds() -> None:
    server = settled(12, (Urgency.UNDECIDED, Urgency.NAMED))
    for change in ({"slow": 2.0}, {"cameras": 20}, {"slow": 1.0, "cameras": 30}):
        for name, value in change.items():
            setattr(server, name, value)
        server.run(3.0)
        server.delays_ms.clear()
        server.run(10.0)
        assert server.p95_ms() <= OBJECTIVE_MS
    server.cameras = 5
    server.run(8.0)
    assert server.control.plan == EVERYTHING


@pytest.mark.parametrize("silence_s", [1.0, 60.0, 36000.0])
def test_cameras_that_come_back_after_a_silence_are_followed_within_seconds(silence_s: float) -> None:
    server = settled(32, (Urgency.UNDECIDED, Urgency.NAMED))
    server.waiting.clear()
    server.now_s = server.come_s = server.now_s + silence_s
    server.run(2.0)
    server.delays_ms.clear()
    server.run(3.0)
    assert server.p95_ms() <= OBJECTIVE_MS


def test_one_slow_call_gives_nothing_up_for_long() -> None:
    server = settled(10, (Urgency.UNDECIDED,))
    server.now_s += 0.3
    server.run(3.0)
    assert server.control.plan == EVERYTHING


def test_a_batch_that_takes_too_long_is_cut_down_where_there_is_time_enough() -> None:
    now_s = [0.0]
    control = LatencyControl(OBJECTIVE_MS, lambda: now_s[0])
    people = Counter({Urgency.UNDECIDED: 4, Urgency.NAMED: 96})
    for _ in range(20):
        now_s[0] += 1.0
        encoded = sum(control.plan.encoded[urgency] * count for urgency, count in people.items())
        control.effort.offered = control.effort.looked = control.effort.due = 1
        control.effort.detected(1, 0.005)
        control.effort.want(people)
        control.effort.encoded(round(encoded), 0.0025 * encoded)
        control.observe(5 + 2.5 * encoded)
        control.batch_done(0.005 + 0.0025 * encoded)
    assert control.plan.encoded[Urgency.NAMED] < 0.5  # 250 of 1,000 ms were busy, and 250 too late
    assert control.plan.encoded[Urgency.UNDECIDED] == 1.0


def test_without_an_objective_nothing_is_left_out() -> None:
    server = Server(40)
    server.control.objective_ms = None
    server.run(5.0)
    assert server.control.plan == EVERYTHING
    assert server.p95_ms() > OBJECTIVE_MS


def test_each_plan_does_no_more_than_the_one_before() -> None:
    for before, after in itertools.pairwise(PLANS):
        assert after.files <= before.files
        assert after.frames <= before.frames
        assert after.frames * after.detected <= before.frames * before.detected + 1e-9
        assert all(after.encoded[urgency] <= before.encoded[urgency] for urgency in Urgency)
    assert Plan.under(0.0) == EVERYTHING == Plan(1.0, 1.0, 1.0, dict.fromkeys(Urgency, 1.0))
    assert min(PLANS[-1].encoded.values()) > 0


@given(
    st.floats(0.0, 0.01),
    st.floats(0.0001, 0.01),
    st.lists(st.integers(1, 16), min_size=3, max_size=30).filter(lambda counts: len(set(counts)) > 2),
)
def test_a_cost_is_the_line_through_its_calls(call_s: float, each_s: float, counts: list[int]) -> None:
    cost = Cost()
    for count in counts:
        cost.note(count, call_s + each_s * count)
        cost.fade(0.95)
    start_s, one_s = cost.line()
    mean_s = np.average([call_s + each_s * n for n in counts], weights=0.95 ** np.arange(len(counts))[::-1])
    mean = np.average(counts, weights=0.95 ** np.arange(len(counts))[::-1])
    assert start_s + one_s * mean == pytest.approx(mean_s)  # whatever the slope
    assert 0.5 * mean_s <= one_s * mean * (1 + 1e-9) <= mean_s * (1 + 1e-6)
    if call_s <= each_s * mean and np.std(counts) > 0.2 * mean:
        assert one_s == pytest.approx(each_s, rel=1e-3)
