"""What the audit log says of matches, at hand: confirmed by whom, rejected by whom."""

from __future__ import annotations

from pydantic import BaseModel, Field

from gaitstream.gallery import Gallery
from gaitstream.gallery.audit import read_audit
from gaitstream.gallery.confirming import CONFIRMED, NEEDED, REJECTED, MatchState


class ShownMatch(BaseModel):
    """What people say of a match by now."""

    event_id: str
    state: MatchState = Field(description="`proposed` until two people confirmed it, or one rejected it.")
    confirmed_by: list[str] = Field(description="Users of the console, or who the command line named.")
    rejected_by: list[str]
    needed: int = NEEDED


class Verdicts:
    """Everything the audit log says of matches, read on from where it was left; in the gallery's thread."""

    def __init__(self) -> None:
        self._said: dict[str, dict[str, list[str]]] = {}
        self._read = 0

    def read_on(self, gallery: Gallery) -> list[str]:
        """Read new lines; ids of the events they are about."""
        changed = []
        with gallery.store.reading() as reading:
            for number, line in read_audit(reading, gallery.sealer, self._read):
                self._read = number
                if line.action in (CONFIRMED, REJECTED):
                    said = self._said.setdefault(line.detail, {CONFIRMED: [], REJECTED: []})
                    said[line.action].append(line.actor)
                    changed.append(line.detail)
        return changed

    def match(self, event_id: str) -> ShownMatch:
        """What was said of an event."""
        said = self._said.get(event_id, {CONFIRMED: [], REJECTED: []})
        state = MatchState.CONFIRMED if len(set(said[CONFIRMED])) >= NEEDED else MatchState.PROPOSED
        return ShownMatch(
            event_id=event_id,
            state=MatchState.REJECTED if said[REJECTED] else state,
            confirmed_by=said[CONFIRMED],
            rejected_by=said[REJECTED],
        )
