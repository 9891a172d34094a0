"""The bundle of an event, signed by the site, as a file to take away; each is in the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response

from gaitstream.config.places import journal_folder
from gaitstream.console.asking import find_event
from gaitstream.console.permissions import Actor
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import MissingEvidenceError
from gaitstream.events.schema import Identity
from gaitstream.evidence import exporting
from gaitstream.evidence.exporting import TemplatesOf


@dataclass(frozen=True)
class EventBundle:
    """A bundle.

    Attributes:
        name: of the file.
        data: what `gaitstream evidence verify` reads.
    """

    name: str
    data: bytes

    def answer(self) -> Response:
        """As a file that a browser saves."""
        headers = {"Content-Disposition": f'attachment; filename="{self.name}"'}
        return Response(self.data, media_type="application/zip", headers=headers)


def export_event(site: ConsoleSite, actor: Actor, event_id: str, templates_of: TemplatesOf) -> EventBundle:
    """What is known of an event in one signed file, as `gaitstream evidence export` writes it.

    Raises:
        NotFoundError: there is no such event, or it is of a camera that the actor may not see.
        MissingEvidenceError: nothing is kept of it, or no journal has it any more.
        EvidenceError: what is kept is damaged, or the event is not of an identity.
    """
    stored = find_event(site, actor, event_id)
    folder = site.album.sealed()
    event = _published(site, stored.event_id)
    taken: list[bytes] = []
    site.desk.call(
        actor.audit_name,
        lambda gallery: exporting.hand_out(folder, gallery, event, taken.append, templates_of),
    )
    return EventBundle(f"{stored.event_id}.evidence.zip", taken[0])


def _published(site: ConsoleSite, event_id: str) -> Identity:
    """An event as it was published, from the journals that this machine has."""
    for folder in _journals(site):
        with suppress(MissingEvidenceError):
            return exporting.find_event(folder, event_id)
    raise MissingEvidenceError(
        f"no journal here has event {event_id} any more; name those of other machines with --journal"
    )


def _journals(site: ConsoleSite) -> Iterator[Path]:
    yield from site.options.journals
    if site.options.cameras is not None:
        yield journal_folder(site.config(), site.options.cameras)
