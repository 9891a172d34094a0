"""What goes wrong, as an answer: JSON for programs, a page for people; always in words."""

from __future__ import annotations

import logging
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from gaitstream.console.refusals import BusyError, ForbiddenError, NotFoundError, UnauthorisedError
from gaitstream.console.rendering import render_error
from gaitstream.errors import (
    ConfigError,
    ConsoleError,
    EvidenceForbiddenError,
    GaitstreamError,
    GalleryError,
    MissingEvidenceError,
)

log = logging.getLogger(__name__)
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnauthorisedError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (MissingEvidenceError, 404),
    (EvidenceForbiddenError, 403),
    (ConsoleError, 422),
    (ConfigError, 422),
    (GalleryError, 409),
    (GaitstreamError, 422),
)


def add_fault_handlers(app: FastAPI) -> None:
    """Turn errors into answers."""
    for kind in (GaitstreamError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(Exception, _surprise)


def status_of(error: Exception) -> int:
    """The status that says what an error means."""
    if isinstance(error, BusyError):
        return 429
    if isinstance(error, HTTPException):
        return error.status_code
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 422)


def words_of(error: Exception) -> str:
    """What is said of an error."""
    if isinstance(error, HTTPException):
        return str(error.detail)
    if isinstance(error, RequestValidationError):
        faults = (f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return "; ".join(faults)
    return str(error)


async def _answer(request: Request, error: Exception) -> Response:
    status, words = status_of(error), words_of(error)
    if is_page(request):
        if status == 401:
            return _to_login(request)
        return render_error(request, status, words)
    answer = JSONResponse({"error": words}, status_code=status)
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    if isinstance(error, BusyError):
        answer.headers["Retry-After"] = str(int(error.retry_s) + 1)
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


async def _surprise(request: Request, error: Exception) -> Response:
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    words = "something went wrong here; the console's log says what"
    return render_error(request, 500, words) if is_page(request) else JSONResponse({"error": words}, 500)


def is_page(request: Request) -> bool:
    """Whether a person looks at the answer."""
    return not request.url.path.startswith("/api/")


def _to_login(request: Request) -> Response:
    """To the login form and back; htmx is told by a header, since it would put the form into the page."""
    if request.headers.get("HX-Request"):
        return Response(status_code=401, headers={"HX-Redirect": "/login"})
    url = request.url
    where = f"{url.path}?{url.query}" if url.query else url.path
    back = f"?next={quote(where)}" if request.method == "GET" and where != "/" else ""
    return RedirectResponse(f"/login{back}", status_code=303)
