"""What every request and every answer goes through: limits of size and time, headers for browsers."""

from __future__ import annotations

import asyncio

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 64 * 1024
"""Largest body of a request that is no upload."""
MOST_UPLOAD_BYTES = 64 * 1024 * 1024
PATIENCE_S = 20.0
SLOWEST_BYTES_S = 16 * 1024
"""A body may take `PATIENCE_S`, and as much longer as its bytes need at this rate."""
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "manifest-src 'self'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guards:
    """Wraps the application.

    Args:
        app: what answers.
        secure: whether browsers come by TLS and should never come without it again.
        uploads: paths that take clips.
    """

    def __init__(self, app: ASGIApp, *, secure: bool, uploads: frozenset[str]) -> None:
        self._app = app
        self._headers = HEADERS | ({"Strict-Transport-Security": "max-age=31536000"} if secure else {})
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = MOST_UPLOAD_BYTES if scope["path"] in self._uploads else MOST_BYTES
        marked = self._marking(scope["path"], send)
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            await _too_large(most)(scope, receive, marked)
            return
        await self._app(scope, _limited(receive, most), marked)

    def _marking(self, path: str, send: Send) -> Send:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                if not path.startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return marked


class TooLargeError(HTTPException):
    """A body without a length grew beyond what is taken."""

    def __init__(self, most: int) -> None:
        super().__init__(413, f"the request is larger than {most} bytes")


class TooSlowError(HTTPException):
    """A body did not come in time."""

    def __init__(self) -> None:
        super().__init__(408, "the request came too slowly; send it again over a better line")


def _limited(receive: Receive, most: int) -> Receive:
    """What gives the pieces of one body; once that is whole, it waits without limit for the browser to go."""
    taken, whole, begun_s = 0, False, 0.0

    async def limited() -> Message:
        nonlocal taken, whole, begun_s
        begun_s = begun_s or asyncio.get_running_loop().time()
        late_s = None if whole else begun_s + PATIENCE_S + taken / SLOWEST_BYTES_S
        try:
            async with asyncio.timeout_at(late_s):
                message = await receive()
        except TimeoutError:
            raise TooSlowError() from None
        taken += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if taken > most:
            raise TooLargeError(most)
        return message

    return limited


def _too_large(most: int) -> JSONResponse:
    return JSONResponse({"error": f"the request is larger than {most} bytes"}, status_code=413)
