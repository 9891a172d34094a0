"""From a published event to a row without names, and back."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from gaitstream.console.history.base import StoredEvent
from gaitstream.events import Event, GalleryChanged, PipelineStats, Unrecognised
from gaitstream.events.schema import Identity

_NOWHERE = frozenset(
    {"type", "event_id", "time_ns", "camera", "person", "person_id", "status", "reason", "run", "track"}
    | {"candidates", "candidate_ids", "captured_at", "schema", "outcome", "visitor", "visitor_id"}
)
"""Fields with a column, and those that can be had from others."""

Number = Callable[[str, str], int]
"""The number of a text in a space such as `camera`; made when there is none."""
Text = Callable[[int | None], str]
"""The text of a number; empty for None and where it was forgotten."""


@dataclass(frozen=True)
class HistoryRow:
    """An event in columns; texts that repeat are numbers.

    `data` is a msgpack map of the fields that have no column; under `candidates` it has pairs of the
    person's number and the distance.
    """

    event_id: bytes
    time_ns: int
    kind: int
    camera: int | None
    person: int | None
    status: int | None
    reason: int | None
    run: int | None
    track: int
    waits: int
    data: bytes

    def values(self) -> tuple[Any, ...]:
        """In the order of `COLUMNS`."""
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)


COLUMNS = tuple(HistoryRow.__dataclass_fields__)


WAITING_KIND, WAITING_STATUS = "identity.final", "known"
"""Of matches that people decide on."""
_IDS = uuid.UUID("5b0f6c1e-3f51-4b1a-9a44-6d0f3c2f9a10")
"""Space of the ids of events that came without one."""
_NUMBERS = range(-(1 << 63), 1 << 63)


def is_kept(event: Event) -> bool:
    """Whether an event belongs into a history: no statistics, and no time or track that no column holds."""
    fits = event.time_ns in _NUMBERS and getattr(event, "track", 0) in _NUMBERS
    return fits and not isinstance(event, PipelineStats)


def id_of(event: Event) -> uuid.UUID:
    """An event's id; where an old publisher gave none, one that comes out the same each time."""
    try:
        return uuid.UUID(event.event_id)
    except ValueError:
        return uuid.uuid5(_IDS, f"{event.publisher}/{event.epoch}/{event.seq}/{event.topic}/{event.time_ns}")


def to_row(event: Event, number: Number) -> HistoryRow:
    """The row of an event."""

    def optional(space: str, text: str | None) -> int | None:
        return number(space, text) if text else None

    status = getattr(event, "status", None) or getattr(event, "outcome", None)
    person = getattr(event, "person_id", None) or getattr(event, "visitor_id", None)
    return HistoryRow(
        event_id=id_of(event).bytes,
        time_ns=event.time_ns,
        kind=number("kind", event.type),
        camera=optional("camera", getattr(event, "camera", None)),
        person=optional("person", person),
        status=optional("status", status),
        reason=optional("reason", getattr(event, "reason", None)),
        run=optional("run", event.run),
        track=int(getattr(event, "track", 0)),
        waits=int(waits_for_people(event)),
        data=msgspec.msgpack.encode(_rest(event, number)),
    )


def _rest(event: Event, number: Number) -> dict[str, Any]:
    """What has no column; of kinds this version does not know nothing, since names may be in it."""
    if isinstance(event, Unrecognised):
        return {}
    if isinstance(event, GalleryChanged):
        merged = {"merged": len(event.merged)} if event.merged else {}
        return {"people": event.people, "added": len(event.added), "removed": len(event.removed), **merged}
    rest = {name: value for name, value in msgspec.to_builtins(event).items() if name not in _NOWHERE}
    if isinstance(event, Identity) and event.candidates:
        rest["candidates"] = _candidates(event, number)
    return rest


def waits_for_people(event: Event) -> bool:
    """Whether an event is a match that people decide on: the last word on a track that is somebody."""
    return event.type == WAITING_KIND and getattr(event, "status", "") == WAITING_STATUS


def from_row(number: int, row: Sequence[Any], text: Text) -> StoredEvent:
    """The event of a row, whose values are in the order of `COLUMNS`."""
    event_id, time_ns, kind, camera, person, status, reason, run, track, waits, packed = row
    data: dict[str, Any] = msgspec.msgpack.decode(bytes(packed))
    candidates = _each_once((text(person_), distance) for person_, distance in data.pop("candidates", ()))
    return StoredEvent(
        number, str(uuid.UUID(bytes=bytes(event_id))), text(kind), time_ns, text(camera), text(person),
        text(status), text(reason), text(run), track, bool(waits), candidates, data,
    )  # fmt: skip


def _each_once(candidates: Iterable[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """Candidates without those who are part of somebody nearer by now."""
    kept: list[tuple[str, float]] = []
    for person, distance in candidates:
        if not person or person not in {one for one, _ in kept}:
            kept.append((person, float(distance)))
    return tuple(kept)


def _candidates(event: Identity, number: Number) -> list[tuple[int | None, float]]:
    """Numbers instead of names; of somebody without an id nothing but the distance."""
    ids = (*event.candidate_ids, *[""] * len(event.candidates))
    return [
        (number("person", uid) if uid else None, distance)
        for uid, (_, distance) in zip(ids, event.candidates, strict=False)
    ]
