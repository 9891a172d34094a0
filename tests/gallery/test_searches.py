"""Searches kept up to date are those made anew, whoever came, changed or went."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaitstream.gallery.calibration import conclude
from gaitstream.gallery.matching import Matcher, mean_part_distance
from gaitstream.gallery.searches import NEIGHBOURS, Searches, search_all, update

Floats = NDArray[np.float32]
ByPerson = dict[str, dict[int, Floats]]
SHAPE = (2, 8)


def made_anew(people: ByPerson) -> Searches:
    persons = [(uid, np.stack(list(templates.values()))) for uid, templates in people.items()]
    return search_all(Matcher.build(persons), [number for one in people.values() for number in one])


def stack(held: dict[int, Floats], numbers: list[int]) -> Floats:
    return np.stack([held[number] for number in numbers])


def check(searches: Searches, people: ByPerson) -> None:
    """Every search that is left says what a full comparison says."""
    for search in searches.found:
        probe = people[search.person][search.template]
        own = [parts for number, parts in people[search.person].items() if number != search.template]
        genuine = min((mean_part_distance(probe, parts[None])[0] for parts in own), default=None)
        assert search.genuine == (None if genuine is None else pytest.approx(genuine, abs=1e-3))
        others = sorted(
            (min(mean_part_distance(probe, parts[None])[0] for parts in templates.values()), uid)
            for uid, templates in people.items()
            if uid != search.person and templates
        )
        kept = search.others
        assert [distance for distance, _ in kept] == pytest.approx(
            [distance for distance, _ in others[: len(kept)]], abs=1e-3
        )
        if search.bound is None:
            assert len(kept) == len(others)
        else:
            assert all(distance >= search.bound - 1e-3 for distance, _ in others[len(kept) :])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 25), st.lists(st.integers(0, 2), max_size=25), st.integers(0, 10**6))
def test_changes_one_by_one_are_as_made_anew(count: int, changes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = iter(range(1, 10**6))

    def templates() -> dict[int, Floats]:
        made = rng.normal(size=(int(rng.integers(1, 4)), *SHAPE)).astype(np.float32)
        return {next(numbers): one for one in made}

    people: ByPerson = {f"u{index}": templates() for index in range(count)}
    searches = made_anew(people)
    for kind in changes:
        uid = str(rng.choice(sorted(people))) if people else "u0"
        if kind == 0:
            uid = f"u{next(numbers)}"
            people[uid] = templates()
        elif kind == 1:
            people.pop(uid, None)
        else:
            kept = dict(list(people.get(uid, {}).items())[1:])
            people[uid] = {**kept, **templates()}
        held = {number: parts for one in people.values() for number, parts in one.items()}
        stacked = functools.partial(stack, held)
        update(searches, {uid: people.get(uid, {})}, stacked)
        check(searches, people)


def test_a_search_without_neighbours_is_given_up_and_the_wear_is_noticed() -> None:
    rng = np.random.default_rng(1)
    near = {f"n{index}": {100 + index: np.full(SHAPE, 0.1 + index / 100, np.float32)} for index in range(9)}
    far = {f"f{index}": {200 + index: rng.normal(50, 1, SHAPE).astype(np.float32)} for index in range(30)}
    people: ByPerson = {"u": {1: np.zeros(SHAPE, np.float32)}, **near, **far}
    searches = made_anew(people)
    assert len(next(one for one in searches.found if one.person == "u").others) == NEIGHBOURS
    for uid in near:
        del people[uid]
        update(searches, {uid: {}}, lambda wanted: pytest.fail(f"{wanted} are not needed"))
    assert all(search.person != "u" for search in searches.found)
    check(searches, people)
    assert not Searches(searches.found, len(searches.found), 1000).worn(1050)
    assert Searches(searches.found, len(searches.found), 1000).worn(1200)
    assert Searches(searches.found[:10], len(searches.found), 1000).worn(1000)


def test_the_threshold_follows_as_it_would_be_made_anew() -> None:
    rng = np.random.default_rng(2)
    people: ByPerson = {
        f"u{index}": {2 * index + n: rng.normal(size=SHAPE).astype(np.float32) for n in range(2)}
        for index in range(60)
    }
    searches = made_anew(people)
    for uid in ("u3", "u17", "u40"):
        del people[uid]
        update(searches, {uid: {}}, lambda wanted: pytest.fail(f"{wanted} are not needed"))
    kept, anew = conclude(searches.found), conclude(made_anew(people).found)
    assert kept is not None
    assert anew is not None
    assert kept.threshold == pytest.approx(anew.threshold, rel=1e-4)
    assert kept.persons == anew.persons == 57
