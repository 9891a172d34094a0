"""`gaitstream demo --view`: the live pictures as a page on this machine, as multipart JPEG."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import cv2

from gaitstream.pipeline.annotate import draw
from gaitstream.pipeline.data import Decision, Frame, Person
from gaitstream.pipeline.observe import Observer

BOUNDARY = "frame"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>gaitstream demo</title><style>
body {{ margin: 0; padding: 18px; background: #12161c; color: #e7ebf0; font: 15px system-ui, sans-serif; }}
main {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 14px; }}
figure {{ margin: 0; }} img {{ width: 100%; border-radius: 8px; background: #1b212a; }}
</style></head><body><h1>gaitstream demo, live</h1><main>{figures}</main></body></html>
"""


class Viewer(Observer):
    """Serves annotated pictures on the loopback interface; draws only for cameras somebody looks at.

    Args:
        cameras: ids.
        port: to listen on; 0 takes a free one.

    Attributes:
        url: the page's address.
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

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
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
                f'<figure><img src="/{camera}" alt="{camera}"><figcaption>{camera}</figcaption></figure>'
                for camera in self._cameras
            )
            body = PAGE.format(figures=figures).encode()
            request.send_response(HTTPStatus.OK)
            request.send_header("Content-Type", "text/html; charset=utf-8")
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)
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
