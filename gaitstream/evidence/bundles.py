"""A bundle: one file with everything about one event, signed, that any zip program opens.

    manifest.json     what happened, what it rests on, and size and SHA-256 of every other part
    signature.json    Ed25519 over the manifest
    pictures/ windows/ templates/

Parts are stored, not compressed, so that nothing in a bundle grows when it is opened. Whatever differs by a
byte from what `pack` writes is refused before anything in it is used; nothing is ever extracted to a path.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gaitstream.errors import EvidenceError
from gaitstream.evidence.records import TrackEvidence
from gaitstream.evidence.signing import Signature, Signer, check_signature

FORMAT, VERSION = "gaitstream-evidence", 1
MANIFEST, SIGNATURE = "manifest.json", "signature.json"
_NAME = re.compile(
    r"manifest\.json|signature\.json|(pictures/\d{1,6}\.(jpg|png)|(windows|templates)/\d{1,6}\.f32)"
)
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100600 << 16
MOST_BYTES = 256 * 2**20
"""Of a whole bundle; those of long tracks have some megabytes."""
MOST_PARTS = 4096


class BundledTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A template as it was compared with.

    Attributes:
        person: id.
        model: name of the recognizer.
        shape: parts and dim.
        part: where it lies in the bundle, float32, little-endian.
    """

    person: str
    model: str
    shape: tuple[int, int]
    part: str


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size and SHA-256 of a part."""

    bytes: int
    sha256: str


class BundleManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle is about.

    Attributes:
        gaitstream: version that exported it.
        exported_ns: UTC nanoseconds.
        exported_by: user and machine, or what the program was told.
        event: the event as it was published; of the candidates' names none but the one it names.
        decision: which of the evidence's decisions the event tells.
        templates_of: `person`: of the one who is named alone; `candidates`: of all who were near; `none`.
        templates: the templates that were compared with.
        notes: what should be known about what is in it, a line each.
        pictures: where each picture lies, by its number in the evidence.
        windows: where each embedding lies, in the order of the evidence's windows.
        parts: every part but manifest and signature.
    """

    exported_ns: int
    exported_by: str
    gaitstream: str
    event: dict[str, Any]
    evidence: TrackEvidence
    decision: int
    templates_of: str
    templates: tuple[BundledTemplate, ...]
    notes: tuple[str, ...]
    pictures: tuple[str, ...]
    windows: tuple[str, ...]
    parts: dict[str, Part]
    format: str = FORMAT
    version: int = VERSION


_MANIFEST, _SIGNATURE = msgspec.json.Decoder(BundleManifest), msgspec.json.Decoder(Signature)


@dataclass(frozen=True)
class EvidenceBundle:
    """An opened bundle, whole and unchanged since it was signed.

    Attributes:
        manifest: what it is about.
        parts: the others, by name.
        signer: public key it was signed with, hexadecimal.
    """

    manifest: BundleManifest
    parts: Mapping[str, bytes]
    signer: str


def pack(manifest: BundleManifest, parts: Mapping[str, bytes], signer: Signer) -> bytes:
    """The bytes of a bundle."""
    document = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    signature = msgspec.json.encode(signer.sign(document))
    return _zip({MANIFEST: document, SIGNATURE: signature, **parts})


def describe_parts(parts: Mapping[str, bytes]) -> dict[str, Part]:
    """Size and SHA-256 of each part."""
    return {name: Part(len(data), hashlib.sha256(data).hexdigest()) for name, data in parts.items()}


def read_bundle(path: Path) -> EvidenceBundle:
    """Open a bundle.

    Raises:
        EvidenceError: it is no bundle, or anything in it is not as it was signed; the message says what.
    """
    data = _read_file(path)
    members = _unzip(path, data)
    try:
        signature = _SIGNATURE.decode(members[SIGNATURE])
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EvidenceError(f"{path} has no signature that can be read") from error
    if MANIFEST not in members:
        raise EvidenceError(f"{path} has no {MANIFEST}")
    check_signature(signature, members[MANIFEST], str(path))
    manifest = _manifest(path, members[MANIFEST])
    parts = {name: member for name, member in members.items() if name not in (MANIFEST, SIGNATURE)}
    _check_parts(path, manifest, parts)
    if _zip({MANIFEST: members[MANIFEST], SIGNATURE: msgspec.json.encode(signature), **parts}) != data:
        raise EvidenceError(f"{path} was changed around its parts: it is not as it was exported")
    return EvidenceBundle(manifest, parts, signature.key)


def _read_file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise EvidenceError(f"{path} has {size} bytes; a bundle has {MOST_BYTES} at most")
        return path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"{path} cannot be read ({error.strerror})") from error


def _unzip(path: Path, data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            _check_members(path, infos, len(data))
            return {info.filename: archive.read(info) for info in infos}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, OSError) as error:
        raise EvidenceError(f"{path} is damaged, cut off, or no bundle ({error})") from error


def _check_members(path: Path, infos: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse by the directory alone what could do harm; nothing has been read yet."""
    names = [info.filename for info in infos]
    if len(names) > MOST_PARTS:
        raise EvidenceError(f"{path} has {len(names)} parts; a bundle has {MOST_PARTS} at most")
    for info in infos:
        if not _NAME.fullmatch(info.filename) or info.orig_filename != info.filename:
            raise EvidenceError(f"{path} has a part {info.filename[:80]!r}, which no bundle has")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise EvidenceError(
                f"{path} has a compressed part {info.filename}, which no bundle has: it may be a zip bomb"
            )
    if len(set(names)) != len(names):
        raise EvidenceError(f"{path} has two parts of one name")
    if sum(info.file_size for info in infos) > size:
        raise EvidenceError(f"{path} has parts that overlap: it may be a zip bomb")


def _manifest(path: Path, document: bytes) -> BundleManifest:
    try:
        manifest = _MANIFEST.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EvidenceError(f"{path}: its manifest cannot be understood ({error})") from error
    if (manifest.format, manifest.version) != (FORMAT, VERSION):
        raise EvidenceError(f"{path} is a bundle of version {manifest.version}; this reads {VERSION}")
    if not 0 <= manifest.decision < len(manifest.evidence.decisions):
        raise EvidenceError(f"{path}: its manifest names a decision that it does not have")
    return manifest


def _check_parts(path: Path, manifest: BundleManifest, parts: Mapping[str, bytes]) -> None:
    for name in sorted(set(manifest.parts) - set(parts)):
        raise EvidenceError(f"{path} lacks its part {name}")
    for name in sorted(set(parts) - set(manifest.parts)):
        raise EvidenceError(f"{path} has a part {name} that was not signed")
    for name, found in describe_parts(parts).items():
        if manifest.parts[name] != found:
            raise EvidenceError(f"{path}: its part {name} was changed")
    named = {*manifest.pictures, *manifest.windows, *(one.part for one in manifest.templates)}
    if named != set(parts) or len(manifest.windows) != len(manifest.evidence.windows):
        raise EvidenceError(f"{path}: its manifest and its parts do not fit")


def _zip(members: Mapping[str, bytes]) -> bytes:
    """The same bytes for the same members, anywhere and at any time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system, info.external_attr = 3, _MODE
            archive.writestr(info, data)
    return out.getvalue()
