"""What the clients of the publishing socket want to hear, by connection.

ZeroMQ tells of every subscription and its end, also of the end of one that never was, and does not say which
those are: a balance could be moved by anybody. So what a connection once asked for counts until it is closed,
and the messages of each are counted, whatever they say.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import zmq

from gaitstream.events.connections import Connection, connection_of, hang_up, source_of
from gaitstream.events.wire import ALL

log = logging.getLogger(__name__)

MAX_SUBSCRIPTIONS = 50_000
"""Of all clients together, ended ones too, of `USUAL_BYTES` each: longer ones count as so many more.

ZeroMQ keeps each byte of a prefix that no other has in about 40 bytes, whoever sends it."""
USUAL_BYTES = 20
READ_AT_ONCE = 1000
TELL_AGAIN_S = 10.0


class _Client:
    """What one connection asked for."""

    __slots__ = ("all", "some", "subscriptions")

    def __init__(self) -> None:
        self.subscriptions = 0
        self.all = False
        self.some = False


class Filters:
    """Used by the thread of the publishing socket alone, which tells of every subscription and its end.

    Attributes:
        all: somebody may listen to `@all`.
        some: somebody may listen to single events.

    Args:
        endpoint: the socket's address: no other connection of the process is ever closed.
        most: subscriptions of all clients together that may be; beyond, those with the most are closed.
        took: is told what is read.
    """

    def __init__(self, endpoint: str, most: int, took: Callable[[zmq.Frame], None]) -> None:
        self._endpoint = endpoint
        self._most = most
        self._took = took
        self._clients: dict[Connection, _Client] = {}
        self._unknown = _Client()
        self._told_s = -TELL_AGAIN_S
        self.all = False
        self.some = False

    @property
    def subscriptions(self) -> int:
        """How many open connections have sent, ends counted; no more can be held."""
        return sum(client.subscriptions for client in self._clients.values())

    def update(self, publishing: zmq.Socket[bytes]) -> None:
        """Take what clients say."""
        for _ in range(READ_AT_ONCE):
            try:
                frame = publishing.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            self._take(frame)
        while self._clients and self.subscriptions > self._most:
            self._close_the_greediest()
        self._sum_up()

    def expire(self) -> None:
        """Forget connections that are closed; call it about once a second."""
        for connection in [one for one in self._clients if connection_of(one[0]) != one]:
            del self._clients[connection]
        self._sum_up()

    def _take(self, frame: zmq.Frame) -> None:
        self._took(frame)
        message = frame.bytes
        descriptor = source_of(frame)
        if descriptor is None:  # a connection ended; that is seen by its descriptor
            client = self._unknown
        else:
            connection = connection_of(descriptor)
            if connection is None:
                return
            client = self._clients.setdefault(connection, _Client())
            client.subscriptions += 1 + len(message) // USUAL_BYTES
        if message[:1] != b"\1":
            return
        prefix = message[1:]
        if ALL.startswith(prefix):
            client.all = True
        if not prefix.startswith(b"@"):  # `@heads` is sent whether anybody listens or not
            client.some = True

    def _close_the_greediest(self) -> None:
        connection = max(self._clients, key=lambda one: self._clients[one].subscriptions)
        client = self._clients.pop(connection)
        closed = hang_up(connection, self._endpoint)
        if closed and time.monotonic() - self._told_s > TELL_AGAIN_S:
            self._told_s = time.monotonic()
            log.warning(
                "events: more than %d subscriptions; the connection with the most, %d, is closed",
                self._most, client.subscriptions,
            )  # fmt: skip

    def _sum_up(self) -> None:
        clients = (*self._clients.values(), self._unknown)
        self.all = any(client.all for client in clients)
        self.some = any(client.some for client in clients)
