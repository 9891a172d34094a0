"""Pictures that runs keep as evidence, for those who may see their camera."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gaitstream.config.reading import load_config
from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import ForbiddenError, NotFoundError
from gaitstream.data import Floats
from gaitstream.errors import EvidenceForbiddenError, MissingEvidenceError
from gaitstream.evidence.reading import EvidenceReader, Picture
from gaitstream.evidence.records import TrackEvidence


@dataclass(frozen=True)
class TrackWindow:
    """One full window of a track.

    Attributes:
        model: name of the recognizer.
        fingerprint: of its bundle.
        embedding: float32 `[parts, dim]`.
    """

    model: str
    fingerprint: str
    embedding: Floats


class Album:
    """The evidence of a site; any thread.

    Args:
        cameras: the cams.yaml; None where the console knows none, and so no evidence.

    Attributes:
        keeps: whether the site keeps pictures of tracks.
    """

    def __init__(self, cameras: Path | None) -> None:
        self._reader: EvidenceReader | None = None
        self.keeps = False
        if cameras is not None:
            config = load_config(cameras)
            self.keeps = config.evidence.keep
            if self.keeps:
                self._reader = EvidenceReader.open(config, cameras)

    def track(self, actor: Actor, camera: str, run: str, track: int) -> TrackEvidence | None:
        """What is kept of a track; None for nothing, also where it is gone by retention.

        Raises:
            ForbiddenError: the actor may not see the camera.
            EvidenceError: it is damaged.
        """
        if self._reader is None:
            return None
        try:
            return self._for(actor).find(camera, run, track)
        except EvidenceForbiddenError as error:
            raise ForbiddenError(str(error)) from error

    def picture(self, actor: Actor, camera: str, run: str, track: int, number: int) -> Picture:
        """A picture of a track.

        Raises:
            ForbiddenError: the actor may not see the camera.
            NotFoundError: there is no such picture.
            EvidenceError: it is damaged.
        """
        try:
            return self._for(actor).picture(camera, run, track, number)
        except EvidenceForbiddenError as error:
            raise ForbiddenError(str(error)) from error
        except MissingEvidenceError as error:
            raise NotFoundError(str(error)) from error

    def windows(self, actor: Actor, camera: str, run: str, track: int) -> list[TrackWindow]:
        """The full windows that are kept of a track, in order; raises as `track`."""
        evidence = self.track(actor, camera, run, track)
        if evidence is None:
            return []
        reader = self._for(actor)
        return [
            TrackWindow(kept.model, evidence.models[kept.model], reader.embedding(evidence, kept.number))
            for kept in evidence.windows
        ]

    def _for(self, actor: Actor) -> EvidenceReader:
        if self._reader is None:
            raise NotFoundError("this site keeps no pictures; set evidence.keep in cams.yaml")
        return self._reader if actor.cameras is None else self._reader.only(actor.cameras)
