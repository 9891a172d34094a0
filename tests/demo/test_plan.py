"""The plan gives everybody a fair enrolment: geometry only, no picture is rendered."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from gaitstream.cli import build_parser
from gaitstream.cli.commands.synth import plan_of
from gaitstream.demo.plan import FPS, DemoPlan
from gaitstream.demo.run import DemoOptions, _paced
from gaitstream.synth import SyntheticCamera
from gaitstream.synth.address import parse_address, to_url

SIDES = ("front", "left", "back", "right")
EVERY = 3
"""Frames from one look to the next."""


def seconds_by_side(camera: SyntheticCamera, seconds: float) -> dict[str, float]:
    """How long the only person walks wholly in the picture, by the side the camera sees."""
    walker, size = camera.world.walkers[0], np.array([camera.width, camera.height])
    seen = dict.fromkeys(SIDES, 0.0)
    for frame in range(0, round(seconds * FPS), EVERY):
        truth = camera.truth(frame)
        if not len(truth.people) or not truth.walking[0]:
            continue
        box = truth.boxes[0]
        if (box[:2] < 2).any() or (box[2:] > size - 2).any():
            continue
        joints, _ = walker.joints(np.array([0.0, 0.2]) + frame / FPS)
        now, later = joints.mean(axis=1)[:, :2]
        ahead, towards = later - now, np.array(camera.camera.position[:2]) - now
        turned = np.degrees(np.arctan2(np.cross([*ahead, 0], [*towards, 0])[2], ahead @ towards))
        seen[SIDES[int((turned + 45) % 360 // 90)]] += EVERY / FPS
    return seen


@pytest.mark.parametrize("person", range(DemoPlan().enrolled))
def test_everybody_is_enrolled_from_all_sides(person: int) -> None:
    plan = DemoPlan()
    camera = SyntheticCamera(plan.enrolment(person))
    assert camera.world.names == (plan.names[person],)
    assert camera.world.walkers[0].schedule.period < plan.enrol_seconds
    seen = seconds_by_side(camera, plan.enrol_seconds)
    assert min(seen.values()) >= 1.5, seen


def test_the_probe_cameras_are_others_and_the_clothes_too() -> None:
    plan = DemoPlan()
    enrolment, live = plan.enrolment(0), [plan.camera(number, 0) for number in plan.cameras]
    assert enrolment.camera == plan.cameras[0]
    assert len({address.camera for address in live}) == len(plan.cameras) == 3
    assert all(address.day != enrolment.day for address in live)
    looks = [SyntheticCamera(one).world.walkers[0].appearance for one in (enrolment, live[0])]
    assert looks[0] != looks[1]


def test_strangers_are_never_enrolled() -> None:
    plan = DemoPlan()
    enrolled = {SyntheticCamera(plan.enrolment(index)).world.names[0] for index in range(plan.enrolled)}
    assert len(plan.names) == plan.people == 8
    assert enrolled == set(plan.names[:5])


def test_who_walks_on_is_seen_from_where_they_were() -> None:
    plan = DemoPlan()
    again = parse_address(to_url(plan.enrolment(2, attempt=1)))
    assert again.start == plan.enrol_seconds
    assert again.only == (2,)


@pytest.mark.parametrize(
    ("words", "live"),
    [([], True), (["--wait"], False), (["--console"], False), (["--console", "--no-wait"], True)],
)
def test_cameras_wait_where_it_was_asked_for_and_for_the_console(words: list[str], live: bool) -> None:
    assert plan_of(build_parser().parse_args(["demo", *words])).live is live


@pytest.mark.parametrize(
    ("enrolment_s", "may_wait", "live"), [(10.0, True, True), (60.0, True, False), (60.0, False, True)]
)
def test_live_cameras_wait_for_a_machine_that_is_too_slow(
    enrolment_s: float, may_wait: bool, live: bool, tmp_path: Path
) -> None:
    said = StringIO()
    options = DemoOptions(DemoPlan(), tmp_path, may_wait=may_wait)
    assert _paced(options, enrolment_s, Console(file=said, width=80)).plan.live is live
    assert ("wait for the machine" in " ".join(said.getvalue().split())) is not live
