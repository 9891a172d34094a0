"""Galleries that older versions wrote still open, and lose nothing."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.errors import GalleryError
from gaitstream.gallery import Gallery
from gaitstream.gallery.calibration import calibrate

PRINT = "a" * 64
SCHEMA_3 = """
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ns INTEGER NOT NULL);
CREATE TABLE model (
    name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, parts INTEGER NOT NULL, dim INTEGER NOT NULL,
    calibration TEXT
);
CREATE TABLE template (
    id INTEGER PRIMARY KEY,
    person INTEGER NOT NULL REFERENCES person(id) ON DELETE CASCADE,
    model TEXT NOT NULL REFERENCES model(name),
    source TEXT NOT NULL, created_ns INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX template_by_model ON template (model, person, id);
"""


def walks(value: float) -> NDArray[np.float32]:
    return (np.random.default_rng(int(value)).normal(size=(3, 16, 8)) * 0.01 + value).astype(np.float32)


def old_gallery(path: Path, schema: int, people: dict[str, float]) -> None:
    """A gallery as versions with this schema wrote it."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMA_3)
    db.execute("INSERT INTO model VALUES ('gaitheat', ?, 16, 8, NULL)", (PRINT,))
    for number, (name, value) in enumerate(people.items(), 1):
        db.execute("INSERT INTO person VALUES (?, ?, ?)", (number, name, number))
        for template in walks(value):
            data = template.tobytes()
            db.execute(
                "INSERT INTO template (person, model, source, created_ns, checksum, data) "
                "VALUES (?, 'gaitheat', 'gate.mp4', 7, ?, ?)",
                (number, zlib.crc32(data), data),
            )
    if schema < 3:
        db.execute("ALTER TABLE template DROP COLUMN checksum")
    if schema < 2:
        db.execute("ALTER TABLE model DROP COLUMN calibration")
        db.execute("ALTER TABLE model ADD COLUMN threshold REAL")
        db.execute("ALTER TABLE model ADD COLUMN margin REAL")
    db.execute("PRAGMA application_id = 0x47414954")
    db.execute(f"PRAGMA user_version = {schema}")
    db.close()


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_an_older_gallery_opens_with_all_it_had(tmp_path: Path, schema: int) -> None:
    path = tmp_path / "people.gallery"
    old_gallery(path, schema, {"Ada": 1, "Bob": 5, "Cyd": 9})
    with Gallery(path) as gallery:
        assert not gallery.encrypted
        assert [(entry.name, entry.created_ns, entry.templates) for entry in gallery.persons()] == [
            (name, number, {"gaitheat": 3}) for number, name in enumerate(("Ada", "Bob", "Cyd"), 1)
        ]
        matcher = gallery.matcher("gaitheat", PRINT)
        np.testing.assert_array_equal(matcher.templates, np.concatenate([walks(1), walks(5), walks(9)]))
        assert gallery.calibration("gaitheat") == calibrate(matcher) is not None
        assert gallery.damaged() == []
        gallery.enroll("Dan", "gaitheat", PRINT, walks(20))
        assert gallery.calibration("gaitheat") == calibrate(gallery.matcher("gaitheat", PRINT))
    assert not list(tmp_path.glob("*.key"))


def test_damage_after_the_migration_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    old_gallery(path, 2, {"Ada": 1, "Bob": 5})
    Gallery(path).close()
    data = bytearray(path.read_bytes())
    data[data.index(walks(5)[1].tobytes()) + 100] ^= 1
    path.write_bytes(data)
    with Gallery(path) as gallery:
        [found] = gallery.damaged()
        assert str(found) == "template 5 of 'Bob' (gaitheat, from gate.mp4) is damaged"


def test_names_that_are_one_are_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "people.gallery"
    old_gallery(path, 3, {"Ada": 1, " Ada": 2, "ada": 3, "a\x1b[31mb": 4, "x" * 300: 5})
    with Gallery(path) as gallery:
        names = [entry.name for entry in gallery.persons()]
    assert names == ["Ada", "Ada (2)", "a [31mb", "ada (3)", "x" * 100]


def test_a_gallery_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.gallery"
    Gallery(path, create=True).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(GalleryError, match="no gallery of schema 5"):
        Gallery(path)


def test_a_migration_that_is_killed_leaves_the_old_gallery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "people.gallery"
    old_gallery(path, 3, {"Ada": 1})

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("gaitstream.gallery.migrate.fold_name", dies)
        with pytest.raises(KeyboardInterrupt):
            Gallery(path)
    with Gallery(path) as gallery:
        assert [entry.name for entry in gallery.persons()] == ["Ada"]
