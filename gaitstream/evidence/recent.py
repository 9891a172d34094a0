"""The last minutes of each camera: pieces of some seconds, a picture a second, the oldest deleted.

A piece holds, in turn, the record of a picture and the picture. Pictures are clean; who is in them is in the
records, by id, so that a name that is forgotten is nowhere.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gaitstream.data import Image
from gaitstream.errors import EvidenceError, MissingEvidenceError
from gaitstream.evidence.folder import PIECE_S, SealedFolder, began_ns
from gaitstream.evidence.pictures import FRAME_PX, encode_jpeg, shrink
from gaitstream.evidence.records import RecentFrame
from gaitstream.evidence.sealed_file import append_sealed, erase_file, read_one, read_sealed, write_sealed
from gaitstream.pipeline.source.clock import SECOND_NS

QUALITY = 70
_RECORD = msgspec.msgpack.Decoder(RecentFrame)


@dataclass
class _Piece:
    path: Path
    began_ns: int
    values: int = 0


class RecentPieces:
    """Writes the last minutes; one thread.

    Args:
        minutes: how many are kept of each camera; None writes nothing.
    """

    def __init__(self, minutes: float | None) -> None:
        self._minutes = minutes
        self._pieces: dict[str, _Piece] = {}

    def add(self, folder: SealedFolder, camera: str, image: Image, record: RecentFrame) -> None:
        """Add a picture, BGR.

        Raises:
            OSError: there is no room, or the disk has a fault; the next picture begins a new piece.
        """
        piece = self._piece(folder, camera, record.time_ns)
        picture = encode_jpeg(shrink(image, FRAME_PX / image.shape[1]), QUALITY)
        try:
            for value in (msgspec.msgpack.encode(record), picture):
                append_sealed(piece.path, value, folder.sealer, piece_place(camera, piece.path), piece.values)
                piece.values += 1
        except FileNotFoundError:  # erased this moment, with somebody who is forgotten
            del self._pieces[camera]
            self.add(folder, camera, image, record)
        except OSError:
            del self._pieces[camera]
            raise

    def _piece(self, folder: SealedFolder, camera: str, time_ns: int) -> _Piece:
        piece = self._pieces.get(camera)
        if piece is not None and 0 <= time_ns - piece.began_ns < PIECE_S * SECOND_NS and piece.path.exists():
            return piece
        folder.folder.sweep_camera(camera, self._minutes, time_ns)
        path = folder.folder.recent_folder(camera) / f"{time_ns}-{os.getpid()}.frames"
        path.unlink(missing_ok=True)  # a file that is played again, its own clock with it
        piece = self._pieces[camera] = _Piece(path, time_ns)
        return piece


def list_recent(folder: SealedFolder, camera: str, since_ns: int, until_ns: int) -> list[RecentFrame]:
    """Records of a camera's last pictures within a span of time, in order."""
    found: list[RecentFrame] = []
    for path in _pieces_of(folder, camera, since_ns, until_ns):
        found += [
            record for record in piece_records(folder, camera, path) if since_ns <= record.time_ns <= until_ns
        ]
    return sorted(found, key=lambda record: record.time_ns)


def newest_recent(folder: SealedFolder, camera: str) -> RecentFrame | None:
    """Record of the newest of a camera's pictures; None where none is kept."""
    for path in reversed(folder.folder.recent_files(camera)):
        if records := piece_records(folder, camera, path):
            return records[-1]
    return None


def read_recent(folder: SealedFolder, camera: str, time_ns: int) -> bytes:
    """The JPEG of one of a camera's last pictures.

    Raises:
        MissingEvidenceError: there is none of this time (any more).
    """
    for path in _pieces_of(folder, camera, time_ns, time_ns):
        for index, record in enumerate(piece_records(folder, camera, path)):
            if record.time_ns == time_ns:
                return read_one(path, folder.sealer, piece_place(camera, path), 2 * index + 1)
    raise MissingEvidenceError(f"camera {camera} has no picture of {time_ns} (any more)")


def erase_pictures(
    folder: SealedFolder, camera: str, path: Path, shows: Callable[[RecentFrame], bool]
) -> None:
    """Overwrite and delete a piece, and keep in a new one the pictures that do not show somebody.

    Whoever writes the piece goes on in another one.

    Raises:
        EvidenceError: it is damaged, or sealed with another gallery's key.
    """
    try:
        values = list(read_sealed(path, folder.sealer, piece_place(camera, path)))
    except MissingEvidenceError:  # its time was over while it was looked for
        return
    pairs = zip(values[::2], values[1::2], strict=False)
    kept = [value for pair in pairs if not shows(_record(path, pair[0])) for value in pair]
    erase_file(path)
    if kept:
        rest = path.with_name(f"{began_ns(path)}-{secrets.token_hex(4)}.frames")
        with suppress(OSError):  # no room: the others' pictures are gone as well
            write_sealed(rest, kept, folder.sealer, piece_place(camera, rest))


def piece_place(camera: str, piece: Path) -> str:
    """What a piece's values are closed for."""
    return f"recent/{camera}/{piece.name}"


def _pieces_of(folder: SealedFolder, camera: str, since_ns: int, until_ns: int) -> list[Path]:
    earliest_ns = since_ns - int(PIECE_S * SECOND_NS)
    files = folder.folder.recent_files(camera)
    return [path for path in files if earliest_ns <= began_ns(path) <= until_ns]


def piece_records(folder: SealedFolder, camera: str, path: Path) -> list[RecentFrame]:
    """Records of one piece; none when its time is over.

    Raises:
        EvidenceError: it is damaged, or sealed with another gallery's key.
    """
    try:
        values = list(read_sealed(path, folder.sealer, piece_place(camera, path)))
    except MissingEvidenceError:  # its time was over while it was looked for
        return []
    return [_record(path, value) for value in values[: len(values) // 2 * 2 : 2]]


def _record(path: Path, value: bytes) -> RecentFrame:
    try:
        return _RECORD.decode(value)
    except ValueError as error:
        raise EvidenceError(f"{path} is damaged ({error})") from error
