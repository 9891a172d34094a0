"""What the sockets carry.

Publishing socket, for every event a message of two parts: topic, payload. Topics that begin with `@` are the
bus's own:

- `@all`: a `Batch`, then one part with all its events behind each other. What our subscriber listens to, so
  that it sees every number; a part for each event would cost both sides more than the event itself.
- `@heads`, every second: a `Heads`, so that the loss of the last event before a silence is seen too.

Replay socket: a `Request` in JSON, answered by messages of a `Reply` in JSON, then one part per event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from gaitstream.addresses import DEFAULT_ENDPOINT, LAST_PORT
from gaitstream.errors import EventError

ALL = b"@all"
HEADS = b"@heads"
MAX_REQUEST_BYTES = 64 * 1024
"""Largest message the publisher's sockets take; a longer one ends its connection."""
MAX_PREFIXES = 64
"""Most topics a request may name."""
MAX_CREDIT = 16
"""Most replies one client can have on their way to it."""
NO_SUCH_REQUEST = "no such request; send it again"
"""Error of a reply to a grant that comes too late, as after a restart."""
BATCH_EVENTS = 256
BATCH_BYTES = 64 * 1024
"""Where a batch ends, and about where a reply does."""
Name = Annotated[str, msgspec.Meta(max_length=128)]
"""Id of a journal, or of one of its epochs."""
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class EventBatch(msgspec.Struct, frozen=True):
    """Events that follow each other in one epoch; their payloads are in the part behind.

    Attributes:
        publisher: id of the journal.
        epoch: of all of them.
        first: number of the first; the others follow without a gap.
        topics: of each.
        sizes: bytes of each payload.
    """

    publisher: Name
    epoch: Name
    first: Number
    topics: Sequence[str]
    sizes: list[Number]


class Heads(msgspec.Struct, frozen=True):
    """How far a publisher has come.

    Attributes:
        epoch: of this opening of its journal.
        seq: the last number sent.
        first: the first number still kept.
    """

    publisher: Name
    epoch: Name
    seq: Number
    first: Number


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """Asks for events; with nothing given, for the numbers alone.

    Attributes:
        id: comes back in every reply.
        after: events behind this number.
        cursor: the last number had, by epoch, newest epoch last; instead of `after`.
        since: `now`, `beginning`, or UTC nanoseconds of publishing; instead of both.
        prefixes: topics wanted; none: all of them.
        credit: replies that may be sent before more is granted, at most `MAX_CREDIT`.
        grant: so many more replies to the request of this id; nothing else counts then.
        joined: put the events of a reply into one part behind each other, with `sizes`.
    """

    id: int = 0
    after: int | None = None
    cursor: dict[str, int] | None = None
    since: str | int | None = None
    prefixes: list[str] = []
    credit: int = 1
    grant: int = 0
    joined: bool = False


class Reply(msgspec.Struct, frozen=True):
    """One answer; the payloads of its events are the parts behind.

    Attributes:
        id: of the request.
        error: why there is no answer; nothing else counts then.
        publisher: id of the journal.
        live: epoch of this opening of it.
        epoch: of the events here, and of `to`; empty before the first event.
        after: in the first reply to a request: the number behind which it begins.
        to: everything wanted up to this number has been sent.
        head: the last number sent to all, or to this client.
        first: the first number still kept.
        done: `to` has reached `head`; nothing more follows.
        known: the cursor named an epoch of this journal. If not, it begins with the first event kept.
        lost: numbers on the way to `to` that cannot be had any more.
        rewound: events of the cursor that this journal does not know any more.
        seqs: numbers of the events.
        topics: theirs.
        times: UTC nanoseconds of publishing.
        sizes: bytes of each event, where they were asked for joined.
    """

    id: int = 0
    error: str = ""
    publisher: Name = ""
    live: Name = ""
    epoch: Name = ""
    after: Number | None = None
    to: Number = 0
    head: Number = 0
    first: Number = 1
    done: bool = False
    known: bool = True
    lost: Number = 0
    rewound: Number = 0
    seqs: list[Number] = []
    topics: list[str] = []
    times: list[int] = []
    sizes: list[Number] = []


def check_port(address: str) -> None:
    """Refuse a TCP address without a port that exists: ZeroMQ takes 99999 for another one.

    Raises:
        EventError: it is one.
    """
    port = address.rpartition(":")[2]
    if not address.startswith("tcp://") or port == "*":
        return
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) <= LAST_PORT):
        raise EventError(
            f"{address}: it needs a port up to {LAST_PORT} at the end; give an address as {DEFAULT_ENDPOINT}"
        )


def next_endpoint(endpoint: str) -> str:
    """The endpoint one port further; for other transports, a name of its own.

    Raises:
        EventError: there is no such port.
    """
    if not endpoint.startswith("tcp://"):
        return f"{endpoint}-replay"
    check_port(endpoint)
    address, _, port = endpoint.rpartition(":")
    if port in ("*", "0"):
        return endpoint
    if int(port) == LAST_PORT:
        raise EventError(
            f"{endpoint}: there is no next port for the replay socket; give its address (events.replay, "
            "--replay), or take another port"
        )
    return f"{address}:{int(port) + 1}"
