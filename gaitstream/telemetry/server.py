"""A small HTTP server for metrics and health checks: one thread, whoever connects and however often."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable

from gaitstream.errors import TelemetryError
from gaitstream.telemetry.health import Health, liveness, readiness
from gaitstream.telemetry.metrics import exposition
from gaitstream.telemetry.stats import Snapshot

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 32
"""One more closes the one that has been open the longest: a scrape gets through whatever idles."""
PATIENCE_S = 5.0
"""How long a request may take to arrive, and its answer to leave."""
MOST_BYTES = 8192
"""Largest request."""
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATHS = "/metrics, /healthz, /readyz"

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


class TelemetryServer:
    """Answers `GET /metrics`, `/healthz` and `/readyz`.

    Args:
        host: address to listen on.
        port: 0 takes a free one, see `port` afterwards.
        take: gives the snapshot to show; called in the server's thread.

    Raises:
        TelemetryError: the address cannot be listened on.
    """

    def __init__(self, host: str, port: int, take: Callable[[], Snapshot]) -> None:
        self.host = host
        self.port = port
        self._take = take
        self._open: dict[asyncio.StreamWriter, None] = {}
        self._loop = asyncio.new_event_loop()
        try:
            self._server = self._loop.run_until_complete(
                asyncio.start_server(self._serve, host, port, limit=MOST_BYTES, backlog=MOST_CONNECTIONS)
            )
        except (OSError, OverflowError) as error:
            self._loop.close()
            reason = getattr(error, "strerror", None) or error
            raise TelemetryError(
                f"metrics: {host}:{port} cannot be listened on ({reason}); set metrics.port to a free one"
            ) from error
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="gaitstream-telemetry", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        while len(self._open) >= MOST_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.transport.abort()
        self._open[writer] = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._respond(request))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            self._open.pop(writer, None)
            writer.close()

    def _respond(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            status, kind, body = 405, "text/plain", b"GET or HEAD\n"
        else:
            status, kind, body = self._answer(path)
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (body if method != "HEAD" else b"")

    def _answer(self, path: str) -> Answer:
        try:
            if path in ("/metrics", "/"):
                return 200, METRICS_TYPE, exposition(self._take())
            if path == "/healthz":
                return _plain(liveness(self._take()))
            if path == "/readyz":
                return _plain(readiness(self._take()))
        except Exception:  # a fault here must not end what is being observed
            log.exception("%s cannot be answered", path)
            return 500, "text/plain", b"see the log\n"
        return 404, "text/plain", f"there are {PATHS}\n".encode()


_REASONS = {
    200: "OK", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error",
    503: "Service Unavailable",
}  # fmt: skip


def _plain(health: Health) -> Answer:
    body = json.dumps(health.facts, ensure_ascii=False) + "\n"
    return 200 if health.well else 503, "application/json", body.encode()
