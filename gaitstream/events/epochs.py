"""Which numbers were given in which opening of a journal.

Every opening begins a new epoch, so that a number is never given twice within one: not after a crash, not
after damage, not after the folder was restored from an older copy. A subscriber tells how far it came in each
epoch it has seen; the newest one that the journal knows too says where to go on.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

KEPT = 512
"""Epochs a journal remembers."""


class Start(NamedTuple):
    """Where a subscriber goes on.

    Attributes:
        after: the last number it has.
        rewound: events it had that this journal does not know any more.
        known: whether the journal knows any epoch of it.
    """

    after: int
    rewound: int
    known: bool


class Epochs:
    """The epochs of one journal, oldest first; each with its first number.

    Args:
        entries: id and first number.
    """

    def __init__(self, entries: list[tuple[str, int]] | None = None) -> None:
        self._entries = entries or []

    @classmethod
    def decode(cls, payload: bytes) -> Epochs:
        """From `encode`.

        Raises:
            ValueError: it is something else.
        """
        return cls(msgspec.json.decode(payload, type=list[tuple[str, int]]))

    def encode(self) -> bytes:
        """As stored in the journal."""
        return msgspec.json.encode(self._entries[-KEPT:])

    def begin(self, first: int) -> str:
        """A new epoch from a number on; those in which no event was published are forgotten."""
        self._entries = [entry for entry in self._entries if entry[1] < first][-KEPT + 1 :]
        name = secrets.token_hex(8)
        self._entries.append((name, first))
        return name

    def note(self, epoch: str, seq: int) -> None:
        """An event was found: learn its epoch where the list was damaged."""
        if epoch not in (name for name, _ in self._entries):
            self._entries.append((epoch, seq))
            self._entries.sort(key=lambda entry: entry[1])

    def join(self, other: Epochs) -> None:
        """Learn what another list has more."""
        for name, first in other._entries:
            self.note(name, first)

    def at(self, seq: int) -> str:
        """The epoch a number belongs to; empty before the first."""
        index = bisect_right([first for _, first in self._entries], seq) - 1
        return self._entries[index][0] if index >= 0 else ""

    def start(self, cursor: Mapping[str, int], head: int, first: int) -> Start:
        """Where a subscriber goes on.

        Args:
            cursor: the last number it has, by epoch; an empty epoch with 0 before the first event.
            head: the journal's last number.
            first: the first number the journal keeps.
        """
        ends = [start - 1 for _, start in self._entries[1:]] + [head]
        for (name, _), end in zip(reversed(self._entries), reversed(ends), strict=True):
            if name in cursor:
                later = list(cursor).index(name)
                reached = max(list(cursor.values())[later:])  # in epochs this journal knows nothing of, too
                return Start(max(0, min(cursor[name], end)), max(0, reached - end), known=True)
        known = set(cursor) == {""}
        return Start(0 if known else first - 1, 0, known=known)
