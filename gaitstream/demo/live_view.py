"""`gaitstream demo --view`: the live pictures as a page on this machine, as multipart JPEG."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from gaitstream.data import Decision, Frame, Person
from gaitstream.errors import ConfigError
from gaitstream.evidence.live import LiveFrames
from gaitstream.evidence.live_server import send_body, send_stream
from gaitstream.pipeline.annotate import COLOURS
from gaitstream.pipeline.observe import Observer

RATE = 15.0
"""Pictures a second: all of the demo's cameras."""
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
    """Serves the page and the live pictures on the loopback interface.

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
        self._frames = LiveFrames(RATE, width_px=None)
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
        """See `LiveFrames`."""
        self._frames.on_frame(frame, persons, labels)

    def close(self) -> None:
        """Stop serving; open streams end."""
        if self._over:
            return
        self._over = True
        self._frames.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
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
            send_body(request, "text/html; charset=utf-8", body)
        elif name == "running":
            request.send_response(HTTPStatus.NO_CONTENT)
            request.end_headers()
        elif name in self._cameras:
            send_stream(request, self._frames.watch(name))
        else:
            request.send_error(HTTPStatus.NOT_FOUND)


def open_browser(url: str) -> bool:
    """LiveTables a page in the user's browser; False where there is no display or no browser."""
    import webbrowser

    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False  # a browser of the terminal would take the place of the table
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
