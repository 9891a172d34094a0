"""Adds and removes cameras of the running pipeline, one after the other, each until it is known to be done.

DeepStream refuses to add a camera that is still there and gives a pad away as soon as it is free, and what it
did is told by messages that come later. So a removed camera's last frames are waited for before its pad can
be given away, refusals are tried again, and when nothing helps the process has to be started anew: it reads
its cameras at the start.

The REST server has no authentication: it is bound to the loopback interface or switched off.
"""

from __future__ import annotations

import http.client
import json
import logging
import queue
import time
from collections.abc import Callable, Mapping

from gaitstream.deepstream.sources import PadSources
from gaitstream.deepstream.spec import Command
from gaitstream.errors import SourceError

log = logging.getLogger(__name__)

ADD = "/api/v1/stream/add"
REMOVE = "/api/v1/stream/remove"

PAUSES_S = (0.0, 0.5, 1.0, 2.0)
"""Before each attempt of a change."""
CONFIRM_S = 3.0
"""How long DeepStream's message about an accepted change is waited for."""
DRAIN_S = 3.0
"""How long frames of a removed camera are waited for: nothing flows when no camera is left."""


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


class CameraChanges:
    """Carries out changes of cameras in the order they were asked for.

    Args:
        rest: DeepStream's server.
        sources: which cameras there are.
        uris: of the cameras the pipeline was started with.
        rates: analysed frames per second by camera; kept up to date.
        give_up: called with the reason when a change cannot be carried out.
        sleep: takes seconds.
    """

    def __init__(
        self,
        rest: RestClient,
        sources: PadSources,
        uris: Mapping[str, str],
        rates: dict[str, float | None],
        give_up: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rest = rest
        self._sources = sources
        self._uris = dict(uris)
        self._rates = rates
        self._give_up = give_up
        self._sleep = sleep
        self._asked: queue.SimpleQueue[Command] = queue.SimpleQueue()

    def ask(self, command: Command) -> None:
        """Queue a change; returns at once."""
        self._asked.put(command)

    def run(self) -> None:
        """Carry out changes for ever, in a thread of its own: commands must not wait for them."""
        while True:
            self.change(self._asked.get())

    def change(self, command: Command) -> None:
        """Carry out one change."""
        do = self._add if command.do == "add" else self._remove
        error: SourceError | None = None
        for pause_s in PAUSES_S:
            self._sleep(pause_s)
            try:
                done = do(command)
            except SourceError as refused:
                error, done = refused, False
            if done:
                return
        self._sources.count(command.camera, f"{command.do}_failed")
        log.error("%s", error or f"camera {command.camera}: DeepStream did not confirm {command.do!r}")
        self._give_up(f"camera {command.camera} could not be changed while running")

    def _add(self, command: Command) -> bool:
        camera = command.camera
        self._rates[camera] = command.fps
        self._sources.aspects[camera] = command.aspect
        if self._sources.is_attached(camera):
            return True
        self._rest.add(camera, command.uri)
        self._uris[camera] = command.uri
        return self._sources.wait_attached(camera, CONFIRM_S)

    def _remove(self, command: Command) -> bool:
        """The server finds a camera by its id and the URL it was added with."""
        camera = command.camera
        try:
            self._rest.remove(camera, self._uris.get(camera, command.uri))
        except SourceError:
            # A camera that has left by itself cannot be removed; one that streams keeps its pad and name.
            if self._sources.is_attached(camera):
                raise
        self._sources.leave(camera)
        self._sources.wait_gone(camera, DRAIN_S)
        return True
