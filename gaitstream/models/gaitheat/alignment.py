"""GaitHeat's alignment and merging of joints as a graph of standard ONNX operators.

The arithmetic of `gaitstream.kernels.align`, for runtimes that should do it inside the engine. The
rotation needs no trigonometry: with d the vector from neck to hip, the spine's tilt a obeys
cos a = d_y / |d| and sin a = -d_x / |d|, and |a| <= gamma is |d_x| <= tan(gamma) d_y.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx

from gaitstream.errors import ConfigError
from gaitstream.models.gaitheat.spec import HEATMAP
from gaitstream.models.graphs.writer import PRODUCER, GraphWriter

HEIGHT, WIDTH = HEATMAP
HALF = (WIDTH / 2, HEIGHT / 2)
"""Pixels per unit of the normalised coordinates; the released matrices ignore the half-pixel offset."""
LARGEST = float(np.finfo(np.float32).max)
SHOULDERS, HIPS = (5, 6), (11, 12)


def write_align(
    groups: Sequence[Sequence[int]],
    *,
    channels: int = 17,
    gamma_deg: float = 5.0,
    small_angle: Literal["identity", "align"] = "identity",
    target_xy: tuple[float, float] = (24.0, 16.0),
    normalization: Literal["fixed", "tracklet", "none"] = "fixed",
) -> onnx.ModelProto:
    """Write the align graph.

    NaN and infinities are met as by the kernels: in maps they count as 0 (`fixed` clamps infinities), and a
    frame with a spine joint that is not finite stays as it is.

    Inputs `heatmaps` float32 `[n, channels, 64, 48]` and `keypoints` float32 `[n, 17, 3]` (x, y in
    heatmap pixels, score); output `parts` float32 `[n, 1 + groups, 64, 48]`. Always float32.

    Args:
        groups: channel indices of each part.
        channels: heatmaps per frame.
        gamma_deg: tilt up to which `small_angle` applies, 0 to under 90.
        small_angle: `identity` leaves such frames alone, `align` rotates and translates them as well.
        target_xy: where the neck goes, in heatmap pixels.
        normalization: `fixed` clamps to 0..1; `tracklet` stretches by the minimum and maximum over the
            whole batch, which must then be one tracklet; `none` takes the values as they are.

    Returns:
        The graph; its taps are named in its properties.

    Raises:
        ConfigError: an angle or a group is out of range.
    """
    _check(groups, channels, gamma_deg)
    g = GraphWriter("gaitheat_align")
    heatmaps = g.input("heatmaps", ["n", channels, HEIGHT, WIDTH])
    keypoints = g.input("keypoints", ["n", 17, 3])
    maps = _normalise(g, heatmaps, normalization)
    rotation, translation = _thetas(g, keypoints, gamma_deg, small_angle, target_xy)
    for name, theta in (("rotation", rotation), ("translation", translation)):
        maps = _sample(g, maps, g.tap(name, theta))
        maps = g.tap(f"after_{name}", maps)
    axis = _axes(g, 1)
    merged = [g.op("ReduceMax", maps, axis, keepdims=1)]
    for group in groups:
        chosen = g.op("Gather", maps, g.constant(np.asarray(group, np.int64)), axis=1)
        merged.append(g.op("ReduceMax", chosen, axis, keepdims=1))
    g.output("parts", g.op("Concat", *merged, axis=1), ["n", 1 + len(groups), HEIGHT, WIDTH])
    return g.model(PRODUCER)


def _check(groups: Sequence[Sequence[int]], channels: int, gamma_deg: float) -> None:
    if not 0 <= gamma_deg < 90:
        raise ConfigError(f"gamma is {gamma_deg} degrees; it must be at least 0 and under 90")
    if not groups:
        raise ConfigError("no part groups; give at least one, such as 0-10,11-16")
    for group in groups:
        if not group or min(group) < 0 or max(group) >= channels:
            raise ConfigError(f"part group {list(group)} must name joints 0 to {channels - 1}")


def _axes(g: GraphWriter, *axes: int) -> str:
    return g.constant(np.asarray(axes, np.int64))


def _number(g: GraphWriter, value: float) -> str:
    return g.constant(np.float32(value))


def _normalise(g: GraphWriter, maps: str, normalization: str) -> str:
    zero = _number(g, 0)
    if normalization == "fixed":
        # Clip leaves NaN to the runtime; so do comparisons with 0 (OpenVINO's `Greater` holds for NaN).
        return g.op("Clip", g.op("Where", g.op("IsNaN", maps), zero, maps), zero, _number(g, 1))
    finite = _is_finite(g, maps)
    if normalization == "none":
        return g.op("Where", finite, maps, zero)
    everything = _axes(g, 0, 1, 2, 3)
    low = g.op("ReduceMin", g.op("Where", finite, maps, _number(g, LARGEST)), everything, keepdims=1)
    high = g.op("ReduceMax", g.op("Where", finite, maps, _number(g, -LARGEST)), everything, keepdims=1)
    span = g.op("Max", g.op("Sub", high, low), _number(g, 1e-12))
    return g.op("Div", g.op("Sub", g.op("Where", finite, maps, low), low), span)


def _is_finite(g: GraphWriter, values: str) -> str:
    """Whether each value is neither NaN nor infinite: what compares at all with the largest number."""
    return g.op("LessOrEqual", g.op("Abs", values), _number(g, LARGEST))


def _midpoint(g: GraphWriter, xy: str, joints: tuple[int, int]) -> str:
    pair = g.op("Gather", xy, g.constant(np.asarray(joints, np.int64)), axis=1)
    return g.op("ReduceMean", pair, _axes(g, 1), keepdims=0)


def _component(g: GraphWriter, xy: str, index: int) -> str:
    """Column `index` of `[n, 2]` as `[n, 1]`."""
    return g.op("Gather", xy, g.constant(np.asarray([index], np.int64)), axis=1)


def _thetas(
    g: GraphWriter, keypoints: str, gamma_deg: float, small_angle: str, target_xy: tuple[float, float]
) -> tuple[str, str]:
    """Output-to-input matrices `[n, 2, 3]` in normalised coordinates, of rotation and translation."""
    xy = g.op("Slice", keypoints, _axes(g, 0), _axes(g, 2), _axes(g, 2))
    neck, hip = _midpoint(g, xy, SHOULDERS), _midpoint(g, xy, HIPS)
    centre = g.op("Mul", g.op("Add", neck, hip), _number(g, 0.5))
    spine = g.op("Sub", hip, neck)
    # A spine joint that is not finite makes its frame stay: as if the joints were at 0, and not to be moved.
    sound = _is_finite(g, g.op("ReduceSum", g.op("Abs", spine), _axes(g, 1), keepdims=1))
    neck, spine, centre = (g.op("Where", sound, point, _number(g, 0)) for point in (neck, spine, centre))
    dx, dy = _component(g, spine, 0), _component(g, spine, 1)
    length = g.op("ReduceL2", spine, _axes(g, 1), keepdims=1)
    # Coinciding joints have no direction; the released atan2(0, 0) makes them point along x.
    missing = g.op("Cast", g.op("Equal", length, _number(g, 0)), to=onnx.TensorProto.FLOAT)
    length, dx = g.op("Add", length, missing), g.op("Add", dx, missing)
    cos, sin = g.op("Div", dy, length), g.op("Neg", g.op("Div", dx, length))
    target = g.constant(np.asarray([target_xy], np.float32))
    shift = g.op("Sub", target, _rotate(g, neck, centre, cos, sin))
    moves = sound
    if small_angle == "identity":
        limit = g.op("Mul", dy, _number(g, math.tan(math.radians(gamma_deg))))
        # A hip above the neck is never upright, even where dx and gamma are 0.
        limit = g.op("Add", limit, g.op("Min", dy, _number(g, 0)))
        moves = g.op("And", sound, g.op("Greater", g.op("Abs", dx), limit))
    cos = g.op("Where", moves, cos, _number(g, 1))
    sin, shift = g.op("Where", moves, sin, _number(g, 0)), g.op("Where", moves, shift, _number(g, 0))
    return _rotation(g, centre, cos, sin), _translation(g, shift)


def _rotate(g: GraphWriter, point: str, centre: str, cos: str, sin: str) -> str:
    """Rotate `[n, 2]` about the centre by the matrix [[cos, sin], [-sin, cos]]."""
    offset = g.op("Sub", point, centre)
    x, y = _component(g, offset, 0), _component(g, offset, 1)
    rotated_x = g.op("Add", g.op("Mul", cos, x), g.op("Mul", sin, y))
    rotated_y = g.op("Sub", g.op("Mul", cos, y), g.op("Mul", sin, x))
    return g.op("Add", g.op("Concat", rotated_x, rotated_y, axis=1), centre)


def _rotation(g: GraphWriter, centre: str, cos: str, sin: str) -> str:
    """The inverse rotation about the centre, in normalised coordinates."""
    # In units of half a map, with the origin in the middle: c is the centre, r the aspect.
    c = g.op("Sub", g.op("Div", centre, _number_pair(g, HALF)), _number(g, 1))
    cx, cy = _component(g, c, 0), _component(g, c, 1)
    aspect = HALF[1] / HALF[0]
    minus_sin_r = g.op("Mul", sin, _number(g, -aspect))
    sin_r = g.op("Mul", sin, _number(g, 1 / aspect))
    left = g.op("Sub", cx, g.op("Add", g.op("Mul", cos, cx), g.op("Mul", minus_sin_r, cy)))
    right = g.op("Sub", cy, g.op("Add", g.op("Mul", sin_r, cx), g.op("Mul", cos, cy)))
    return g.reshape(g.op("Concat", cos, minus_sin_r, left, sin_r, cos, right, axis=1), -1, 2, 3)


def _translation(g: GraphWriter, shift: str) -> str:
    """The inverse of a translation by `shift` pixels `[n, 2]`, in normalised coordinates."""
    moved = g.op("Neg", g.op("Div", shift, _number_pair(g, HALF)))
    column = g.reshape(moved, -1, 2, 1)
    zeros = g.op("Mul", column, _number(g, 0))
    unit = g.op("Add", g.op("Concat", zeros, zeros, axis=2), g.constant(np.eye(2, dtype=np.float32)[None]))
    return g.op("Concat", unit, column, axis=2)


def _number_pair(g: GraphWriter, pair: tuple[float, float]) -> str:
    return g.constant(np.asarray([pair], np.float32))


def _sample(g: GraphWriter, maps: str, theta: str) -> str:
    """Sample `[n, c, 64, 48]` with the matrices `[n, 2, 3]`: bilinear, border clamped, half-pixel centres."""
    x = (2 * np.arange(WIDTH) + 1) / WIDTH - 1
    y = (2 * np.arange(HEIGHT) + 1) / HEIGHT - 1
    base = np.stack([*np.meshgrid(x, y), np.ones(HEATMAP)]).reshape(3, -1)
    grid = g.transpose(g.op("MatMul", theta, g.constant(base)), 0, 2, 1)
    grid = g.reshape(grid, 0, HEIGHT, WIDTH, 2)
    return g.op("GridSample", maps, grid, mode="linear", padding_mode="border", align_corners=0)
