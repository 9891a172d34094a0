"""Directories of publishers: where a subscriber finds those of a fleet, also ones that come later.

A directory is known by its URL's scheme and imported when it is asked for, so that a subscriber that has
none needs pyzmq and msgspec alone. Another package adds one by the entry point `gaitstream.directories`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gaitstream.errors import EventError
from gaitstream.registry import Registry


class PublisherAddress(NamedTuple):
    """One journal and where it is served.

    Attributes:
        journal: its id, which stays wherever it is served from.
        endpoint: where events are published.
        replay: where missed ones are asked for.
        server_key: the publisher's public key, 40 characters; None where it asks for none.
        alive: somebody serves it now, as far as is known.
    """

    journal: str
    endpoint: str
    replay: str
    server_key: str | None = None
    alive: bool = True


class Directory(Protocol):
    """Knows all publishers of a fleet."""

    def publishers(self) -> Sequence[PublisherAddress]:
        """Those known now, oldest first, also ones that are away; returns at once."""

    def close(self) -> None:
        """Let go of what it was read from."""


DIRECTORIES: Registry[Callable[[str], Directory]] = Registry(
    "directory of publishers",
    "gaitstream.directories",
    {
        "postgresql": "gaitstream.fleet.directory:FleetDirectory",
        "postgres": "gaitstream.fleet.directory:FleetDirectory",
    },
    is_a=Callable,
)


def open_directory(url: str) -> Directory:
    """The directory at a URL.

    Raises:
        EventError: nothing of this scheme is installed.
        GaitstreamError: it cannot be reached.
    """
    scheme = url.partition(":")[0]
    if scheme not in DIRECTORIES.names():
        raise EventError(
            f"{scheme}: is no directory of publishers; allowed: {', '.join(DIRECTORIES.names())}"
        )
    return DIRECTORIES.get(scheme)(url)
