"""The stores that what every store must do is held against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gaitstream.fleet.local_server import PostgresServer, can_run


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests that do not kill it."""
    if not can_run():
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    server = PostgresServer()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a gallery that is not there yet, once for each store; `memory` is the stranger's."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        return server.new_database()
    folder = tmp_path_factory.mktemp("store")
    return f"sqlite:{folder}/people.gallery" if request.param == "sqlite" else f"memory:{folder}"
