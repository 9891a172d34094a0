"""What cams.yaml says of tracks: how they are followed, judged and cut into windows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    model_validator,
)

from gaitstream.config.fields import (
    Fraction,
    misfit,
)
from gaitstream.config.section import Section


class Tracking(Section):
    """How boxes become tracks."""

    algorithm: Literal["appearance", "bytetrack", "ocsort", "sort"] = "appearance"
    """`appearance` goes by motion and clothes; the others, of the trackers library, by boxes alone."""
    lost_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """A track nobody was seen of for this long has ended; `appearance` waits three times that for somebody
    behind others."""
    min_hits: Annotated[int, Field(ge=1, le=1000)] = 2
    """Detections in a row before a track counts."""
    iou: Fraction = 0.1
    """Least overlap of a box with a track's predicted box."""
    new_track_score: Fraction = 0.6
    """Lowest detector score that starts a track; with `ocsort` weaker boxes do not continue one either."""


class Tracklets(Section):
    """The windows over a track that are pooled into one embedding."""

    length: Annotated[int, Field(ge=2, le=720)] = 30
    """Accepted frames in a window."""
    stride: Annotated[int, Field(ge=1)] = 15
    """Accepted frames between the starts of windows; divides `length`."""
    provisional_from: Annotated[int, Field(ge=1)] = 10
    """Accepted frames from which a provisional decision is made."""
    max_gap_s: Annotated[float, Field(gt=0, le=3600)] = 1.0
    """A longer time without an accepted frame starts the window afresh."""
    every: Annotated[int, Field(ge=1, le=30)] = 1
    """Of a track every k-th frame is encoded; the others count as `spaced`. 1: all. Windows of `length`
    frames then take k times as long."""
    settled_after: Annotated[int, Field(ge=1, le=8)] = 3
    """Full windows in a row that name the same person and settle a track."""
    settled_every: Annotated[int, Field(ge=1, le=30)] = 1
    """Of a settled track every k-th frame is encoded; the others count as `settled`. 1: all."""

    @model_validator(mode="after")
    def _stride_divides(self) -> Tracklets:
        if self.length % self.stride:
            allowed = ", ".join(str(n) for n in range(1, self.length + 1) if self.length % n == 0)
            text = f"{self.stride} does not divide the length {self.length}; allowed: {allowed}"
            raise misfit(text, "stride")
        if self.provisional_from > self.length:
            raise misfit(f"{self.provisional_from} is more than the length {self.length}", "provisional_from")
        return self


class Quality(Section):
    """Which person-frames are evidence of gait; each rejection is counted under its reason."""

    min_height_px: Annotated[float, Field(ge=8)] = 64.0
    """Smaller boxes are `too_small`."""
    border_px: Annotated[float, Field(ge=0)] = 2.0
    """A box that comes this near to the frame's border is `truncated`."""
    max_aspect: Annotated[float, Field(gt=0)] = 1.0
    """Boxes wider than this times their height show no whole body: `truncated`."""
    max_overlap: Fraction = 0.35
    """Boxes of which nearer people cover more are `occluded`."""
    min_sharpness: Annotated[float, Field(ge=0)] = 15.0
    """Variance of the Laplacian on a 64-pixel-high grey crop; less is `blurred`. 0: not judged."""
    min_pose_score: Fraction = 0.4
    """Mean joint score; less is `low_pose_score`. Needs a pose model."""
    min_motion: Annotated[float, Field(ge=0)] = 0.04
    """Motion in body heights per second, of the box or of the ankles; less is `standing`. 0: not judged."""
    motion_window_s: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Time over which motion is judged."""
    max_jump: Annotated[float, Field(gt=0)] = 0.7
    """A box that moves by more body heights between frames 0.1 s apart is `id_switch_suspected`."""
    max_scale_jump: Annotated[float, Field(gt=1)] = 1.6
    """A box whose height changes by this factor at once is `id_switch_suspected`."""
    max_feature_jump: Annotated[float, Field(gt=0)] | None = None
    """Cosine distance of a frame's features from the track's; more is `id_switch_suspected`. null: off."""
