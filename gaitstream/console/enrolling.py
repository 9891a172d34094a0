"""Enrolling somebody from a track that a camera has seen."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from gaitstream.console.asking import find_event
from gaitstream.console.permissions import Actor
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import ConsoleError
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.names import clean_name

MOST_PICTURES = 12
"""Of one walk that go into the gallery with its templates."""


def enrol_track(site: ConsoleSite, actor: Actor, event_id: str, person: str) -> tuple[str, int]:
    """Make templates of the full windows that were kept of a track; some of its pictures go along.

    Args:
        site: whose gallery and evidence.
        actor: in whose name.
        event_id: of an event that tells of the track.
        person: the name; whoever has it already gets the templates added.

    Returns:
        The person's id, and how many templates were added.

    Raises:
        ConsoleError: no window was kept of it.
        GalleryError: the gallery was filled by another model, or the name is none.
    """
    event = find_event(site, actor, event_id)
    name = clean_name(person)
    kept = site.album.windows(actor, event.camera, event.run, event.track)
    windows = defaultdict(list)
    for window in kept:
        windows[window.model, window.fingerprint, window.upstream].append(window.embedding)
    if not windows:
        raise ConsoleError(
            f"no full window of {event.camera} #{event.track} was kept; let the person walk by again"
        )
    source = f"{event.camera} #{event.track}"
    pictures = {kept[0].model: site.album.crops(actor, event.camera, event.run, event.track, MOST_PICTURES)}
    enrolments = [
        Enrolment(name, model, fingerprint, np.stack(held), source, pictures.get(model, ()), [upstream])
        for (model, fingerprint, upstream), held in windows.items()
    ]

    def work(gallery: Gallery) -> tuple[str, int]:
        count = gallery.enroll_many(enrolments)
        with gallery.store.reading() as reading:
            return gallery.person(reading, name)[0], count

    return site.desk.call(actor.audit_name, work)
