"""Who sends without end what never becomes a message.

ZeroMQ bounds a part of a message and the messages that wait to be read, not the parts of one message: whoever
says with each that more will come fills the memory, and nobody is told. But the system counts what came over
each connection, and whoever reads a socket sees what of it became messages.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

import zmq

from gaitstream.events.connections import Connection, bytes_taken, connection_of, source_of

HELD_BYTES = 128 * 1024
"""What one connection may have sent that nobody could read: two requests of the largest size."""
PART_BYTES = 64
"""Around each part on its way, at most: its header, and what encryption adds."""
BYTES_A_SECOND = 512
"""Of heartbeats, which nobody sees: ten a second, encrypted."""


@dataclass(slots=True)
class _Sender:
    """One connection.

    Attributes:
        received: bytes that ZeroMQ took from it, at the last look.
        held: of these, what did not come out as messages; less than nothing where that was overestimated.
    """

    received: int = 0
    held: float = 0.0


class Unfinished:
    """What each TCP connection has sent, beside what of it was read.

    Others are not watched: a socket in the file system is reached by users of this machine alone, and systems
    other than Linux do not count.
    """

    def __init__(self) -> None:
        self._senders: dict[Connection, _Sender] = {}
        self._read: Counter[int] = Counter()
        self._guard = threading.Lock()
        self._looked_s = 0.0

    def accept(self, descriptor: int) -> None:
        """A connection was made."""
        connection = connection_of(descriptor)
        if connection is not None:
            self._senders[connection] = _Sender()

    def took(self, part: zmq.Frame) -> None:
        """A part of a message was read, by any thread."""
        descriptor = source_of(part)
        if descriptor is not None:
            with self._guard:
                self._read[descriptor] += len(part) + PART_BYTES

    def greedy(self, now_s: float) -> list[Connection]:
        """Look at all connections; those that hold more than they may."""
        with self._guard:
            read, self._read = self._read, Counter()
        elapsed_s, self._looked_s = now_s - self._looked_s, now_s
        found = []
        for connection, sender in list(self._senders.items()):
            received = bytes_taken(connection)
            if received is None:
                del self._senders[connection]
                continue
            new = received - sender.received - read[connection[0]] - BYTES_A_SECOND * elapsed_s
            sender.received, sender.held = received, max(sender.held + new, -HELD_BYTES)
            if sender.held > HELD_BYTES:
                found.append(connection)
        return found
