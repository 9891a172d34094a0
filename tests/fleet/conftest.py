"""A fleet's database in a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gaitstream.fleet.database import FleetDatabase
from tests.gallery.conftest import postgres_server

__all__ = ["postgres_server"]


@pytest.fixture
def fleet_url(postgres_server) -> str:  # type: ignore[no-untyped-def]
    """The URL of an empty database."""
    url: str = postgres_server.new_database()
    return url


@pytest.fixture
def database(fleet_url: str) -> Iterator[FleetDatabase]:
    """A fleet without cameras."""
    database = FleetDatabase(fleet_url, create=True)
    yield database
    database.close()
