"""An event as people and programs are shown it: with the names that the gallery gives now."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from gaitstream.console.desk import GalleryDesk
from gaitstream.console.history import StoredEvent
from gaitstream.console.permissions import Rights
from gaitstream.events.identifiers import Clock

_clock = Clock()
_OF_ANOTHER = frozenset({"from_camera", "from_run", "from_track", "left_ns", "transit_s", "expected_s"})
"""What a hand-off tells of the camera where the person was before."""


class ShownCandidate(BaseModel):
    """One of the nearest people."""

    model_config = ConfigDict(frozen=True)
    person_id: str = Field(description="Id in the gallery; empty where the person was forgotten.")
    person: str = Field(description="Name; empty where the person was forgotten.")
    distance: float


class ShownEvent(BaseModel):
    """One event."""

    model_config = ConfigDict(frozen=True)
    event_id: str
    type: str = Field(description="Such as `identity.final`.")
    time_ns: int = Field(description="UTC nanoseconds of capture; as text in `captured_at`.")
    captured_at: str
    camera: str
    run: str
    track: int
    status: str
    reason: str
    person_id: str
    person: str = Field(description="Name as the gallery has it now; empty for nobody and for the forgotten.")
    waits: bool = Field(description="A match that waits for people to confirm it.")
    candidates: list[ShownCandidate]
    details: dict[str, Any] = Field(description="All other fields of the event, see docs/events.md.")


def names_another(event: StoredEvent) -> bool:
    """Whether an event tells of a second camera, which not everybody who sees the first may see."""
    return "from_camera" in event.data


def stream_text(event: StoredEvent, desk: GalleryDesk, rights: Rights) -> str:
    """An event as streams send it: its type, its id, and `ShownEvent` as JSON."""
    shown = show_event(event, desk, rights)
    return f"event: {shown.type}\nid: {shown.event_id}\ndata: {shown.model_dump_json()}\n\n"


def show_event(event: StoredEvent, desk: GalleryDesk, rights: Rights) -> ShownEvent:
    """An event with names, as far as an actor who may see its camera may know it."""
    hidden = names_another(event) and not rights.sees(event.data["from_camera"])
    return ShownEvent(
        event_id=event.event_id, type=event.type, time_ns=event.time_ns,
        captured_at=_clock.text(event.time_ns),
        camera=event.camera, run=event.run, track=event.track, status=event.status, reason=event.reason,
        person_id=event.person, person=desk.name(event.person) if event.person else "", waits=event.waits,
        candidates=[
            ShownCandidate(person_id=uid, person=desk.name(uid) if uid else "", distance=distance)
            for uid, distance in event.candidates
        ],
        details={name: one for name, one in event.data.items() if not (hidden and name in _OF_ANOTHER)},
    )  # fmt: skip
