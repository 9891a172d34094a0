"""People drawn as coloured boxes who meet, hide each other, leave and come back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from gaitstream.config.track_sections import Tracking
from gaitstream.data import Detections, Image
from gaitstream.pipeline.associate import EMPTY, FAR, margins
from gaitstream.pipeline.source.clock import SECOND_NS
from gaitstream.pipeline.track import CameraTracker, Tracked

SIZE = (640, 360)
FPS = 15
WIDE, TALL = 50, 150
RED, BLUE, GREEN = (40, 40, 200), (200, 60, 40), (60, 160, 60)

Look = tuple[int, int, tuple[int, int, int]]
"""Left edge, lower edge, colour."""


class Scene:
    """Draws people from far to near and feeds a tracker their boxes."""

    def __init__(self, tracking: Tracking | None = None, *, pictures: bool = True) -> None:
        self.tracker = CameraTracker("a", tracking or Tracking(algorithm="appearance"), FPS)
        self.pictures = pictures
        self.index = 0
        self.joined: list[tuple[int, int]] = []
        self.seen: set[int] = set()
        self._rng = np.random.default_rng(0)

    def show(self, people: Sequence[Look], hidden: Sequence[int] = ()) -> dict[tuple[int, int, int], int]:
        """One frame; those at the places `hidden` are not detected. Track by colour."""
        found = [look for place, look in enumerate(people) if place not in hidden]
        boxes = np.array([[x, y - TALL, x + WIDE, y] for x, y, _ in found], np.float32).reshape(-1, 4)
        boxes += self._rng.normal(0, 1.5, boxes.shape).astype(np.float32)
        tracked = self.tracker.update(
            self.index,
            self.index * SECOND_NS // FPS,
            SIZE,
            Detections(boxes, np.full(len(found), 0.9, np.float32)),
            draw(people) if self.pictures else None,
        )
        self.index += 1
        self.joined += tracked.joined
        self.seen.update(person.track for person in tracked.persons)
        return _by_colour(tracked, boxes, found)


def draw(people: Sequence[Look]) -> Image:
    """A grey floor with everybody as a box of one colour, the nearest last."""
    image = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
    for x, y, colour in sorted(people, key=lambda look: look[1]):
        image[max(y - TALL, 0) : y, max(x, 0) : x + WIDE] = colour
    return image


def _by_colour(tracked: Tracked, boxes: np.ndarray, found: Sequence[Look]) -> dict[tuple[int, int, int], int]:
    """Whose track it is, by the box that is the same."""
    owners = {tuple(box): look[2] for box, look in zip(boxes.tolist(), found, strict=True)}
    return {owners[tuple(person.box.tolist())]: person.track for person in tracked.persons}


def meet_and_turn_back(
    scene: Scene,
) -> tuple[dict[tuple[int, int, int], int], dict[tuple[int, int, int], int]]:
    """Two walk towards each other; one is hidden for a while; both go back. Tracks before and after."""
    near, far = 300, 290
    before: dict[tuple[int, int, int], int] = {}
    for step in range(30):  # where they touch, boxes may be shown as nobody's
        before = scene.show([(100 + 6 * step, near, RED), (460 - 6 * step, far, BLUE)]) or before
    for _ in range(8):
        scene.show([(280, near, RED), (280, far, BLUE)], hidden=[1])
    for step in range(30):
        after = scene.show([(276 - 6 * step, near, RED), (284 + 6 * step, far, BLUE)])
    return before, after


def test_people_who_meet_and_turn_back_keep_their_tracks_by_their_clothes() -> None:
    before, after = meet_and_turn_back(Scene())
    assert before[RED] != before[BLUE]
    assert after == before


def test_by_motion_alone_they_would_pass_through_each_other() -> None:
    before, after = meet_and_turn_back(Scene(pictures=False))
    assert after[RED] != before[RED]


def test_a_box_that_may_be_either_of_two_is_shown_as_nobodys() -> None:
    scene, apart = Scene(), [(200, 300, RED), (240, 300, RED)]
    for _ in range(10):
        before = scene.show(apart)
    assert scene.show([(220, 300, RED)]) == {}
    assert scene.show(apart) == before


def test_who_is_known_by_the_clothes_is_shown_before_somebody_hidden() -> None:
    scene = Scene()
    for _ in range(15):
        before = scene.show([(200, 300, RED), (240, 290, BLUE)])
    assert scene.show([(215, 300, RED), (225, 290, BLUE)], hidden=[1]) == {RED: before[RED]}


def test_margins_are_what_the_next_best_assignment_costs() -> None:
    cost, first, second = np.array([[1.0, 9.0], [2.0, 2.5], [8.0, 3.0]]), np.array([0]), np.array([0, 1])
    # The first box as the second track's, the first track without: 2 + (1 + EMPTY), where 1 + 2.5 was best.
    # The second as the third track's, which had none: 3 in place of 2.5.
    np.testing.assert_allclose(margins(cost, second, second), [2 + 1 + EMPTY - 3.5, 0.5])
    # The second as the first track's, the second with the first box: 9 + 2.
    np.testing.assert_allclose(margins(cost[:2], second, second), [2 + 1 + EMPTY - 3.5, 9 + 2 - 3.5])
    assert margins(cost[:1], first, first)[0] > FAR


def test_a_flash_of_light_ends_no_track() -> None:
    scene, dark, bright = Scene(), (30, 30, 30), (220, 220, 220)
    shades = [dark] * 20 + [bright] * 3 + [dark] * 10
    tracks = [scene.show([(100 + 5 * step, 300, shade)]) for step, shade in enumerate(shades)]
    assert {track for found in tracks[1:] for track in found.values()} == {1}
    assert all(tracks[1:])


def test_somebody_behind_another_is_waited_for_longer_than_somebody_gone() -> None:
    scene = Scene(Tracking(algorithm="appearance", lost_s=0.5))
    for _ in range(10):
        before = scene.show([(200, 300, RED), (215, 290, BLUE), (500, 300, GREEN)])
    for _ in range(15):
        scene.show([(200, 300, RED), (215, 290, BLUE), (500, 300, GREEN)], hidden=[1, 2])
    for _ in range(5):
        after = scene.show([(200, 300, RED), (215, 290, BLUE), (500, 300, GREEN)])
    assert after[BLUE] == before[BLUE]
    assert after[GREEN] != before[GREEN]


@pytest.mark.parametrize(("seconds", "is_another"), [(0.9, False), (3.2, True), (9 * 3600, True)])
def test_a_time_without_pictures_ends_every_track(seconds: float, is_another: bool) -> None:
    """A camera that was away, or one that records motion alone: in the same place stands somebody else."""
    scene = Scene()
    for _ in range(10):
        before = scene.show([(200, 300, RED)])
    scene.index += round(seconds * FPS)
    for _ in range(10):
        after = scene.show([(200, 300, RED)])
    assert (after != before) is is_another


def come_back(scene: Scene, colour: tuple[int, int, int], others: Sequence[Look] = ()) -> tuple[int, int]:
    """Somebody red leaves for two seconds and somebody of a colour comes: the tracks of both."""
    for _ in range(20):
        before = scene.show([(100, 300, RED), *others])
    for _ in range(30):
        scene.show(others)
    for _ in range(20):
        after = scene.show([(400, 300, colour), *others])
    return before[RED], after[colour]


def test_who_comes_back_is_told_by_the_clothes() -> None:
    scene = Scene()
    before, after = come_back(scene, RED)
    assert after != before
    assert scene.joined == [(after, before)]


def test_somebody_in_other_clothes_is_somebody_else() -> None:
    scene = Scene()
    come_back(scene, BLUE)
    assert scene.joined == []


def test_who_is_still_there_has_not_come_back() -> None:
    """Two wear the same; one of them leaves: who comes may be either, but one of the two stands here."""
    scene = Scene()
    for _ in range(20):
        scene.show([(100, 300, RED), (500, 300, RED)])
    for _ in range(30):
        scene.show([(500, 300, RED)])
    for _ in range(20):
        scene.show([(300, 300, BLUE), (500, 300, RED)])
    assert scene.joined == []


def test_without_anybody_nothing_is_followed() -> None:
    scene = Scene()
    assert scene.show([]) == {}
    assert not scene.tracker.follows
    scene.show([(100, 300, RED)])
    assert scene.tracker.follows


@pytest.mark.parametrize("pictures", [True, False])
def test_the_same_frames_give_the_same_tracks(pictures: bool) -> None:
    assert meet_and_turn_back(Scene(pictures=pictures)) == meet_and_turn_back(Scene(pictures=pictures))


def test_a_track_is_joined_only_once_it_was_shown() -> None:
    """In this crowd one counts from a doubtful box on, which is nobody's, when it is found to go on."""
    rng = np.random.default_rng(180)
    scene = Scene(Tracking(algorithm="appearance", min_hits=int(rng.choice([6, 8, 11, 12, 2, 21]))))
    scene._rng = rng
    people: list[list[int]] = [
        [
            int(rng.integers(0, 590)),
            int(rng.integers(200, 340)),
            int(rng.integers(-8, 9)),
            int(rng.integers(0, 2)),
            0,
        ]
        for _ in range(5)
    ]
    for _ in range(120):
        for one in people:
            one[0] += one[2]
            one[2] = -one[2] if not 0 <= one[0] <= 590 else one[2]
            one[4] = int(rng.integers(5, 60)) if rng.random() < 0.03 else one[4]
            one[4] = max(0, one[4] - 1)
        looks = [(x, y, (RED, BLUE)[colour]) for x, y, _, colour, away in people if not away]
        scene.show(looks)
    assert {track for pair in scene.joined for track in pair} <= scene.seen
