"""The folder that evidence lies in: a file for each track, found by its key, and pieces of the last minutes.

tracks/<camera>/<run>/<track // 1000>/<track>.evidence
recent/<camera>/<begin, ns>-<process>.frames, and what is left of a piece from which somebody was erased:
recent/<camera>/<begin, ns>-<random>.frames
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gaitstream.config.output_sections import Evidence
from gaitstream.errors import EvidenceError, MissingEvidenceError
from gaitstream.evidence.records import TrackEvidence, TrackKey
from gaitstream.evidence.sealed_file import PART, erase_file, read_one, read_sealed, write_sealed
from gaitstream.gallery import Gallery
from gaitstream.gallery.sealing import Sealed, Sealer
from gaitstream.gallery.secrets import secret
from gaitstream.pipeline.saving import too_much

log = logging.getLogger(__name__)
_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_RECORD = msgspec.msgpack.Decoder(TrackEvidence)
"""Made while one thread is here: msgspec breaks down when two meet a type for the first time."""
_TRACKS = 1000
"""Files in one folder."""
PIECE_S = 10.0
"""Length of a piece of the last minutes."""
REST_S = 3600.0
"""What is not whole after this time never will be, and nobody is about to write into what is empty."""


@dataclass(frozen=True)
class EvidenceFolder:
    """Where files lie, and what is deleted when; any number of processes may use one folder."""

    path: Path

    def track_file(self, key: TrackKey) -> Path:
        """Where a track's evidence lies.

        Raises:
            MissingEvidenceError: no track has such a key; so nothing outside the folder can be named.
        """
        check_id(key.camera)
        check_id(key.run)
        if key.track < 0:
            raise MissingEvidenceError(f"there is no track {key.track}")
        name = f"{key.track}.evidence"
        return self.path / "tracks" / key.camera / key.run / str(key.track // _TRACKS) / name

    def track_files(self) -> Iterator[Path]:
        """The files of all tracks."""
        return self.path.glob("tracks/*/*/*/*.evidence")

    def unfinished_tracks(self) -> Iterator[Path]:
        """What is being written of tracks, and what a process that was killed left of it."""
        return self.path.glob(f"tracks/*/*/*/.*.evidence.*{PART}")

    def unfinished_pieces(self) -> Iterator[Path]:
        """What a process that was killed while it erased somebody left of the others' pictures."""
        return self.path.glob(f"recent/*/.*.frames.*{PART}")

    def recent_cameras(self) -> list[str]:
        """Cameras with pieces; whatever else lies there is nobody's."""
        return sorted(path.name for path in self.path.glob("recent/*") if _is_id(path.name))

    def recent_files(self, camera: str) -> list[Path]:
        """A camera's pieces, the oldest first."""
        pieces = self.recent_folder(camera).glob("*.frames")
        return sorted(path for path in pieces if path.name.partition("-")[0].isdigit())

    def recent_folder(self, camera: str) -> Path:
        """Where a camera's pieces lie."""
        check_id(camera)
        return self.path / "recent" / camera

    def sweep(self, rules: Evidence, clock: Callable[[], float] = time.time) -> int:
        """Delete what the rules do not allow any more; how many tracks went."""
        now_s = clock()
        found = []
        for path in self.track_files():
            with suppress(OSError):  # another process was quicker
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        gone = [path for path in too_much(found, rules, now_s) if _delete(path)]
        self._sweep_recent(rules, now_s)
        self._sweep_rests(now_s)
        return len(gone)

    def _sweep_recent(self, rules: Evidence, now_s: float) -> None:
        for camera in self.recent_cameras():
            self.sweep_camera(camera, rules.minutes, int(now_s * 1e9))
            self._sweep_written(camera, rules.minutes or 0.0, now_s)

    def _sweep_written(self, camera: str, minutes: float, now_s: float) -> None:
        """Delete pieces written longer ago than that: a recording's own times may lie in the future."""
        for path in self.recent_files(camera):
            with suppress(OSError):  # another process was quicker
                if path.stat().st_mtime < now_s - minutes * 60 - PIECE_S:
                    _delete(path)

    def sweep_camera(self, camera: str, minutes: float | None, now_ns: int) -> None:
        """Delete a camera's pieces that are older than so many minutes; all of them for None."""
        for path in self.recent_files(camera):
            if minutes is None or began_ns(path) < now_ns - int((minutes * 60 + PIECE_S) * 1e9):
                _delete(path)

    def _sweep_rests(self, now_s: float) -> None:
        """Delete files that were never finished, and folders that have been empty for long."""
        parts = (f"tracks/*/*/*/.*{PART}", f"recent/*/.*{PART}")
        for pattern in (*parts, "tracks/*/*/*", "tracks/*/*", "tracks/*"):
            for path in self.path.glob(pattern):
                with suppress(OSError):  # not empty, or another process was quicker
                    if path.stat().st_mtime < now_s - REST_S:
                        path.rmdir() if path.is_dir() else erase_file(path)


@dataclass(frozen=True)
class SealedFolder:
    """A folder and what opens it.

    Attributes:
        folder: where files lie.
        sealer: of the gallery's secret for evidence.
        gallery: its id.
    """

    folder: EvidenceFolder
    sealer: Sealer
    gallery: str

    @classmethod
    def of(cls, path: Path, gallery: Gallery) -> SealedFolder:
        """The folder at a path, sealed as this gallery's evidence is.

        Raises:
            GalleryError: its secret cannot be read or made.
        """
        return cls(EvidenceFolder(path), Sealed(secret(gallery, "evidence"), gallery.id), gallery.id)

    def write(self, evidence: TrackEvidence, embeddings: list[bytes], pictures: list[bytes]) -> None:
        """Put a track's evidence in the place of what was kept of it before.

        Args:
            evidence: the record.
            embeddings: float32, little-endian, one for each of its windows.
            pictures: by the numbers in its shots.

        Raises:
            OSError: there is no room, or the disk has a fault.
        """
        values = [msgspec.msgpack.encode(evidence), *embeddings, *pictures]
        write_sealed(self.folder.track_file(evidence.key), values, self.sealer, _place(evidence.key))

    def read(self, key: TrackKey) -> TrackEvidence:
        """What is kept of a track.

        Raises:
            MissingEvidenceError: nothing is.
            EvidenceError: it is damaged, or another gallery's.
        """
        return decode_record(read_one(self.folder.track_file(key), self.sealer, _place(key), 0))

    def read_all(self, key: TrackKey) -> tuple[TrackEvidence, list[bytes], list[bytes]]:
        """The record of a track, its embeddings and its pictures, all of one moment; errors as for `read`.

        Of a file that was cut off there may be fewer pictures than the record tells.
        """
        path = self.folder.track_file(key)
        values = list(read_sealed(path, self.sealer, _place(key)))
        evidence = decode_record(values[0]) if values else None
        if evidence is None or len(values) <= len(evidence.windows):
            raise EvidenceError(f"{path} is damaged: it was cut off")
        count = len(evidence.windows) + 1
        return evidence, values[1:count], values[count:]

    def tracks(self) -> Iterator[tuple[Path, TrackEvidence | None]]:
        """Every track's file with what it holds; None where it cannot be opened.

        What was never finished comes as well, as far as it can be opened: pictures lie behind the record.
        """
        for path in self.folder.track_files():
            camera, run = path.parts[-4], path.parts[-3]
            try:
                yield path, self.read(TrackKey(camera, run, int(path.stem)))
            except MissingEvidenceError:
                continue  # another process was quicker
            except (EvidenceError, ValueError):
                yield path, None
        for path in self.folder.unfinished_tracks():
            camera, run, number = path.parts[-4], path.parts[-3], path.name.split(".")[1]
            with suppress(EvidenceError, ValueError):
                place = _place(TrackKey(camera, run, int(number)))
                yield path, decode_record(read_one(path, self.sealer, place, 0))


def decode_record(data: bytes) -> TrackEvidence:
    """The record of a track.

    Raises:
        EvidenceError: it is none, or of a later version.
    """
    try:
        return _RECORD.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EvidenceError(f"the record of a track cannot be understood ({error})") from error


def check_id(text: str) -> None:
    """See that an id of a camera or a run names no other place than its own.

    Raises:
        MissingEvidenceError: it cannot be one.
    """
    if not _is_id(text):
        raise MissingEvidenceError(f"there is no camera or run {text[:64]!r}")


def _is_id(text: str) -> bool:
    return bool(_ID.fullmatch(text)) and text not in (".", "..")


def _delete(path: Path) -> bool:
    """Erase what is past its time; False where that is not possible, which is told and keeps no other."""
    try:
        erase_file(path)
    except OSError as error:
        if path.exists():
            log.warning("%s is past its time and cannot be deleted (%s)", path, error.strerror)
            return False
    return True


def began_ns(piece: Path) -> int:
    """When a piece of the last minutes begins."""
    return int(piece.name.partition("-")[0])


def _place(key: TrackKey) -> str:
    return f"evidence/{key.camera}/{key.run}/{key.track}"
