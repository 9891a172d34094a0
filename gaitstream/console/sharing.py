"""Parts of pages that many browsers ask for at once: made once for all who may see the same."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from gaitstream.console.permissions import Actor, Rights

T = TypeVar("T")
KEPT_S = 1.0
"""How long a part serves where nothing changes: it shows times up to now."""
MOST = 128
"""Parts that are kept."""


class Changing(Protocol):
    """Something that parts are made from.

    Attributes:
        changes: rises after each change.
    """

    @property
    def changes(self) -> int:
        """How often it has changed."""


@dataclass
class _Part:
    """What was made last; the lock is held by whoever makes it anew."""

    made: Any = None
    changes: int = -1
    begun_s: float = float("-inf")
    making: threading.Lock = field(default_factory=threading.Lock)

    def serves(self, changes: int, lag_s: float, now_s: float) -> bool:
        """Whether it is as it would be now, or was so a moment ago, where that will do."""
        age_s = now_s - self.begun_s
        return age_s < KEPT_S and (self.changes >= changes or age_s < lag_s)


class SharedParts:
    """Makes parts of pages, and remembers them for a moment; any thread.

    Rights and names are always those of now: they are part of what a part is remembered by. `make` is given
    the rights alone, so that nothing of one user can get into a part for another.

    Args:
        names: what tells who people are.
        others: everything else that parts are made from.
        clock: seconds.
    """

    def __init__(
        self, names: Changing, *others: Changing, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._names = names
        self._others = others
        self._clock = clock
        self._parts: OrderedDict[Hashable, _Part] = OrderedDict()
        self._finding = threading.Lock()

    def of(self, actor: Actor, what: Hashable, make: Callable[[Rights], T], lag_s: float = 0.0) -> T:
        """A part as an actor may see it.

        Args:
            actor: who asks.
            what: tells it from other parts.
            make: makes it; only one thread at a time does, and those that wait take what it made unless
                something has changed meanwhile that they may have heard of.
            lag_s: how old it may be though something has changed.
        """
        part = self._find((actor.rights, self._names.changes, what))
        changes = self._changes()
        if not part.serves(changes, lag_s, self._clock()):
            with part.making:
                if not part.serves(changes, lag_s, self._clock()):
                    now, begun_s = self._changes(), self._clock()
                    part.made, part.changes, part.begun_s = make(actor.rights), now, begun_s
        return cast("T", part.made)

    def _changes(self) -> int:
        return sum(one.changes for one in self._others)

    def _find(self, key: Hashable) -> _Part:
        with self._finding:
            part = self._parts.setdefault(key, _Part())
            self._parts.move_to_end(key)
            while len(self._parts) > MOST:
                self._parts.popitem(last=False)
            return part
