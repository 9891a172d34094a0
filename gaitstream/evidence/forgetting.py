"""Erasing a person from evidence: the tracks that show or may show them, and the last minutes they are in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gaitstream.config.places import evidence_folder
from gaitstream.config.schema import Config
from gaitstream.errors import EvidenceError
from gaitstream.evidence.folder import SealedFolder
from gaitstream.evidence.recent import erase_pictures, piece_records
from gaitstream.evidence.records import RecentFrame
from gaitstream.evidence.sealed_file import erase_file, is_half_erased
from gaitstream.gallery import Gallery
from gaitstream.gallery.merged import parts_of, read_merged
from gaitstream.gallery.sightings import TrackRef

Track = tuple[str, str, int]
"""Run, camera and number."""


@dataclass(frozen=True)
class KeptEvidence:
    """An evidence folder as a place where somebody may be kept; see `pipeline.forget.Places`.

    A running pipeline writes nothing of an erased track again but what comes after.

    Attributes:
        path: the folder.
    """

    path: Path

    def is_one(self) -> bool:
        """Whether it is a folder of evidence, or empty."""
        names = {path.name for path in self.path.iterdir()}
        return not names or bool(names & {"tracks", "recent"})

    def forget(
        self, gallery: Gallery, uids: Collection[str], tracks: Iterable[TrackRef] = ()
    ) -> tuple[int, list[str]]:
        """Overwrite and delete all that shows or may show a person, whether a pipeline runs or not.

        That is every track that named them at any time, or that was within the threshold of them, and of the
        last minutes every picture with such a track, also from before it was named. Where others were named,
        the person's id stays among the distances, as it does in the journal.

        Args:
            gallery: whose evidence it is.
            uids: all of the person; whoever was merged into them goes along.
            tracks: that are known from elsewhere to show the person.

        Returns:
            How many tracks were erased, and what could not be looked into, a line each.
        """
        folder = SealedFolder.of(self.path, gallery)
        shown = {one.key for one in tracks}
        with gallery.store.reading() as reading:
            merged = read_merged(reading)
        ids = set(uids).union(*(parts_of(merged, uid) for uid in uids))
        erased, remains = set[Track](), list[str]()
        for path, evidence in folder.tracks():
            if evidence is None:
                _without_record(path, remains)
                continue
            key = (evidence.key.run, evidence.key.camera, evidence.key.track)
            if ids & evidence.about or key in shown:
                shown.add(key)
                if _try(path, remains, partial(erase_file, path)):
                    erased.add(key)
        _forget_recent(folder, ids, shown, remains)
        return len(erased), remains


def places_of(config: Config, path: str | Path) -> tuple[KeptEvidence, ...]:
    """The evidence folder of a configuration, if there is one."""
    folder = evidence_folder(config, path)
    return (KeptEvidence(folder),) if folder.is_dir() else ()


def _forget_recent(folder: SealedFolder, ids: set[str], shown: set[Track], remains: list[str]) -> None:
    """Erase the pictures of the last minutes that show a person: first which tracks do, then all of these."""
    pieces: list[tuple[str, Path, list[RecentFrame]]] = []
    for path in folder.folder.unfinished_pieces():
        _try(path, remains, partial(erase_file, path))
    for camera in folder.folder.recent_cameras():
        for path in folder.folder.recent_files(camera):
            try:
                pieces.append((camera, path, piece_records(folder, camera, path)))
            except EvidenceError:
                _without_record(path, remains)
    shown = shown | {
        (record.run, camera, person.track)
        for camera, _, records in pieces
        for record in records
        for person in record.people
        if person.person_id in ids
    }
    for camera, path, records in pieces:
        shows = partial(_shows, camera, shown, {track for _, where, track in shown if where == camera})
        if any(map(shows, records)):
            _try(path, remains, partial(erase_pictures, folder, camera, path, shows))


def _without_record(path: Path, remains: list[str]) -> None:
    """Tell of a file that does not say who is in it; end what another process had begun to erase."""
    if is_half_erased(path):
        _try(path, remains, partial(erase_file, path))
    else:
        remains.append(f"{path}: cannot be opened")


def _try(path: Path, remains: list[str], erase: Callable[[], None]) -> bool:
    """Erase a file; where that fails it is told, and the others' turn comes all the same."""
    try:
        erase()
    except (EvidenceError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        said = "cannot be erased" if path.exists() else "was deleted, but could not be overwritten"
        remains.append(f"{path}: {said} ({why})")
        return False
    return True


def _shows(camera: str, shown: set[Track], numbers: set[int], record: RecentFrame) -> bool:
    """Whether a picture has one of the tracks that are shown; where its run was not noted, of any run."""
    if not record.run:
        return any(person.track in numbers for person in record.people)
    return any((record.run, camera, person.track) in shown for person in record.people)
