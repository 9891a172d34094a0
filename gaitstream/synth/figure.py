"""Paints one person: shaded limbs, clothes, hair and bag, twice as fine as the picture, far parts first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from gaitstream.synth.appearance import Appearance
from gaitstream.synth.cameras import Array
from gaitstream.synth.skeleton import INDEX, LIMBS

Image = NDArray[np.uint8]
Points = NDArray[np.int32]
Colour = tuple[int, int, int]
Tint = tuple[float, float, float]

SHIFT = 4
"""Fractional bits of polygon coordinates."""
FINE = 2
"""Supersampling."""
DARKEST, BRIGHTEST = 4, 250
LEVELS = ((1.0, 0.0, 0.70), (0.78, 0.16, 0.90), (0.46, 0.32, 1.06))
"""Nested outlines of a round limb: width, shift towards the light, brightness."""

_START = np.array([limb.start for limb in LIMBS])
_END = np.array([limb.end for limb in LIMBS])
_CAP = np.linspace(-np.pi / 2, np.pi / 2, 7)
_HULL = tuple(index for index, limb in enumerate(LIMBS) if limb.part.endswith(("torso", "flank")))
_NECK, _HEAD = len(LIMBS) - 2, len(LIMBS) - 1
_SINGLE = tuple(index for index in range(_HEAD) if index not in _HULL)


@dataclass(frozen=True, slots=True)
class ProjectedBody:
    """One person, projected."""

    appearance: Appearance
    pixels: Array
    """Joints in pixels, `[joints, 2]`."""
    depth: Array
    """Of the joints in metres, `[joints]`."""
    radii: Array
    """Of the limbs' ends in pixels, `[limbs, 2]`."""


def paint(picture: Image, figure: ProjectedBody, light: tuple[float, float], tint: Tint) -> None:
    """Paint a person over a picture, in place.

    Args:
        picture: BGR uint8 `[height, width, 3]`.
        figure: who, where.
        light: direction towards the light in the picture, x right, y down.
        tint: brightness of the place per colour, `[3]`.
    """
    window = _window(picture, figure)
    if window is None:
        return
    x0, y0, x1, y1 = window
    layer = np.zeros(((y1 - y0) * FINE, (x1 - x0) * FINE, 3), np.uint8)
    pixels = (figure.pixels - (x0, y0) + 0.5) * FINE - 0.5
    radii = figure.radii * FINE
    outlines = _outlines(pixels[_START], pixels[_END], radii, np.asarray(light))
    for item in _painting_order(figure):
        _paint_part(layer, item, figure, outlines, pixels, radii, tint)
    roi = picture[y0:y1, x0:x1]
    # No colour is painted darker than DARKEST, so whatever is not black belongs to the person.
    _, cover = cv2.threshold(cv2.cvtColor(layer, cv2.COLOR_BGR2GRAY), 0, 255, cv2.THRESH_BINARY)
    size = (x1 - x0, y1 - y0)
    colour = cv2.resize(cv2.GaussianBlur(layer, (3, 3), 0.8), size, interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(cv2.GaussianBlur(cover, (3, 3), 0.8), size, interpolation=cv2.INTER_AREA)
    behind = cv2.multiply(roi, cv2.cvtColor(255 - alpha, cv2.COLOR_GRAY2BGR), scale=1 / 255)
    cv2.add(behind, colour, dst=roi)


def _window(picture: Image, figure: ProjectedBody) -> tuple[int, int, int, int] | None:
    """The part of the picture the person may cover, with room for bag and hair."""
    margin = 0.12 * np.ptp(figure.pixels[:, 1]) + 6
    low = np.floor(figure.pixels.min(axis=0) - margin).astype(int)
    high = np.ceil(figure.pixels.max(axis=0) + margin).astype(int)
    x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
    x1, y1 = min(int(high[0]), picture.shape[1]), min(int(high[1]), picture.shape[0])
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _outlines(start: Array, end: Array, radii: Array, light: Array) -> Points:
    """Capsule outlines `[limbs, levels, points, 2]` in fixed-point fine pixels."""
    line = end - start
    length = np.linalg.norm(line, axis=1, keepdims=True)
    along = np.where(length > 1e-3, line / np.maximum(length, 1e-3), np.array([0.0, 1.0]))
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    # Round limbs are brightest on the side of the light; a shift along the limb would not show.
    towards = (across @ light)[:, None] * across
    arc = np.cos(_CAP)[:, None, None] * along + np.sin(_CAP)[:, None, None] * across
    levels = []
    for width, shift, _ in LEVELS:
        moved = shift * towards
        tip = end + moved * radii[:, 1:] + arc * radii[:, 1:] * width
        tail = start + moved * radii[:, :1] - arc * radii[:, :1] * width
        levels.append(np.concatenate([tip, tail]).transpose(1, 0, 2))
    return np.ascontiguousarray(np.round(np.stack(levels, axis=1) * (1 << SHIFT)), dtype=np.int32)


def _painting_order(figure: ProjectedBody) -> list[str | int]:
    """Limb numbers and the names of the other parts, farthest first."""
    depth = figure.depth
    limb_depth = (depth[_START] + depth[_END]) / 2
    middle = (depth[INDEX["pelvis"]] + depth[INDEX["neck"]]) / 2
    parts: list[tuple[float, str | int]] = [(float(limb_depth[index]), index) for index in _SINGLE]
    parts.append((float(middle), "torso"))
    parts.append((float(depth[INDEX["head"]]) - 0.02, "head"))
    if figure.appearance.bag == "backpack":
        facing = depth[INDEX["nose"]] - depth[INDEX["head"]]
        parts.append((float(middle - 3.0 * facing), "backpack"))
    elif figure.appearance.bag == "shoulder":
        parts.append((float(depth[INDEX["right_hip"]]) - 0.05, "shoulder"))
    return [item for _, item in sorted(parts, key=lambda pair: -pair[0])]


def _paint_part(
    layer: Image,
    item: str | int,
    figure: ProjectedBody,
    outlines: Points,
    pixels: Array,
    radii: Array,
    tint: Tint,
) -> None:
    if isinstance(item, int):
        _fill(layer, outlines[item], _limb_colour(figure.appearance, LIMBS[item].part), tint)
    elif item == "torso":
        _fill(layer, _torso(figure.appearance, outlines), figure.appearance.top, tint)
        if figure.appearance.outfit == "skirt":
            _fill(layer, _hull(outlines[:2]), figure.appearance.bottom, tint)
    elif item == "head":
        _head(layer, figure, outlines, pixels, radii, tint)
    else:
        _bag(layer, item, figure, pixels, radii, tint)


def _limb_colour(look: Appearance, part: str) -> Colour:
    kind = part.split("_", 1)[-1]
    if kind == "foot":
        return look.shoes
    if kind in ("thigh", "shank"):
        bare = kind == "shank" and look.outfit in ("shorts", "skirt")
        return look.skin if bare else look.bottom
    if kind == "upper_arm" or (kind == "forearm" and look.sleeves == "long"):
        return look.top
    return look.skin


def _fill(layer: Image, levels: Points, colour: Colour, tint: Tint) -> None:
    for outline, lit in zip(levels, _shades(colour, tint), strict=True):
        cv2.fillConvexPoly(layer, outline, lit, cv2.LINE_8, SHIFT)


@lru_cache(maxsize=4096)
def _shades(colour: Colour, tint: Tint) -> list[Colour]:
    """A colour at each of the levels."""
    base = [value * light for value, light in zip(colour, tint, strict=True)]
    return [_lit(base, brightness) for _, _, brightness in LEVELS]


def _lit(base: Sequence[float], brightness: float) -> Colour:
    blue, green, red = (min(max(int(value * brightness), DARKEST), BRIGHTEST) for value in base)
    return blue, green, red


def _hull(levels: Points) -> Points:
    """One convex outline per level around several limbs, all with the same number of points."""
    hulls = []
    for level in range(len(LEVELS)):
        points = np.ascontiguousarray(levels[:, level].reshape(-1, 2))
        hull = cv2.convexHull(points)[:, 0]
        picks = np.linspace(0, len(hull), 24, endpoint=False).astype(int)
        hulls.append(hull[picks])
    return np.stack(hulls)


def _torso(look: Appearance, outlines: Points) -> Points:
    members = outlines[list(_HULL)]
    if look.outfit != "coat":
        return _hull(members)
    # A coat reaches half way down the thighs.
    thighs = outlines[:2].astype(np.float64)
    short = thighs[:, :, len(_CAP) :].mean(axis=2, keepdims=True)
    cut = (short + 0.55 * (thighs - short)).astype(np.int32)
    return _hull(np.concatenate([members, cut]))


def _head(
    layer: Image, figure: ProjectedBody, outlines: Points, pixels: Array, radii: Array, tint: Tint
) -> None:
    look = figure.appearance
    _fill(layer, outlines[_HEAD], look.skin, tint)
    head, nose, vertex = (pixels[INDEX[name]] for name in ("head", "nose", "vertex"))
    radius = float(radii[_HEAD].mean())
    size = max(float(np.linalg.norm(vertex - head)), 1e-3)
    upward = (vertex - head) / size
    turned = figure.depth[INDEX["head"]] - figure.depth[INDEX["nose"]]
    facing = float(np.clip(turned / 0.08, -1, 1))
    centre = head + upward * radius * (0.26 + 0.52 * max(facing, 0)) - (nose - head) * 0.34
    colour = look.bag_colour if look.hair_style == "hat" else look.hair
    base = [value * light for value, light in zip(colour, tint, strict=True)]
    _disc(layer, centre, radius * 1.14, _lit(base, 0.85))
    if look.hair_style == "long" and facing < 0.6:
        back = head - (nose - head) * 0.8 - upward * radius * 0.9
        _disc(layer, back, radius * 0.85, _lit(base, 0.9))


def _disc(layer: Image, centre: Array, radius: float, colour: Colour) -> None:
    one = 1 << SHIFT
    spot = (int(centre[0] * one), int(centre[1] * one))
    cv2.circle(layer, spot, max(int(radius * one), 1), colour, -1, cv2.LINE_8, SHIFT)


def _bag(layer: Image, item: str, figure: ProjectedBody, pixels: Array, radii: Array, tint: Tint) -> None:
    look = figure.appearance
    neck, chest, pelvis = (pixels[INDEX[name]] for name in ("neck", "chest", "pelvis"))
    backward = -(pixels[INDEX["nose"]] - pixels[INDEX["head"]]) * 1.5
    girth = float(radii[_HULL[0]].mean())
    if item == "backpack":
        ends = np.array([[neck * 0.75 + chest * 0.25, chest * 0.35 + pelvis * 0.65]]) + backward
        widths = np.array([[girth * 0.72, girth * 0.82]])
    else:
        hip, knee = pixels[INDEX["right_hip"]], pixels[INDEX["right_knee"]]
        out = hip - pixels[INDEX["left_hip"]]
        ends = np.array([[hip + out * 0.55, hip * 0.6 + knee * 0.4 + out * 0.55]])
        widths = np.array([[girth * 0.45, girth * 0.55]])
        strap = tuple(int(value * 0.7) for value in look.bag_colour)
        left = pixels[INDEX["left_shoulder"]]
        cv2.line(layer, _pixel(left * 0.7 + neck * 0.3), _pixel(ends[0, 0]), strap, max(1, int(girth * 0.16)))
    outline = _outlines(ends[:, 0], ends[:, 1], widths, np.array([-0.5, -0.8]))
    _fill(layer, outline[0], look.bag_colour, tint)


def _pixel(point: Array) -> tuple[int, int]:
    return int(point[0]), int(point[1])
