"""DeepStream's REST server with its manners: no duplicates, removal by id and URL, pads in rotation."""

from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Self


class RestServer:
    """Adds and removes cameras as nvmultiurisrcbin does.

    Args:
        tell: takes its messages: whether a camera was added, its pad, its id.
        cameras: URL by id of those there are.
        room: most cameras.

    Attributes:
        calls: path and body of every call.
        refuse: how many calls more fail, by path.
    """

    def __init__(
        self, tell: Callable[[bool, int, str], None], cameras: dict[str, str] | None = None, room: int = 8
    ) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.refuse: Counter[str] = Counter()
        self.pads = {pad: (camera, uri) for pad, (camera, uri) in enumerate((cameras or {}).items())}
        self._tell, self._room, self._next = tell, room, len(self.pads)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(outer.handle(self.path, json.loads(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def handle(self, path: str, body: Any) -> int:
        """The status of the answer."""
        self.calls.append((path, body))
        if self.refuse[path]:
            self.refuse[path] -= 1
            return 500
        value = body["value"]
        camera, uri = value["camera_id"], value["camera_url"]
        if "add" in value["change"]:
            if len(self.pads) >= self._room or camera in {name for name, _ in self.pads.values()}:
                return 500
            while self._next % self._room in self.pads:
                self._next += 1
            pad = self._next % self._room
            self._next += 1
            self.pads[pad] = camera, uri
            self._tell(True, pad, camera)
            return 200
        for pad, there in list(self.pads.items()):
            if there == (camera, uri):
                del self.pads[pad]
                self._tell(False, pad, camera)
                return 200
        return 500

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
