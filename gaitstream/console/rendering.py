"""Pages from templates: Jinja2 with everything escaped, and what every template may ask for."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.responses import Response

from gaitstream import __version__
from gaitstream.console.access import cookie_of, site_of
from gaitstream.console.menu import menu_of, tabs_of
from gaitstream.console.permissions import Actor, Permission
from gaitstream.gallery.retention import utc

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
LOADER = FileSystemLoader(FOLDER / "templates")
"""Of all templates; whoever adds pages adds a folder."""


@lru_cache(1)
def templates() -> Jinja2Templates:
    """The templates of `templates/`; `moment`, `iso` and `day` take UTC nanoseconds, `percent` a share."""
    environment = Environment(
        loader=LOADER,
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {"moment": moment, "iso": iso, "day": day, "words": words_of_name}
    environment.filters |= {"percent": percent, "voice": voice, "px": px}
    environment.globals |= {
        "version": __version__, "Permission": Permission, "static": static,
        "menu_of": menu_of, "tabs_of": tabs_of,
    }  # fmt: skip
    return Jinja2Templates(env=environment)


def render(
    request: Request, template: str, view: DataclassInstance | None = None, status: int = 200, **values: Any
) -> Response:
    """Answer with a page.

    Beside its values, a template has `request`; `actor`, None before the login; `csrf`, the token of forms;
    `here`, the first part of the address; `version`; and `Permission`, as in
    `{% if actor.may(Permission.PEOPLE_WRITE) %}`.

    Args:
        request: what is answered.
        template: name in `templates/`.
        view: what the page shows; its fields are values of the template.
        status: of the answer.
        values: further values.
    """
    actor: Actor | None = getattr(request.state, "actor", None)
    csrf = site_of(request).sessions.csrf(cookie_of(request))
    here = request.url.path.split("/")[1]
    context = {"actor": actor, "csrf": csrf, "here": here, **_shown(view), **values}
    return templates().TemplateResponse(request, template, context, status_code=status)


def render_part(template: str, view: DataclassInstance | None = None, **values: Any) -> Markup:
    """A part of a page that is the same for whoever has the same rights.

    Its template has neither request nor actor nor token, and fails where it asks for one.

    Args:
        template: name in `templates/`.
        view: its fields are values of the template.
        values: further values.
    """
    return Markup(templates().env.get_template(template).render(_shown(view) | values))


def _shown(view: DataclassInstance | None) -> dict[str, Any]:
    return {field.name: getattr(view, field.name) for field in fields(view)} if view is not None else {}


def is_fragment(request: Request) -> bool:
    """Whether a part of a page is asked for, to be put into one that is open."""
    return request.headers.get("HX-Request") == "true"


def render_error(request: Request, status: int, words: str) -> Response:
    """Answer with the page that says what is wrong; a fragment of it for htmx."""
    return render(
        request, "error.html", None, status, words=words, code=status, alone=not is_fragment(request)
    )


def static(path: str) -> str:
    """The address of a file of `static/`; another one in another version, so that none is kept too long."""
    return f"/static/{path}?v={__version__}"


def words_of_name(name: str) -> str:
    """A name of the schema for people.

    >>> words_of_name("insufficient_evidence")
    'insufficient evidence'
    """
    return name.replace("_", " ")


def px(value: float) -> str:
    """A place in a drawing.

    >>> px(12.345)
    '12.3'
    """
    return f"{value:.1f}"


def voice(name: str) -> str:
    """Who said something of a match; users of the console by their names alone.

    >>> voice("console:ines"), voice("ada@gate")
    ('ines', 'ada@gate')
    """
    return name.removeprefix("console:")


def percent(share: float) -> str:
    """A share of one, to two digits.

    >>> percent(0.0123), percent(0.5), percent(0.0)
    ('1.2%', '50%', '0%')
    """
    return f"{100 * share:.2g}%" if share < 0.995 else "100%"


def moment(time_ns: int | None) -> str:
    """UTC nanoseconds for people, to the second.

    >>> moment(1_700_000_000_000_000_000)
    '2023-11-14 22:13:20 UTC'
    """
    return utc(time_ns).strftime("%Y-%m-%d %H:%M:%S UTC") if time_ns else ""


def day(time_ns: int) -> str:
    """The day of UTC nanoseconds.

    >>> day(1_700_000_000_000_000_000)
    '2023-11-14'
    """
    return utc(time_ns).strftime("%Y-%m-%d")


def iso(time_ns: int | None) -> str:
    """UTC nanoseconds as RFC 3339 to the millisecond, for `<time datetime>`.

    >>> iso(1_700_000_000_123_000_000)
    '2023-11-14T22:13:20.123Z'
    """
    if not time_ns:
        return ""
    found = utc(time_ns)
    return f"{found:%Y-%m-%dT%H:%M:%S}.{found.microsecond // 1000:03d}Z"
