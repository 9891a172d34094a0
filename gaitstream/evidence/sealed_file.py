"""Files of sealed values: each value is closed for its file and its place in it.

A file begins with `MAGIC`; a value is its length (four bytes, little-endian) and the sealed bytes. A value
that was changed, or moved to another place or file, does not open.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from gaitstream.errors import EvidenceError, GalleryError, MissingEvidenceError
from gaitstream.gallery.sealing import Sealer

MAGIC = b"GSEVID1\n"
_LENGTH = struct.Struct("<I")
MOST_BYTES = 64 * 2**20
"""Of one value."""
PART = ".part"
"""Ends the name of a file that is not whole yet."""


def write_sealed(path: Path, values: Sequence[bytes], sealer: Sealer, place: str) -> None:
    """Write a file for its owner alone, in one step: readers see the old one or the new one.

    Raises:
        OSError: there is no room, or the disk has a fault; what was there stays.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        with _open_to_write(part, os.O_CREAT | os.O_TRUNC) as file:
            file.write(MAGIC)
            for number, value in enumerate(values):
                _put(file, sealer.seal(value, f"{place}/{number}"))
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def append_sealed(path: Path, value: bytes, sealer: Sealer, place: str, number: int) -> None:
    """Add one value at the end of a file, which is made with its first.

    Raises:
        FileNotFoundError: it was erased after its first value.
        OSError: there is no room, or the disk has a fault.
    """
    if number == 0:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _open_to_write(path, os.O_APPEND | (os.O_CREAT if number == 0 else 0)) as file:
        if number == 0:
            file.write(MAGIC)
        _put(file, sealer.seal(value, f"{place}/{number}"))


def read_sealed(path: Path, sealer: Sealer, place: str) -> Iterator[bytes]:
    """The values of a file, in order; an incomplete one at the very end is left out.

    Raises:
        MissingEvidenceError: there is no such file.
        EvidenceError: it is damaged, or sealed with another key.
    """
    for number, sealed in enumerate(_sealed_values(path)):
        yield _open(path, sealed, sealer, f"{place}/{number}")


def read_one(path: Path, sealer: Sealer, place: str, number: int) -> bytes:
    """One value; errors as for `read_sealed`, and MissingEvidenceError when the file has no such number."""
    for index, sealed in enumerate(_sealed_values(path)):
        if index == number:
            return _open(path, sealed, sealer, f"{place}/{number}")
    raise MissingEvidenceError(f"{path.name} has no value {number}")


def erase_file(path: Path) -> None:
    """Overwrite a file's bytes, then delete it; nothing happens when it is gone.

    Raises:
        OSError: it could not be overwritten, and is deleted all the same where that is possible.
    """
    try:
        with path.open("r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    finally:
        path.unlink(missing_ok=True)


def is_half_erased(path: Path) -> bool:
    """Whether a process that was killed had begun to overwrite a file, or had not written its first byte."""
    try:
        with path.open("rb") as file:
            return not any(file.read(len(MAGIC)))
    except OSError:
        return False


def _open_to_write(path: Path, flags: int) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600), "ab")


def _put(file: BinaryIO, sealed: bytes) -> None:
    file.write(_LENGTH.pack(len(sealed)) + sealed)


def _sealed_values(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise EvidenceError(f"{path} is damaged: it is no file of evidence")
            while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
                (length,) = _LENGTH.unpack(head)
                if length > MOST_BYTES:
                    raise EvidenceError(f"{path} is damaged: a value of {length} bytes is none of ours")
                sealed = file.read(length)
                if len(sealed) < length:
                    return  # still being written, or cut off
                yield sealed
    except FileNotFoundError as error:
        raise MissingEvidenceError(f"there is no evidence {path.name} (any more)") from error
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read ({error.strerror})") from error


def _open(path: Path, sealed: bytes, sealer: Sealer, place: str) -> bytes:
    try:
        return sealer.open(sealed, place)
    except GalleryError as error:
        raise EvidenceError(
            f"{path} does not open: it was changed after it was kept, or belongs to another gallery"
        ) from error
