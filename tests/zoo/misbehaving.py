"""A web server that serves one file, and does wrong what servers do wrong."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Site:
    """What is served, and how; each answer is one entry of `asked`.

    Attributes:
        content: the file.
        breaks_after: bytes of the body after which each of the next answers breaks off; then all goes well.
        ignores_range: every answer begins at the beginning.
        shifts_range: a continued answer begins so many bytes too late.
        announces: length that is said in place of the true one.
        packed: said to be how the body is packed.
        holds_after: bytes of the body after which an answer waits for `goes_on`.
        chunked: no length is said.
        etag: version of the file.
        statuses: of the next answers, before any 200.
        leads_to: every answer is a redirection there.
        asked: the `Range` header of every request, "" without one.
    """

    content: bytes
    breaks_after: list[int] = field(default_factory=list)
    ignores_range: bool = False
    shifts_range: int = 0
    announces: int | str | None = None
    packed: str = ""
    holds_after: int | None = None
    goes_on: threading.Event = field(default_factory=threading.Event)
    chunked: bool = False
    etag: str = ""
    statuses: list[int] = field(default_factory=list)
    leads_to: str = ""
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(content: bytes, tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Serve a file at `Site.url` until the block ends, with a certificate where there is one."""
    site = Site(content)

    class Handler(_Handler):
        served = site

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        site.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/model.onnx"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    served: Site

    def do_GET(self) -> None:
        site = self.served
        asked = self.headers.get("Range", "")
        site.asked.append(asked)
        if site.leads_to:
            self.send_response(302)
            self.send_header("Location", site.leads_to)
            self.end_headers()
            return
        if site.statuses:
            self.send_error(site.statuses.pop(0))
            return
        start = self._start(asked)
        if start >= len(site.content) > 0:
            self.send_error(416)
            return
        self._send(site, start + (site.shifts_range if start else 0), partial=start > 0)

    def _start(self, asked: str) -> int:
        site = self.served
        changed = site.etag and self.headers.get("If-Range", site.etag) != site.etag
        if not asked or site.ignores_range or changed:
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _send(self, site: Site, start: int, *, partial: bool) -> None:
        body = site.content[start:]
        self.send_response(206 if partial else 200)
        if partial:
            whole = len(site.content)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        if site.etag:
            self.send_header("ETag", site.etag)
        if not site.chunked:
            self.send_header(
                "Content-Length", str(site.announces if site.announces is not None else len(body))
            )
        if site.packed:
            self.send_header("Content-Encoding", site.packed)
        self.end_headers()
        if site.holds_after is not None:
            self.wfile.write(body[: site.holds_after])
            site.goes_on.wait(20.0)
            body = body[site.holds_after :]
        self.wfile.write(body[: site.breaks_after.pop(0)] if site.breaks_after else body)

    def log_message(self, *_: object) -> None:
        pass
