"""`align`: pose-guided heatmap alignment on whatever the machine has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gaitstream.errors import KernelError
from gaitstream.kernels.contract import (
    Aligned,
    Backend,
    Normalization,
    Sampling,
    SmallAngle,
    as_heatmaps,
    as_keypoints,
    as_options,
    as_segments,
    check_options,
    check_shapes,
)
from gaitstream.kernels.oracle import align_numpy


def align(
    heatmaps: Any,
    keypoints: Any = None,
    *,
    groups: Sequence[Sequence[int]],
    gamma_deg: float = 5.0,
    small_angle: SmallAngle = "identity",
    target_xy: Sequence[float] = (24.0, 16.0),
    normalization: Normalization = "fixed",
    segments: Any = None,
    sampling: Sampling = "f32",
    backend: Backend = "auto",
    threads: int | None = None,
) -> Aligned:
    """Turn joint heatmaps upright, put the neck in its place and merge joints into parts.

    Each channel is normalised, sampled twice (rotation about the spine's centre, then translation), and
    merged by maximum. NaN counts as 0, infinities too unless `fixed` clamps them, and frames with a spine
    joint that is not finite stay as they are.

    Args:
        heatmaps: `[n, c, 64, 48]` float32 or float16 on the host, c = 17 COCO joints or merged parts.
        keypoints: `[n, 17, 3]` x, y, score in heatmap pixels; None takes the arg-max of the shoulders' and
            hips' maps (first of equals), which needs 17 channels.
        groups: channels merged into each part.
        gamma_deg: frames tilted at most this much fall under `small_angle`.
        small_angle: `identity` leaves such frames as they are (no translation either), `align` moves them.
        target_xy: where the neck goes, heatmap pixels.
        normalization: `fixed` clamps to 0..1, `tracklet` maps each tracklet's minimum and maximum over
            frames and channels to 0 and 1, `none` keeps the values.
        segments: tracklet id of each frame, integers `[n]`, for `tracklet`; None for one tracklet.
        sampling: `f32`; `half_io` rounds maps, grid and both results to half precision as the published
            code does on a GPU; `one` folds both transforms into one sampling, which is not equal (up to
            0.13 off in the maps) and for experiments only.
        backend: `cpu` (compiled at first use), `numpy`, `cuda` (a host round trip; use
            `gaitstream.kernels.cuda` for device pointers), or `auto`: `cpu` if it compiles, else `numpy`.
        threads: of the CPU build; None for every CPU this process may use.

    Returns:
        The parts and each frame's tilt, decision, joints and score; see `Aligned`.

    Raises:
        KernelError: a shape, dtype or option is wrong, or the chosen backend does not work here.
    """
    options = as_options(groups, gamma_deg, small_angle, target_xy, normalization, sampling)
    maps, joints, tracklets = as_heatmaps(heatmaps), as_keypoints(keypoints), as_segments(segments)
    _, channels = check_shapes(maps, joints, tracklets)
    check_options(options, channels)
    if backend == "cuda":
        from gaitstream.kernels.cuda import align_cuda

        return align_cuda(maps, joints, options, tracklets)
    if backend not in ("auto", "cpu", "numpy"):
        raise KernelError(f"backend is {backend!r}; choose one of auto, cpu, numpy, cuda")
    if backend != "numpy":
        from gaitstream.kernels import cpu

        if backend == "cpu" or cpu.available():
            return cpu.align_cpu(maps, joints, options, tracklets, threads)
    return align_numpy(maps, joints, options, tracklets)
