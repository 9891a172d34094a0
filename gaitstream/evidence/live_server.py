"""Live pictures for other processes of this user: HTTP on a unix socket, one of each process that decides.

    GET /cameras       ids of the cameras of this process, JSON
    GET /<camera>      multipart JPEG, until the run ends

Nobody else can connect: the socket lies in a folder that only its owner may enter. `live_client` finds the
process of a camera.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

from gaitstream.data import Decision, Frame, Person
from gaitstream.errors import ConfigError
from gaitstream.evidence.live import CONTENT_TYPE, LiveFrames, part_of
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.saving import make_folder

log = logging.getLogger(__name__)

MOST_VIEWERS = 64
"""At a time: a thread each."""
SLOW_S = 10.0
"""A viewer that takes nothing for so long is let go."""


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


class LiveServer(Observer):
    """Serves the live pictures of this process.

    Args:
        frames: makes them; closed with this.
        folder: of the sockets, see `live_folder`.

    Attributes:
        path: of the socket.

    Raises:
        ConfigError: the socket cannot be made.
    """

    def __init__(self, frames: LiveFrames, folder: Path) -> None:
        self.path = make_folder(folder) / f"{os.getpid()}.sock"
        self._frames = frames
        self._room = threading.BoundedSemaphore(MOST_VIEWERS)
        self.path.unlink(missing_ok=True)
        try:
            check_private(folder)
            self._server = _Server(str(self.path), self._handler())
        except OSError as error:
            raise ConfigError(
                f"live pictures cannot be offered at {self.path} ({error}); set XDG_RUNTIME_DIR to a short "
                "path, or leave evidence.live out"
            ) from error
        self.path.chmod(0o600)
        self._thread = threading.Thread(target=self._server.serve_forever, name="live-server", daemon=True)
        self._thread.start()

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        """See `LiveFrames`."""
        self._frames.on_frame(frame, persons, labels)

    def close(self) -> None:
        """End all streams and the socket."""
        self._frames.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one GET request."""
        name = request.path.strip("/")
        if name == "cameras":
            send_body(request, "application/json", json.dumps(sorted(self._frames.cameras)).encode())
        elif name not in self._frames.cameras:
            request.send_error(HTTPStatus.NOT_FOUND)
        elif not self._room.acquire(blocking=False):
            request.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            try:
                send_stream(request, self._frames.watch(name))
            finally:
                self._room.release()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class FrameHandler(BaseHTTPRequestHandler):
            """One connection, one request."""

            timeout = SLOW_S

            def do_GET(self) -> None:
                server.answer(self)

            def address_string(self) -> str:
                return "unix"

            def log_message(self, format: str, *args: object) -> None:
                log.debug(format, *args)

        return FrameHandler


def live_folder(evidence: Path) -> Path:
    """Where the sockets of a site lie, found by its evidence folder; short, as socket paths must be."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    root = (
        Path(runtime) / "gaitstream" if runtime else Path(tempfile.gettempdir()) / f"gaitstream-{os.getuid()}"
    )
    return root / hashlib.sha256(str(evidence.resolve()).encode()).hexdigest()[:16]


def check_private(folder: Path) -> None:
    """See that a folder is this user's and nobody else may enter it.

    Raises:
        PermissionError: it is somebody else's, or open to others.
    """
    for path in (folder, folder.parent):
        status = path.stat()
        if status.st_uid != os.getuid() or (path == folder and status.st_mode & 0o077):
            raise PermissionError(f"{path} is open to others, or is somebody else's")


def send_body(request: BaseHTTPRequestHandler, kind: str, body: bytes) -> None:
    """Answer a request with a whole body."""
    request.send_response(HTTPStatus.OK)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def send_stream(request: BaseHTTPRequestHandler, pictures: Generator[bytes, None, None]) -> None:
    """Answer a request with pictures as they come, until there are no more or nobody takes them."""
    request.send_response(HTTPStatus.OK)
    request.send_header("Content-Type", CONTENT_TYPE)
    request.send_header("Cache-Control", "no-store")
    request.end_headers()
    with closing(pictures), suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
        for picture in pictures:
            request.wfile.write(part_of(picture))
