"""Heights, regions and reasons: set where enough was seen, said where it was not."""

from __future__ import annotations

from gaitstream.data import Reason
from gaitstream.pipeline.verdict import SMALL_PX
from gaitstream.telemetry.display import HINTS
from gaitstream.tune.finding import Finding
from gaitstream.tune.people import ENOUGH_PEOPLE, advise_people
from gaitstream.tune.places import ENOUGH_WALKS, USELESS_TRACKS, advise_regions
from tests.tune.sites import SIZE, camera, site, walk

HEIGHT = ("cameras", 0, "thresholds", "min_height_px")


def settings(found: list[Finding]) -> dict[object, object]:
    return {one.at: one.value for one in found if one.value is not None}


def test_frames_of_small_people_go_where_every_walk_can_spare_them() -> None:
    seen = site()
    for _ in range(ENOUGH_PEOPLE):
        walk(seen.cameras["gate"], 60, [70.0] * 20 + [150.0] * 40)
    found = list(advise_people(seen))
    assert settings(found) == {HEIGHT: SMALL_PX}
    assert "70 to 150 px" in found[0].said


def test_the_limit_rises_only_as_far_as_walks_still_fill_a_window() -> None:
    seen = site()
    for _ in range(ENOUGH_PEOPLE):
        walk(seen.cameras["gate"], 60, [66.0] * 20 + [74.0] * 40)
    [limit] = settings(list(advise_people(seen))).values()
    assert isinstance(limit, float)
    assert 66 < limit <= 74


def test_a_limit_that_would_cost_walks_is_not_set() -> None:
    seen = site()
    for _ in range(ENOUGH_PEOPLE):
        walk(seen.cameras["gate"], 40, [66.0] * 20 + [150.0] * 20)
    assert settings(list(advise_people(seen))) == {}


def test_a_limit_of_the_file_is_never_lowered() -> None:
    seen = site(camera(thresholds={"min_height_px": 120}))
    for _ in range(ENOUGH_PEOPLE):
        walk(seen.cameras["gate"], 60, 300.0)
    assert settings(list(advise_people(seen))) == {}


def test_after_few_people_nothing_is_set_and_it_is_said() -> None:
    seen = site()
    for _ in range(ENOUGH_PEOPLE - 1):
        walk(seen.cameras["gate"], 60, 300.0)
    found = [*advise_people(seen), *advise_regions(seen)]
    assert settings(found) == {}
    assert any("9 tracks are too few to set it" in one.said for one in found)
    assert any("regions: 9 tracks with evidence are too few" in one.said for one in found)


def test_a_camera_that_sees_nobody_and_one_that_sees_flicker_say_so() -> None:
    seen = site(camera("gate"), camera("hall"))
    walk(seen.cameras["gate"], 3)
    [one] = advise_people(seen)
    assert "nobody was seen" in one.said
    assert "1 tracks were too short" in one.said


def test_small_people_ask_for_resolution_not_for_a_lower_limit() -> None:
    seen = site()
    for _ in range(ENOUGH_PEOPLE):
        walk(seen.cameras["gate"], 60, 42.5, reason=Reason.TOO_SMALL)
    found = list(advise_people(seen))
    assert settings(found) == {}
    assert "2.0 times the resolution" in found[0].said
    assert any(HINTS[Reason.TOO_SMALL] in one.said and "100%" in one.said for one in found)


def test_a_side_where_people_are_never_evidence_is_left_out() -> None:
    seen = site()
    for _ in range(ENOUGH_WALKS):
        walk(seen.cameras["gate"], 40, feet=(400.0, 300.0))
    for _ in range(USELESS_TRACKS):
        walk(seen.cameras["gate"], 30, 40.0, feet=(400.0, 90.0), reason=Reason.TOO_SMALL)
    found = settings(list(advise_regions(seen)))
    top = int(300 - 0.02 * SIZE[1])
    assert found == {
        ("cameras", 0, "regions"): [[[0, top], [640, top], [640, 360], [0, 360]]],
        ("cameras", 0, "region_size"): [640, 360],
    }


def test_no_region_where_everybody_gives_evidence_or_the_file_has_one() -> None:
    own = [[(0, 0), (640, 0), (640, 360)]]
    for entry in (camera(), camera(regions=own)):
        seen = site(entry)
        for number in range(ENOUGH_WALKS):
            walk(seen.cameras["gate"], 40, feet=(30.0 * number, 300.0))
        for _ in range(USELESS_TRACKS if entry.regions else USELESS_TRACKS - 1):
            walk(seen.cameras["gate"], 30, 40.0, feet=(400.0, 90.0), reason=Reason.TOO_SMALL)
        assert settings(list(advise_regions(seen))) == {}
