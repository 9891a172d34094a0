"""Strangers who came again: who they may be, where they were, and what is done about them.

Whoever may see some of the cameras sees of a visitor the walks on those alone.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from gaitstream.console.asking import find_event
from gaitstream.console.erasing import kept_evidence, tracks_of
from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import EvidenceError
from gaitstream.events.offline import append_offline
from gaitstream.gallery import Gallery, visitors
from gaitstream.gallery.appearances import EarlierWalk, appearances, like_track
from gaitstream.gallery.base import Reading
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


def list_visitors(site: ConsoleSite, actor: Actor) -> list[ShownVisitor]:
    """Visitors, the latest seen first."""
    found = site.desk.call(actor.audit_name, lambda gallery: visitors.visitors(gallery, actor.sees))
    return [_shown(entry) for entry in found if _may_know(entry, actor)]


def show_visitor(site: ConsoleSite, actor: Actor, visitor_id: str) -> VisitorDetails:
    """A visitor with the walks, oldest first; the look is in the audit log.

    Raises:
        NotFoundError: there is none of this id, or none on the actor's cameras.
    """

    def work(gallery: Gallery) -> tuple[VisitorEntry, list[Sighting]]:
        with gallery.store.reading() as reading:
            _find(gallery, reading, visitor_id)
        return visitors.show_visitor(gallery, visitor_id, actor.sees)

    entry, sightings = site.desk.call(actor.audit_name, work)
    if not _may_know(entry, actor):
        raise _nobody(visitor_id)
    site.desk.note(actor.audit_name, "viewed", person=visitor_id)
    walks = [_walk(one.track) for one in sightings]
    return VisitorDetails(**_shown(entry).model_dump(), each_walk=walks)


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
            row = reading.person(other_id)
            if row is None:
                raise _nobody(other_id)
            name = gallery.vault.record(row).name
        visitors.keep_apart(gallery, visitor_id, name)

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
        return count, [line for place in places for line in place.forget(gallery, visitor_id, tracks)[1]]

    count, remains = site.desk.call(actor.audit_name, work)
    site.history.forget(visitor_id)
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
        return appearances(gallery, like_track(gallery, track), site_rule(config, thresholds), since_ns, most)

    found = site.desk.call(actor.audit_name, work)
    return [_appearance(one) for one in found if actor.sees(one.sighting.track.camera)]


def _find(gallery: Gallery, reading: Reading, visitor_id: str) -> None:
    row = reading.person(visitor_id)
    if row is None or not gallery.vault.record(row).visitor:
        raise _nobody(visitor_id)


def _nobody(visitor_id: str) -> NotFoundError:
    return NotFoundError(f"there is no visitor {visitor_id[:64]!r}")


def _may_know(entry: VisitorEntry, actor: Actor) -> bool:
    return actor.cameras is None or entry.tracks > 0


def _shown(entry: VisitorEntry) -> ShownVisitor:
    return ShownVisitor(
        visitor_id=entry.uid, name=entry.name, first_ns=entry.first_ns, last_ns=entry.last_ns,
        walks=entry.tracks, cameras=entry.cameras, expires_ns=entry.expires_ns, apart=list(entry.apart),
    )  # fmt: skip


def _walk(track: TrackRef) -> ShownWalk:
    return ShownWalk(run=track.run, camera=track.camera, track=track.track, time_ns=track.time_ns)


def _appearance(one: EarlierWalk) -> ShownAppearance:
    return ShownAppearance(
        **_walk(one.sighting.track).model_dump(), person_id=one.who_id, person=one.who,
        distance=one.distance, same=one.same,
    )  # fmt: skip
