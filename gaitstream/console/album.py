"""Pictures that runs keep as evidence, for those who may see their camera."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gaitstream.config.reading import load_config
from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import NotFoundError
from gaitstream.data import Floats
from gaitstream.errors import MissingEvidenceError, MissingGalleryError
from gaitstream.evidence.folder import SealedFolder
from gaitstream.evidence.reading import EncodedPicture, EvidenceReader
from gaitstream.evidence.records import RecentFrame, TrackEvidence
from gaitstream.gallery.upstream import Upstream

CROP = "crop"
"""The view that is the person as the camera saw them."""


@dataclass(frozen=True)
class TrackWindow:
    """One full window of a track.

    Attributes:
        model: name of the recognizer.
        fingerprint: of its bundle.
        embedding: float32 `[parts, dim]`.
        upstream: what found the joints and masks that it rests on.
    """

    model: str
    fingerprint: str
    embedding: Floats
    upstream: Upstream


class Album:
    """The evidence of a site; any thread.

    Args:
        cameras: the cams.yaml; None where the console knows none, and so no evidence.

    Attributes:
        keeps: whether the site keeps pictures of tracks.
        minutes: how many of each camera's last minutes the site keeps; None for none.

    Every method raises `EvidenceForbiddenError` for a camera that the actor may not see, and `EvidenceError`
    where what is kept is damaged.
    """

    def __init__(self, cameras: Path | None) -> None:
        self._cameras = cameras
        self._config = load_config(cameras) if cameras is not None else None
        self._open: EvidenceReader | None = None
        self.keeps = self._config is not None and self._config.evidence.keep
        self.minutes = self._config.evidence.minutes if self._config is not None else None

    @property
    def _reader(self) -> EvidenceReader | None:
        """The evidence; None where the site keeps none, or has no gallery yet, which the first run makes."""
        if self._open is None and self._config is not None and (self.keeps or self.minutes):
            with suppress(MissingGalleryError):
                self._open = EvidenceReader.open(self._config, str(self._cameras))
        return self._open

    def track(self, actor: Actor, camera: str, run: str, track: int) -> TrackEvidence | None:
        """What is kept of a track; None for nothing, also where it is gone by retention."""
        return None if self._reader is None else self._for(actor).find(camera, run, track)

    def picture(self, actor: Actor, camera: str, run: str, track: int, number: int) -> EncodedPicture:
        """A picture of a track; MissingEvidenceError where there is none of this number."""
        return self._for(actor).picture(camera, run, track, number)

    def crops(self, actor: Actor, camera: str, run: str, track: int, most: int) -> list[bytes]:
        """Pictures of a track that were evidence, spread over its time, in order: at most so many JPEGs."""
        evidence = self.track(actor, camera, run, track)
        shots = evidence.shots if evidence is not None else ()
        numbers = [shot.pictures[CROP] for shot in shots if shot.rejected is None and CROP in shot.pictures]
        chosen = numbers[:: -(-len(numbers) // most) or 1]
        return [self.picture(actor, camera, run, track, number).data for number in chosen]

    def windows(self, actor: Actor, camera: str, run: str, track: int) -> list[TrackWindow]:
        """The full windows that are kept of a track, in order."""
        evidence = self.track(actor, camera, run, track)
        if evidence is None:
            return []
        reader = self._for(actor)
        return [
            TrackWindow(
                kept.model,
                evidence.models[kept.model],
                reader.embedding(evidence, kept.number),
                evidence.upstream.get(kept.model, ()),
            )
            for kept in evidence.windows
        ]

    def recent(
        self, actor: Actor, camera: str, since_ns: int = 0, until_ns: int | None = None
    ) -> list[RecentFrame]:
        """What was kept of a camera's last minutes, in order; nothing where the site keeps none."""
        return [] if self._reader is None else self._for(actor).recent(camera, since_ns, until_ns)

    def newest_piece(self, camera: str) -> str:
        """What names the newest part that is kept of a camera's last minutes; empty where nothing is.

        It is another name when pictures were added, or erased.
        """
        try:
            pieces = self._reader.files.recent_files(camera) if self._reader is not None else []
        except MissingEvidenceError:  # the bus may tell of a camera by any name
            pieces = []
        return pieces[-1].stem if pieces else ""

    def newest_recent(self, actor: Actor, camera: str) -> RecentFrame | None:
        """The newest of these; None where none is kept."""
        return None if self._reader is None else self._for(actor).newest_recent(camera)

    def recent_picture(self, actor: Actor, camera: str, time_ns: int) -> EncodedPicture:
        """One of these pictures; MissingEvidenceError when its time is over."""
        return self._for(actor).recent_picture(camera, time_ns)

    def sealed(self) -> SealedFolder:
        """The folder itself, for whoever has asked already whether the actor may.

        Raises:
            NotFoundError: the site keeps no evidence.
        """
        return self._opened().folder

    def _opened(self) -> EvidenceReader:
        if (reader := self._reader) is None:
            raise NotFoundError("this site keeps no pictures yet, or evidence.keep in cams.yaml is not set")
        return reader

    def _for(self, actor: Actor) -> EvidenceReader:
        reader = self._opened()
        return reader if actor.cameras is None else reader.only(actor.cameras)
