"""What the audit log says of matches, at hand: confirmed by whom, rejected by whom."""

from __future__ import annotations

import uuid

from pydantic import BaseModel, Field

from gaitstream.console.desk import GalleryDesk
from gaitstream.console.history import History
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
    """Everything the audit log says of matches, read on from where it was left; any thread.

    Args:
        desk: of the gallery whose log it is.
        history: in which matches wait until they are decided.
    """

    def __init__(self, desk: GalleryDesk, history: History) -> None:
        self._desk = desk
        self._history = history
        self._said: dict[str, dict[str, list[str]]] = {}
        self._read = 0
        self._followed: dict[str, str] = {}

    def catch_up(self) -> None:
        """Read what was said meanwhile, also on the command line; what is decided waits no more.

        Whoever was merged meanwhile is merged in the history, too.
        """
        for gone, kept in self._desk.merged().items():
            if self._followed.get(gone) != kept:
                self._history.merge(gone, kept)
                self._followed[gone] = kept
        changed = self._desk.call("console", self._read_on) if self._desk.configured else []
        for event_id in dict.fromkeys(changed):
            self.is_decided(event_id)

    def is_decided(self, event_id: str) -> bool:
        """Whether a match is confirmed or rejected; it waits no more then."""
        decided = self.match(event_id).state is not MatchState.PROPOSED
        if decided:
            self._history.settle(event_id)
        return decided

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

    def _read_on(self, gallery: Gallery) -> list[str]:
        """Read new lines, in the gallery's thread; ids of the events they are about."""
        changed = []
        with gallery.store.reading() as reading:
            for number, line in read_audit(reading, gallery.sealer, self._read):
                self._read = number
                if line.action in (CONFIRMED, REJECTED) and _is_id(line.detail):
                    said = self._said.setdefault(line.detail, {CONFIRMED: [], REJECTED: []})
                    said[line.action].append(line.actor)
                    changed.append(line.detail)
        return changed


def _is_id(text: str) -> bool:
    """Whether it names an event of this console: the command line takes any text."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
