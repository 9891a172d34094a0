"""A gallery that several machines share, on a server that is killed, comes back and sees nothing in clear."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from gaitstream.errors import GalleryError, GalleryKeyError
from gaitstream.fleet.local_server import PostgresServer, can_run
from gaitstream.gallery import Gallery, postgresql
from gaitstream.gallery import keeper as keeper_module
from gaitstream.gallery.connection import Purpose, ServerConnection
from gaitstream.gallery.keeper import Keeper
from gaitstream.gallery.keys import make_key_file
from gaitstream.gallery.people import People

PRINT, MODEL = "a" * 64, "gaitheat"


def walks(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(3, 16, 32)).astype(np.float32)


@pytest.fixture
def key(tmp_path: Path) -> str:
    make_key_file(tmp_path / "key")
    return f"file:{tmp_path}/key"


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


@pytest.fixture
def mortal() -> Iterator[PostgresServer]:
    """A server of this test alone, to kill."""
    if not can_run():
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    server = PostgresServer()
    try:
        yield server
    finally:
        server.close()


def within(seconds: float, people: People, condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, people.names
        people.poll()
        time.sleep(0.01)


def test_machines_see_each_others_changes_within_a_second(url: str, key: str) -> None:
    with Gallery(url, create=True, key=key) as one:
        one.enroll("Ada", MODEL, PRINT, walks(1))
        with Keeper(url, [MODEL], key) as keeper, Gallery(url, key=key) as two:
            keeper.start()
            people = keeper.people()
            assert list(people.names.values()) == ["Ada"]
            two.enroll("Bob", MODEL, PRINT, walks(2))
            within(1, people, lambda: "Bob" in people.names.values())
            one.remove("Ada")
            within(1, people, lambda: list(people.names.values()) == ["Bob"])
            assert [entry.name for entry in two.persons()] == ["Bob"]


def test_a_server_that_is_killed_and_comes_back_is_caught_up_with(mortal: PostgresServer, key: str) -> None:
    url = mortal.new_database()
    with Gallery(url, create=True, key=key) as gallery:
        gallery.enroll("Ada", MODEL, PRINT, walks(1))
        with Keeper(url, [MODEL], key) as keeper:
            keeper.start()
            people = keeper.people()
            mortal.kill()
            told = ""
            deadline_s = time.monotonic() + 10
            while not told and time.monotonic() < deadline_s:
                told = people.poll().problem or ""
                time.sleep(0.01)
            assert "cannot be reached now" in told
            [found] = people.search(MODEL, [walks(1)[0]])  # what is known goes on
            assert people.exact(MODEL, walks(1)[0], found.persons.tolist()).tolist() == [0]
            with pytest.raises(GalleryError, match="cannot be reached now"):
                gallery.enroll("Bob", MODEL, PRINT, walks(2))
            mortal.start()
            gallery.enroll("Bob", MODEL, PRINT, walks(2))
            within(10, people, lambda: set(people.names.values()) == {"Ada", "Bob"})
            assert gallery.store.check() == []


def test_a_writer_that_hangs_is_not_waited_for_for_ever(
    url: str, key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(postgresql, "BUSY_S", 1)
    with Gallery(url, create=True, key=key) as gallery, Gallery(url, key=key) as other:
        gallery.enroll("Ada", MODEL, PRINT, walks(1))
        with gallery.store.writing():
            with pytest.raises(GalleryError, match="somebody else has been writing to this gallery for 1 s"):
                other.enroll("Bob", MODEL, PRINT, walks(2))
            with Keeper(url, [MODEL], key) as keeper:
                keeper.start()
                assert "the use of the gallery is not recorded yet" in caplog.text
                assert list(keeper.people().names.values()) == ["Ada"]
        other.enroll("Bob", MODEL, PRINT, walks(2))


def test_the_server_lets_go_of_machines_that_died_or_hang(url: str) -> None:
    server = ServerConnection(url, Purpose("a test", "the test's", GalleryError, "test", 7))
    asked = "SELECT name, setting FROM pg_settings WHERE name LIKE ANY(ARRAY['tcp_keep%', 'idle_in_tr%'])"
    found = dict(server.get().execute(asked.encode()).fetchall())
    assert found["idle_in_transaction_session_timeout"] == "7000"
    assert int(found["tcp_keepalives_idle"]) <= 10
    server.close()


def test_a_server_that_hangs_is_not_waited_for_at_the_end(
    url: str, key: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper_module, "CLOSE_S", 0.0)
    with Gallery(url, create=True, key=key) as gallery:
        gallery.enroll("Ada", MODEL, PRINT, walks(1))
    keeper = Keeper(url, [MODEL], key)
    keeper.start()
    with psycopg.connect(url) as holding, psycopg.connect(url) as looking:
        holding.execute("LOCK TABLE setting, change IN ACCESS EXCLUSIVE MODE")
        deadline_s = time.monotonic() + 60
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while looking.execute(waiting).fetchall()[0][0] == 0:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        closing = threading.Thread(target=keeper.close, daemon=True)
        closing.start()
        closing.join(60)
        assert not closing.is_alive()
    assert "does not answer; the end of the use is not recorded" in caplog.text


def test_the_server_sees_nothing_in_clear(url: str, key: str) -> None:
    with Gallery(url, create=True, key=key) as gallery:
        gallery.enroll("Ada Lovelace", MODEL, PRINT, walks(1), source="gate.mp4")
    with psycopg.connect(url) as db:
        dump = b""
        for table in ("setting", "person", "template", "audit", "change", "model"):
            for row in db.execute(f"SELECT * FROM {table}".encode()).fetchall():
                dump += b"".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
    assert PRINT.encode() in dump
    for secret in (b"Ada", b"Lovelace", b"gate.mp4", walks(1)[0].tobytes()[:16]):
        assert secret not in dump


def test_it_needs_a_key_that_is_named_and_right(url: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(GalleryKeyError, match="needs a key that is named"):
        Gallery(url, create=True)
    Gallery(url, create=True, key=key).close()
    make_key_file(tmp_path / "other")
    with pytest.raises(GalleryKeyError, match="does not open with this key") as caught:
        Gallery(url, key=f"file:{tmp_path}/other")
    with pytest.raises(GalleryKeyError, match=r"is encrypted; set gallery\.key"):
        Gallery(url, key="none")
    assert url not in str(caught.value)


def test_passwords_are_not_in_messages(url: str, key: str) -> None:
    password = url.split(":")[2].split("@")[0]
    wrong = url.replace(password, "hunter2secret")
    with pytest.raises(GalleryError, match=r"postgresql://127\.0\.0\.1:\d+/gait_") as caught:
        Gallery(wrong, key=key)
    assert "hunter2secret" not in str(caught.value)
    with Gallery(url, create=True, key=key) as gallery:
        assert password not in gallery.url


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_the_encoding_of_the_database_does_not_matter(
    postgres_server: PostgresServer, key: str, encoding: str
) -> None:
    url = postgres_server.new_database(encoding)
    with Gallery(url, create=True, key=key) as gallery:
        gallery.enroll("Zoë Ш", MODEL, PRINT, walks(1))
        assert [entry.name for entry in gallery.persons()] == ["Zoë Ш"]
        with Keeper(url, [MODEL], key) as keeper:
            assert list(keeper.people().names.values()) == ["Zoë Ш"]


def test_a_server_whose_machine_is_gone_is_given_up_soon_unless_the_url_says_otherwise(url: str) -> None:
    server = ServerConnection(url, Purpose("a test", "the test's", GalleryError, "test", 9))
    found = server.get().info.get_parameters()
    assert (found["tcp_user_timeout"], found["keepalives_idle"]) == ("10000", "5")
    server.close()
    server = ServerConnection(f"{url}?keepalives_idle=60", Purpose("a test", "its", GalleryError, "test", 9))
    assert server.get().info.get_parameters()["keepalives_idle"] == "60"
    server.close()


def test_a_database_of_another_schema_is_refused(url: str, key: str) -> None:
    Gallery(url, create=True, key=key).close()
    with psycopg.connect(url) as db:
        db.execute("UPDATE setting SET value = '9' WHERE name = 'schema'")
    with pytest.raises(GalleryError, match=r"no gallery of schema 5 \(it says 9\)"):
        Gallery(url, key=key)


def test_who_may_not_rewrite_the_tables_is_told_that_deleted_rows_stay(
    url: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Gallery(url, create=True, key=key) as gallery:
        gallery.enroll("Ada", MODEL, PRINT, walks(1))
        gallery.enroll("Bob", MODEL, PRINT, walks(2))
        gallery.remove("Ada")
        assert [line for line in gallery.store.purge() if "rows stay in" in line] == []
    role = f"app_{url.rpartition('/')[2]}"
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'".encode())
        db.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}".encode())
    own = url.replace(url.partition("//")[2].partition("@")[0], f"{role}:secret")
    with Gallery(own, key=key) as gallery:
        caplog.clear()
        gallery.remove("Bob")
        assert '"person"' in caplog.text
        assert "use the gallery as the user who owns them" in caplog.text
        assert len([line for line in gallery.store.purge() if "rows stay in" in line]) == 1
    assert "secret" not in caplog.text
