"""One event: the pictures and distances behind it, what people say of it, and what can be done from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from gaitstream.console import reviews
from gaitstream.console.access import Confirmer, CurrentSite, EventReader, EvidenceExporter
from gaitstream.console.asking import ask_track, find_event
from gaitstream.console.exporting import export_event
from gaitstream.console.menu import SEARCH
from gaitstream.console.pages.drawing import S_NS, DistanceScale, scale
from gaitstream.console.pages.lines import IDENTITY, EventLine, line
from gaitstream.console.pages.pictures import ShownStrip, show_strip
from gaitstream.console.permissions import Actor, Permission
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.rendering import render
from gaitstream.console.showing import ShownEvent, show_event
from gaitstream.console.site import ConsoleSite
from gaitstream.console.verdicts import ShownMatch
from gaitstream.evidence.exporting import TemplatesOf
from gaitstream.evidence.records import TrackEvidence
from gaitstream.gallery.sightings import TrackRef

router = APIRouter()
NEAREST = 5


@dataclass(frozen=True)
class Rank:
    """One of the nearest people on the ruler."""

    name: str
    distance: float
    tone: str
    url: str


@dataclass(frozen=True)
class Facts:
    """What a decision rests on.

    Attributes:
        seconds: from the first frame used to the last.
        margin: lead over the second nearest person.
        rejections: frames not used, by reason, most first.
        decide_ms: from capture to decision; None where it was not measured.
        stages: what each stage's batch took, milliseconds.
        models: fingerprint by recognizer.
    """

    seconds: float
    margin: float | None
    rejections: Sequence[tuple[str, int]]
    decide_ms: float | None
    stages: Sequence[tuple[str, float]]
    models: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class EventView:
    """What the page shows.

    Attributes:
        event: the event.
        facts: what it rests on.
        match: what people say of it; None where it names nobody, or the actor may not know.
        strip: pictures.
        ranks: nearest people, best first.
        threshold: at which somebody is known.
        scale: of the distances.
        history: everything that was said of the track, oldest first.
        persons: names that can be enrolled to.
        kept: what was noted beside the pictures; None where nothing was.
        people: how many were enrolled then.
        can_search: whether more like this can be looked for.
    """

    event: EventLine
    facts: Facts
    match: ShownMatch | None
    strip: ShownStrip
    ranks: list[Rank]
    threshold: float | None
    scale: DistanceScale
    history: list[EventLine]
    persons: list[str]
    kept: TrackEvidence | None
    people: int
    can_search: bool


@router.get("/events/of/{track:path}")
def find(site: CurrentSite, actor: EventReader, track: str) -> Response:
    """The newest event of a track, `run/camera/track`."""
    asked = TrackRef.parse(track)
    said = site.history.track(asked.run, asked.camera, asked.track) if actor.sees(asked.camera) else []
    if not said:
        raise NotFoundError(f"nothing is known of a track {track[:64]!r} any more")
    return RedirectResponse(f"/events/{said[-1].event_id}", status_code=303)


@router.get("/events/{event_id}")
def show(request: Request, site: CurrentSite, actor: EventReader, event_id: str) -> Response:
    """The page."""
    return render(request, "event.html", view_of(site, actor, event_id))


@router.get("/events/{event_id}/pictures")
def pictures(request: Request, site: CurrentSite, actor: EventReader, event_id: str) -> Response:
    """The pictures alone, asked for again while they are being kept."""
    stored = find_event(site, actor, event_id)
    event = line(site, show_event(stored, site.desk, actor))
    return render(request, "event_pictures.html", event=event, strip=show_strip(site, actor, stored))


@router.get("/events/{event_id}/evidence")
def export(
    site: CurrentSite, actor: EvidenceExporter, event_id: str, templates: TemplatesOf = "person"
) -> Response:
    """The event's bundle as a file."""
    return export_event(site, actor, event_id, templates).answer()


@router.post("/events/{event_id}/confirm")
def confirm(request: Request, site: CurrentSite, actor: Confirmer, event_id: str) -> Response:
    """Say that it is this person."""
    return _match(request, site, reviews.confirm(site, actor, event_id))


@router.post("/events/{event_id}/reject")
def reject(request: Request, site: CurrentSite, actor: Confirmer, event_id: str) -> Response:
    """Say that it is not."""
    return _match(request, site, reviews.reject(site, actor, event_id))


def view_of(site: ConsoleSite, actor: Actor, event_id: str) -> EventView:
    """Everything there is to an event."""
    stored = find_event(site, actor, event_id)
    event = show_event(stored, site.desk, actor)
    ranks = ranks_of(event, linked=actor.may(Permission.PEOPLE_READ))
    threshold = event.details.get("threshold")
    kept = site.album.track(actor, stored.camera, stored.run, stored.track)
    return EventView(
        event=line(site, event),
        facts=_facts(event),
        match=match_of(site, actor, event),
        strip=show_strip(site, actor, stored),
        ranks=ranks,
        threshold=threshold,
        scale=scale([threshold, *(rank.distance for rank in ranks)]),
        history=[line(site, one) for one in ask_track(site, actor, stored) if one.type in IDENTITY],
        persons=names_of(site) if actor.may(Permission.PEOPLE_WRITE) else [],
        kept=kept,
        people=kept.decisions[-1].people if kept and kept.decisions else 0,
        can_search=actor.may(SEARCH.permission) and bool(event.details.get("windows")),
    )


def names_of(site: ConsoleSite) -> list[str]:
    """Everybody who was enrolled by name."""
    return sorted(record.name for record in site.desk.people().values() if not record.visitor)


def ranks_of(event: ShownEvent, *, linked: bool) -> list[Rank]:
    """The nearest people of an event; whoever is named has the event's colour."""
    return [
        Rank(
            name=one.person or "forgotten",
            distance=one.distance,
            tone=event.status if one.person_id and one.person_id == event.person_id else "soft",
            url=f"/people/{quote(one.person_id)}" if linked and one.person else "",
        )
        for one in event.candidates[:NEAREST]
    ]


def match_of(site: ConsoleSite, actor: Actor, event: ShownEvent) -> ShownMatch | None:
    """What people say of an event that is a match."""
    is_match = (
        event.type == "identity.final" and event.status == "known" and event.person and site.desk.configured
    )
    if not is_match or not actor.may(Permission.CONFIRMATIONS_WRITE):
        return None
    return reviews.show_match(site, actor, event.event_id)


def _facts(event: ShownEvent) -> Facts:
    details = event.details
    latency_ms: dict[str, float] = details.get("latency_ms") or {}
    rejections: dict[str, int] = details.get("rejections") or {}
    first_ns = details.get("first_ns") or event.time_ns
    return Facts(
        seconds=(event.time_ns - first_ns) / S_NS,
        margin=details.get("margin"),
        rejections=sorted(rejections.items(), key=lambda one: -one[1]),
        decide_ms=latency_ms.get("decide"),
        stages=[(stage, ms) for stage, ms in latency_ms.items() if stage != "decide"],
        models=sorted((details.get("models") or {}).items()),
    )


def _match(request: Request, site: ConsoleSite, match: ShownMatch) -> Response:
    stored = site.history.event(match.event_id)
    person = site.desk.name(stored.person) if stored is not None else ""
    return render(request, "event_match.html", match=match, person=person)
