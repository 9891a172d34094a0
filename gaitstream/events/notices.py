"""What subscribers tell of the stream itself, kept to an amount that can be read and logged."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from gaitstream.events.readable import one_line

AT_ONCE, WINDOW_S = 20, 1.0
"""Notices of a kind and a publisher that are told within so long; the others are told as one, after it."""
MAX_CHARACTERS = 300


class Notice(NamedTuple):
    """Something that happened to the stream.

    Attributes:
        kind: `lost`: so many events can never be had any more. `rewound`: the publisher's journal does not
            know so many events that were delivered (it was restored or damaged). `epoch`: the publisher was
            started anew. `journal`: another journal answers at this address; all of it is delivered.
            `malformed`: a message was no event and was left out. `schema`: an event of a newer schema,
            delivered as `Unrecognised`. `refused`: the publisher does not answer what it is asked.
        endpoint: of the publisher.
        events: how many, where it counts some.
        detail: for people.
    """

    kind: str
    endpoint: str
    events: int
    detail: str


class _Kind:
    """What was told of one kind by one publisher."""

    __slots__ = ("count", "held", "since_s")

    def __init__(self) -> None:
        self.since_s = 0.0
        self.count = 0
        self.held: Notice | None = None


class Notices:
    """Hands notices on: a publisher decides what it causes, so their number and their text have bounds.

    Args:
        on_notice: takes them.
        clock: seconds, steady.
    """

    def __init__(
        self, on_notice: Callable[[Notice], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_notice = on_notice
        self._clock = clock
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._holds = False

    def tell(self, notice: Notice) -> None:
        """Hand one on, or count it in the one that comes later."""
        notice = notice._replace(detail=one_line(notice.detail[:MAX_CHARACTERS]))
        kind = self._kinds.setdefault((notice.kind, notice.endpoint), _Kind())
        now_s = self._clock()
        if not kind.count or now_s - kind.since_s >= WINDOW_S:
            kind.since_s, kind.count = now_s, 0
        kind.count += 1
        if kind.count <= AT_ONCE:
            self._on_notice(notice)
            return
        before = kind.held.events if kind.held is not None else 0
        kind.held = notice._replace(events=before + notice.events)
        self._holds = True

    def catch_up(self) -> None:
        """Hand on what was held back for long enough."""
        if not self._holds:
            return
        now_s = self._clock()
        for kind in self._kinds.values():
            if kind.held is not None and now_s - kind.since_s >= WINDOW_S:
                held, kind.held = kind.held, None
                self._on_notice(held)
        self._holds = any(kind.held is not None for kind in self._kinds.values())
