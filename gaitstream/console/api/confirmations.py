"""What people say of matches."""

from __future__ import annotations

from fastapi import APIRouter

from gaitstream.console import reviews
from gaitstream.console.access import Confirmer, CurrentSite, EventReader
from gaitstream.console.verdicts import ShownMatch

router = APIRouter(prefix="/events/{event_id}", tags=["confirmations"])


@router.get("/match")
def show_match(site: CurrentSite, actor: EventReader, event_id: str) -> ShownMatch:
    """What people say of a match by now."""
    return reviews.show_match(site, actor, event_id)


@router.post("/confirm")
def confirm(site: CurrentSite, actor: Confirmer, event_id: str) -> ShownMatch:
    """Confirm a match; it takes two people."""
    return reviews.confirm(site, actor, event_id)


@router.post("/reject")
def reject(site: CurrentSite, actor: Confirmer, event_id: str) -> ShownMatch:
    """Reject a match; one person is enough."""
    return reviews.reject(site, actor, event_id)
