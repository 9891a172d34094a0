"""Texts that repeat (cameras, people, reasons, runs) and their numbers, by which events refer to them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

MAX_CHARACTERS = 500
"""A server indexes texts of so many; nothing that is named is called longer."""
Rows = Callable[[str, Sequence[object]], list[Any]]
"""Runs a query and gives all its rows."""


class Labels:
    """Texts and their numbers, remembered; any thread may read.

    Args:
        rows: runs a statement on the connection of whoever calls.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._numbers: dict[tuple[str, str], int] = {}
        self._texts: dict[int, str] = {}

    def make(self, space: str, text: str) -> int:
        """The number of a text; made when there is none."""
        text = fitting(text)
        known = self.find(space, text)
        if known is not None:
            return known
        # Where another console was quicker, the update that changes nothing gives its number.
        [(number,)] = self._rows(
            "INSERT INTO label (space, text) VALUES (?, ?) "
            "ON CONFLICT (space, text) DO UPDATE SET text = excluded.text RETURNING id",
            (space, text),
        )
        return self._remember(space, text, int(number))

    def find(self, space: str, text: str) -> int | None:
        """The number of a text."""
        text = fitting(text)
        known = self._numbers.get((space, text))
        if known is None:
            for (number,) in self._rows("SELECT id FROM label WHERE space = ? AND text = ?", (space, text)):
                known = self._remember(space, text, int(number))
        return known

    def numbers(self, space: str) -> list[int]:
        """The numbers of all texts of a space with few, such as `kind`."""
        return [int(number) for (number,) in self._rows("SELECT id FROM label WHERE space = ?", (space,))]

    def text(self, number: int | None) -> str:
        """The text of a number; empty for None and for one that was forgotten."""
        if number is None:
            return ""
        if number not in self._texts:
            for space, text in self._rows("SELECT space, text FROM label WHERE id = ?", (number,)):
                self._remember(str(space), str(text), number)
        return self._texts.get(number, "")

    def clear(self) -> None:
        """Remember nothing: a transaction failed, or somebody was forgotten."""
        self._numbers.clear()
        self._texts.clear()

    def _remember(self, space: str, text: str, number: int) -> int:
        self._numbers[space, text] = number
        self._texts[number] = text
        return number


def fitting(text: str) -> str:
    """A text as every database can keep it, whatever a publisher sends: PostgreSQL takes no zero."""
    text = text.replace("\0", "\ufffd")
    if len(text) <= MAX_CHARACTERS:
        return text
    return f"{text[: MAX_CHARACTERS // 2]}... {hashlib.sha256(text.encode()).hexdigest()}"
