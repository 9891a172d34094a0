"""`gaitstream demo --view`: the live pictures as a page on this machine, as multipart JPEG."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType

import cv2

from gaitstream.data import Decision, Frame, Person
from gaitstream.errors import ConfigError
from gaitstream.pipeline.annotate import COLOURS, draw
from gaitstream.pipeline.observe import Observer

BOUNDARY = "frame"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>gaitstream demo, live</title>
<link rel="icon" href="data:,"><style>
body { margin: 0; padding: 18px; background: #12161c; color: #e7ebf0; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 22px; margin: 0; } p { margin: 2px 0 14px; color: #9aa7b6; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 14px; }
figure { margin: 0; } img { display: block; width: 100%; aspect-ratio: 16 / 9; border-radius: 8px;
  background: #1b212a; } figcaption { margin-top: 4px; }
b { padding: 0 7px; border-radius: 4px; color: #10151b; font-weight: 500; }
COLOURS</style></head><body><h1>gaitstream demo, live</h1>
<p><b class="known">name</b> recognised, with the distance
 <b class="unknown">unknown</b> <b class="ambiguous">ambiguous</b>
 <b class="insufficient_evidence">reason</b> no evidence yet · ? not yet a full window</p>
<main>FIGURES</main><script>
setInterval(() => fetch("/running").catch(() => {
  document.querySelector("p").textContent = "The demo has ended; see report.html."; }), 1000);
</script></body></html>
"""


class _Server(ThreadingHTTPServer):
    """A server that does not look up its own name, as the library's would."""

    daemon_threads = True

    def server_bind(self) -> None:
        """Bind; see `HTTPServer.server_bind`."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]


class Viewer(Observer):
    """Serves annotated pictures on the loopback interface; draws only for cameras somebody looks at.

    Args:
        cameras: ids.
        port: to listen on; 0 takes a free one.

    Attributes:
        url: the page's address.

    Raises:
        ConfigError: the port is taken, or none.
    """

    def __init__(self, cameras: Sequence[str], port: int = 0) -> None:
        self._cameras = tuple(cameras)
        self._changed = threading.Condition()
        self._pictures: dict[str, tuple[int, bytes]] = {}
        self._watched: dict[str, int] = dict.fromkeys(cameras, 0)
        self._over = False
        viewer = self

        class Handler(BaseHTTPRequestHandler):
            """The page, and a stream per camera."""

            def do_GET(self) -> None:
                viewer.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the terminal for the table."""

        try:
            self._server = _Server(("127.0.0.1", port), Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"the live pictures cannot be served at port {port} of this machine ({error}); give another "
                "--port, or none to take a free one"
            ) from error
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="demo-view", daemon=True)
        self._thread.start()

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        """Make the camera's next picture, if somebody looks."""
        if not self._watched.get(frame.camera):
            return
        _, data = cv2.imencode(".jpg", draw(frame.image, persons, labels), [cv2.IMWRITE_JPEG_QUALITY, 80])
        with self._changed:
            self._pictures[frame.camera] = (frame.index, data.tobytes())
            self._changed.notify_all()

    def close(self) -> None:
        """Stop serving; open streams end."""
        with self._changed:
            if self._over:
                return
            self._over = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one GET request."""
        name = request.path.strip("/")
        if name == "":
            figures = "".join(
                f'<figure><img src="/{camera}" alt="Live picture of {camera}">'
                f"<figcaption>{camera}</figcaption></figure>"
                for camera in self._cameras
            )
            colours = "".join(
                f"b.{status.value} {{ background: rgb({red} {green} {blue}); }}\n"
                for status, (blue, green, red) in COLOURS.items()
            )
            body = PAGE.replace("COLOURS", colours).replace("FIGURES", figures).encode()
            request.send_response(HTTPStatus.OK)
            request.send_header("Content-Type", "text/html; charset=utf-8")
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
        elif name == "running":
            request.send_response(HTTPStatus.NO_CONTENT)
            request.end_headers()
        elif name in self._cameras:
            self._stream(request, name)
        else:
            request.send_error(HTTPStatus.NOT_FOUND)

    def _stream(self, request: BaseHTTPRequestHandler, camera: str) -> None:
        request.send_response(HTTPStatus.OK)
        request.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        request.send_header("Cache-Control", "no-store")
        request.end_headers()
        with self._changed:
            self._watched[camera] += 1
        last = -1
        try:
            while (shot := self._next(camera, last)) is not None:
                last, data = shot
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                request.wfile.write(head.encode() + data + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the page was closed
        finally:
            with self._changed:
                self._watched[camera] -= 1

    def _next(self, camera: str, last: int) -> tuple[int, bytes] | None:
        """The next picture after number `last`; None when the run is over."""
        with self._changed:
            while not self._over:
                shot = self._pictures.get(camera)
                if shot is not None and shot[0] > last:
                    return shot
                self._changed.wait(1.0)
        return None


def open_browser(url: str) -> bool:
    """LiveTables a page in the user's browser; False where there is no display or no browser."""
    import webbrowser

    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False  # a browser of the terminal would take the place of the table
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
