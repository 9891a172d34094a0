"""How others look at what a run keeps: by track, event, camera and time; within the cameras one may see.

    reader = EvidenceReader.open(load_config("cams.yaml"), "cams.yaml")
    evidence = reader.of(event)

Files are opened for each question: there is nothing to close, and any number of threads may ask.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gaitstream.config.places import evidence_folder
from gaitstream.config.schema import Config
from gaitstream.data import Floats
from gaitstream.errors import EvidenceError, EvidenceForbiddenError, MissingEvidenceError
from gaitstream.events import TrackEnded, TrackStarted
from gaitstream.events.schema import Identity
from gaitstream.evidence.folder import EvidenceFolder, SealedFolder
from gaitstream.evidence.recent import list_recent, newest_recent, read_recent
from gaitstream.evidence.records import MEDIA_TYPES, RecentFrame, TrackEvidence, TrackKey
from gaitstream.gallery import Gallery


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A picture as it goes to a browser."""

    media_type: str
    data: bytes


@dataclass(frozen=True)
class EvidenceReader:
    """Reads the evidence of a site.

    Attributes:
        folder: what is read.
        cameras: whose evidence may be seen; None: of all.
    """

    folder: SealedFolder
    cameras: frozenset[str] | None = None

    @classmethod
    def open(cls, config: Config, path: str | Path, cameras: Iterable[str] | None = None) -> EvidenceReader:
        """The evidence of a configuration, opened with its gallery's key.

        Args:
            config: names the gallery and the folder.
            path: the configuration's file.
            cameras: whose evidence may be seen; None: of all.

        Raises:
            EvidenceError: no gallery is configured.
            GalleryError: the gallery cannot be opened.
        """
        if config.gallery.where is None:
            raise EvidenceError(f"{path} names no gallery, whose key evidence is sealed with: set gallery")
        with Gallery(config.gallery.where, key=config.gallery.key) as gallery:
            folder = SealedFolder.of(evidence_folder(config, path), gallery)
        return cls(folder, None if cameras is None else frozenset(cameras))

    def only(self, cameras: Iterable[str]) -> EvidenceReader:
        """The same for somebody who may see these cameras alone, and no more than this reader may."""
        chosen = frozenset(cameras)
        return replace(self, cameras=chosen if self.cameras is None else chosen & self.cameras)

    def find(self, camera: str, run: str, track: int) -> TrackEvidence | None:
        """What is kept of a track; None when nothing is (yet, or any more).

        Raises:
            EvidenceForbiddenError: of a camera that may not be seen.
            EvidenceError: it is damaged, or sealed with another gallery's key.
        """
        self._check(camera)
        try:
            return self.folder.read(TrackKey(camera, run, track))
        except MissingEvidenceError:
            return None

    def of(self, event: Identity | TrackStarted | TrackEnded) -> TrackEvidence | None:
        """What is kept of an event's track; as `find`."""
        return self.find(event.camera, event.run, event.track)

    def picture(self, camera: str, run: str, track: int, number: int) -> EncodedPicture:
        """A picture of a track by its number in a shot.

        Raises:
            EvidenceForbiddenError: of a camera that may not be seen.
            MissingEvidenceError: there is none of this number.
            EvidenceError: it is damaged.
        """
        self._check(camera)
        evidence, _, pictures = self.folder.read_all(TrackKey(camera, run, track))
        views = {own: view for shot in evidence.shots for view, own in shot.pictures.items()}
        if number not in views or number >= len(pictures):
            raise MissingEvidenceError(f"track {track} of camera {camera} has no picture {number}")
        return EncodedPicture(media_type(views[number]), pictures[number])

    def embedding(self, evidence: TrackEvidence, number: int) -> Floats:
        """The embedding of a window, float32 `[parts, dim]`; errors as for `picture`."""
        self._check(evidence.key.camera)
        now, embeddings, _ = self.folder.read_all(evidence.key)
        for window, data in zip(now.windows, embeddings, strict=True):
            if window.number == number:
                return as_embedding(data, window.shape)
        raise MissingEvidenceError(f"track {evidence.key.track} has no window {number} (any more)")

    def recent(self, camera: str, since_ns: int = 0, until_ns: int | None = None) -> list[RecentFrame]:
        """A camera's last pictures within a span of time, in order, without the pictures themselves.

        Raises:
            EvidenceForbiddenError: of a camera that may not be seen.
            EvidenceError: they are damaged.
        """
        self._check(camera)
        return list_recent(self.folder, camera, since_ns, time.time_ns() if until_ns is None else until_ns)

    def newest_recent(self, camera: str) -> RecentFrame | None:
        """The newest of these pictures; None where none is kept; errors as for `recent`."""
        self._check(camera)
        return newest_recent(self.folder, camera)

    def recent_picture(self, camera: str, time_ns: int) -> EncodedPicture:
        """One of these pictures; MissingEvidenceError when its time is over."""
        self._check(camera)
        return EncodedPicture("image/jpeg", read_recent(self.folder, camera, time_ns))

    @property
    def files(self) -> EvidenceFolder:
        """Where everything lies."""
        return self.folder.folder

    def _check(self, camera: str) -> None:
        if self.cameras is not None and camera not in self.cameras:
            raise EvidenceForbiddenError(f"camera {camera[:64]!r} is none of those that may be seen")


def media_type(view: str) -> str:
    """Of a view's pictures."""
    return MEDIA_TYPES.get(view, "image/png")


def as_embedding(data: bytes, shape: tuple[int, int]) -> Floats:
    """An embedding as it lies in a file, float32 `[parts, dim]`.

    Raises:
        EvidenceError: it has another size.
    """
    parts, dim = shape
    if parts < 1 or dim < 1 or len(data) != parts * dim * 4:
        raise EvidenceError(f"an embedding of {len(data)} bytes is none of shape [{parts}, {dim}]")
    return np.frombuffer(data, "<f4").reshape(parts, dim)
