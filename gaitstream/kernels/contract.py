"""What an alignment takes and gives, checked once for every backend.

Heatmaps are `[n, c, 64, 48]`, joints in COCO order, coordinates in heatmap pixels (x right, y down).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import KernelError

HEIGHT = 64
WIDTH = 48
JOINTS = 17
SPINE = (5, 6, 11, 12)
"""COCO joints of the spine: left and right shoulder, left and right hip."""
MAX_CHANNELS = 64
MAX_GROUPS = 16

Normalization = Literal["fixed", "tracklet", "none"]
SmallAngle = Literal["identity", "align"]
Sampling = Literal["f32", "half_io", "one"]
Backend = Literal["auto", "cpu", "numpy", "cuda"]

NORMALIZATIONS: dict[str, int] = {"none": 0, "fixed": 1, "tracklet": 2}
SAMPLINGS: dict[str, int] = {"f32": 0, "half_io": 1, "one": 2}

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Aligned:
    """Aligned part maps and what was found about each frame."""

    parts: Floats
    """float32 `[n, 1 + groups, 64, 48]`: the maximum over all channels, then one map per group."""
    angle_deg: Floats
    """Tilt of the spine in degrees, float32 `[n]`, in (-270, 90]; 0 where a spine joint is not finite."""
    aligned: NDArray[np.bool_]
    """Whether the frame was rotated and translated, `[n]`."""
    neck_xy: Floats
    """Mid-shoulders before alignment, float32 `[n, 2]`."""
    hip_xy: Floats
    """Mid-hips before alignment, float32 `[n, 2]`."""
    score: Floats
    """Mean joint score, float32 `[n]`: of the keypoints given, else of the maps' peaks."""

    @classmethod
    def empty(cls, n: int, groups: int) -> Aligned:
        """Arrays for `n` frames and as many part groups, to be filled."""
        return cls(
            parts=np.empty((n, 1 + groups, HEIGHT, WIDTH), np.float32),
            angle_deg=np.empty(n, np.float32),
            aligned=np.empty(n, np.bool_),
            neck_xy=np.empty((n, 2), np.float32),
            hip_xy=np.empty((n, 2), np.float32),
            score=np.empty(n, np.float32),
        )


@dataclass(frozen=True, slots=True)
class AlignmentOptions:
    """How frames are aligned; the manifest's `AlignmentContract` holds the same words."""

    groups: tuple[tuple[int, ...], ...]
    gamma_deg: float = 5.0
    small_angle: SmallAngle = "identity"
    target_xy: tuple[float, float] = (24.0, 16.0)
    normalization: Normalization = "fixed"
    sampling: Sampling = "f32"

    @property
    def masks(self) -> tuple[int, ...]:
        """Each group as a bit mask over channels."""
        return tuple(sum(1 << channel for channel in set(group)) for group in self.groups)


def check_options(options: AlignmentOptions, channels: int) -> None:
    """Raise KernelError when an option is out of range for this number of channels."""
    for name, value, allowed in (
        ("normalization", options.normalization, NORMALIZATIONS),
        ("sampling", options.sampling, SAMPLINGS),
        ("small_angle", options.small_angle, ("identity", "align")),
    ):
        if value not in allowed:
            raise KernelError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise KernelError(f"heatmaps have {channels} channels; 1 to {MAX_CHANNELS} are allowed")
    if not 1 <= len(options.groups) <= MAX_GROUPS:
        raise KernelError(f"{len(options.groups)} part groups; give 1 to {MAX_GROUPS}")
    for group in options.groups:
        if not group:
            raise KernelError("a part group is empty; name at least one channel in each")
        for channel in group:
            if not 0 <= channel < channels:
                raise KernelError(
                    f"part group {tuple(group)} names channel {channel}; there are 0 to {channels - 1}"
                )
    if not (np.isfinite(options.gamma_deg) and options.gamma_deg >= 0):
        raise KernelError(f"gamma_deg is {options.gamma_deg}; give a finite angle of 0 degrees or more")
    if not all(np.isfinite(value) for value in options.target_xy):
        raise KernelError(f"target_xy is {options.target_xy}; give finite heatmap pixels")


def check_shapes(heatmaps: Any, keypoints: Any, segments: Any) -> tuple[int, int]:
    """Number of frames and channels, or KernelError naming the shape that is wrong."""
    shape = tuple(heatmaps.shape)
    if len(shape) != 4 or shape[2:] != (HEIGHT, WIDTH):
        raise KernelError(f"heatmaps have shape {shape}; the kernel takes [n, channels, {HEIGHT}, {WIDTH}]")
    n, channels = int(shape[0]), int(shape[1])
    if keypoints is not None and tuple(keypoints.shape) != (n, JOINTS, 3):
        raise KernelError(
            f"keypoints have shape {tuple(keypoints.shape)}; {n} frames need {(n, JOINTS, 3)}: x, y, score"
        )
    if keypoints is None and channels <= max(SPINE):
        raise KernelError(
            f"{channels} channels hold no shoulders and hips (channels {', '.join(map(str, SPINE))}); "
            "give keypoints [n, 17, 3] with merged part maps"
        )
    if segments is not None and tuple(segments.shape) != (n,):
        raise KernelError(
            f"segments have shape {tuple(segments.shape)}; give one tracklet id per frame, ({n},)"
        )
    return n, channels


def as_heatmaps(heatmaps: Any) -> NDArray[Any]:
    """C-contiguous float32 or float16; other float types become float32."""
    array = np.asarray(heatmaps)
    if array.dtype.kind != "f":
        raise KernelError(f"heatmaps are {array.dtype}; give float32 or float16")
    if array.dtype not in (np.float32, np.float16):
        array = array.astype(np.float32)
    return np.ascontiguousarray(array)


def as_segments(segments: Any) -> NDArray[np.int32] | None:
    """Tracklet ids renumbered from 0."""
    if segments is None:
        return None
    array = np.asarray(segments)
    if array.dtype.kind not in "iu":
        raise KernelError(f"segments are {array.dtype}; give integer tracklet ids")
    return np.unique(array, return_inverse=True)[1].astype(np.int32)


def as_keypoints(keypoints: Any) -> Floats | None:
    """C-contiguous float32 `[n, 17, 3]`."""
    return None if keypoints is None else np.ascontiguousarray(keypoints, dtype=np.float32)


def as_options(
    groups: Sequence[Sequence[int]],
    gamma_deg: float,
    small_angle: SmallAngle,
    target_xy: Sequence[float],
    normalization: Normalization,
    sampling: Sampling,
) -> AlignmentOptions:
    """Options from the loose types a caller may hold."""
    if len(target_xy) != 2:
        raise KernelError(f"target_xy is {target_xy}; give two numbers, x and y in heatmap pixels")
    return AlignmentOptions(
        tuple(tuple(int(channel) for channel in group) for group in groups),
        float(gamma_deg),
        small_angle,
        (float(target_xy[0]), float(target_xy[1])),
        normalization,
        sampling,
    )
