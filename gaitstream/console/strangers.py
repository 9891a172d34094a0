"""Strangers who came again: who they may be, where they were, and what is done about them.

Whoever may see some of the cameras sees of a visitor the walks on those alone.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from gaitstream.console.asking import find_event
from gaitstream.console.erasing import kept_evidence, tracks_of
from gaitstream.console.permissions import Actor, Permission, Rights
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import EvidenceError
from gaitstream.events.offline import append_offline
from gaitstream.gallery import Gallery, visitors
from gaitstream.gallery.appearances import EarlierWalk, appearances, like_track
from gaitstream.gallery.base import Reading
from gaitstream.gallery.records import PersonRecord
from gaitstream.gallery.sightings import Sighting, TrackRef
from gaitstream.gallery.visitors import VisitorEntry
from gaitstream.pipeline.publish import visitor_named
from gaitstream.pipeline.visits import site_rule


class ShownVisitor(BaseModel):
    """A stranger who came again, as far as the actor may see."""

    visitor_id: str
    name: str
    first_ns: int
    last_ns: int
    walks: int
    cameras: dict[str, int] = Field(description="Walks by camera.")
    expires_ns: int | None
    apart: list[str] = Field(description="Names of whom somebody said that this is not them.")


class ShownWalk(BaseModel):
    """One walk that is kept."""

    run: str
    camera: str
    track: int
    time_ns: int = Field(description="When it ended.")


class VisitorDetails(ShownVisitor):
    """A visitor with the walks."""

    each_walk: list[ShownWalk]


class ShownPromotion(BaseModel):
    """A visitor who has a name now."""

    visitor: str
    person_id: str
    person: str
    walks: list[ShownWalk] = Field(description="What was seen of them before.")


class ShownAppearance(ShownWalk):
    """A kept walk that is like the one that is searched for."""

    person_id: str
    person: str = Field(description="Name of the person or the visitor.")
    distance: float = Field(description="1 is the distance up to which walks are taken for one person's.")
    same: bool


def known_to(site: ConsoleSite, rights: Rights) -> dict[str, PersonRecord]:
    """The records of the people and of the visitors that somebody may know of, by id."""
    people, seen = rights.may(Permission.PEOPLE_READ), _seen_visitors(site, rights)
    records = site.desk.people().items()
    return {uid: one for uid, one in records if (uid in seen if one.visitor else people)}


def _seen_visitors(site: ConsoleSite, rights: Rights) -> set[str]:
    """Ids of the visitors that somebody may know of; of some cameras' only while the gallery can be read."""
    records = site.desk.people()
    if not rights.may(Permission.VISITORS_READ) or not any(one.visitor for one in records.values()):
        return set()
    if rights.cameras is None:
        return set(records)
    if not site.desk.available():
        return set()
    found = site.desk.call("console", lambda gallery: visitors.visitors(gallery, rights.sees))
    return {entry.uid for entry in found if _may_know(entry, rights)}


def list_visitors(site: ConsoleSite, actor: Actor) -> list[ShownVisitor]:
    """Visitors, the latest seen first."""
    found = site.desk.call(actor.audit_name, lambda gallery: visitors.visitors(gallery, actor.sees))
    known = [entry for entry in found if _may_know(entry, actor)]
    hidden = {entry.name for entry in found} - {entry.name for entry in known}
    return [_shown(entry, hidden) for entry in known]


def show_visitor(site: ConsoleSite, actor: Actor, visitor_id: str) -> VisitorDetails:
    """A visitor with the walks, oldest first; the look is in the audit log.

    Raises:
        NotFoundError: there is none of this id, or none on the actor's cameras.
    """

    def work(gallery: Gallery) -> tuple[VisitorEntry, list[Sighting]]:
        with gallery.store.reading() as reading:
            if not _record(gallery, reading, visitor_id).visitor:
                raise _nobody(visitor_id)
        return _see(gallery, visitor_id, actor)

    entry, sightings = site.desk.call(actor.audit_name, work)
    hidden: set[str] = set()
    if entry.apart and actor.cameras is not None:
        known = _seen_visitors(site, actor)
        hidden = {one.name for uid, one in site.desk.people().items() if one.visitor and uid not in known}
    site.desk.note(actor.audit_name, "viewed", person=visitor_id)
    walks = [_walk(one.track) for one in sightings]
    return VisitorDetails(**_shown(entry, hidden).model_dump(), each_walk=walks)


def promote(site: ConsoleSite, actor: Actor, visitor_id: str, person: str) -> ShownPromotion:
    """Give a visitor a name, also that of somebody who is there; raises as `show_visitor`."""
    show_visitor(site, actor, visitor_id)
    done = site.desk.call(actor.audit_name, lambda gallery: visitors.promote(gallery, visitor_id, person))
    for journal in site.options.journals:
        append_offline(journal, visitor_named(done, "promotion"))  # a run that writes it tells by itself
    return ShownPromotion(
        visitor=done.visitor,
        person_id=done.person_id,
        person=done.person,
        walks=[_walk(track) for track in done.tracks if actor.sees(track.camera)],
    )


def keep_apart(site: ConsoleSite, actor: Actor, visitor_id: str, other_id: str) -> None:
    """Say that a visitor is not another one, or not a person; raises as `promote`."""
    show_visitor(site, actor, visitor_id)

    def work(gallery: Gallery) -> None:
        with gallery.store.reading() as reading:
            other = _record(gallery, reading, other_id)
        if other.visitor:
            _see(gallery, other_id, actor)
        visitors.keep_apart(gallery, visitor_id, other.name)

    site.desk.call(actor.audit_name, work)


def delete(site: ConsoleSite, actor: Actor, visitor_id: str) -> int:
    """Erase a visitor here, in the history and in the evidence, on whatever cameras they were.

    Returns:
        How many walks went with them.

    Raises:
        NotFoundError: as `show_visitor`.
        EvidenceError: they are erased, but there are files that cannot be looked into.
    """
    show_visitor(site, actor, visitor_id)
    places, tracks = kept_evidence(site), set(tracks_of(site, visitor_id))

    def work(gallery: Gallery) -> tuple[int, list[str]]:
        _, walks = visitors.show_visitor(gallery, visitor_id)
        tracks.update(one.track for one in walks)
        count = visitors.delete_visitor(gallery, visitor_id)
        return count, [line for place in places for line in place.forget(gallery, [visitor_id], tracks)[1]]

    count, remains = site.desk.call(actor.audit_name, work)
    site.history.forget(visitor_id)
    site.jobs.forget_results()
    if remains:
        raise EvidenceError(f"the visitor is erased; pictures may be left in {'; '.join(remains)}")
    return count


def find_alike(
    site: ConsoleSite, actor: Actor, event_id: str, since_ns: int, most: int
) -> list[ShownAppearance]:
    """Kept walks like that of an event's track, nearest first, on the actor's cameras.

    Raises:
        NotFoundError: there is no such event for the actor.
        GalleryError: nothing is kept of its track.
    """
    event = find_event(site, actor, event_id)
    return alike(site, actor, TrackRef(event.run, event.camera, event.track), since_ns, most)


def alike(
    site: ConsoleSite, actor: Actor, track: TrackRef, since_ns: int, most: int
) -> list[ShownAppearance]:
    """Kept walks like that of a track, nearest first, on the actor's cameras.

    Raises:
        NotFoundError: the actor may not see the track's camera.
        GalleryError: nothing is kept of it.
    """
    if not actor.sees(track.camera):
        raise NotFoundError(f"there is no track {str(track)[:64]!r}")
    config = site.config()

    def work(gallery: Gallery) -> list[EarlierWalk]:
        thresholds = {model: gallery.thresholds(model)[0] for model in gallery.models()}
        like, rule = like_track(gallery, track), site_rule(config, thresholds)
        return appearances(gallery, like, rule, since_ns, most, actor.sees)

    return [_appearance(one) for one in site.desk.call(actor.audit_name, work)]


def _record(gallery: Gallery, reading: Reading, person_id: str) -> PersonRecord:
    """The record of a visitor or a person."""
    row = reading.person(person_id)
    if row is None:
        raise _nobody(person_id)
    return gallery.vault.record(row)


def _see(gallery: Gallery, visitor_id: str, actor: Actor) -> tuple[VisitorEntry, list[Sighting]]:
    """A visitor and the walks on the actor's cameras; nobody where there are none."""
    entry, sightings = visitors.show_visitor(gallery, visitor_id, actor.sees)
    if not _may_know(entry, actor):
        raise _nobody(visitor_id)
    return entry, sightings


def _nobody(visitor_id: str) -> NotFoundError:
    return NotFoundError(f"there is no visitor {visitor_id[:64]!r}")


def _may_know(entry: VisitorEntry, rights: Rights) -> bool:
    return rights.cameras is None or entry.tracks > 0


def _shown(entry: VisitorEntry, hidden: set[str]) -> ShownVisitor:
    """A visitor; not kept apart from those of the names that are hidden."""
    return ShownVisitor(
        visitor_id=entry.uid, name=entry.name, first_ns=entry.first_ns, last_ns=entry.last_ns,
        walks=entry.tracks, cameras=entry.cameras, expires_ns=entry.expires_ns,
        apart=[name for name in entry.apart if name not in hidden],
    )  # fmt: skip


def _walk(track: TrackRef) -> ShownWalk:
    return ShownWalk(run=track.run, camera=track.camera, track=track.track, time_ns=track.time_ns)


def _appearance(one: EarlierWalk) -> ShownAppearance:
    return ShownAppearance(
        **_walk(one.sighting.track).model_dump(), person_id=one.who_id, person=one.who,
        distance=one.distance, same=one.same,
    )  # fmt: skip
