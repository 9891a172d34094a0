"""Adding and removing cameras of a running pipeline, through the REST server inside nvmultiurisrcbin.

The server has no authentication: it is bound to the loopback interface or switched off.
"""

from __future__ import annotations

import http.client
import json

from gaitstream.errors import SourceError

ADD = "/api/v1/stream/add"
REMOVE = "/api/v1/stream/remove"


def payload(camera: str, uri: str, *, add: bool) -> bytes:
    """The body of both calls; `change` decides by the word it contains."""
    value = {"camera_id": camera, "camera_name": camera, "camera_url": uri}
    value["change"] = "camera_add" if add else "camera_remove"
    return json.dumps({"key": "sensor", "value": value}).encode()


class RestClient:
    """Calls one server.

    Args:
        address: `host:port`.
        timeout_s: for connecting and for the answer.
    """

    def __init__(self, address: str, timeout_s: float = 5.0) -> None:
        self._address = address
        self._timeout_s = timeout_s

    def add(self, camera: str, uri: str) -> None:
        """Add a camera. Raises SourceError when it is refused."""
        self._post(ADD, camera, payload(camera, uri, add=True))

    def remove(self, camera: str, uri: str) -> None:
        """Remove a camera. Raises SourceError when it is refused."""
        self._post(REMOVE, camera, payload(camera, uri, add=False))

    def _post(self, path: str, camera: str, body: bytes) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=self._timeout_s)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(
                f"camera {camera}: DeepStream's REST server at {self._address}: {error}"
            ) from error
        finally:
            connection.close()
        # The answer's text may repeat the URL with its password: only the status is told.
        if answer.status != 200:
            raise SourceError(f"camera {camera}: DeepStream refused {path} with status {answer.status}")
