"""What the clients of the publishing socket want to hear, by connection.

ZeroMQ tells of every subscription and its end, also of the end of one that never was, and does not say which
those are: a balance could be moved by anybody. So what a connection once asked for counts until it is closed,
and the messages of each are counted, whatever they say.
"""

from __future__ import annotations

import logging
import os
import socket
import time

import zmq

from gaitstream.events.wire import ALL

log = logging.getLogger(__name__)

MAX_SUBSCRIPTIONS = 50_000
"""Of all clients together, ended ones too, of `USUAL_BYTES` each: longer ones count as so many more.

ZeroMQ keeps each byte of a prefix that no other has in about 40 bytes, whoever sends it."""
USUAL_BYTES = 20
READ_AT_ONCE = 1000
TELL_AGAIN_S = 10.0
_Connection = tuple[int, int]
"""Descriptor and inode: together they are never another connection's while this one is open."""


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
    """

    def __init__(self, endpoint: str, most: int) -> None:
        self._endpoint = endpoint
        self._most = most
        self._clients: dict[_Connection, _Client] = {}
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
        for connection in [one for one in self._clients if _connection(one[0]) != one]:
            del self._clients[connection]
        self._sum_up()

    def _take(self, frame: zmq.Frame) -> None:
        message = frame.bytes
        try:
            descriptor = int(frame.get(zmq.SRCFD))
        except zmq.ZMQError:  # a connection ended; that is seen by its descriptor
            client = self._unknown
        else:
            connection = _connection(descriptor)
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
        closed = _close(connection, self._endpoint)
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


def _connection(descriptor: int) -> _Connection | None:
    """Which connection a descriptor is now; None for a closed one."""
    try:
        return descriptor, os.fstat(descriptor).st_ino
    except OSError:
        return None


def _close(connection: _Connection, endpoint: str) -> bool:
    """End a connection to an address as if the other side had; whether it was one.

    For reading alone: an error while ZeroMQ has stopped reading is one it does not get over. Whoever keeps
    sending has a window of some bytes, so that the end is seen.
    """
    try:
        with socket.socket(fileno=os.dup(connection[0])) as mine:
            if os.fstat(mine.fileno()).st_ino != connection[1] or not _is_of(mine.getsockname(), endpoint):
                return False
            if mine.family != socket.AF_UNIX:
                mine.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 1)
            mine.shutdown(socket.SHUT_RD)
    except (OSError, ValueError):
        return False
    return True


def _is_of(name: object, endpoint: str) -> bool:
    if isinstance(name, tuple):
        return endpoint.rpartition(":")[2] == str(name[1])
    text = os.fsdecode(name) if isinstance(name, bytes) else str(name)
    return endpoint.removeprefix("ipc://") == text.replace("\0", "@", 1)
