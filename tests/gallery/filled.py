"""A gallery with three people, pictures and all, for the tests of what is done with one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.base import PictureRow
from gaitstream.gallery.keys import make_key_file

PRINT, MODEL = "a" * 64, "gaitheat"
PEOPLE = ("Ada", "Bob", "Cyd")
FULL_NAMES = ("Ada Lovelace", "Bob Bemer", "Cyd Charisse")
PICTURE = b"\xff\xd8 a picture of "


def walks(seed: int, count: int = 3) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(1, 16, 32)) + 0.1 * rng.normal(size=(count, 16, 32))).astype(np.float32)


def fill(gallery: Gallery, people: Sequence[str] = PEOPLE) -> None:
    """Long names are for tests that look for them in sealed bytes, where three letters occur by chance."""
    gallery.enroll_many(
        Enrolment(name, MODEL, PRINT, walks(seed), "gate.mp4") for seed, name in enumerate(people)
    )
    with gallery.writing() as writing:
        for name in people:
            uid, _ = gallery.person(writing, name)
            row = PictureRow(0, uid, time.time_ns(), 0, PICTURE + name.encode() * 8)
            writing.add_pictures([gallery.vault.picture_row(row)])


def key_in(folder: Path, name: str = "key") -> str:
    path = folder / name
    if not path.exists():
        make_key_file(path)
    return f"file:{path}"


def content(gallery: Gallery) -> dict[str, tuple[bytes, list[bytes]]]:
    """Every person's templates and pictures, in clear."""
    found = {}
    with gallery.store.reading() as reading:
        for uid, record in gallery.vault.records(reading).items():
            templates = gallery.tuner.gather(reading, reading.models()[0], gallery.url, uid).get(uid, {})
            parts = b"".join(one.tobytes() for one in templates.values())
            found[record.name] = parts, [gallery.vault.picture(row) for row in reading.pictures(uid)]
    return found
