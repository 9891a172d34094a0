"""What is wanted of a history, as parts of an index: each is in order and holds little beside what is wanted.

An index begins with what has to be equal and goes on with the time. Where several cameras are wanted, or a
filter leaves a column of the index open, each value is a part of its own, so that what is rare, or was never
there, is found as soon as what is frequent. Which index is read is not left to the planner: a unary plus
hides from it the columns whose index would be the worse one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from gaitstream.console.history.base import EventFilter, HistoryPlace
from gaitstream.console.history.labels import Labels
from gaitstream.console.history.rows import WAITING_KIND, WAITING_STATUS

FILTERED = ("person", "status", "reason")
"""Columns of which a filter names one value."""


class WantedNumbers:
    """A filter with numbers for texts: of each column the values that are wanted, none where all are.

    Args:
        wanted: the filter.
        labels: of its texts.
    """

    def __init__(self, wanted: EventFilter, labels: Labels) -> None:
        self._labels = labels
        self.of_column: dict[str, Sequence[int]] = {
            "camera": _known("camera", sorted(wanted.cameras or ()), labels),
            "kind": _known("kind", wanted.kinds, labels),
        }
        for column in FILTERED:
            text = getattr(wanted, column)
            self.of_column[column] = _known(column, [text] if text else [], labels)

    @classmethod
    def of(cls, wanted: EventFilter, labels: Labels) -> WantedNumbers | None:
        """None where something is wanted that no event has."""
        found = cls(wanted, labels)
        asked = {column: bool(getattr(wanted, column)) for column in FILTERED}
        asked |= {"kind": bool(wanted.kinds), "camera": wanted.cameras is not None}
        return None if any(asked[column] and not found.of_column[column] for column in asked) else found

    def values(self, column: str) -> Sequence[int]:
        """The values of a column that are wanted; all there are where it is left open."""
        return self.of_column[column] or self._labels.numbers(column)


class Conditions:
    """Conditions and their values.

    Attributes:
        values: one for each `?`.
    """

    def __init__(self) -> None:
        self._terms: list[str] = []
        self.values: list[object] = []

    def add(self, text: str, *given: object) -> None:
        """One that has to hold beside the others."""
        self._terms.append(text)
        self.values.extend(given)

    def __str__(self) -> str:
        return " AND ".join(self._terms) or "TRUE"


@dataclass(frozen=True)
class IndexParts:
    """Parts of one index.

    Attributes:
        columns: with which it begins.
        parts: their values in each part; one without values where there are no such columns.
        further: what has to hold in all parts.
    """

    columns: tuple[str, ...]
    parts: list[tuple[int, ...]]
    further: Conditions


def index_parts(wanted: EventFilter, before: HistoryPlace | None, labels: Labels) -> IndexParts | None:
    """The parts of an index that hold what is wanted; None where nothing does.

    Args:
        wanted: the filter.
        before: a place that all rows are older than.
        labels: of texts.
    """
    numbers = WantedNumbers.of(wanted, labels)
    if numbers is None or (wanted.waits and not _may_wait(wanted)):
        return None
    columns = _leading(wanted, numbers.of_column)
    further = conditions(wanted, numbers, set(columns))
    if before is not None:
        further.add("(time_ns, id) < (?, ?)", *before)
    return IndexParts(columns, list(product(*map(numbers.values, columns))), further)


def conditions(wanted: EventFilter, numbers: WantedNumbers, given: set[str]) -> Conditions:
    """What a row has to hold beside the columns that are given; hidden from the planner but for the time."""
    made = Conditions()
    for column, values in numbers.of_column.items():
        if values and column not in given:
            made.add(f"+{column} IN ({', '.join('?' * len(values))})", *values)
    if wanted.waits:
        made.add("waits = 1")
    if wanted.since_ns is not None:
        made.add("time_ns >= ?", wanted.since_ns)
    if wanted.until_ns is not None:
        made.add("time_ns < ?", wanted.until_ns)
    return made


def _leading(wanted: EventFilter, asked: dict[str, Sequence[int]]) -> tuple[str, ...]:
    """Columns with which the index begins that is read: `gaitstream.console.history.sql.INDEXES`."""
    if asked["person"]:
        return ("person",)
    cameras = ("camera",) if asked["camera"] else ()
    if wanted.waits:
        return cameras
    if asked["reason"]:
        return (*cameras, "reason", "status", "kind")
    if asked["status"]:
        return (*cameras, "status", "kind")
    return (*cameras, "kind") if asked["kind"] else cameras


def _may_wait(wanted: EventFilter) -> bool:
    """Whether events that wait can fit: all are of one kind and status, and none has a reason."""
    kinds, status = wanted.kinds or (WAITING_KIND,), wanted.status or WAITING_STATUS
    return WAITING_KIND in kinds and status == WAITING_STATUS and not wanted.reason


def _known(space: str, texts: Iterable[str], labels: Labels) -> list[int]:
    return [number for text in dict.fromkeys(texts) if (number := labels.find(space, text)) is not None]
