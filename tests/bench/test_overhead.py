"""The measurement of what the pipeline costs outside its engines runs the real stages."""

from __future__ import annotations

from gaitstream.bench import device_overhead
from gaitstream.bench.overhead import rows


def test_every_step_is_measured_and_the_sum_is_of_the_outer_ones() -> None:
    found = {row.contender: row for row in rows(quick=True)}
    cost = {name: row.figures["overhead"].median for name, row in found.items()}
    outer = [name for name, row in found.items() if not row.note and name != "sum"]
    assert {"convert", "detect", "track", "evidence", "recogniser crop", "pool"} == set(outer)
    assert all(value > 0 for value in cost.values())
    assert found["convert"].floor["overhead"] > 0
    assert "overhead" not in found["judge"].floor
    assert 0.5 * cost["sum"] < sum(cost[name] for name in outer) < 2 * cost["sum"]


def test_the_hosts_work_for_a_gpu_is_measured_over_the_whole_way() -> None:
    found = device_overhead.rows(quick=True)
    cost = {
        row.contender.removeprefix(device_overhead.PREFIX): row.figures["overhead"].median for row in found
    }
    assert cost.keys() == {*device_overhead.STEPS, "sum"}
    assert all(value > 0 for value in cost.values())
    parts = sum(value for name, value in cost.items() if name != "sum")
    assert 0.5 * cost["sum"] < parts < 2 * cost["sum"]
    assert device_overhead.host_ms(found) == cost["sum"]
    assert device_overhead.host_ms(found[:-1]) is None
