"""How many endless answers one user may have open: events and live pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import BusyError

MOST_OF_ONE = 64
"""Of one user: a stream for each open page, one for each camera that is looked at."""
RETRY_S = 10.0


class OpenStreams:
    """Counts streams by user; only in the loop's thread."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def check(self, actor: Actor) -> None:
        """See that one more is allowed, before its answer begins.

        Raises:
            BusyError: it is not.
        """
        if self._open[actor.name] >= MOST_OF_ONE:
            raise BusyError(f"{actor.name} has {MOST_OF_ONE} streams open; close a page", RETRY_S)

    @contextmanager
    def holding(self, actor: Actor) -> Iterator[None]:
        """Count one for as long as the context lasts; raises as `check` does."""
        self.check(actor)
        self._open[actor.name] += 1
        try:
            yield
        finally:
            self._open[actor.name] -= 1
            self._open += Counter()  # those with none are not remembered
