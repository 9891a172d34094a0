"""Which shapes come so often that a graph compiled for that one alone pays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Made = TypeVar("Made")
Shapes = tuple[tuple[int, ...], ...]
"""One per input, in their order."""

OFTEN = 3
"""Calls of a shape before a graph is compiled for it, where it is not expected to come again."""


class FixedShapes(Generic[Made]):
    """Keeps what was made for the shapes that come most often. One thread at a time.

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
        self._maker: ThreadPoolExecutor | None = None
        self._coming: tuple[Shapes, Future[Made | None]] | None = None

    def get(self, shapes: Shapes) -> Made | None:
        """What was made for these shapes; None leaves the call to what takes any. Counts the call."""
        self._collect(wait=False)
        self._calls[shapes] += 1
        found = self._kept.get(shapes)
        if found is not None or shapes in self._refused or self._coming or not self._make_room(shapes):
            return found
        if self._maker is None:
            return self._keep(shapes, self._make(shapes))
        self._coming = shapes, self._maker.submit(self._make, shapes)
        return None

    def prepare(self, expected: Sequence[Shapes]) -> None:
        """Make these now, as far as there is room; from now on nobody waits while others are made."""
        self._collect(wait=True)
        for shapes in expected:
            if len(self._kept) < self.most and shapes not in self._kept and shapes not in self._refused:
                self._keep(shapes, self._make(shapes))
        if self._maker is None:
            self._maker = ThreadPoolExecutor(1, "gaitstream-compile")

    def clear(self) -> None:
        """Drop all."""
        self._collect(wait=True)
        while self._kept:
            self._drop(self._kept.popitem()[1])
        if self._maker is not None:
            self._maker.shutdown()
            self._maker = None

    def _collect(self, *, wait: bool) -> None:
        """Keep what was made beside, when it is done."""
        if self._coming is not None and (wait or self._coming[1].done()):
            shapes, made = self._coming
            self._coming = None
            self._keep(shapes, made.result())

    def _keep(self, shapes: Shapes, made: Made | None) -> Made | None:
        if made is None:
            self._refused.add(shapes)
        else:
            self._kept[shapes] = made
        return made

    def _make_room(self, shapes: Shapes) -> bool:
        """Whether one more may be made; a rarer shape goes for it.

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
