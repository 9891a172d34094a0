"""Logging in and out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from gaitstream.console.access import (
    CurrentActor,
    CurrentSite,
    check_csrf,
    cookie_name,
    cookie_of,
    find_actor,
)
from gaitstream.console.proving import prove
from gaitstream.console.refusals import BusyError
from gaitstream.console.rendering import render
from gaitstream.console.sessions import LONGEST_S
from gaitstream.console.site import ConsoleSite

router = APIRouter()
_OWN_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9_./-]*(\?[A-Za-z0-9_.~%&=+:@,/-]{0,2000})?")
"""With a query, so that filters outlast a login; nothing in it can begin another host or a header."""


@dataclass(frozen=True)
class LoginView:
    """What the form shows.

    Attributes:
        next: where to go afterwards.
        fault: why it did not work; empty before the first try.
    """

    next: str
    fault: str = ""


@router.get("/login")
async def show(request: Request, site: CurrentSite, next: str = "/") -> Response:
    """The form, with a cookie that its token belongs to."""
    if find_actor(request) is not None:
        return RedirectResponse(own_path(next), status_code=303)
    value = cookie_of(request)
    if not site.sessions.is_ours(value):
        value = site.sessions.new_value()
        request.cookies[cookie_name(site)] = value  # the form's token is made from it
    answer = render(request, "login.html", LoginView(own_path(next)))
    set_cookie(answer, site, value)
    return answer


@router.post("/login", dependencies=[Depends(check_csrf)])
async def log_in(
    request: Request,
    site: CurrentSite,
    name: Annotated[str, Form(max_length=64)] = "",
    password: Annotated[str, Form(max_length=256)] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Begin a session."""
    try:
        user = await run_in_threadpool(prove, site, request, name, password)
    except BusyError as error:
        return render(request, "login.html", LoginView(own_path(next), str(error)), 429)
    if user is None:
        fault = "this name and password do not belong together"
        return render(request, "login.html", LoginView(own_path(next), fault), 401)
    site.sessions.end(cookie_of(request))
    answer = RedirectResponse(own_path(next), status_code=303)
    set_cookie(answer, site, site.sessions.start(user))
    return answer


@router.post("/logout")
async def log_out(request: Request, site: CurrentSite, _: CurrentActor) -> Response:
    """End the session."""
    site.sessions.end(cookie_of(request))
    answer = RedirectResponse("/login", status_code=303)
    answer.delete_cookie(cookie_name(site), httponly=True, samesite="lax", secure=site.options.secure)
    return answer


def set_cookie(answer: Response, site: ConsoleSite, value: str) -> None:
    """Give the browser its session; for all paths of this host and for no other."""
    answer.set_cookie(
        cookie_name(site),
        value,
        max_age=int(LONGEST_S),
        httponly=True,
        samesite="lax",
        secure=site.options.secure,
    )


def own_path(text: str) -> str:
    """A path of this console; the first page for anything else, so that nobody is sent elsewhere.

    >>> own_path("/events?camera=yard"), own_path("//evil.example"), own_path("https://evil.example")
    ('/events?camera=yard', '/', '/')
    """
    return text if _OWN_PATH.fullmatch(text) else "/"
