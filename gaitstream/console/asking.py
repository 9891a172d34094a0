"""What may be asked of the history, by pages and programs alike, and what of it an actor may see."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from gaitstream.console.history import EventCount, EventFilter, StoredEvent
from gaitstream.console.history.base import HistoryPlace
from gaitstream.console.hub import narrow
from gaitstream.console.permissions import Actor, Rights
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.showing import ShownEvent, show_event
from gaitstream.console.site import ConsoleSite

NANOSECONDS = Query(ge=0, lt=1 << 63)
_WORD = Query(max_length=64)


@dataclass(frozen=True)
class EventQuestion:
    """Filters and place of a page of events; all of them may be left out.

    Attributes:
        camera: ids.
        person: id in the gallery.
        status: such as `known`.
        reason: such as `truncated`.
        type: kinds, such as `identity.final`.
        since_ns: nothing before, UTC nanoseconds.
        until_ns: nothing at or after.
        waits: only matches that wait for people.
        before: `next` of the page before.
        limit: most events of a page.
    """

    camera: Annotated[list[str] | None, Query(max_length=256)] = None
    person: Annotated[str | None, _WORD] = None
    status: Annotated[str | None, _WORD] = None
    reason: Annotated[str | None, _WORD] = None
    type: Annotated[list[str] | None, Query(max_length=32)] = None
    since_ns: Annotated[int | None, NANOSECONDS] = None
    until_ns: Annotated[int | None, NANOSECONDS] = None
    waits: Annotated[bool, Query()] = False
    before: Annotated[str | None, Query(max_length=40, pattern=r"^([0-9]{1,19}-[0-9]{1,19})?$")] = None
    limit: Annotated[int, Query(ge=1, le=500)] = 50


class EventsAnswer(BaseModel):
    """One page of events."""

    events: list[ShownEvent] = Field(description="Newest first.")
    next: str = Field(description="Give it as `before` to get the next page; empty at the end.")


def ask_events(site: ConsoleSite, rights: Rights, question: EventQuestion) -> EventsAnswer:
    """The page of events that is asked for, of the cameras that the actor may see."""
    before = HistoryPlace.parse(question.before) if question.before else None
    if question.waits or question.person:
        site.verdicts.catch_up()
    found = site.history.page(_wanted(rights, question), question.limit, before)
    # What was decided before the history heard of it, as after it was made anew, is left out here.
    open_ = [one for one in found.events if not (question.waits and _is_over(site, one))]
    events = [show_event(event, site.desk, rights) for event in open_]
    return EventsAnswer(events=events, next=str(found.next or ""))


def ask_newest(
    site: ConsoleSite, rights: Rights, people: Sequence[str], types: Sequence[str]
) -> dict[str, ShownEvent]:
    """The newest event of some types of each of some people, on the cameras that the actor may see."""
    found = site.history.newest_of(people, _wanted(rights, EventQuestion(type=list(types))))
    return {person: show_event(event, site.desk, rights) for person, event in found.items()}


def count_tracks(site: ConsoleSite, rights: Rights, question: EventQuestion) -> list[EventCount]:
    """How many tracks that the actor may see ended, by camera and status."""
    return site.history.count(_wanted(rights, question), "identity.final")


def _wanted(rights: Rights, question: EventQuestion) -> EventFilter:
    return EventFilter(
        cameras=narrow(rights, question.camera or None),
        person=question.person or None,
        status=question.status or None,
        reason=question.reason or None,
        kinds=tuple(filter(None, question.type or ())),
        since_ns=question.since_ns,
        until_ns=question.until_ns,
        waits=question.waits,
    )


def _is_over(site: ConsoleSite, event: StoredEvent) -> bool:
    """Whether a match is decided, or of somebody whom the gallery has forgotten; it waits no more then."""
    if site.desk.available() and not site.desk.name(event.person):
        site.history.settle(event.event_id)
        return True
    return site.verdicts.is_decided(event.event_id)


def see_camera(rights: Rights, camera: str) -> None:
    """See that an actor may see a camera.

    Raises:
        NotFoundError: they may not; what is hidden is told as what is not there.
    """
    if not rights.sees(camera):
        raise NotFoundError(f"nothing was heard of a camera {camera[:64]!r}")


def find_event(site: ConsoleSite, actor: Actor, event_id: str) -> StoredEvent:
    """The event of an id.

    Raises:
        NotFoundError: there is none, or it is of a camera that the actor may not see.
    """
    try:
        found = site.history.event(str(uuid.UUID(event_id)))
    except ValueError:
        found = None
    if found is None or not (actor.cameras is None or found.camera in actor.cameras):
        raise NotFoundError(f"there is no event {event_id[:64]!r}")
    return found


def ask_event(site: ConsoleSite, actor: Actor, event_id: str) -> ShownEvent:
    """The event of an id, as it is shown."""
    return show_event(find_event(site, actor, event_id), site.desk, actor)


def ask_track(site: ConsoleSite, actor: Actor, event: StoredEvent) -> list[ShownEvent]:
    """What was said of the track that an event tells of, oldest first."""
    if not event.camera or not actor.sees(event.camera):
        return []
    said = site.history.track(event.run, event.camera, event.track)
    return [show_event(one, site.desk, actor) for one in said]
