"""A gallery that this user may not read or write is told as that."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from gaitstream.errors import GalleryError
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.sqlite import SqliteStore

NOBODY = 65534


@pytest.fixture
def gallery(open_to_all: Path) -> Path:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    path = open_to_all / "site" / "people.gallery"
    path.parent.mkdir(mode=0o755)
    with Gallery(path, create=True) as opened:
        opened.enroll_many([Enrolment("Ada", "m", "print", np.ones((1, 2, 3), np.float32))])
    return path


def erase(path: Path) -> None:
    with Gallery(path) as opened:
        opened.remove("Ada")


@pytest.mark.parametrize(
    ("mode", "folder", "said"),
    [
        (0o600, 0o755, "may not be read by this user"),
        (0o444, 0o755, "may not be written by this user"),
        (0o666, 0o555, "which this user may not write to"),
    ],
)
def test_it_is_said_what_may_not_be_done(gallery: Path, mode: int, folder: int, said: str) -> None:
    for path in gallery.parent.iterdir():
        os.chmod(path, mode)
    os.chmod(gallery.parent, folder)
    store = SqliteStore(str(gallery))
    try:
        os.seteuid(NOBODY)
        assert said in store._refusal(sqlite3.OperationalError("unable to open database file"))
        if mode != 0o666:
            with pytest.raises(GalleryError, match=r"may not be read|cannot be written"):
                erase(gallery)
    finally:
        os.seteuid(0)
        store.close()
