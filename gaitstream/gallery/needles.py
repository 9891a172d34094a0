"""Finding bytes again without keeping them: a report of an erasure can be checked, and gives nothing away.

Of what is erased, windows of 24 bytes are remembered by a salted SHA-256, beside a sum that is quick to
compute at every place of a file. A place with the same sum is looked at closely.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

WINDOW = 24
_CHUNK = 1 << 22
_LONG = 6
"""Bytes of a text that stands nowhere by chance: once in 256 TiB."""
_AROUND = 128
_MANY_VALUES = 140
"""Different bytes in what is around a text. In 256 random bytes there are 162, give or take 6; in JSON and
MessagePack less than half as many."""
_FACTORS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F,
     0xE7037ED1A0B428DB], np.uint64,
)  # fmt: skip


class Needle(msgspec.Struct, frozen=True):
    """A window of erased bytes.

    Attributes:
        what: what it was part of, in words.
        sum: of the window; see the module.
        digest: SHA-256 of salt and window, hexadecimal.
    """

    what: str
    sum: int
    digest: str


def make_needles(what: str, data: bytes, salt: str) -> list[Needle]:
    """Windows from the beginning, the middle and the end of some bytes; none of fewer than 24."""
    if len(data) < WINDOW:
        return []
    starts = sorted({min(64, len(data) - WINDOW), (len(data) - WINDOW) // 2, len(data) - WINDOW})
    windows = {data[start : start + WINDOW] for start in starts}
    # Windows of nothing but zeros are everywhere.
    return [Needle(what, _sum(one), _digest(salt, one)) for one in sorted(windows) if any(one)]


def find_needles(files: Iterable[Path], needles: Iterable[Needle], salt: str) -> list[str]:
    """Where erased bytes are still found, a line each: file, place and what they are of."""
    by_sum: dict[int, list[Needle]] = {}
    for needle in needles:
        by_sum.setdefault(needle.sum, []).append(needle)
    wanted = np.array(sorted(by_sum), np.uint64)
    found = []
    for file in files:
        for at, window in _candidates(file, wanted):
            digest = _digest(salt, window)
            found += [
                f"{file} at byte {at}: {needle.what}"
                for needle in by_sum.get(_sum(window), ())
                if needle.digest == digest
            ]
    return found


def find_text(files: Iterable[Path], text: str) -> list[str]:
    """Files that hold a text in UTF-8, a line each.

    Three letters stand in any 16 MiB of sealed or compressed data by chance: a text so short counts where
    what is around it is no such data.
    """
    wanted = text.encode()
    return [
        f"{file}: the name"
        for file in files
        if any(_holds(data, wanted) for _, data in _chunks(file, len(wanted) - 1 + 2 * _AROUND))
    ]


def _holds(data: bytes, wanted: bytes) -> bool:
    at = data.find(wanted)
    while at >= 0:
        around = data[max(0, at - _AROUND) : at + len(wanted) + _AROUND]
        if len(wanted) >= _LONG or len(set(around)) < _MANY_VALUES:
            return True
        at = data.find(wanted, at + 1)
    return False


def _candidates(file: Path, wanted: NDArray[np.uint64]) -> Iterator[tuple[int, bytes]]:
    """Places whose sum is a needle's, with the window there."""
    for start, data in _chunks(file, WINDOW - 1):
        for phase in range(4):
            count = (len(data) - phase) // 4
            words = np.frombuffer(data, "<u4", count, phase).astype(np.uint64)
            if count < len(_FACTORS):
                continue
            places = count - len(_FACTORS) + 1
            sums = np.zeros(places, np.uint64)
            for index, factor in enumerate(_FACTORS):
                sums += words[index : index + places] * factor
            for place in np.flatnonzero(np.isin(sums, wanted)).tolist():
                at = 4 * place + phase
                yield start + at, data[at : at + WINDOW]


def _chunks(file: Path, overlap: int) -> Iterator[tuple[int, bytes]]:
    """A file in pieces that overlap; a file that is gone has none."""
    try:
        with file.open("rb") as stream:
            start, before = 0, b""
            while data := stream.read(_CHUNK):
                yield start - len(before), before + data
                start += len(data)
                before = (before + data)[-overlap:] if overlap else b""
    except OSError:
        return


def _sum(window: bytes) -> int:
    words = np.frombuffer(window, "<u4").astype(np.uint64)
    return int((words * _FACTORS).sum(dtype=np.uint64))


def _digest(salt: str, window: bytes) -> str:
    return hashlib.sha256(salt.encode() + window).hexdigest()
