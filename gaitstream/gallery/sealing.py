"""Encryption of what a gallery keeps, before the store sees it.

AES-256-GCM with a random nonce for each value. A value is bound to the gallery and to the place it was made
for: one that was moved to another person does not open. The gallery's own key is random, and is kept sealed
with the operator's (`gaitstream.gallery.keys`); from it come, by HKDF-SHA256, one key for values, one by
which names are looked up, one that chains the audit log, and one for the sum of all rows.

Source: NIST SP 800-38D (GCM; random nonces are sound to 2^32 values a key), RFC 5869 (HKDF).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Protocol

import msgspec

from gaitstream.errors import GalleryError, GalleryKeyError

KEY_BYTES = 32
_NONCE = 12
_VERSION = b"\x01"


class Sealer(Protocol):
    """Closes values before they are kept, and opens them again.

    Attributes:
        encrypted: whether anybody without the key can read what it closed.
    """

    encrypted: bool

    def seal(self, plain: bytes, place: str) -> bytes:
        """Close a value for a place, such as `template/<uid>/<model>`."""

    def open(self, sealed: bytes, place: str) -> bytes:
        """Open what `seal` made for this place.

        Raises:
            GalleryError: it was changed, or was made for another place.
        """

    def lookup(self, folded: str) -> bytes:
        """What a person of this folded name is looked up by."""

    def chain(self, previous: bytes, line: bytes) -> bytes:
        """The link of the audit log that follows `previous`, 32 bytes."""

    def digest(self, row: bytes) -> bytes:
        """What a row counts as in the sum of all, 32 bytes."""


class Unsealed:
    """Keeps values as they are: for galleries that are not encrypted."""

    encrypted = False

    def seal(self, plain: bytes, place: str) -> bytes:  # noqa: ARG002
        """See `Sealer`."""
        return plain

    def open(self, sealed: bytes, place: str) -> bytes:  # noqa: ARG002
        """See `Sealer`."""
        return sealed

    def lookup(self, folded: str) -> bytes:
        """See `Sealer`."""
        return folded.encode()

    def chain(self, previous: bytes, line: bytes) -> bytes:
        """See `Sealer`; anybody can compute it."""
        return hashlib.sha256(previous + line).digest()

    def digest(self, row: bytes) -> bytes:
        """See `Sealer`; anybody can compute it."""
        return hashlib.sha256(row).digest()


class Sealed:
    """AES-256-GCM; see the module.

    Args:
        key: the gallery's own, 32 bytes.
        gallery: its id.
    """

    encrypted = True

    def __init__(self, key: bytes, gallery: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(_derive(key, gallery, "values"))
        self._lookup = _derive(key, gallery, "names")
        self._chain = _derive(key, gallery, "audit")
        self._rows = _derive(key, gallery, "rows")
        self._gallery = gallery.encode()

    def seal(self, plain: bytes, place: str) -> bytes:
        """See `Sealer`."""
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, self._context(place))

    def open(self, sealed: bytes, place: str) -> bytes:
        """See `Sealer`."""
        from cryptography.exceptions import InvalidTag

        if sealed[:1] != _VERSION:
            raise GalleryError("a value of the gallery is damaged: it is not encrypted as the others are")
        try:
            return self._cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], self._context(place))
        except (InvalidTag, ValueError) as error:
            raise GalleryError(
                "a value of the gallery is damaged: it was changed after it was kept"
            ) from error

    def lookup(self, folded: str) -> bytes:
        """See `Sealer`."""
        return hmac.digest(self._lookup, folded.encode(), "sha256")

    def chain(self, previous: bytes, line: bytes) -> bytes:
        """See `Sealer`; only who has the key can compute it."""
        return hmac.digest(self._chain, previous + line, "sha256")

    def digest(self, row: bytes) -> bytes:
        """See `Sealer`; only who has the key can compute it."""
        return hmac.digest(self._rows, row, "sha256")

    def _context(self, place: str) -> bytes:
        return b"gaitstream/1/" + self._gallery + b"/" + place.encode()


class Lock(msgspec.Struct, frozen=True):
    """The gallery's own key as it is kept: sealed with the operator's.

    Attributes:
        gallery: id the key belongs to.
        wrapped: nonce and sealed key.
    """

    gallery: str
    wrapped: bytes


def make_lock(operator: bytes, gallery: str) -> tuple[Lock, Sealed]:
    """A new key for a gallery, closed with the operator's, and what seals with it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key, nonce = os.urandom(KEY_BYTES), os.urandom(_NONCE)
    wrapped = nonce + AESGCM(operator).encrypt(nonce, key, b"gaitstream/1/key/" + gallery.encode())
    return Lock(gallery, wrapped), Sealed(key, gallery)


def open_lock(operator: bytes, lock: Lock) -> Sealed:
    """What seals a gallery, by the operator's key.

    Raises:
        GalleryKeyError: it is another gallery's key.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce, wrapped = lock.wrapped[:_NONCE], lock.wrapped[_NONCE:]
    try:
        key = AESGCM(operator).decrypt(nonce, wrapped, b"gaitstream/1/key/" + lock.gallery.encode())
    except (InvalidTag, ValueError) as error:
        raise GalleryKeyError(
            "the gallery does not open with this key; set gallery.key to its own"
        ) from error
    return Sealed(key, lock.gallery)


def _derive(key: bytes, gallery: str, purpose: str) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = f"gaitstream/1/{purpose}".encode()
    return HKDF(SHA256(), KEY_BYTES, salt=gallery.encode(), info=info).derive(key)
