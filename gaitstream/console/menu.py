"""The pages there are, and which of them an actor is offered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gaitstream.console.permissions import Actor, Permission


@dataclass(frozen=True)
class MenuPage:
    """One page of the menu.

    Attributes:
        name: first part of its address, and name of its icon.
        key: goes there after a `g`.
        permission: that it takes.
    """

    name: str
    key: str
    permission: Permission

    @property
    def title(self) -> str:
        """As it is shown."""
        return self.name.capitalize()


@dataclass(frozen=True)
class MenuGroup:
    """Pages under one heading; the first group has none."""

    title: str
    pages: Sequence[MenuPage]


LIVE = MenuPage("live", "l", Permission.CAMERAS_READ)
EVENTS = MenuPage("events", "e", Permission.EVENTS_READ)
REVIEW = MenuPage("review", "r", Permission.CONFIRMATIONS_WRITE)
SEARCH = MenuPage("search", "s", Permission.VISITORS_READ)
PEOPLE = MenuPage("people", "p", Permission.PEOPLE_READ)
VISITORS = MenuPage("visitors", "v", Permission.VISITORS_READ)
CAMERAS = MenuPage("cameras", "c", Permission.CAMERAS_READ)
HEALTH = MenuPage("health", "h", Permission.HEALTH_READ)
CALIBRATION = MenuPage("calibration", "t", Permission.CALIBRATION_READ)
AUDIT = MenuPage("audit", "a", Permission.AUDIT_READ)
USERS = MenuPage("users", "u", Permission.ACCOUNTS_WRITE)
GROUPS = (
    MenuGroup("", (LIVE, EVENTS, REVIEW, SEARCH)),
    MenuGroup("Who", (PEOPLE, VISITORS)),
    MenuGroup("Site", (CAMERAS, HEALTH, CALIBRATION, AUDIT, USERS)),
)
THUMB = (LIVE, EVENTS, REVIEW, PEOPLE, HEALTH)
"""Those that a phone shows beside the menu; the first four that may be seen."""


def menu_of(actor: Actor, further: Sequence[MenuPage] = ()) -> list[MenuGroup]:
    """The groups and pages that an actor may see, `further` ones first."""
    groups = [
        MenuGroup(group.title, _allowed(actor, group.pages)) for group in (MenuGroup("", further), *GROUPS)
    ]
    return [group for group in groups if group.pages]


def tabs_of(actor: Actor) -> Sequence[MenuPage]:
    """The pages under a phone's thumb."""
    return _allowed(actor, THUMB)[:4]


def _allowed(actor: Actor, pages: Sequence[MenuPage]) -> Sequence[MenuPage]:
    return [page for page in pages if actor.may(page.permission)]
