"""Takes a person's name out of events that were published before: ids, times and places stay."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from gaitstream.events.codec import MalformedError, Wire, decode, encode
from gaitstream.events.journal import Journal
from gaitstream.events.schema import CameraHandoff, Event, Identity, TrackEnded
from gaitstream.events.segment import Record

ERASED = "erased"
"""Stands where the name stood among candidates."""


def erase(journal: Journal, persons: Collection[str]) -> int:
    """Erase the names of people, given by their ids in the gallery, from a journal.

    Every file that holds one is written anew; events keep their numbers and ids, and `person_id`, so that
    counts stay right. Subscribers and sinks that have the events already are told by `gallery.changed`.

    Returns:
        Events that changed.

    Raises:
        JournalWriteError: there is no room for the new files; what was done so far stays done.
    """
    ids = set(persons)
    marks = [person.encode() for person in ids]

    def change(record: Record) -> bytes:
        if not any(mark in record.payload for mark in marks):
            return record.payload
        try:
            event = decode(record.payload)
        except MalformedError:
            return record.payload
        changed = without_names(event, ids)
        if changed is event:
            return record.payload
        wire: Wire = "json" if record.payload[:1] == b"{" else "msgpack"
        return encode(changed, wire)

    return journal.rewrite(change)


def without_names(event: Event, persons: Collection[str]) -> Event:
    """An event without the names of some people; itself where it has none of them."""
    if isinstance(event, Identity):
        ids = event.candidate_ids
        listed = any(one in persons for one in ids)
        if event.person_id not in persons and not listed:
            return event
        candidates = tuple(
            (ERASED if index < len(ids) and ids[index] in persons else name, distance)
            for index, (name, distance) in enumerate(event.candidates)
        )
        person = None if event.person_id in persons else event.person
        return msgspec.structs.replace(event, person=person, candidates=candidates)
    if isinstance(event, TrackEnded | CameraHandoff) and event.person_id in persons and event.person:
        return msgspec.structs.replace(event, person=None)
    return event
