"""Visitors who are one stranger are joined when there are enough to compare with; others are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery import Gallery
from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.settling import FEWEST, same_strangers
from gaitstream.gallery.verifying import verify
from gaitstream.gallery.visitors import keep_apart, visitors
from tests.gallery.filled import MODEL
from tests.gallery.walking import book_of, sighting, windows

Floats = NDArray[np.float32]


def crowd(*people: int) -> list[dict[str, Floats]]:
    return [{MODEL: windows(person, walk)} for walk, person in enumerate(people)]


def test_only_those_who_are_one_stranger_are_joined() -> None:
    everybody = [*range(FEWEST), 3, 7]
    assert same_strangers(crowd(*everybody), {}) == [[3, FEWEST], [7, FEWEST + 1]]
    assert same_strangers(crowd(*everybody), {}, [(3, FEWEST)]) == [[7, FEWEST + 1]]


def test_a_few_visitors_are_no_cohort() -> None:
    assert same_strangers(crowd(1, 2, 1), {}) == []


def test_a_model_that_not_all_have_is_left_out_where_it_is_missing() -> None:
    everybody = crowd(*range(FEWEST), 3)
    for one in everybody[::2]:
        one["biggait"] = one[MODEL] + 1
    assert same_strangers(everybody, {"biggait": 2.0}) == [[3, FEWEST]]


def test_the_older_visitor_s_name_stays_and_all_walks_are_theirs(tmp_path: Path) -> None:
    with Gallery(tmp_path / "people.gallery", create=True, key="none") as gallery:
        book = book_of(gallery)
        book.rule = LinkRule({MODEL: 0.5})  # so strict that everybody founds a visitor each time
        book.note([sighting(person, person + 1) for person in range(FEWEST)])
        book.note([sighting(3, 500, "hall"), sighting(7, 501, "hall"), sighting(9, 502, "hall")])
        keep_apart(gallery, "visitor-8", f"visitor-{FEWEST + 2}")
        other = book_of(gallery)
        other.follow()
        first, second = book.settle()
        assert (first.visitor, first.into) == (f"visitor-{FEWEST + 1}", "visitor-4")
        assert [str(track) for track in first.tracks] == ["run/hall/500"]
        assert second.into == "visitor-10"
        assert {entry.name: entry.tracks for entry in visitors(gallery)}["visitor-4"] == 2
        assert book.settle() == other.settle() == []
        assert other.follow() == []
        assert verify(gallery) == []
