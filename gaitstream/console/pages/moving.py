"""Where a page goes after something was done."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from gaitstream.console.access import site_of
from gaitstream.console.rendering import is_fragment

SAID = "said"
"""Cookie with what the next page tells once; read by `static/console.js`."""


def go_to(request: Request, address: str, said: str = "") -> Response:
    """Open another page, which says what was done."""
    answer: Response
    if is_fragment(request):
        answer = Response(headers={"HX-Redirect": address})
    else:
        answer = RedirectResponse(address, status_code=303)
    if said:
        secure = site_of(request).options.secure
        answer.set_cookie(SAID, quote(said), max_age=30, samesite="strict", secure=secure)
    return answer
