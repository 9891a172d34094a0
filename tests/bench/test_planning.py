"""The planner's arithmetic, the device table, the scaling table, and what a report must hold for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitstream.bench.devices import DEVICES, GFLOP, find_device
from gaitstream.bench.measure import figure
from gaitstream.bench.plan import (
    HEADROOM,
    Site,
    capacity_fps,
    describe_device,
    describe_plan,
    estimate_gpus,
    make_plan,
)
from gaitstream.bench.plan_check import Check
from gaitstream.bench.rates import Rates, from_report
from gaitstream.bench.result import Report, Row, Suite
from gaitstream.bench.scaling import Assumptions, size_of, table
from gaitstream.errors import ConfigError
from tests.bench.test_compare import MACHINE

RATES = Rates(
    frame_ms={"detect": 4.0, "track": 1.0},
    person_ms={"pose": 3.0, "gaitheat": 2.0},
    memory_mib=500.0,
    source="test",
)


def report(*rows: tuple[str, Row]) -> Report:
    suites = [Suite(name=name, title=name, rows=[row]) for name, row in rows]
    return Report(command="bench", started_utc="now", machine=MACHINE, suites=suites)


def unpaced() -> Row:
    return Row(
        contender="gaitstream, unpaced",
        figures={
            "detect": figure([4.0], "ms/frame"),
            "track": figure([1.0], "ms/frame"),
            "pose": figure([3.0], "ms/person"),
            "gaitheat": figure([2.0], "ms/person"),
            "memory": figure([500.0], "MiB"),
        },
    )


@pytest.mark.parametrize(
    ("cameras", "fps", "people", "load", "fits", "machines"),
    [
        (1, 10.0, 1.0, 0.1, 8, 1),
        (16, 10.0, 1.0, 1.6, 8, 2),
        (17, 10.0, 1.0, 1.7, 8, 3),
        (4, 10.0, 19.0, 4.0, 0, 5),
    ],
)
def test_a_plan(cameras: int, fps: float, people: float, load: float, fits: int, machines: int) -> None:
    plan = make_plan(Site(cameras, fps, people, "demo"), RATES)
    assert plan.load == pytest.approx(load)
    assert (plan.cameras_per_machine, plan.machines) == (fits, machines)
    assert sum(step.load for step in plan.steps) == pytest.approx(load)


def test_the_largest_step_comes_first() -> None:
    plan = make_plan(Site(32, 15, 4, "demo"), RATES)
    assert [step.name for step in plan.steps] == ["pose", "gaitheat", "detect", "track"]
    assert "| pose | 3.00 ms a person | 576% |" in describe_plan(plan, RATES)


def test_the_machines_of_a_plan_are_never_loaded_beyond_the_headroom() -> None:
    for cameras in range(1, 60):
        plan = make_plan(Site(cameras, 10, 1, "demo"), RATES)
        assert plan.load / plan.machines <= HEADROOM + 1e-9


def test_rates_come_from_the_unpaced_row() -> None:
    rates = from_report(report(("pipeline", unpaced())), "demo", "a.json")
    assert rates.cost_ms(2) == pytest.approx(15.0)
    assert capacity_fps(rates, 2) == pytest.approx(1000 / 15)


def test_another_recognizer_takes_the_place_of_the_packaged_one() -> None:
    fast = Row(
        contender="openvino bf16", setting={"model": "biggait"}, figures={"frame": figure([20.0], "ms")}
    )
    eager = Row(
        contender="PyTorch fp32", setting={"model": "biggait"}, figures={"frame": figure([1.0], "ms")}
    )
    found = report(("pipeline", unpaced()), ("recognizer", fast), ("recognizer", eager))
    assert from_report(found, "biggait", "a.json").person_ms == {"pose": 3.0, "biggait": 20.0}


def test_a_report_without_the_suites_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"a\.json has no pipeline suite"):
        from_report(report(), "demo", "a.json")
    with pytest.raises(ConfigError, match=r"has no rate of biggait"):
        from_report(report(("pipeline", unpaced())), "biggait", "a.json")


def test_a_device_is_an_estimate_and_says_so() -> None:
    site = Site(32, 15, 4, "biggait")
    load, count = estimate_gpus(site, DEVICES["l4"])
    assert load == pytest.approx(32 * 15 * 4 * GFLOP["biggait"] / 1e3 / (121 * 0.25))
    assert count == 3
    assert describe_device(site, DEVICES["l4"]).startswith("ESTIMATE for NVIDIA L4, not measured")


@pytest.mark.parametrize("name", ["L4", "NVIDIA l4", "l40s", "H-200"])
def test_devices_are_found_by_their_usual_names(name: str) -> None:
    assert find_device(name) in DEVICES.values()


def test_an_unknown_device_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'l40'; did you mean 'l40s'"):
        find_device("l40")


def test_the_operations_of_the_recognizers_are_those_of_their_graphs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import onnx

    from gaitstream.bench.recognizer import graph_gflop, make_module
    from gaitstream.export.gaitheat_graph import write_frame
    from gaitstream.zoo import resolve

    onnx.save(write_frame(make_module("gaitheat"), parts=2), tmp_path / "frame.onnx")
    assert graph_gflop(tmp_path / "frame.onnx") == pytest.approx(GFLOP["gaitheat"], rel=0.005)
    assert graph_gflop(resolve("demo", "gaitheat") / "frame.onnx") == pytest.approx(GFLOP["demo"], rel=0.005)


@pytest.mark.slow
def test_the_operations_of_biggait_are_those_of_its_graph(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import onnx

    from gaitstream.bench.recognizer import graph_gflop, make_module
    from gaitstream.export.biggait_graph import write_frame

    onnx.save(write_frame(make_module("biggait")), tmp_path / "frame.onnx")
    assert graph_gflop(tmp_path / "frame.onnx") == pytest.approx(GFLOP["biggait"], rel=0.005)


@pytest.mark.parametrize(("predicted", "holds"), [(81, True), (119, True), (79, False), (130, False)])
def test_a_check_is_within_a_fifth_or_not(predicted: float, holds: bool) -> None:
    check = Check(3.0, predicted, 100.0)
    assert check.holds == holds
    assert ("NOT within" in str(check)) != holds


def test_everything_but_the_gallery_grows_with_the_cameras() -> None:
    given = Assumptions(probe_ms_per_person=0.01)
    ten, hundred = size_of(10, RATES, given), size_of(100, RATES, given)
    assert hundred.video_mbps == 10 * ten.video_mbps
    assert hundred.embeddings == pytest.approx(10 * ten.embeddings)
    assert hundred.events == pytest.approx(10 * ten.events)
    assert size_of(100_000, RATES, given).persons == given.persons_most
    assert table([ten, hundred]).count("\n") == 3
