from __future__ import annotations

from gaitstream.fleet.load import Capacity, Load, LoadMeter
from gaitstream.telemetry.stats import Snapshot, Stats

EASY = Load(fps=30, lag_ms=50)
LATE = Load(fps=30, lag_ms=5000)
DROPPING = Load(fps=10, lag_ms=500, dropped=0.4)


def advance(
    stats: Stats, seconds: float, analysed: int, dropped: int, people: int, lag_ms: float
) -> Snapshot:
    camera = stats.camera("gate")
    camera.analysed += analysed
    camera.dropped += dropped
    camera.person_frames += people * analysed
    for _ in range(analysed):
        camera.latency.observe(lag_ms)
    snapshot = stats.snapshot()
    snapshot.uptime_s = seconds
    return snapshot


def test_load_is_measured_between_two_snapshots() -> None:
    stats, meter = Stats(), LoadMeter(lambda _: 15.0)
    assert meter.measure(advance(stats, 1, 500, 500, 9, 9000), ["gate"]) == Load()
    load = meter.measure(advance(stats, 6, 60, 20, 2, 90), ["gate"])
    assert load.fps == 12.0
    assert load.people == 2.0
    assert load.dropped == 0.25
    assert 50 <= load.lag_ms <= 100


def test_a_camera_weighs_what_was_wanted_and_not_what_was_managed() -> None:
    stats, meter = Stats(), LoadMeter(lambda _: 15.0)
    meter.measure(advance(stats, 1, 0, 0, 0, 1), ["gate"])
    meter.measure(advance(stats, 6, 10, 60, 3, 90), ["gate"])
    assert meter.weights["gate"] == 2.0


def test_cameras_of_others_do_not_count() -> None:
    stats, meter = Stats(), LoadMeter(lambda _: None)
    meter.measure(advance(stats, 1, 0, 0, 0, 1), [])
    assert meter.measure(advance(stats, 6, 10, 60, 3, 90), ["other"]) == Load()


def test_capacity_shrinks_after_three_bad_measurements_in_a_row_and_not_before() -> None:
    capacity = Capacity(20, 8, max_lag_ms=2000)
    assert [capacity.learn(load, 10) for load in (LATE, DROPPING, EASY, LATE, LATE)] == [False] * 5
    assert capacity.now == 20
    assert capacity.learn(DROPPING, 10)
    assert capacity.now == 9


def test_a_worker_that_is_overloaded_for_long_goes_on_carrying_something() -> None:
    capacity, small = Capacity(4, 4, max_lag_ms=2000), Capacity(0.5, 4, max_lag_ms=2000)
    for _ in range(300):
        capacity.learn(DROPPING, 20)
        small.learn(DROPPING, 20)
    assert (capacity.now, small.now) == (1, 0.5)


def test_capacity_grows_where_it_is_full_and_easy_but_not_beyond_what_was_told() -> None:
    told, found = Capacity(10, 8, 2000), Capacity(None, 8, 2000)
    for _ in range(9):
        told.learn(EASY, 10)
        found.learn(EASY, found.now)
    assert told.now == 10
    assert found.now == 11
    found.learn(EASY, 1)
    assert found.now == 11
