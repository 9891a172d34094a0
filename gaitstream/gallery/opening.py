"""Opening and making a gallery: its store, its id and its key."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

import msgspec

from gaitstream.errors import GalleryError, GalleryKeyError
from gaitstream.gallery.base import Reading, Store, Writing
from gaitstream.gallery.keys import NONE, NOTICE, default_source, make_key_file, read_key
from gaitstream.gallery.sealing import Lock, Sealer, Unsealed, make_lock, open_lock
from gaitstream.gallery.stores import file_of

log = logging.getLogger(__name__)
NOT_SEALED = "%s is NOT encrypted, though a key is named: 'gaitstream gallery rekey --to SOURCE' seals it"
ID, LOCK = "gallery", "lock"
_LOCK = msgspec.msgpack.Decoder(Lock)


def unlock(store: Store, url: str | Path, key: str | None, *, create: bool = False) -> tuple[str, Sealer]:
    """A gallery's id and what opens its rows; a new gallery gets both.

    Args:
        store: its store.
        url: as it was given, for the key's usual place.
        key: see `gaitstream.gallery.keys`; None for the usual place.
        create: an empty store becomes a new gallery.

    Raises:
        GalleryKeyError: the key is missing, or is another's.
        GalleryError: the store is empty, and `create` is False.
    """
    with store.reading() as reading:
        gallery, lock = reading.setting(ID), reading.setting(LOCK)
        empty = gallery is None and _empty(reading)
    if gallery is None:
        if empty and not create:
            raise GalleryError(f"{store.url} is empty: put a backup in its place, or remove it to begin anew")
        new_file = missing_key_file(key_source(url, key)) if empty else None
        made = make_key(url, key) if empty else None
        try:
            with store.writing() as writing:
                gallery, lock = _initialise(writing, made)
        except GalleryError:  # what failed is not committed: the key opens nothing
            if new_file is not None:
                new_file.unlink(missing_ok=True)
            raise
    if lock is None:
        if key not in (None, NONE):
            log.warning(NOT_SEALED, store.url)
        return gallery.decode(), Unsealed()
    return gallery.decode(), open_lock(operator_key(url, key), _LOCK.decode(lock))


def key_source(url: str | Path, key: str | None) -> str:
    """Where the key of a gallery is: where it was said to be, or beside its file.

    Raises:
        GalleryKeyError: the gallery is no file, and nothing was said.
    """
    if key is not None:
        return key
    file = url if isinstance(url, Path) else file_of(url)
    if file is None:
        raise GalleryKeyError(
            "a gallery that is no file needs a key that is named: gallery.key, or --key "
            f"(file:PATH, env:NAME, command:WORDS, or {NONE} to leave it unencrypted)"
        )
    return default_source(file)


def operator_key(url: str | Path, key: str | None) -> bytes:
    """The operator's key of a gallery that is there.

    Raises:
        GalleryKeyError: it cannot be read.
    """
    source = key_source(url, key)
    if source == NONE:
        raise GalleryKeyError("the gallery is encrypted; set gallery.key to its key")
    return read_key(source)


def make_key(url: str | Path, key: str | None) -> bytes | None:
    """The operator's key for a gallery to be made, with a new file where one was named; None for no key."""
    source = key_source(url, key)
    if source == NONE:
        return None
    file = missing_key_file(source)
    if file is not None:
        make_key_file(file)
        log.warning("%s", NOTICE.format(path=file))
    return read_key(source)


def missing_key_file(source: str) -> Path | None:
    """The file that `make_key` makes for a source; None where the key is there, or is no file."""
    kind, _, path = source.partition(":")
    file = Path(path).expanduser()
    return file if kind == "file" and not file.exists() else None


def _empty(reading: Reading) -> bool:
    return not reading.models() and next(iter(reading.persons()), None) is None


def _initialise(writing: Writing, key: bytes | None) -> tuple[bytes, bytes | None]:
    """Id and lock of a gallery that has none, unless somebody else was quicker."""
    known = writing.setting(ID)
    if known is None:
        known = secrets.token_hex(8).encode()
        writing.set(ID, known)
        if key is not None:
            lock, _ = make_lock(key, known.decode())
            writing.set(LOCK, msgspec.msgpack.encode(lock))
    return known, writing.setting(LOCK)
