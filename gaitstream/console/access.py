"""Who a request comes from, and whether it was meant: sessions, tokens, and forms that prove their page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from gaitstream.console.permissions import Actor, Permission
from gaitstream.console.refusals import ForbiddenError, UnauthorisedError
from gaitstream.console.site import ConsoleSite

COOKIE = "gaitstream_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""Under TLS; browsers take one so called from this host alone, by TLS, and for all its paths."""
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM = "application/x-www-form-urlencoded"


def site_of(request: Request) -> ConsoleSite:
    """The console that answers a request."""
    found: ConsoleSite = request.app.state.site
    return found


def cookie_name(site: ConsoleSite) -> str:
    """What the session's cookie is called."""
    return SECURE_COOKIE if site.options.secure else COOKIE


def cookie_of(request: Request) -> str:
    """The session cookie's value; empty when none was sent."""
    return request.cookies.get(cookie_name(site_of(request)), "")


def find_actor(request: Request) -> Actor | None:
    """Who a request comes from: the token's user where one was sent, else the session's.

    Raises:
        UnauthorisedError: the token is not known.
    """
    site = site_of(request)
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        actor = site.accounts.token_actor(token.strip()) if scheme.lower() == "bearer" else None
        if actor is None:
            raise UnauthorisedError("this token is not known; make one with 'gaitstream console tokens add'")
        return actor
    user = site.sessions.find(cookie_of(request))
    return user.actor() if user else None


def still_holds(request: Request, actor: Actor) -> bool:
    """Whether the session or token holds and nothing was taken from it meanwhile."""
    try:
        return find_actor(request) == actor
    except UnauthorisedError:
        return False


async def find_meant(request: Request) -> Actor | None:
    """`find_actor`, after a look at whether a change was meant by a page of ours.

    Raises:
        ForbiddenError: a browser sends a change without the proof that our page made it.
    """
    actor = find_actor(request)
    if actor is not None and not actor.token and request.method not in SAFE_METHODS:
        await check_csrf(request)
    return actor


async def check_csrf(request: Request) -> None:
    """See that a change comes from a page of this console.

    Raises:
        ForbiddenError: it does not.
    """
    cookie = cookie_of(request)
    given = request.headers.get(CSRF_HEADER, "")
    if not given and request.headers.get("Content-Type", "").startswith(_FORM):
        given = str((await request.form()).get(CSRF_FIELD, ""))
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise ForbiddenError("this came from another site's page; open the console and do it there")
    if not site_of(request).sessions.csrf_holds(cookie, given):
        raise ForbiddenError("this page is too old, or is not ours; load it again")


async def current_actor(request: Request) -> Actor:
    """Who a request comes from; the dependency of everything but the login.

    Raises:
        UnauthorisedError: nobody is logged in.
    """
    actor = await find_meant(request)
    if actor is None:
        raise UnauthorisedError("log in first, or send a token: Authorization: Bearer ...")
    request.state.actor = actor
    return actor


def needs(permission: Permission) -> Callable[[Actor], Actor]:
    """A dependency that gives the actor, who must hold a permission."""

    def check(actor: Annotated[Actor, Depends(current_actor)]) -> Actor:
        actor.need(permission)
        return actor

    return check


CurrentSite = Annotated[ConsoleSite, Depends(site_of)]
CurrentActor = Annotated[Actor, Depends(current_actor)]
EventReader = Annotated[Actor, Depends(needs(Permission.EVENTS_READ))]
CameraReader = Annotated[Actor, Depends(needs(Permission.CAMERAS_READ))]
CameraWriter = Annotated[Actor, Depends(needs(Permission.CAMERAS_WRITE))]
EvidenceExporter = Annotated[Actor, Depends(needs(Permission.EVIDENCE_EXPORT))]
HealthReader = Annotated[Actor, Depends(needs(Permission.HEALTH_READ))]
PeopleReader = Annotated[Actor, Depends(needs(Permission.PEOPLE_READ))]
PeopleWriter = Annotated[Actor, Depends(needs(Permission.PEOPLE_WRITE))]
PeopleForgetter = Annotated[Actor, Depends(needs(Permission.PEOPLE_FORGET))]
Confirmer = Annotated[Actor, Depends(needs(Permission.CONFIRMATIONS_WRITE))]
ClipSender = Annotated[Actor, Depends(needs(Permission.CLIPS))]
VisitorReader = Annotated[Actor, Depends(needs(Permission.VISITORS_READ))]
VisitorWriter = Annotated[Actor, Depends(needs(Permission.VISITORS_WRITE))]
CalibrationReader = Annotated[Actor, Depends(needs(Permission.CALIBRATION_READ))]
CalibrationWriter = Annotated[Actor, Depends(needs(Permission.CALIBRATION_WRITE))]
AuditReader = Annotated[Actor, Depends(needs(Permission.AUDIT_READ))]
AccountWriter = Annotated[Actor, Depends(needs(Permission.ACCOUNTS_WRITE))]
