"""One event of a journal, by its id."""

from __future__ import annotations

import uuid
from pathlib import Path

from gaitstream.errors import EventError
from gaitstream.events.codec import MalformedError, decode
from gaitstream.events.reading import Reader
from gaitstream.events.schema import Event

_EARLIER_NS = 60 * 10**9
"""A clock may have been set back between the making of an id and of a file."""


def find_event(journal: Path, event_id: str) -> Event:
    """An event of a journal's folder, also while a run writes to it.

    Raises:
        EventError: there is no such journal, or no such event in it.
    """
    if not journal.is_dir():
        raise EventError(f"{journal}: there is no such journal")
    try:
        made_ns = (uuid.UUID(event_id).int >> 80) * 1_000_000  # version 7 begins with the time
    except ValueError:
        raise EventError(f"{event_id!r} is no event_id; take one from 'gaitstream events tail'") from None
    reader = Reader(journal)
    reader.seek_time(made_ns - _EARLIER_NS)
    mark = event_id.encode()
    while not (piece := reader.read()).end or piece.records:
        for record in piece.records:
            if mark in record.payload:
                try:
                    event = decode(record.payload)
                except MalformedError:
                    continue
                if event.event_id == event_id:
                    return event
    raise EventError(f"{journal} has no event {event_id}: it may be older than the journal keeps")
