"""The planner's arithmetic, the device table, the scaling table, and what a report must hold for them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gaitstream.bench.devices import DEVICES, find_device, recognizer_gflop
from gaitstream.bench.measure import figure
from gaitstream.bench.plan import (
    HEADROOM,
    SiteLoad,
    capacity_fps,
    describe_device,
    describe_plan,
    estimate_gpus,
    estimate_host,
    make_plan,
)
from gaitstream.bench.plan_check import PlanCheck, check_report
from gaitstream.bench.plan_gallery import describe_gallery, plan_gallery
from gaitstream.bench.rates import (
    CAMERA_MIB,
    CameraScene,
    Cost,
    MachineRates,
    camera_memory_mib,
    fit_cost,
    from_report,
)
from gaitstream.bench.result import Report, Row, Suite, write_report
from gaitstream.bench.scaling import Assumptions, size_of, table
from gaitstream.cli import main
from gaitstream.errors import ConfigError
from tests.bench.test_compare import MACHINE

RATES = MachineRates(
    steps={
        "detect": Cost(frame_ms=4.0, driver="seen"),
        "track": Cost(frame_ms=1.0, driver="seen"),
        "pose": Cost(person_ms=3.0, driver="posed"),
        "gaitheat": Cost(person_ms=2.0),
    },
    decode=Cost(megapixel_ms=2.0),
    memory_mib=500.0,
    source="test",
)


def report(*rows: tuple[str, Row | list[Row]]) -> Report:
    suites = [
        Suite(name=name, title=name, rows=row if isinstance(row, list) else [row]) for name, row in rows
    ]
    return Report(command="bench", started_utc="now", machine=MACHINE, suites=suites)


def stages(people: int = 1, size: str = "1280x720") -> list[Row]:
    """The table of stages of a machine with the costs of `RATES`."""
    width, height = map(int, size.split("x"))
    scene = CameraScene.of(people, width * height / 1e6)
    setting: dict[str, str | int | float] = {"people": people, "size": size}
    counts = {name: figure([people], "people/frame") for name in ("seen", "posed", "people")}
    whole = RATES.cost_ms(scene)
    frame = counts | {
        "time": figure([whole], "ms/frame"),
        "analysed": figure([1e3 / whole], "frames/s"),
        "memory": figure([500.0], "MiB"),
    }
    times = {name: cost.at(scene) for name, cost in RATES.steps.items()} | {"decode": RATES.decode.at(scene)}
    return [Row(contender="frame", setting=setting, figures=frame)] + [
        Row(contender=name, setting=setting, figures={"time": figure([ms], "ms/frame")})
        for name, ms in times.items()
    ]


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
    plan = make_plan(SiteLoad(cameras, fps, people, "demo"), RATES)
    assert plan.load == pytest.approx(load)
    assert (plan.cameras_per_machine, plan.machines) == (fits, machines)
    assert sum(step.load for step in plan.steps) == pytest.approx(load)


@pytest.mark.parametrize(("people", "said"), [(3.0, "4 such cameras at 80%"), (12.0, "1 such camera at 80%")])
def test_how_many_cameras_a_machine_carries_is_said(people: float, said: str) -> None:
    assert f"it carries {said}" in describe_plan(make_plan(SiteLoad(4, 10, people, "demo"), RATES), RATES)


def test_a_machine_too_slow_for_one_camera_is_told_how_fast_it_had_to_be() -> None:
    plan = make_plan(SiteLoad(4, 10, 19, "demo"), RATES)
    assert "one camera takes 1.2 times its speed, all of them 5 times" in describe_plan(plan, RATES)


def test_the_largest_step_comes_first() -> None:
    plan = make_plan(SiteLoad(32, 15, 4, "demo"), RATES)
    assert [step.name for step in plan.steps] == ["pose", "gaitheat", "detect", "track"]
    assert "| pose | 12.0 | 576% |" in describe_plan(plan, RATES)


def test_the_machines_of_a_plan_are_never_loaded_beyond_the_headroom() -> None:
    for cameras in range(1, 60):
        plan = make_plan(SiteLoad(cameras, 10, 1, "demo"), RATES)
        assert plan.load / plan.machines <= HEADROOM + 1e-9


def test_one_run_gives_costs_per_frame_or_per_person() -> None:
    rates = from_report(report(("stages", stages())), "demo", "a.json")
    assert rates.cost_ms(CameraScene.of(2)) == pytest.approx(15.0)
    assert capacity_fps(rates, CameraScene.of(2)) == pytest.approx(1000 / 15)


def test_several_runs_tell_frames_pixels_and_people_apart() -> None:
    rows = [*stages(1, "640x360"), *stages(8, "640x360"), *stages(4, "1280x720")]
    rates = from_report(report(("stages", rows)), "demo", "a.json")
    for scene in (CameraScene(3, 2, 1, 0.5), CameraScene.of(6, 2.0)):
        assert rates.cost_ms(scene) == pytest.approx(RATES.cost_ms(scene))
        assert rates.decode.at(scene) == pytest.approx(RATES.decode.at(scene))


def test_the_memory_of_a_camera_is_the_steepest_rise() -> None:
    rows = [
        Row(
            contender="gaitstream",
            setting={"people": 1, "size": size, "cameras": cameras},
            figures={"memory": figure([mib], "MiB")},
        )
        for size, cameras, mib in (("a", 1, 400.0), ("a", 5, 500.0), ("b", 1, 420.0), ("b", 3, 520.0))
    ]
    assert camera_memory_mib(rows) == 50.0
    assert camera_memory_mib(rows[:1]) == CAMERA_MIB


def test_a_cost_is_never_below_zero() -> None:
    scenes = [CameraScene.of(people) for people in (1, 4, 8)]
    cost = fit_cost("pose", scenes, [1.0, 6.0, 13.0])
    assert min(cost.frame_ms, cost.megapixel_ms, cost.person_ms) >= 0
    assert cost.at(scenes[2]) == pytest.approx(13.0, rel=0.3)


def test_people_who_are_rejected_late_cost_their_pose() -> None:
    assert RATES.cost_ms(CameraScene(seen=5, posed=3, encoded=1)) == pytest.approx(4 + 1 + 3 * 3 + 2)


def test_another_recognizer_takes_the_place_of_the_packaged_one() -> None:
    fast = Row(
        contender="openvino bf16", setting={"model": "biggait"}, figures={"frame": figure([20.0], "ms")}
    )
    eager = Row(
        contender="PyTorch fp32", setting={"model": "biggait"}, figures={"frame": figure([1.0], "ms")}
    )
    found = report(("stages", stages()), ("recognizer", fast), ("recognizer", eager))
    steps = from_report(found, "biggait", "a.json").steps
    assert (steps["biggait"].person_ms, "gaitheat" in steps) == (20.0, False)


@pytest.mark.parametrize("load", [0.0, 3.0])
def test_a_plan_says_whose_rates_it_has_and_whether_other_work_disturbed_them(
    load: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = msgspec.structs.replace(MACHINE, cpu="An old CPU", cores=3, load=load)
    written = msgspec.structs.replace(report(("stages", stages())), machine=machine)
    write_report(written, tmp_path / "report.json")
    assert main(["plan", "--cameras", "2", "--rates", str(tmp_path / "report.json")]) == 0
    said = capsys.readouterr().out
    assert "report.json, of An old CPU, 3 cores" in said
    assert ("other work disturbed that measurement (load average 3 on 3 cores)" in said) == bool(load)


def test_a_report_without_the_suites_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"a\.json has no table of stages"):
        from_report(report(), "demo", "a.json")
    with pytest.raises(ConfigError, match=r"has no rate of biggait"):
        from_report(report(("stages", stages())), "biggait", "a.json")


def test_a_device_is_an_estimate_and_says_so() -> None:
    site = SiteLoad(32, 15, 4, "biggait")
    load, count = estimate_gpus(site, DEVICES["l4"])
    assert load == pytest.approx(32 * 15 * 4 * recognizer_gflop("biggait") / 1e3 / (121 * 0.25))
    assert count == 3
    said = describe_device(site, DEVICES["l4"], 0.5)
    assert said.startswith("ESTIMATE for NVIDIA L4, not measured")
    assert "host: 1920 people a second at 0.5" in said


def test_the_hosts_work_is_planned_beside_the_gpu() -> None:
    """A GPU at a few per cent helps nobody when one thread feeds it."""
    site = SiteLoad(16, 15, 10, "gaitheat")
    for person_ms, share, workers in ((0.25, 0.6, 1), (0.8, 1.92, 3)):
        load, threads = estimate_host(site, person_ms)
        assert load == pytest.approx(share)
        assert threads == workers
    said = describe_device(site, DEVICES["h200"], 0.8)
    assert "192% of one thread, 3 workers" in said
    assert "1,000 people a second at 80%" in said


@pytest.mark.parametrize("name", ["L4", "NVIDIA l4", "l40s", "H-200", "GeForce RTX 4090", "AGX Orin"])
def test_devices_are_found_by_their_usual_names(name: str) -> None:
    assert find_device(name) in DEVICES.values()


def test_an_unknown_device_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'l40'; did you mean 'l40s'"):
        find_device("l40")


def test_the_operations_of_the_recognizers_are_those_of_their_graphs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import onnx

    from gaitstream.bench.flops import graph_gflop
    from gaitstream.bench.recognizer import make_module
    from gaitstream.models.gaitheat.graphs import write_frame
    from gaitstream.zoo import find

    onnx.save(write_frame(make_module("gaitheat"), parts=2), tmp_path / "frame.onnx")
    assert graph_gflop(tmp_path / "frame.onnx") == pytest.approx(recognizer_gflop("gaitheat"), rel=0.005)
    assert graph_gflop(find("demo", "recognizer") / "frame.onnx") == pytest.approx(
        recognizer_gflop("demo"), rel=0.005
    )


@pytest.mark.slow
def test_the_operations_of_biggait_are_those_of_its_graph(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import onnx

    from gaitstream.bench.flops import graph_gflop
    from gaitstream.bench.recognizer import make_module
    from gaitstream.models.biggait.graphs import write_frame

    onnx.save(write_frame(make_module("biggait")), tmp_path / "frame.onnx")
    assert graph_gflop(tmp_path / "frame.onnx") == pytest.approx(recognizer_gflop("biggait"), rel=0.005)


@pytest.mark.parametrize(("predicted", "holds"), [(81, True), (119, True), (79, False), (130, False)])
def test_a_check_is_within_a_fifth_or_not(predicted: float, holds: bool) -> None:
    check = PlanCheck("somebody", predicted, 100.0)
    assert check.holds == holds
    assert ("NOT within" in str(check)) != holds


def test_a_machine_that_analysed_nothing_fails_its_check() -> None:
    check = PlanCheck("somebody", 100.0, 0.0)
    assert not check.holds
    assert "measured 0.0: +inf%, NOT within" in str(check)


def test_predictions_stand_beside_the_saturated_rows() -> None:
    setting: dict[str, str | int | float] = {"people": 4, "size": "1280x720", "cameras": 8}
    counts = {name: figure([2.0], "people/frame") for name in ("seen", "posed", "people")}
    speed = {"analysed": figure([60.0], "frames/s", "higher")}
    full = Row(contender="gaitstream", setting=setting, figures=counts | speed, note="saturated: the CPU")
    easy = Row(contender="gaitstream", setting=setting, figures=counts | speed, note="keeps up")
    (check,) = check_report(RATES, report(("pipeline", [full, easy])))
    assert check.predicted_fps == pytest.approx(1000 / 15)
    assert (check.measured_fps, check.holds) == (60.0, True)


def test_everything_but_the_gallery_grows_with_the_cameras() -> None:
    given = Assumptions(probe_ms_per_person=0.01)
    ten, hundred = size_of(10, RATES, given), size_of(100, RATES, given)
    assert hundred.video_mbps == 10 * ten.video_mbps
    assert hundred.embeddings == pytest.approx(10 * ten.embeddings)
    assert hundred.events == pytest.approx(10 * ten.events)
    assert size_of(100_000, RATES, given).persons == given.persons_most
    assert table([ten, hundred]).count("\n") == 3


def test_the_table_takes_for_a_gallery_what_the_plan_takes() -> None:
    sizes = [size_of(cameras, RATES, Assumptions()) for cameras in (10, 100_000)]
    for size in sizes:
        assert size.gallery_mib == plan_gallery(size.persons).memory_bytes / 2**20


@pytest.mark.parametrize(
    ("persons", "gib", "shards", "said"),
    [
        (10_000, 16, 1, "they fit one machine"),
        (1_000_000, 16, 4, "share them out over 4"),
        (10_000_000, 512, 10, "share them out over 10"),  # by the most rows of one table
        (10_000_000, 0.25, 2499, "gallery.shards takes 1024"),
    ],
)
def test_a_gallery_that_does_not_fit_is_shared_out(persons: int, gib: float, shards: int, said: str) -> None:
    plan = plan_gallery(persons, machine_bytes=int(gib * 2**30))
    assert plan.shards == shards
    assert said in describe_gallery(plan)
    assert plan.memory_bytes == pytest.approx(persons * 4 * 16 * 256 * 2, rel=0.05)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--cameras", "9" * 5000, "is not a whole number from 1 to 1000000"),
        ("--enrolled", "9" * 400, "is not a number of people: 0 to 10000000000"),
        ("--enrolled", "-1", "is not a number of people: 0 to 10000000000"),
        ("--memory", "1e-12", "GiB is less than a machine has: give 0.125 or more"),
        ("--size", "9" * 5000 + "x1", "is not a size"),
    ],
)
def test_a_figure_beyond_reason_is_named(
    option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of other units, and those that no computer divides."""
    with pytest.raises(SystemExit):
        main(["plan", "--cameras", "3", f"{option}={value}"])
    assert said in capsys.readouterr().err
