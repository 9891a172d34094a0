"""Which shapes come so often that a graph compiled for that one alone pays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")
Shapes = tuple[tuple[int, ...], ...]
"""One per input, in their order."""

OFTEN = 3
"""Calls of a shape before a graph is compiled for it, where it is not expected to come again."""


class FixedShapes(Generic[Made]):
    """Keeps what was made for the shapes that come most often.

    Args:
        make: makes it, or None where a shape does not allow it, which is not asked again.
        drop: is given what is no longer kept.
        most: kept at once.
        usual: which shapes will come again, so that their first call is reason enough while there is room.
    """

    def __init__(
        self,
        make: Callable[[Shapes], Made | None],
        drop: Callable[[Made], None],
        most: int,
        usual: Callable[[Shapes], bool],
    ) -> None:
        self.most = most
        self._make = make
        self._drop = drop
        self._usual = usual
        self._calls: Counter[Shapes] = Counter()
        self._kept: dict[Shapes, Made] = {}
        self._refused: set[Shapes] = set()

    def get(self, shapes: Shapes) -> Made | None:
        """What was made for these shapes; None leaves the call to what takes any. Counts the call."""
        self._calls[shapes] += 1
        found = self._kept.get(shapes)
        if found is None and shapes not in self._refused and self._has_room(shapes):
            found = self._keep(shapes)
        return found

    def prepare(self, shapes: Shapes) -> None:
        """Make it now, where there is room."""
        if len(self._kept) < self.most and shapes not in self._kept and shapes not in self._refused:
            self._keep(shapes)

    def clear(self) -> None:
        """Drop all."""
        while self._kept:
            self._drop(self._kept.popitem()[1])

    def _keep(self, shapes: Shapes) -> Made | None:
        made = self._make(shapes)
        if made is None:
            self._refused.add(shapes)
        else:
            self._kept[shapes] = made
        return made

    def _has_room(self, shapes: Shapes) -> bool:
        """Whether one more may be made; a rarer shape makes room.

        The newcomer has to have come twice as often as the one that goes, so that two never take turns.
        """
        calls = self._calls[shapes]
        if self.most == 0 or (calls < OFTEN and not self._usual(shapes)):
            return False
        if len(self._kept) < self.most:
            return True
        rarest = min(self._kept, key=self._calls.__getitem__)
        if calls <= 2 * self._calls[rarest]:
            return False
        self._drop(self._kept.pop(rarest))
        return True
