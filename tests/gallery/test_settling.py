"""Visitors who are one stranger are joined, whether few come often or many now and then; others are not."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.gallery import Gallery
from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.settling import SeenWalks, same_strangers
from gaitstream.gallery.verifying import verify
from gaitstream.gallery.visiting import VisitorBook
from gaitstream.gallery.visitors import keep_apart, show_visitor, visitors
from tests.gallery.filled import MODEL
from tests.gallery.walking import RULE, book_of, sighting, windows

Floats = NDArray[np.float32]
LINKING = {MODEL: 3.0}
MANY = 40


def crowd(*people: int) -> list[dict[str, Floats]]:
    return [{MODEL: windows(person, walk)} for walk, person in enumerate(people)]


def grouped(
    walks: list[dict[str, Floats]],
    together: Collection[Collection[int]] = (),
    apart: Collection[tuple[int, int]] = (),
    cameras: list[str] | None = None,
) -> list[list[int]]:
    seen = SeenWalks(walks, cameras or ["gate"] * len(walks), together, apart)
    return same_strangers(seen, LINKING, {"biggait": 2.0})


def of_more_than_one(groups: list[list[int]]) -> list[list[int]]:
    return [group for group in groups if len(group) > 1]


def test_only_those_who_are_one_stranger_are_joined() -> None:
    everybody = crowd(*range(MANY), 3, 7)
    assert of_more_than_one(grouped(everybody)) == [[3, MANY], [7, MANY + 1]]
    assert of_more_than_one(grouped(everybody, apart=[(3, MANY)])) == [[7, MANY + 1]]
    assert of_more_than_one(grouped(everybody, together=[(1, 2)])) == [[1, 2], [3, MANY], [7, MANY + 1]]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_few_walks_are_looked_at_too(count: int) -> None:
    assert grouped(crowd(*[1, 2, 1][:count])) == [[], [[0]], [[0], [1]], [[0, 2], [1]]][count]


def test_where_everybody_is_far_from_everybody_nobody_is_joined() -> None:
    assert len(grouped(crowd(*range(2 * MANY)))) == 2 * MANY


def test_a_model_that_not_all_have_is_left_out_where_it_is_missing() -> None:
    everybody = crowd(*range(2 * MANY), 3)
    for one in everybody[::2]:
        one["biggait"] = one[MODEL] + 1
    seen = SeenWalks(everybody, ["gate"] * len(everybody))
    groups = same_strangers(seen, {**LINKING, "biggait": 3.0}, {"biggait": 2.0})
    assert of_more_than_one(groups) == [[3, 2 * MANY]]


def test_walks_without_a_window_of_a_model_that_is_compared_are_left_alone() -> None:
    assert grouped([{}, {}, *crowd(1, 1)]) == [[0], [1], [2, 3]]


def passers(people: int, times: int, seed: int = 0) -> tuple[list[dict[str, Floats]], list[str], list[int]]:
    """Windows, cameras and people of walks past four cameras, in other clothes before each.

    As with the demo weights, two strangers are 1.67 linking distances apart in the median, and now and then
    no more than one; a person's own walks are 0.95 apart, and often more than one.
    """
    rng = np.random.default_rng([11, seed])
    spread = rng.normal(size=(40, 16, 32)) * LINKING[MODEL] * 1.67 / 49
    own, looks = rng.normal(size=(people, 40)), rng.normal(size=(people, 4, 40))
    found: list[dict[str, Floats]] = []
    cameras, whose = rng.integers(4, size=people * times), np.repeat(np.arange(people), times)
    for person, camera in zip(whose, cameras, strict=True):
        latent = own[person] * 0.82 + looks[person, camera] * 0.4 + rng.normal(size=40) * 0.41
        found.append({MODEL: np.tensordot(latent, spread, 1)[None].astype(np.float32)})
    return found, [f"camera {camera}" for camera in cameras], whose.tolist()


def visitors_of(groups: list[list[int]], whose: list[int]) -> list[set[int]]:
    """Who is in each group."""
    return [{whose[place] for place in group} for group in groups]


@pytest.mark.parametrize("people", [1, 3, 10])
def test_few_who_come_often_are_few_visitors_and_never_one(people: int) -> None:
    walks, cameras, whose = passers(people, 24)
    found = visitors_of(grouped(walks, cameras=cameras), whose)
    assert all(len(one) == 1 for one in found)
    assert len(found) <= 2 * people


def test_of_many_who_come_once_hardly_any_are_taken_for_another() -> None:
    walks, cameras, _ = passers(150, 1)
    assert len(grouped(walks, cameras=cameras)) >= 147


def test_many_who_come_now_and_then_are_told_apart() -> None:
    walks, cameras, whose = passers(60, 6)
    found = grouped(walks, cameras=cameras)
    most = [max(map([whose[place] for place in group].count, range(60))) for group in found]
    assert sum(most) >= 0.97 * len(walks)
    assert len(found) <= 1.6 * 60


def test_who_is_seen_beside_another_is_somebody_else_however_alike() -> None:
    walks, cameras, _ = passers(2, 24)
    twin = [{MODEL: walks[0][MODEL] + np.float32(1e-3)}]
    [mine] = [group for group in grouped([*walks, *twin], cameras=[*cameras, cameras[0]]) if 0 in group]
    assert 48 in mine
    apart = [(0, 48)]
    [mine] = [
        group for group in grouped([*walks, *twin], apart=apart, cameras=[*cameras, cameras[0]]) if 0 in group
    ]
    assert 48 not in mine


def strangers(book: VisitorBook) -> None:
    """Everybody once at the gate, and three of them again in the hall, all as visitors of their own."""
    book.rule = LinkRule({MODEL: 0.5})  # so strict that everybody founds a visitor each time
    book.note([sighting(person, person + 1) for person in range(MANY)])
    book.note([sighting(3, 500, "hall"), sighting(7, 501, "hall"), sighting(9, 502, "hall")])
    book.rule = RULE


def test_the_older_visitor_s_name_stays_and_all_walks_are_theirs(tmp_path: Path) -> None:
    with Gallery(tmp_path / "people.gallery", create=True, key="none") as gallery:
        book = book_of(gallery)
        strangers(book)
        keep_apart(gallery, "visitor-8", f"visitor-{MANY + 2}")
        other = book_of(gallery)
        other.follow()
        first, second = book.settle()
        assert (first.visitor, first.into, first.left) == (f"visitor-{MANY + 1}", "visitor-4", 0)
        assert [str(track) for track in first.tracks] == ["run/hall/500"]
        assert second.into == "visitor-10"
        assert {entry.name: entry.tracks for entry in visitors(gallery)}["visitor-4"] == 2
        assert book.settle() == other.settle() == []
        assert other.follow() == []
        assert verify(gallery) == []


def test_who_was_taken_for_somebody_else_is_told_apart_when_seen_together(tmp_path: Path) -> None:
    with Gallery(tmp_path / "people.gallery", create=True, key="none") as gallery:
        book = book_of(gallery)
        book.note([sighting(person, person + 1) for person in range(MANY)])
        before = {entry.name for entry in visitors(gallery)}
        book.rule = LinkRule({MODEL: 100.0})  # so wide that a newcomer goes to whoever is nearest
        book.note([sighting(MANY, 600, "door"), sighting(MANY, 601, "door")])
        book.rule = RULE
        (told,) = book.settle()
        assert (told.visitor in before, told.into in before, told.left) == (True, False, 2)
        assert [str(one.track) for one in show_visitor(gallery, told.into)[1]] == [str(told.tracks[0])]
        newcomer = [str(one.track) for one in show_visitor(gallery, told.visitor)[1]]
        assert newcomer == ["run/door/600", "run/door/601"]
        assert book.settle() == []
        assert verify(gallery) == []
