"""What people say of matches: confirmed by two, rejected by one. The audit log keeps it; this reads it on."""

from __future__ import annotations

from gaitstream.console.asking import find_event
from gaitstream.console.history import StoredEvent
from gaitstream.console.permissions import Actor, Permission
from gaitstream.console.site import ConsoleSite
from gaitstream.console.verdicts import ShownMatch
from gaitstream.errors import ConsoleError
from gaitstream.gallery import Gallery, confirming
from gaitstream.gallery.sightings import TrackRef
from gaitstream.gallery.visitors import reject_track


def show_match(site: ConsoleSite, actor: Actor, event_id: str) -> ShownMatch:
    """What people say of a match.

    Raises:
        NotFoundError: there is no such event, or the actor may not see its camera.
    """
    event = find_event(site, actor, event_id)
    site.verdicts.catch_up()
    return site.verdicts.match(event.event_id)


def confirm(site: ConsoleSite, actor: Actor, event_id: str) -> ShownMatch:
    """Confirm a match in the actor's name.

    Raises:
        NotFoundError: there is no such event, or the actor may not see its camera.
        ConsoleError: it is no match.
        GalleryError: the actor has confirmed it already, or somebody rejected it.
    """
    event = _match_event(site, actor, event_id)
    site.desk.call(actor.audit_name, lambda gallery: confirming.confirm(gallery, event.event_id, actor.voice))
    return show_match(site, actor, event_id)


def reject(site: ConsoleSite, actor: Actor, event_id: str) -> ShownMatch:
    """Reject a match in the actor's name; raises as `confirm` does.

    Where walks are kept, the one that was taken for the person becomes a visitor's, and is not again.
    """
    event = _match_event(site, actor, event_id)

    def work(gallery: Gallery) -> None:
        confirming.reject(gallery, event.event_id, actor.voice)
        if event.person:
            track = TrackRef(event.run, event.camera, event.track)
            reject_track(gallery, track, event.person, actor.voice)

    site.desk.call(actor.audit_name, work)
    return show_match(site, actor, event_id)


def _match_event(site: ConsoleSite, actor: Actor, event_id: str) -> StoredEvent:
    actor.need(Permission.CONFIRMATIONS_WRITE)
    event = find_event(site, actor, event_id)
    if event.type != "identity.final" or event.status != "known":
        raise ConsoleError(
            f"event {event.event_id} is {event.type} {event.status}; only a final answer with a name is one"
        )
    return event
