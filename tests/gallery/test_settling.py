"""Visitors who are one stranger are joined when there are enough to compare with; others are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery import Gallery
from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.settling import FEWEST, same_strangers
from gaitstream.gallery.verifying import verify
from gaitstream.gallery.visiting import VisitorBook
from gaitstream.gallery.visitors import keep_apart, show_visitor, visitors
from tests.gallery.filled import MODEL
from tests.gallery.walking import RULE, book_of, sighting, windows

Floats = NDArray[np.float32]
LINKING = {MODEL: 3.0}


def crowd(*people: int) -> list[dict[str, Floats]]:
    return [{MODEL: windows(person, walk)} for walk, person in enumerate(people)]


def of_more_than_one(groups: list[list[int]]) -> list[list[int]]:
    return [group for group in groups if len(group) > 1]


def test_only_those_who_are_one_stranger_are_joined() -> None:
    everybody = crowd(*range(FEWEST), 3, 7)
    assert of_more_than_one(same_strangers(everybody, LINKING, {})) == [[3, FEWEST], [7, FEWEST + 1]]
    apart = same_strangers(everybody, LINKING, {}, apart=[(3, FEWEST)])
    assert of_more_than_one(apart) == [[7, FEWEST + 1]]
    together = same_strangers(everybody, LINKING, {}, together=[(1, 2)])
    assert of_more_than_one(together) == [[1, 2], [3, FEWEST], [7, FEWEST + 1]]


def test_a_few_walks_are_no_cohort() -> None:
    assert same_strangers(crowd(1, 2, 1), LINKING, {}) == []


def test_where_everybody_is_far_from_everybody_nobody_is_joined() -> None:
    groups = same_strangers(crowd(*range(2 * FEWEST)), LINKING, {})
    assert len(groups) == 2 * FEWEST


def test_a_model_that_not_all_have_is_left_out_where_it_is_missing() -> None:
    everybody = crowd(*range(2 * FEWEST), 3)
    for one in everybody[::2]:
        one["biggait"] = one[MODEL] + 1
    groups = same_strangers(everybody, {**LINKING, "biggait": 3.0}, {"biggait": 2.0})
    assert of_more_than_one(groups) == [[3, 2 * FEWEST]]


def strangers(book: VisitorBook) -> None:
    """Everybody once at the gate, and three of them again in the hall, all as visitors of their own."""
    book.rule = LinkRule({MODEL: 0.5})  # so strict that everybody founds a visitor each time
    book.note([sighting(person, person + 1) for person in range(FEWEST)])
    book.note([sighting(3, 500, "hall"), sighting(7, 501, "hall"), sighting(9, 502, "hall")])
    book.rule = RULE


def test_the_older_visitor_s_name_stays_and_all_walks_are_theirs(tmp_path: Path) -> None:
    with Gallery(tmp_path / "people.gallery", create=True, key="none") as gallery:
        book = book_of(gallery)
        strangers(book)
        keep_apart(gallery, "visitor-8", f"visitor-{FEWEST + 2}")
        other = book_of(gallery)
        other.follow()
        first, second = book.settle()
        assert (first.visitor, first.into, first.left) == (f"visitor-{FEWEST + 1}", "visitor-4", 0)
        assert [str(track) for track in first.tracks] == ["run/hall/500"]
        assert second.into == "visitor-10"
        assert {entry.name: entry.tracks for entry in visitors(gallery)}["visitor-4"] == 2
        assert book.settle() == other.settle() == []
        assert other.follow() == []
        assert verify(gallery) == []


def test_who_was_taken_for_somebody_else_is_told_apart_when_seen_together(tmp_path: Path) -> None:
    with Gallery(tmp_path / "people.gallery", create=True, key="none") as gallery:
        book = book_of(gallery)
        book.note([sighting(person, person + 1) for person in range(FEWEST)])
        before = {entry.name for entry in visitors(gallery)}
        book.rule = LinkRule({MODEL: 100.0})  # so wide that a newcomer goes to whoever is nearest
        book.note([sighting(FEWEST, 600, "door"), sighting(FEWEST, 601, "door")])
        book.rule = RULE
        (told,) = book.settle()
        assert (told.visitor in before, told.into in before, told.left) == (True, False, 2)
        assert [str(one.track) for one in show_visitor(gallery, told.into)[1]] == [str(told.tracks[0])]
        newcomer = [str(one.track) for one in show_visitor(gallery, told.visitor)[1]]
        assert newcomer == ["run/door/600", "run/door/601"]
        assert book.settle() == []
        assert verify(gallery) == []
