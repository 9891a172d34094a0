"""`cams.yaml` as pydantic models: all sections together.

`reading.load_config` reads a file into `Config`; `gaitstream config schema` prints the JSON Schema;
`docs/configuration.md` is generated from the descriptions in the modules beside this one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator

from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.config.deepstream_section import DeepStream
from gaitstream.config.fields import misfit, share_port
from gaitstream.config.fleet import Fleet
from gaitstream.config.gallery_section import GallerySection
from gaitstream.config.models_section import Models, RuntimeSection
from gaitstream.config.output_sections import Events, Evidence, Metrics, Saving
from gaitstream.config.section import Section
from gaitstream.config.track_sections import Quality, Tracking, Tracklets


class Config(Section):
    """Everything `gaitstream run` needs to know."""

    cameras: Annotated[list[Camera], Field(min_length=1)]
    """The cameras of the site."""
    models: Models = Models()
    """The networks."""
    runtime: RuntimeSection = RuntimeSection()
    """Where they run."""
    sources: Sources = Sources()
    """Reading and reconnecting."""
    tracking: Tracking = Tracking()
    """From boxes to tracks."""
    tracklets: Tracklets = Tracklets()
    """From tracks to windows."""
    quality: Quality = Quality()
    """From frames to evidence."""
    gallery: GallerySection = GallerySection()
    """Who is known."""
    events: Events = Events()
    """What is published."""
    metrics: Metrics = Metrics()
    """What is counted."""
    saving: Saving = Saving()
    """What is left on the disk."""
    evidence: Evidence = Evidence()
    """What is kept for people who look at events."""
    deepstream: DeepStream = DeepStream()
    """The GPU front end."""
    fleet: Fleet = Fleet()
    """One site on many machines."""

    @model_validator(mode="after")
    def _evidence_sealed(self) -> Config:
        if self.evidence.writes and self.gallery.where is None:
            text = "evidence is sealed with the gallery's key: add 'gallery: {path: people.gallery}'"
            raise misfit(text, "evidence")
        if self.evidence.minutes is not None and self.gallery.watchlist_only:
            text = "pictures of everybody are kept, which gallery.watchlist_only forbids; leave it out"
            raise misfit(text, "evidence", "minutes")
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Config:
        host, port = self.metrics.host, self.metrics.port
        for key, address in self.events.listens_at.items() if port is not None else ():
            if share_port(address, f"{host}:{port}"):
                text = f"{port} is the port of events.{key}, already; give another one"
                raise misfit(text, "metrics", "port")
        return self

    @model_validator(mode="after")
    def _ids_unique(self) -> Config:
        seen: dict[str, int] = {}
        for index, camera in enumerate(self.cameras):
            first = seen.setdefault(camera.id, index)
            if first != index:
                text = f"{camera.id!r} is the id of cameras[{first}] already; give every camera its own"
                raise misfit(text, "cameras", index, "id")
        return self

    @model_validator(mode="after")
    def _sparse_windows_go_on(self) -> Config:
        for key, text in self.too_sparse():
            raise misfit(text, "tracklets", key)
        return self

    def too_sparse(self) -> Iterator[tuple[str, str]]:
        """Keys of `tracklets` that leave gaps in which no window closes, each with what is wrong."""
        gap_s = self.tracklets.max_gap_s
        for key, every in (
            ("every", self.tracklets.every),
            ("settled_every", self.tracklets.settled_every),
        ):
            for camera in self.cameras:
                if camera.fps is not None and every > 1 and every / camera.fps >= gap_s:
                    text = (
                        f"every {every}th of {camera.id}'s {camera.fps:g} frames a second leaves gaps of "
                        f"max_gap_s, {gap_s:g} s, in which no window would close: at most "
                        f"{max(1, math.ceil(gap_s * camera.fps) - 1)}"
                    )
                    yield key, text

    @model_validator(mode="after")
    def _people_outlive_gaps(self) -> Config:
        tracking = self.tracking
        for index, camera in enumerate(self.cameras):
            if camera.fps is None or tracking.algorithm == "appearance":  # which waits for two detections
                continue
            gap_s = camera.detect_every / camera.fps
            if gap_s > tracking.lost_s:
                text = (
                    f"people are looked for every {gap_s:g} s, and {tracking.algorithm} ends tracks after "
                    f"tracking.lost_s, {tracking.lost_s:g} s: nobody would be followed; look more often, set "
                    "a longer lost_s, or algorithm: appearance"
                )
                raise misfit(text, "cameras", index, "detect_every" if camera.detect_every > 1 else "fps")
        return self

    @model_validator(mode="after")
    def _people_fit_pictures(self) -> Config:
        for index, camera in enumerate(self.cameras if self.models.recognizers else ()):
            quality = self.quality_for(camera)
            least = quality.min_height_px + 2 * quality.border_px
            if camera.max_height is not None and camera.max_height < least:
                text = (
                    f"nobody in a picture {camera.max_height} pixels high has min_height_px, "
                    f"{quality.min_height_px:g}, and is clear of its borders, so that nobody would be "
                    f"evidence: at least {math.ceil(least)}, or a lower quality.min_height_px"
                )
                raise misfit(text, "cameras", index, "max_height")
        return self

    def camera(self, camera_id: str) -> Camera:
        """The camera of that id; KeyError when there is none."""
        return {camera.id: camera for camera in self.cameras}[camera_id]

    def quality_for(self, camera: Camera) -> Quality:
        """The quality limits with this camera's own values in place."""
        own = camera.thresholds.model_dump(exclude_none=True)
        return self.quality.model_copy(update={k: v for k, v in own.items() if k in Quality.model_fields})

    def detection_score(self, camera: Camera) -> float:
        """Lowest detector score of a person on this camera."""
        own = camera.thresholds.detection_score
        return self.models.detector.score if own is None else own

    def gallery_for(self, camera: Camera) -> GallerySection:
        """The gallery with this camera's own threshold and margin in place."""
        own = camera.thresholds
        update = {"threshold": own.distance, "margin": own.margin}
        return self.gallery.model_copy(update={k: v for k, v in update.items() if v is not None})
