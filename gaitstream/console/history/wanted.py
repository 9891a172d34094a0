"""What is wanted of a history, as conditions on its table.

Which index is read is not left to the planner: a unary plus hides from it the columns whose index would be
the worse one.
"""

from __future__ import annotations

from collections.abc import Iterable

from gaitstream.console.history.base import EventFilter, HistoryPlace
from gaitstream.console.history.labels import Labels


class WantedNumbers:
    """A filter with numbers for texts.

    Args:
        wanted: the filter.
        labels: of its texts.
    """

    def __init__(self, wanted: EventFilter, labels: Labels) -> None:
        self.person = labels.find("person", wanted.person) if wanted.person else None
        self.status = labels.find("status", wanted.status) if wanted.status else None
        self.reason = labels.find("reason", wanted.reason) if wanted.reason else None
        self.kinds = _known("kind", wanted.kinds, labels)
        self.cameras = _known("camera", sorted(wanted.cameras or ()), labels)
        self.by_camera = bool(self.cameras) and self.person is None and not wanted.waits

    @classmethod
    def of(cls, wanted: EventFilter, labels: Labels) -> WantedNumbers | None:
        """None where something is wanted that no event has."""
        found = cls(wanted, labels)
        pairs = (
            (wanted.person, found.person),
            (wanted.status, found.status),
            (wanted.reason, found.reason),
            (wanted.kinds, found.kinds),
            (wanted.cameras is not None, found.cameras),
        )
        return None if any(asked and not number for asked, number in pairs) else found

    def leading(self, wanted: EventFilter, kind: int | None) -> str:
        """The column whose index is read: of those asked for, the one with the fewest rows of a value."""
        if wanted.waits:
            return "waits"
        columns = {"person": self.person, "reason": self.reason, "status": self.status, "kind": kind}
        return next((column for column, number in columns.items() if number is not None), "time_ns")


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
        return "WHERE " + " AND ".join(self._terms) if self._terms else ""


def conditions(
    numbers: WantedNumbers,
    wanted: EventFilter,
    leading: str,
    kind: int | None,
    camera: int | None = None,
    before: HistoryPlace | None = None,
) -> Conditions:
    """What a row has to hold.

    Args:
        numbers: those of `wanted`.
        wanted: the filter.
        leading: the column whose index is read, beside that of a camera.
        kind: of all that are wanted the one of this part; None for all.
        camera: so for cameras.
        before: a place that the row is older than.
    """
    made = Conditions()
    columns = {"person": numbers.person, "reason": numbers.reason, "status": numbers.status, "kind": kind}
    for column, number in columns.items():
        if number is not None:
            made.add(f"{'' if column == leading else '+'}{column} = ?", number)
    if camera is not None:
        made.add("camera = ?", camera)
    elif numbers.cameras:
        made.add(f"+camera IN ({', '.join('?' * len(numbers.cameras))})", *numbers.cameras)
    if wanted.waits:
        made.add("waits = 1")
    if wanted.since_ns is not None:
        made.add("time_ns >= ?", wanted.since_ns)
    if wanted.until_ns is not None:
        made.add("time_ns < ?", wanted.until_ns)
    if before is not None:
        made.add("(time_ns, id) < (?, ?)", *before)
    return made


def _known(space: str, texts: Iterable[str], labels: Labels) -> list[int]:
    return [number for text in texts if (number := labels.find(space, text)) is not None]
