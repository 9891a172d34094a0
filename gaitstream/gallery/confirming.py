"""Confirmation of a match by two persons, as a state of an identity event; kept in the audit log alone.

Article 14(5) of the EU AI Act asks for it where remote biometric identification is high-risk. Nothing in the
pipeline waits for it: who acts on a match asks for its state first.
"""

from __future__ import annotations

import uuid
from enum import StrEnum

from gaitstream.errors import GalleryError
from gaitstream.gallery import audit
from gaitstream.gallery.base import Reading
from gaitstream.gallery.gallery import Gallery

NEEDED = 2
"""Different people who have to confirm a match."""
CONFIRMED, REJECTED = "confirmed", "rejected"
"""The actions of the audit log."""


class MatchState(StrEnum):
    """What people say of a match."""

    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"


def confirm(gallery: Gallery, event_id: str, actor: str | None = None) -> MatchState:
    """Confirm a match in somebody's name.

    Args:
        gallery: whose audit log keeps it.
        event_id: of the identity event.
        actor: who; None for whoever runs the program.

    Raises:
        GalleryError: that is no event_id, the same person has confirmed it before, or it was rejected.
    """
    event_id = clean_event_id(event_id)
    with gallery.writing() as writing:
        said = _said(gallery, writing, event_id)
        who = audit.whoami(actor)
        if said[REJECTED]:
            raise GalleryError(f"event {event_id} was rejected by {', '.join(sorted(said[REJECTED]))}")
        if who in said[CONFIRMED]:
            raise GalleryError(f"{who} has confirmed event {event_id} already; it takes another person")
        audit.note(writing, gallery.sealer, CONFIRMED, detail=event_id, actor=who)
    with gallery.store.reading() as reading:
        return state(gallery, reading, event_id)


def reject(gallery: Gallery, event_id: str, actor: str | None = None) -> MatchState:
    """Reject a match; one person is enough, and it stays rejected.

    Raises:
        GalleryError: that is no event_id.
    """
    event_id = clean_event_id(event_id)
    with gallery.writing() as writing:
        audit.note(writing, gallery.sealer, REJECTED, detail=event_id, actor=actor)
    return MatchState.REJECTED


def clean_event_id(text: str) -> str:
    """An event's id as events have it.

    Raises:
        GalleryError: it is none.
    """
    try:
        found = str(uuid.UUID(text))
    except ValueError:
        found = ""
    if not found or found != text.lower():
        raise GalleryError(f"{text[:64]!r} is no event_id; take one from 'gaitstream events tail'")
    return found


def state(gallery: Gallery, reading: Reading, event_id: str) -> MatchState:
    """What people say of a match by now."""
    said = _said(gallery, reading, event_id)
    if said[REJECTED]:
        return MatchState.REJECTED
    return MatchState.CONFIRMED if len(said[CONFIRMED]) >= NEEDED else MatchState.PROPOSED


def _said(gallery: Gallery, reading: Reading, event_id: str) -> dict[str, set[str]]:
    said: dict[str, set[str]] = {CONFIRMED: set(), REJECTED: set()}
    for _, line in audit.read_audit(reading, gallery.sealer):
        if line.action in said and line.detail == event_id:
            said[line.action].add(line.actor)
    return said
