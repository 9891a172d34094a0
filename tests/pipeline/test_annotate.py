"""Captions over live pictures: each can be read."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from gaitstream.data import Decision, Person, Status
from gaitstream.pipeline.annotate import COLOURS, Box, draw, place_captions

SHAPE = (180, 320)


@pytest.mark.parametrize(
    "box", [(100, 60, 160, 150), (-30, -20, 40, 90), (280, 100, 340, 200), (100, 0, 150, 180)]
)
def test_captions_of_people_in_one_place_hide_nothing_and_stay_in_the_picture(box: Box) -> None:
    shifted = [(box[0] + 7 * n, box[1] - 3 * n, box[2] + 7 * n, box[3] - 3 * n) for n in range(4)]
    places = place_captions(shifted, [(80, 16)] * 4, SHAPE)
    for x1, y1, x2, y2 in places:
        assert (x2 - x1, y2 - y1) == (80, 16)
        assert 0 <= x1 < x2 <= SHAPE[1]
        assert 0 <= y1 < y2 <= SHAPE[0]
    for one, other in combinations(places, 2):
        apart_x = one[2] <= other[0] or other[2] <= one[0]
        apart_y = one[3] <= other[1] or other[3] <= one[1]
        assert apart_x or apart_y


def test_a_caption_lies_above_its_box_where_it_can() -> None:
    assert place_captions([(100, 60, 160, 150)], [(80, 16)], SHAPE) == [(100, 44, 180, 60)]
    assert place_captions([(100, 5, 160, 150)], [(80, 16)], SHAPE) == [(100, 0, 180, 16)]


def test_a_crowd_without_room_still_gets_every_caption() -> None:
    places = place_captions([(0, 0, 30, 10)] * 50, [(80, 16)] * 50, (20, 90))
    assert len(places) == 50


def test_names_are_placed_before_all_else() -> None:
    blank = np.full((*SHAPE, 3), 255, np.uint8)
    box = np.array([100, 60, 160, 150], np.float32)
    people = [Person("cam1", track, 0, 0, box, 0.9) for track in (1, 2)]
    said = {1: Status.UNKNOWN, 2: Status.KNOWN}
    labels = {
        track: Decision(
            "cam1", track, 0, 0, status, "Ada" if track == 2 else None, 0.5, None, 0.8, 30, 1, False, False,
            None, box,
        )
        for track, status in said.items()
    }  # fmt: skip
    picture = draw(blank, people, labels)
    above = picture[48, 102:160]
    assert (above == COLOURS[Status.KNOWN]).all(-1).any()
    assert not (above == COLOURS[Status.UNKNOWN]).all(-1).any()
    assert (blank == 255).all()
