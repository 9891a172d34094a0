"""Rows by person: against a look at every row, and while a table changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitstream.gallery.grouping import RowsByPerson
from gaitstream.gallery.people import People
from gaitstream.gallery.quantise import Layout
from gaitstream.gallery.table import TemplateTable
from tests.gallery.filled import MODEL, walks


@given(st.lists(st.integers(-1, 6), max_size=30), st.lists(st.integers(0, 9), unique=True))
def test_rows_are_those_that_a_look_at_all_finds(owners: list[int], asked: list[int]) -> None:
    rows = RowsByPerson(np.array(owners, np.int32))
    values = np.random.default_rng(len(owners)).random(len(owners)).astype(np.float32)
    assert rows.persons.tolist() == sorted({one for one in owners if one >= 0})
    least = [min(values[i] for i, one in enumerate(owners) if one == person) for person in rows.persons]
    assert rows.least(values).tolist() == least
    places, known = rows.places_of(np.array(asked, np.int64))
    assert [asked[one] for one in known] == [one for one in asked if one in owners]
    assert rows.persons[places].tolist() == [asked[one] for one in known]
    found, begins = rows.rows_at(places)
    pieces = np.split(found, begins[1:]) if len(begins) else []
    assert [piece.tolist() for piece in pieces] == [
        [i for i, one in enumerate(owners) if one == asked[at]] for at in known
    ]


def test_whoever_looks_while_a_person_is_added_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a row's version and its owner another process may group the rows: they are not kept."""
    table = TemplateTable.create(Layout(16, 32))
    table.add([1, 2, 3], [0, 0, 0], walks(0))
    people = People(tables={MODEL: table})
    tell = TemplateTable._tell

    def look(self: TemplateTable, places: list[int]) -> None:
        tell(self, places)
        people.search(MODEL, [walks(0)[0]])

    monkeypatch.setattr(TemplateTable, "_tell", look)
    table.add([100], [7], walks(5, 1))
    [found] = people.search(MODEL, [walks(5, 1)[0]])
    assert found.persons[np.argmin(found.high)] == 7
    monkeypatch.undo()
    table.drop([int(row) for row in np.flatnonzero(table.owners[: table.count] == 7)])
    [found] = people.search(MODEL, [walks(5, 1)[0]])
    assert 7 not in found.persons
