"""What the clients of the publishing socket want to hear."""

from __future__ import annotations

from collections import Counter

import zmq

from gaitstream.events.wire import ALL

MAX_SUBSCRIPTIONS = 50_000
"""Of all clients together; ZeroMQ keeps each in about 100 bytes, whoever sends them."""
READ_AT_ONCE = 1000


class Filters:
    """Used by the thread of the publishing socket alone, which tells of every subscription and its end.

    Attributes:
        all: somebody listens to `@all`.
        some: somebody listens to single events.
        too_many: only closing the clients' connections ends that.

    Args:
        most: subscriptions of all clients together that may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._singles: Counter[bytes] = Counter()
        self._alls: Counter[bytes] = Counter()
        self._total = 0
        self.all = False
        self.some = False
        self.too_many = False

    def update(self, socket: zmq.Socket[bytes]) -> None:
        """Take what clients say."""
        for _ in range(READ_AT_ONCE):
            try:
                message = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._take(message[:1], message[1:])
        self.all = bool(self._alls)
        self.some = b"" in self._alls or bool(self._singles)
        self.too_many = self._total > self._most

    def _take(self, kind: bytes, prefix: bytes) -> None:
        step = {b"\1": 1, b"\0": -1}.get(kind, 0)
        self._total += step
        if ALL.startswith(prefix):
            _count(self._alls, prefix, step)
        elif not prefix.startswith(b"@"):  # `@heads` is sent whether anybody listens or not
            _count(self._singles, prefix, step)


def _count(wanted: Counter[bytes], prefix: bytes, step: int) -> None:
    wanted[prefix] += step
    if wanted[prefix] <= 0:
        del wanted[prefix]
