"""Rows that somebody without the key changes, puts back or takes away are found, in every store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gaitstream.errors import GalleryError
from gaitstream.gallery import Gallery, audit
from gaitstream.gallery.base import PersonRow, PictureRow, SightingRow, TemplateRow, Writing
from gaitstream.gallery.editing import keep_until, merge, split
from gaitstream.gallery.rekeying import rekey
from gaitstream.gallery.retention import DAY_NS, RetentionRules, sweep
from gaitstream.gallery.sealing import Sealer
from gaitstream.gallery.transfer import copy
from gaitstream.gallery.verifying import verify
from gaitstream.gallery.visitors import keep_apart, promote
from tests.gallery.filled import MODEL, fill, key_in, walks
from tests.gallery.walking import SECOND, book_of, note, sighting

FOUND = "rows are not those that were written"


class Before:
    """The rows as somebody copied them a while ago."""

    def __init__(self, gallery: Gallery) -> None:
        with gallery.store.reading() as reading:
            self.persons: list[PersonRow] = list(reading.persons())
            self.templates: list[TemplateRow] = list(reading.templates())
            self.pictures: list[PictureRow] = list(reading.pictures())
            self.sightings: list[SightingRow] = list(reading.sightings())
            self.target = reading.setting(f"target/{MODEL}")


@pytest.fixture
def gallery(store_url: str, tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(store_url, create=True, key=key_in(tmp_path)) as opened:
        fill(opened)
        note(opened, sighting(5, 1), sighting(6, 2))
        yield opened


def ada_again(writing: Writing, before: Before) -> None:
    [ada] = [row for row in before.persons if writing.person(row.uid) is None]
    writing.put_person(ada)
    writing.add_templates(row for row in before.templates if row.person == ada.uid)


def bob_as_before(writing: Writing, before: Before) -> None:
    for row in before.persons:
        if writing.person(row.uid) is not None:
            writing.put_person(row)


ATTACKS: dict[str, Callable[[Writing, Before], object]] = {
    "the time of a template": lambda writing, before: writing.put_template(
        replace(before.templates[-1], created_ns=5)
    ),
    "the time of a picture": lambda writing, before: writing.put_picture(
        replace(before.pictures[-1], created_ns=1 << 62)
    ),
    "the time of a sighting": lambda writing, before: writing.put_sighting(
        replace(before.sightings[-1], seen_ns=1 << 62)
    ),
    "a limit taken away": bob_as_before,
    "a template deleted": lambda writing, before: writing.drop_templates([before.templates[-1].number]),
    "a template twice": lambda writing, before: writing.add_templates(before.templates[-1:]),
    "a person deleted": lambda writing, before: writing.drop_person(before.templates[-1].person),
    "somebody erased put back": ada_again,
    "a fingerprint": lambda writing, _: writing.put_model(replace(writing.models()[0], fingerprint="?")),
    "a target": lambda writing, _: writing.set(f"target/{MODEL}", b"0.9"),
    "who was merged": lambda writing, before: writing.set("merged", b'{"a": "b"}'),
    "the number of visitors": lambda writing, _: writing.set("visitors", b"1"),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_somebody_without_the_key_changes_is_found(
    gallery: Gallery, tmp_path: Path, attack: Callable[[Writing, Before], object]
) -> None:
    before = Before(gallery)
    keep_until(gallery, "Bob", 10**19)
    gallery.remove("Ada")
    assert verify(gallery) == []
    with gallery.store.writing() as writing:
        attack(writing, before)
    assert any(FOUND in line for line in verify(gallery))
    gallery.enroll("Dan", MODEL, gallery.models()[MODEL], walks(8))
    assert any(FOUND in line for line in verify(gallery))  # what is changed later hides nothing
    rekey(gallery, key_in(tmp_path, "other"))
    assert verify(gallery) == []


def test_whatever_is_done_with_the_key_fits(gallery: Gallery, tmp_path: Path) -> None:
    def fits() -> bool:
        return verify(gallery) == []

    assert fits()
    keep_apart(gallery, "visitor-1", "Ada")
    merge(gallery, "visitor-1", "visitor-2")
    assert fits()
    promote(gallery, "visitor-1", "Eve")
    assert fits()
    merge(gallery, "Ada", "Bob")
    assert fits()
    with gallery.store.reading() as reading:
        uid, _ = gallery.person(reading, "Ada")
        numbers = [row.number for row in reading.templates(person=uid)]
    split(gallery, "Ada", numbers[:2], "Fay")
    gallery.calibrate(MODEL, 0.3)
    assert fits()
    note(gallery, *(sighting(9, walk) for walk in range(10, 20)))
    book_of(gallery).settle()
    assert fits()
    rules = RetentionRules(picture_days=1, sighting_days=1)
    assert sweep(gallery, rules, 1 << 62).sightings > 0
    assert fits()
    rekey(gallery, key_in(tmp_path, "other"))
    gallery.remove("Ada")
    with Gallery(tmp_path / "copy", create=True) as other:
        copy(gallery, other)
        assert verify(other) == []
    assert fits()


def as_before_sums(writing: Writing, sealer: Sealer) -> None:
    """What a version that keeps no sum leaves in the head with every line."""
    audit.note(writing, sealer, "enrolled")


def test_a_gallery_that_an_earlier_version_wrote_gets_its_sum_with_the_next_change(gallery: Gallery) -> None:
    before = Before(gallery)
    with gallery.store.writing() as writing:
        writing.put_picture(replace(before.pictures[-1], created_ns=5))
        as_before_sums(writing, gallery.sealer)
    assert verify(gallery) == []
    keep_until(gallery, "Ada", 1 << 62)
    assert verify(gallery) == []
    with gallery.store.writing() as writing:
        writing.put_picture(replace(before.pictures[-1], created_ns=6))
    assert any(FOUND in line for line in verify(gallery))


def test_values_of_strange_types_are_damage_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    with Gallery(path, create=True) as gallery:
        fill(gallery)
        note(gallery, sighting(5, 1, at_s=DAY_NS // SECOND))
    for change in (
        "UPDATE setting SET value = '5' WHERE name = 'visitors'",
        "UPDATE person SET record = 5",
        "UPDATE picture SET data = 'text'",
        "UPDATE sighting SET seen_ns = 'tomorrow', data = 10000000000",
        "UPDATE template SET source = 7, created_ns = 'never'",
    ):
        with sqlite3.connect(path) as db:
            db.execute(change)
        db.close()
        with Gallery(path) as gallery:
            assert verify(gallery)


@pytest.mark.parametrize("merged", [b"no JSON", b'{"a": "\xff"}'])
def test_damaged_settings_are_told_in_words(merged: bytes, gallery: Gallery) -> None:
    with gallery.store.writing() as writing:
        writing.set("merged", merged)
        writing.set("visitors", b"many")
    with pytest.raises(GalleryError, match="who was merged is damaged"):
        merge(gallery, "Ada", "Bob")
    with pytest.raises(GalleryError, match="'many', is damaged"):
        note(gallery, sighting(9, 9))


def test_damage_goes_with_whose_it_is(gallery: Gallery) -> None:
    with gallery.store.writing() as writing:
        row = next(iter(writing.pictures()))
        writing.put_picture(replace(row, created_ns=1, data=b"?"))
    [damaged] = {line.split(":")[0].split()[-1] for line in verify(gallery) if FOUND in line}
    assert damaged == row.person
    with gallery.writing() as writing:
        gallery.erase(writing, row.person)
    assert verify(gallery) == []


def test_a_gallery_that_is_not_encrypted_keeps_no_sum(tmp_path: Path) -> None:
    with Gallery(tmp_path / "people.gallery", create=True, key="none") as gallery:
        fill(gallery)
        gallery.enroll("Dan", MODEL, gallery.models()[MODEL], walks(8))
        with gallery.store.reading() as reading:
            assert audit.read_tally(reading, gallery.sealer) is None
        rekey(gallery, key_in(tmp_path))
        with gallery.store.reading() as reading:
            assert audit.read_tally(reading, gallery.sealer) is not None
        assert verify(gallery) == []
