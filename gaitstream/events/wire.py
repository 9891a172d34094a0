"""What the sockets carry.

PUB, one message per event: topic, header (16 bytes of journal id, u64 sequence number), payload. Every
second a message on `@heads` tells the last number of each topic, so that the loss of the last event before
a silence is seen too.

ROUTER: a `Request`, answered by one `Reply`.
"""

from __future__ import annotations

import struct

import msgspec

HEADS = b"@heads"
DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"
DEFAULT_REPLAY = "tcp://127.0.0.1:5557"
REPLY_EVENTS = 1000
"""Most events in one reply."""
_HEADER = struct.Struct(">16sQ")


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """Asks for the numbers reached and, by topic, for the events after a number."""

    after: dict[str, int] = {}
    limit: int = REPLY_EVENTS


class Reply(msgspec.Struct, frozen=True):
    """The answer.

    Attributes:
        journal: its id in hexadecimal; numbers of another journal mean nothing here.
        heads: the last number by topic.
        firsts: the first number still kept by topic.
        events: topic, number and payload, in order within each topic.
    """

    journal: str
    heads: dict[str, int]
    firsts: dict[str, int]
    events: list[tuple[str, int, msgspec.Raw]] = []


def pack_header(journal: bytes, seq: int) -> bytes:
    """Second frame of a published event."""
    return _HEADER.pack(journal, seq)


def unpack_header(header: bytes) -> tuple[bytes, int]:
    """Journal id and sequence number.

    Raises:
        ValueError: it has another size: not a message of this bus.
    """
    if len(header) != _HEADER.size:
        raise ValueError(f"{len(header)} bytes are no event header ({_HEADER.size} expected)")
    journal, seq = _HEADER.unpack(header)
    return journal, seq


def next_endpoint(endpoint: str) -> str:
    """The endpoint one port further; for other transports, a name of its own."""
    address, _, port = endpoint.rpartition(":")
    if endpoint.startswith("tcp://") and port.isdigit():
        return f"{address}:{int(port) + 1 if int(port) else 0}"
    return f"{endpoint}-replay"
