"""A bound socket that can be closed and made anew, as when a key was revoked.

Its address may be another program's then, or gone with its network: it is asked for again and again. Until
then the socket takes what is sent, and nobody hears it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import zmq

from gaitstream.errors import BusyError, EventError
from gaitstream.events.door import Door
from gaitstream.events.wire import check_port

log = logging.getLogger(__name__)

REBIND_S = 1.0
"""How long the address of a socket that was just closed is waited for: the system frees it a little later."""
AGAIN_S = 1.0
"""Between attempts after that."""


class Listener:
    """Used from one thread at a time.

    Args:
        make: a socket with its options, not bound.
        door: guards it.
        address: where; port 0 or `*` takes a free one, and keeps it.
        key: of the configuration, for errors.

    Attributes:
        socket: the one in use.
        address: it is bound to.

    Raises:
        EventError: the address is in use, or not of this machine.
    """

    def __init__(self, make: Callable[[], zmq.Socket[bytes]], door: Door, address: str, key: str) -> None:
        check_port(address)
        self._make = make
        self._door = door
        self._key = key
        self._again_s: float | None = None
        self.socket = self._new()
        try:
            self.socket.bind(address.replace(":0", ":*") if address.endswith(":0") else address)
        except zmq.ZMQError as error:
            self.close()
            wrong = BusyError if error.errno == zmq.EADDRINUSE else EventError
            raise wrong(_message(address, key, error)) from error
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        door.bound(self.address)

    def renew(self) -> None:
        """Close the socket with all its connections, and listen with another one."""
        self.close()
        self.socket = self._new()
        deadline_s = time.monotonic() + REBIND_S
        while (error := self._bind()) is not None:
            if error.errno != zmq.EADDRINUSE or time.monotonic() > deadline_s:
                log.error("%s; it is tried again until it works", _message(self.address, self._key, error))
                self._again_s = time.monotonic() + AGAIN_S
                return
            time.sleep(0.01)
        self._again_s = None

    def retry(self) -> None:
        """Ask for the address again, where `renew` did not get it; call it now and then."""
        if self._again_s is None or time.monotonic() < self._again_s:
            return
        self._again_s = time.monotonic() + AGAIN_S
        if self._bind() is None:
            self._again_s = None
            log.warning("%s: it is listened at again", self.address)

    def close(self, linger_s: float = 0.0) -> None:
        """Close the socket."""
        self._door.forget(self.socket)
        self.socket.close(linger=int(linger_s * 1000))

    def _new(self) -> zmq.Socket[bytes]:
        socket = self._make()
        self._door.prepare(socket)
        return socket

    def _bind(self) -> zmq.ZMQError | None:
        try:
            self.socket.bind(self.address)
        except zmq.ZMQError as error:
            return error
        return None


def _message(address: str, key: str, error: zmq.ZMQError) -> str:
    if error.errno == zmq.EADDRINUSE:
        return f"{address} is in use (another gaitstream run?); stop it, or set {key} to a free port"
    return f"{key}: {address} cannot be bound ({error}); give an address of this machine, as tcp://127.0.0.1:5556"
