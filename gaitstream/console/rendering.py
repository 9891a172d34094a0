"""Pages from templates: Jinja2 with everything escaped, and what every template may ask for."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import Response

from gaitstream import __version__
from gaitstream.console.access import cookie_of, site_of
from gaitstream.console.permissions import Actor, Permission

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"


@lru_cache(1)
def templates() -> Jinja2Templates:
    """The templates of `templates/`, with filters `moment` and `iso` of UTC nanoseconds."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": moment, "iso": iso}
    environment.globals |= {"version": __version__, "Permission": Permission}
    return Jinja2Templates(env=environment)


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Answer with a page.

    Beside its values, a template has `request`; `actor`, None before the login; `csrf`, the token of forms;
    `version`; and `Permission`, as in `{% if actor.may(Permission.PEOPLE_WRITE) %}`.

    Args:
        request: what is answered.
        template: name in `templates/`.
        status: of the answer.
        values: for the template, usually `view`, the page's dataclass.
    """
    actor: Actor | None = getattr(request.state, "actor", None)
    csrf = site_of(request).sessions.csrf(cookie_of(request))
    context = {"actor": actor, "csrf": csrf, **values}
    return templates().TemplateResponse(request, template, context, status_code=status)


def render_error(request: Request, status: int, words: str) -> Response:
    """Answer with the page that says what is wrong; a fragment of it for htmx."""
    return render(request, "error.html", status, words=words, code=status)


def moment(time_ns: int | None) -> str:
    """UTC nanoseconds for people, to the second.

    >>> moment(1_700_000_000_000_000_000)
    '2023-11-14 22:13:20 UTC'
    """
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if time_ns else ""


def iso(time_ns: int | None) -> str:
    """UTC nanoseconds as RFC 3339 to the millisecond, for `<time datetime>`.

    >>> iso(1_700_000_000_123_000_000)
    '2023-11-14T22:13:20.123Z'
    """
    if not time_ns:
        return ""
    text = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{time_ns // 1_000_000 % 1000:03d}Z"
