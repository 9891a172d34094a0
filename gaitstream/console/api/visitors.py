"""Strangers who came again, and searches for whoever looks like somebody."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from gaitstream.console import strangers
from gaitstream.console.access import ClipSender, CurrentSite, VisitorReader, VisitorWriter
from gaitstream.console.people import LONGEST_NAME
from gaitstream.console.strangers import ShownAppearance, ShownPromotion, ShownVisitor, VisitorDetails

router = APIRouter(tags=["visitors"])
VisitorId = Annotated[str, Path(pattern=r"^[0-9a-f]{20}$", description="Id in the gallery.")]


class Promote(BaseModel):
    """Who a visitor is."""

    person: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]


class Apart(BaseModel):
    """Who a visitor is not."""

    other_id: Annotated[str, Field(pattern=r"^[0-9a-f]{20}$")]


class Deleted(BaseModel):
    """How many walks were erased."""

    walks: int


@router.get("/visitors")
def list_visitors(site: CurrentSite, actor: VisitorReader) -> list[ShownVisitor]:
    """Visitors, the latest seen first."""
    return strangers.list_visitors(site, actor)


@router.get("/visitors/{visitor_id}")
def show_visitor(site: CurrentSite, actor: VisitorReader, visitor_id: VisitorId) -> VisitorDetails:
    """One visitor with the walks. The audit log notes who looked."""
    return strangers.show_visitor(site, actor, visitor_id)


@router.post("/visitors/{visitor_id}/promote")
def promote(site: CurrentSite, actor: VisitorWriter, visitor_id: VisitorId, asked: Promote) -> ShownPromotion:
    """Give a visitor a name; earlier walks are that person's then."""
    return strangers.promote(site, actor, visitor_id, asked.person)


@router.post("/visitors/{visitor_id}/apart", status_code=204)
def keep_apart(site: CurrentSite, actor: VisitorWriter, visitor_id: VisitorId, asked: Apart) -> None:
    """Say that a visitor is not somebody, for ever."""
    strangers.keep_apart(site, actor, visitor_id, asked.other_id)


@router.delete("/visitors/{visitor_id}")
def delete(site: CurrentSite, actor: VisitorWriter, visitor_id: VisitorId) -> Deleted:
    """Erase a visitor."""
    return Deleted(walks=strangers.delete(site, actor, visitor_id))


@router.get("/events/{event_id}/alike")
def find_alike(
    site: CurrentSite,
    actor: ClipSender,
    event_id: str,
    since_ns: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
    most: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[ShownAppearance]:
    """Kept walks that are like the one of an event; the search is in the audit log."""
    return strangers.find_alike(site, actor, event_id, since_ns, most)
