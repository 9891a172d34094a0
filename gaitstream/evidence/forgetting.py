"""Erasing a person from evidence: the tracks that show or may show them, and the last minutes they are in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gaitstream.config.places import evidence_folder
from gaitstream.config.schema import Config
from gaitstream.errors import EvidenceError
from gaitstream.evidence.folder import SealedFolder
from gaitstream.evidence.recent import piece_records
from gaitstream.evidence.sealed_file import erase_file
from gaitstream.gallery import Gallery


@dataclass(frozen=True)
class KeptEvidence:
    """An evidence folder as a place where somebody may be kept; see `pipeline.forget.Places`.

    A running pipeline writes nothing of an erased track again but what comes after.

    Attributes:
        path: the folder.
    """

    path: Path

    def forget(self, gallery: Gallery, uid: str) -> tuple[int, list[str]]:
        """Overwrite and delete all that shows or may show a person.

        That is every track that named them at any time, or that was within the threshold of them, and the
        pieces of the last minutes in which somebody was given their name. Where others were named, the
        person's id stays among the distances, as it does in the journal.

        Returns:
            How many tracks were erased, and what could not be looked into, a line each.
        """
        folder = SealedFolder.of(self.path, gallery)
        count, remains = 0, []
        for path, evidence in folder.tracks():
            if evidence is None:
                remains.append(f"{path}: cannot be opened")
            elif uid in evidence.about:
                erase_file(path)
                count += 1
        for path in _recent_with(folder, uid, remains):
            erase_file(path)
        return count, remains


def places_of(config: Config, path: str | Path) -> tuple[KeptEvidence, ...]:
    """The evidence folder of a configuration, if there is one."""
    folder = evidence_folder(config, path)
    return (KeptEvidence(folder),) if folder.is_dir() else ()


def _recent_with(folder: SealedFolder, uid: str, remains: list[str]) -> Iterator[Path]:
    for camera in sorted(path.name for path in folder.folder.path.glob("recent/*")):
        for path in folder.folder.recent_files(camera):
            try:
                records = piece_records(folder, camera, path)
            except EvidenceError:
                remains.append(f"{path}: cannot be opened")
                continue
            if any(person.person_id == uid for record in records for person in record.people):
                yield path
