"""Ed25519 signatures of bundles, and which signers this user knows.

A site signs with a key that its gallery keeps (`gaitstream.gallery.secrets`). Anybody can sign a changed
bundle anew with a key of their own: so a signature says little until its key is one that is known, here or
by the command line. An export notes its own key as known to the user who made it.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec
import platformdirs

from gaitstream.errors import EvidenceError
from gaitstream.gallery import Gallery
from gaitstream.gallery.secrets import secret

log = logging.getLogger(__name__)
_CONTEXT = b"gaitstream evidence, version 1\n"
_KEY = re.compile(r"[0-9a-f]{64}")


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signature, and the public key that checks it; both hexadecimal."""

    key: str
    signature: str


class Signer:
    """Signs with an Ed25519 key.

    Args:
        private: 32 bytes.

    Attributes:
        key: the public key, hexadecimal.
    """

    def __init__(self, private: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._private = Ed25519PrivateKey.from_private_bytes(private)
        self.key = self._private.public_key().public_bytes_raw().hex()

    @classmethod
    def of(cls, gallery: Gallery) -> Signer:
        """The signer of a site, by its gallery."""
        return cls(secret(gallery, "signer"))

    def sign(self, document: bytes) -> Signature:
        """Sign a document."""
        return Signature(self.key, self._private.sign(_CONTEXT + document).hex())


def check_signature(signature: Signature, document: bytes, what: str) -> None:
    """See that a document is what was signed with the signature's own key.

    Raises:
        EvidenceError: it was changed, or the signature is none.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature.key))
        key.verify(bytes.fromhex(signature.signature), _CONTEXT + document)
    except (InvalidSignature, ValueError) as error:
        raise EvidenceError(f"{what} was changed: its signature does not hold") from error


def check_signer(key: str, known: Collection[str], what: str) -> None:
    """See that a signer is one of those that are known.

    Raises:
        EvidenceError: it is another: the bundle may have been signed anew.
    """
    if key not in known:
        raise EvidenceError(
            f"{what} is whole, but signed by {key}, whom nobody here knows: it may have been changed and "
            "signed anew. Ask the site it comes from for its key ('gaitstream evidence key'), and give that "
            "with --signer"
        )


def known_signers() -> set[str]:
    """The keys that this user has noted, in `gaitstream/evidence-signers` of the user's configuration."""
    with suppress(OSError):
        return {line.strip() for line in _file().read_text().splitlines() if _KEY.fullmatch(line.strip())}
    return set()


def note_signer(key: str) -> None:
    """Note a key as known to this user; a folder that takes no file is no error."""
    if key in known_signers():
        return
    try:
        _file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(_file(), os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "a") as file:
            file.write(key + "\n")
    except OSError as error:
        log.info("the signer is not noted in %s (%s)", _file(), error.strerror)


def parse_key(text: str) -> str:
    """A public key, as `gaitstream evidence key` prints it.

    Raises:
        EvidenceError: it is none.
    """
    key = text.strip().lower()
    if not _KEY.fullmatch(key):
        raise EvidenceError(f"{text!r} is no signer's key: 64 hexadecimal digits, as 'evidence key' prints")
    return key


def _file() -> Path:
    return platformdirs.user_config_path("gaitstream", appauthor=False) / "evidence-signers"
