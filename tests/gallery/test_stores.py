"""What every store must do, whatever is behind it; and how a URL finds its store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gaitstream.errors import ConfigError, GalleryError, MissingGalleryError
from gaitstream.gallery.base import Mark, ModelRow, PersonRow, PictureRow, Store, TemplateRow, Writing
from gaitstream.gallery.stores import file_of, open_store, scheme_of

Opener = Callable[[bool], Store]


@pytest.fixture
def opener(store_url: str) -> Opener:
    """Opens the same gallery each time; True makes it."""
    return lambda create: open_store(store_url, create=create)


@pytest.fixture
def store(opener: Opener) -> Iterator[Store]:
    with closing(opener(True)) as opened:
        yield opened


def template(person: str, value: bytes, number: int = 0) -> TemplateRow:
    return TemplateRow(number, person, "gaitheat", 7, b"gate.mp4", 99, value)


def fill(writing: Writing) -> list[int]:
    writing.put_model(ModelRow("gaitheat", "f" * 64, 16, 8))
    for uid in ("a", "b"):
        writing.put_person(PersonRow(uid, b"key " + uid.encode(), b"record"))
        writing.note_change(uid)
    writing.add_pictures([PictureRow(0, "a", 7, 5, b"jpeg")])
    return writing.add_templates([template("a", b"one"), template("b", b"two"), template("a", b"three")])


def test_what_was_written_is_read_back_by_another(opener: Opener, store: Store) -> None:
    with store.writing() as writing:
        numbers = fill(writing)
        writing.set("setting", b"\0value")
        writing.append_audit(1, b"line")
    assert numbers == sorted(numbers)
    with closing(opener(False)) as other, other.reading() as reading:
        assert list(reading.persons()) == [
            PersonRow("a", b"key a", b"record"),
            PersonRow("b", b"key b", b"record"),
        ]
        assert reading.find(b"key b") == reading.person("b") == PersonRow("b", b"key b", b"record")
        assert reading.find(b"key c") is reading.person("c") is None
        assert reading.models() == [ModelRow("gaitheat", "f" * 64, 16, 8)]
        first, second, third = numbers
        assert list(reading.templates("gaitheat")) == [
            template("a", b"one", first),
            template("b", b"two", second),
            template("a", b"three", third),
        ]
        assert [row.data for row in reading.templates(person="a")] == [b"one", b"three"]
        assert list(reading.templates("biggait")) == []
        assert {row.number for row in reading.select([third, first, 10**6])} == {first, third}
        assert reading.counts() == {("a", "gaitheat"): 2, ("b", "gaitheat"): 1}
        assert [reading.count(), reading.count("gaitheat"), reading.count(person="a")] == [3, 3, 2]
        assert [reading.count("gaitheat", "b"), reading.count("biggait"), reading.count(person="c")] == [
            1,
            0,
            0,
        ]
        assert [(row.person, row.data) for row in reading.pictures()] == [("a", b"jpeg")]
        assert list(reading.pictures("b")) == []
        assert reading.setting("setting") == b"\0value"
        assert reading.setting("other") is None
        assert list(reading.audit()) == [(1, b"line")]


def test_rows_are_changed_and_deleted(store: Store) -> None:
    with store.writing() as writing:
        first, second, _ = fill(writing)
    with store.writing() as writing:
        writing.put_person(PersonRow("a", b"new key", b"new record"))
        writing.put_model(ModelRow("gaitheat", "f" * 64, 16, 8, b"calibration"))
        writing.put_template(template("b", b"moved", first))
        writing.drop_templates([second])
        [picture] = writing.pictures()
        writing.put_picture(PictureRow(picture.number, "b", 8, 6, b"moved"))
        writing.set("setting", b"1")
        writing.set("setting", b"2")
    with store.reading() as reading:
        assert reading.find(b"key a") is None
        assert reading.find(b"new key") == PersonRow("a", b"new key", b"new record")
        assert reading.models()[0].calibration == b"calibration"
        assert [row.data for row in reading.templates(person="b")] == [b"moved"]
        assert [row.data for row in reading.pictures("b")] == [b"moved"]
        assert reading.setting("setting") == b"2"
    with store.writing() as writing:
        assert writing.drop_person("b")
        assert not writing.drop_person("b")
        writing.set("setting", None)
        writing.drop_pictures([1])
        numbers = writing.add_templates([template("a", b"next")])
    assert numbers > [first, second]
    with store.reading() as reading:
        assert [row.data for row in reading.templates()] == [b"three", b"next"]
        assert list(reading.pictures()) == []
        assert reading.setting("setting") is None


def test_a_transaction_that_fails_changes_nothing(store: Store) -> None:
    def fails() -> None:
        with store.writing() as writing:
            fill(writing)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    with store.reading() as reading:
        assert list(reading.persons()) == []
        assert reading.models() == []
        assert reading.mark() == Mark()


def test_two_people_never_have_one_key(store: Store) -> None:
    def fails() -> None:
        with store.writing() as writing:
            fill(writing)
            writing.put_person(PersonRow("c", b"key a", b""))

    with pytest.raises(GalleryError):
        fails()
    with store.reading() as reading:
        assert list(reading.persons()) == []


def test_history_tells_who_was_changed_since(opener: Opener, store: Store) -> None:
    with store.reading() as reading:
        start = reading.mark()
        assert reading.changes(start) == []
    with store.writing() as writing:
        fill(writing)
    with closing(opener(False)) as other, other.reading() as reading:
        middle = reading.mark()
        assert middle.sequence > start.sequence
        assert reading.changes(middle) == []
    with store.writing() as writing:
        writing.note_change("b")
    with store.reading() as reading:
        assert reading.changes(middle) == ["b"]
        assert reading.changes(Mark(middle.sequence, "another history")) is None
        assert reading.changes(Mark(10**6, "of a copy that was taken back")) is None


def test_a_reader_sees_one_moment(opener: Opener, store: Store) -> None:
    with closing(opener(False)) as other:
        with other.reading() as reading:
            assert list(reading.persons()) == []
            with store.writing() as writing:
                fill(writing)
            assert list(reading.persons()) == []
        with other.reading() as reading:
            assert len(list(reading.persons())) == 2


def test_who_waits_is_woken(opener: Opener, store: Store) -> None:
    def change() -> None:
        time.sleep(0.1)
        with closing(opener(False)) as other, other.writing() as writing:
            fill(writing)

    thread = threading.Thread(target=change)
    store.wait(0.01)
    thread.start()
    started_s = time.monotonic()
    store.wait(600.0)
    assert time.monotonic() - started_s < 60
    thread.join()


def test_writers_wait_for_each_other(opener: Opener, store: Store) -> None:
    def add() -> None:
        with closing(opener(False)) as mine:
            for _ in range(20):
                with mine.writing() as writing:
                    count = int((writing.setting("count") or b"0").decode())
                    writing.set("count", str(count + 1).encode())

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as reading:
        assert reading.setting("count") == b"60"


def test_a_whole_store_has_nothing_to_report(store: Store) -> None:
    with store.writing() as writing:
        fill(writing)
        writing.drop_person("a")
    assert all("encrypted rows" in line for line in store.purge())
    assert store.check() == []
    with store.reading() as reading:
        assert len(list(reading.persons())) == 1


def test_what_is_not_there_is_only_made_when_asked(opener: Opener) -> None:
    with pytest.raises(MissingGalleryError, match="no such gallery"):
        opener(False)


@pytest.mark.parametrize(
    ("url", "scheme", "file"),
    [
        ("people.gallery", "sqlite", "people.gallery"),
        ("sqlite:people.gallery", "sqlite", "people.gallery"),
        ("sqlite:///var/people.gallery", "sqlite", "/var/people.gallery"),
        ("/var/people.gallery", "sqlite", "/var/people.gallery"),
        ("postgresql://ada@db/gait", "postgresql", None),
    ],
)
def test_a_url_says_which_store(url: str, scheme: str, file: str | None) -> None:
    assert scheme_of(url) == scheme
    assert file_of(url) == (Path(file) if file else None)


def test_an_unknown_store_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no gallery store 'postgres' \(nearest: postgresql\)"):
        open_store("postgres://db/gait")


def test_a_url_without_a_file_is_refused() -> None:
    with pytest.raises(GalleryError, match="names no file"):
        open_store("sqlite:", create=True)
