"""Takes a person's name out of events that were published before: ids, times and places stay."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from gaitstream.errors import EventError
from gaitstream.events.codec import MalformedError, decode, encode, plain
from gaitstream.events.journal import Journal
from gaitstream.events.schema import (
    SCHEMA,
    CameraHandoff,
    Event,
    Identity,
    TrackEnded,
    Unrecognised,
    VisitorNamed,
    VisitorSeen,
)
from gaitstream.events.segment import Record

ERASED = "erased"
"""Stands where the name stood among candidates."""

_Named = TrackEnded | CameraHandoff | VisitorSeen | VisitorNamed
_LABELS = ("event_id", "visitor_id", "into_id")
"""Beside these stand no names of people."""
_PLAIN = {"type", "camera", *(field.name for field in msgspec.structs.fields(Event))}


class StoppedError(EventError):
    """Erasing was told to stop; what was done so far stays done."""


class Stop:
    """Ends an `erase` that another thread is at: set `now`."""

    now = False


def erase(journal: Journal, persons: Collection[str] | Mapping[str, int], stop: Stop | None = None) -> int:
    """Erase the names of people, given by their ids in the gallery, from a journal.

    Every file that holds one is written anew; events keep their numbers and ids, and `person_id`, so that
    counts stay right. Subscribers and sinks that have the events already are told by `gallery.changed`.
    Events of version 1 have no ids: they lose the names that later events give the ids.

    Args:
        journal: opened for writing.
        persons: ids; with numbers, events up to the id's number alone are changed.
        stop: lets another thread end this.

    Returns:
        Events that changed.

    Raises:
        JournalWriteError: there is no room for the new files; what was done so far stays done.
        StoppedError: `stop` was set.
        EventError: the journal is closed.
    """
    stop = stop or Stop()
    last = dict(persons) if isinstance(persons, Mapping) else dict.fromkeys(persons, journal.head)
    old = _names_of_old(journal, set(last), stop)
    marks = _marks({*last, *old})

    def change(record: Record) -> bytes:
        if stop.now:
            raise StoppedError("erasing was stopped")
        if not mentions(record.payload, marks):
            return record.payload
        gone = {person for person, number in last.items() if record.seq <= number} | old
        return payload_without_names(record.payload, gone)

    return journal.rewrite(change, max(last.values(), default=0))


def mentions(payload: bytes, marks: Collection[bytes]) -> bool:
    """Whether a payload may have one of some texts: what JSON escapes is found by reading it alone."""
    return b"\\" in payload or any(mark in payload for mark in marks)


def only_ids(event: Event) -> Event:
    """An event without anybody's name: where a name stood among candidates stands the id."""
    if isinstance(event, Identity):
        ids = event.candidate_ids
        candidates = tuple(
            (ids[index] if index < len(ids) else ERASED, distance)
            for index, (_, distance) in enumerate(event.candidates)
        )
        return msgspec.structs.replace(event, person=None, candidates=candidates)
    if isinstance(event, _Named):
        return msgspec.structs.replace(event, person=None)
    if isinstance(event, Unrecognised):
        return _unrecognised(event, None)
    return event


def without_names(event: Event, persons: Collection[str]) -> Event:
    """An event without the names of some people; itself where it has none of them.

    Args:
        event: of any kind.
        persons: ids; names where the event has no ids.
    """
    if isinstance(event, Identity):
        ids = event.candidate_ids
        gone = [
            (ids[index] if index < len(ids) else name) in persons
            for index, (name, _) in enumerate(event.candidates)
        ]
        named = (event.person_id or event.person) in persons
        if not named and True not in gone:
            return event
        candidates = tuple(
            (ERASED if erased else name, distance)
            for erased, (name, distance) in zip(gone, event.candidates, strict=True)
        )
        person = None if named else event.person
        return msgspec.structs.replace(event, person=person, candidates=candidates)
    if isinstance(event, _Named):
        if event.person and (event.person_id or event.person) in persons:
            return msgspec.structs.replace(event, person=None)
        return event
    return _unrecognised(event, persons) if isinstance(event, Unrecognised) else event


def payload_without_names(payload: bytes, persons: Collection[str]) -> bytes:
    """As `without_names`, of an event's bytes; the same ones where they have none of the names."""
    try:
        event = decode(payload)
    except MalformedError:
        return payload
    changed = without_names(event, persons)
    if changed is event:
        return payload
    text = payload[:1] == b"{"
    if isinstance(changed, Unrecognised):
        return msgspec.json.encode(changed.data) if text else msgspec.msgpack.encode(changed.data)
    return encode(changed, "json" if text else "msgpack")


def _marks(texts: Collection[str]) -> list[bytes]:
    return [text.encode("utf-8", "surrogatepass") for text in texts]


def _names_of_old(journal: Journal, persons: Collection[str], stop: Stop) -> set[str]:
    """Names that a journal with events of version 1 gives some ids; in any other they are not needed."""
    reader = journal.reader()
    reader.seek(0)
    marks = _marks(persons)
    names = set[str]()
    asked = False
    while not (piece := reader.read()).end:
        for record in piece.records:
            if stop.now:
                raise StoppedError("erasing was stopped")
            try:
                if not asked and plain(record.payload).get("schema", 1) >= SCHEMA:
                    return names
                asked = True
                if mentions(record.payload, marks):
                    names.update(_names(plain(record.payload), persons))
            except (MalformedError, TypeError, RecursionError):
                continue
    return names


def _unrecognised(event: Unrecognised, persons: Collection[str] | None) -> Unrecognised:
    """Without the names that stand beside ids, wherever else in the event they stand."""
    try:
        names = set(_names(event.data, persons))
        if not names:
            return event
        word = re.compile(
            "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in sorted(names, key=len)[::-1])
        )
        data = {key: _erased(key, value, names, word) for key, value in event.data.items()}
    except RecursionError:
        data = {}  # deeper than anybody looks
    return msgspec.structs.replace(event, data=data)


def _names(data: Any, persons: Collection[str] | None) -> Iterator[str]:
    """Names in plain data: `person` beside `person_id`, `candidates` beside `candidate_ids`, and the like."""
    if isinstance(data, list):
        for value in data:
            yield from _names(value, persons)
    if not isinstance(data, dict):
        return
    for key, value in data.items():
        yield from _names(value, persons)
        if not isinstance(key, str) or key in _LABELS:
            continue
        if key.endswith("_id"):
            pairs = [(value, data.get(key[:-3]))]
        elif key.endswith("_ids") and isinstance(value, list):
            beside = data.get(f"{key[:-4]}s")
            pairs = list(zip(value, beside, strict=False)) if isinstance(beside, list) else []
        else:
            continue
        for person, named in pairs:
            name = named[0] if isinstance(named, list) and named else named
            if not isinstance(person, str) or not isinstance(name, str) or name in ("", ERASED, person):
                continue
            if persons is None or person in persons:
                yield name


def _erased(key: Any, value: Any, names: Collection[str], word: re.Pattern[str]) -> Any:
    if isinstance(key, str) and (key in _PLAIN or key.endswith(("_id", "_ids"))):
        return value
    if isinstance(value, str):
        return None if key == "person" and value in names else word.sub(ERASED, value)
    if isinstance(value, list):
        return [_erased("", one, names, word) for one in value]
    if isinstance(value, dict):
        return {inner: _erased(inner, one, names, word) for inner, one in value.items()}
    return value
