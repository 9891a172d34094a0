"""Pictures that runs keep as evidence, for those who may see their camera."""

from __future__ import annotations

from pathlib import Path

from gaitstream.config.reading import load_config
from gaitstream.console.permissions import Actor, ForbiddenError, NotFoundError
from gaitstream.evidence.reading import (
    EvidenceForbiddenError,
    EvidenceReader,
    MissingEvidenceError,
    Picture,
    TrackEvidence,
)


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

    def close(self) -> None:
        """Let go of the gallery's key."""
        if self._reader is not None:
            self._reader.close()

    def _for(self, actor: Actor) -> EvidenceReader:
        if self._reader is None:
            raise NotFoundError("this site keeps no pictures; set evidence.keep in cams.yaml")
        return self._reader if actor.cameras is None else self._reader.only(actor.cameras)
