"""Enrolling and identifying from a video: one file through the pipeline, its tracks collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gaitstream.config.schema import Camera, Config
from gaitstream.config.schema import Gallery as GallerySection
from gaitstream.config.secret_url import SecretUrl
from gaitstream.data import Decision, Embedding, Frame, Person
from gaitstream.errors import ConfigError, SourceError
from gaitstream.gallery import Enrolment
from gaitstream.pipeline.annotate import cut
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.known import open_configured
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline
from gaitstream.pipeline.saving import make_folder

Floats = NDArray[np.float32]
CAMERA = "video"
SHEET_PX = 240
"""Height of the people in a picture of a track."""


@dataclass
class Walk:
    """One track of a video.

    Attributes:
        track: its id; the same file and settings give the same ids.
        embeddings: windows by model: the full ones, or the last provisional one.
        fingerprints: by model.
        decision: the final one.
        pictures: up to three crops over its life, BGR.
    """

    track: int
    embeddings: dict[str, list[Floats]] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    decision: Decision | None = None
    seconds: float = 0.0
    pictures: list[NDArray[np.uint8]] = field(default_factory=list)
    full: bool = False

    @property
    def usable(self) -> bool:
        """Whether there is something to enrol."""
        return bool(self.embeddings)


class _WalkCollector(Observer):
    """Keeps what enrolling needs."""

    def __init__(self) -> None:
        self.walks: dict[int, Walk] = {}
        self._seen: dict[int, int] = {}

    def on_frame(self, frame: Frame, persons: Sequence[Person], _: Mapping[int, Decision]) -> None:
        """Keep pictures: the 5th, 20th and 60th that is evidence."""
        for person in persons:
            if person.rejected is None:
                count = self._seen[person.track] = self._seen.get(person.track, 0) + 1
                if count in (5, 20, 60):
                    self._walk(person.track).pictures.append(cut(frame.image, person).copy())

    def on_embedding(self, embedding: Embedding) -> None:
        """Keep full windows, or the latest provisional one."""
        tracklet = embedding.tracklet
        walk = self._walk(tracklet.track)
        kept = walk.embeddings.setdefault(tracklet.model, [])
        if not tracklet.provisional and not walk.full:
            walk.embeddings = {model: [] for model in walk.embeddings}
            kept = walk.embeddings[tracklet.model]
            walk.full = True
        if tracklet.provisional:
            kept.clear()
        kept.append(embedding.parts)
        walk.fingerprints[tracklet.model] = embedding.fingerprint

    def on_track_ended(self, state: TrackState, decision: Decision, _: str) -> None:
        """Keep the last word."""
        walk = self._walk(state.track)
        walk.decision = decision
        walk.seconds = (state.last_ns - state.first_ns) / 1e9

    def _walk(self, track: int) -> Walk:
        return self.walks.setdefault(track, Walk(track))


def watch_video(config: Config, video: str | Path, *, match: bool) -> list[Walk]:
    """Run a video through the configured models.

    Args:
        config: models, tracking, windows, quality; rate and thresholds are those of its first camera.
        video: a file.
        match: compare with the gallery.

    Returns:
        Its tracks, by id.

    Raises:
        SourceError: it cannot be read.
        GalleryError: the gallery was filled by another model.
    """
    if not config.models.recognizers:
        raise ConfigError("no recognizer is configured: set models.recognizers")
    first = config.cameras[0]
    camera = Camera(id=CAMERA, url=SecretUrl(str(video)), fps=first.fps, thresholds=first.thresholds)
    update: dict[str, object] = {"cameras": [camera]}
    if not match:
        update["gallery"] = GallerySection()
    collector = _WalkCollector()
    with Pipeline(config.model_copy(update=update), observers=[collector]) as pipeline:
        outcome = pipeline.run()
    if outcome.failed:
        raise SourceError(outcome.failed[CAMERA])
    return sorted(collector.walks.values(), key=lambda walk: walk.track)


def choose(walks: Sequence[Walk], track: int | None) -> Walk | None:
    """The track to enrol; None when there are several and none was named.

    Raises:
        ConfigError: nobody walks in the video long enough, or the named track does not.
    """
    usable = [walk for walk in walks if walk.usable]
    if track is not None:
        named = [walk for walk in usable if walk.track == track]
        if not named:
            have = ", ".join(str(walk.track) for walk in usable) or "none"
            raise ConfigError(f"--track {track} has nothing to enrol; tracks that have: {have}")
        return named[0]
    if not usable:
        reasons = {walk.decision.reason.value for walk in walks if walk.decision and walk.decision.reason}
        why = f" ({', '.join(sorted(reasons))})" if reasons else ""
        raise ConfigError(f"nobody walks in this video long enough to be enrolled{why}")
    return usable[0] if len(usable) == 1 else None


def enroll_walk(config: Config, person: str, walk: Walk, source: str) -> int:
    """Put a walk's windows of all models into the configured gallery, made when missing; all or nothing.

    Returns:
        How many templates were added.

    Raises:
        ConfigError: no gallery is configured.
        GalleryError: the gallery was filled by another model.
    """
    enrolments = [
        Enrolment(person, model, walk.fingerprints[model], np.stack(parts), source)
        for model, parts in walk.embeddings.items()
        if parts
    ]
    gallery = open_configured(config, create=True)
    if gallery is None:
        raise ConfigError("no gallery is configured: add 'gallery: {path: people.gallery}'")
    with gallery:
        return gallery.enroll_many(enrolments)


def save_pictures(walks: Sequence[Walk], folder: Path) -> dict[int, Path]:
    """Write a picture of each track: its crops side by side."""
    import cv2

    make_folder(folder)
    paths = {}
    for walk in walks:
        crops = [crop for crop in walk.pictures if crop.size]
        if not crops:
            continue
        scaled = [
            cv2.resize(crop, (max(1, round(crop.shape[1] * SHEET_PX / crop.shape[0])), SHEET_PX))
            for crop in crops
        ]
        paths[walk.track] = folder / f"track-{walk.track}.jpg"
        cv2.imwrite(str(paths[walk.track]), np.hstack(scaled))
    return paths
