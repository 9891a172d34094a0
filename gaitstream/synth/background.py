"""The empty scene: floor, walls or facades, light; computed once per camera."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from gaitstream.synth.cameras import Array, PinholeCamera

Image = NDArray[np.uint8]

SUPERSAMPLING = 2
BAND = 16
"""Rows of the finer picture that are made at once: few enough for a CPU's caches."""


@dataclass(frozen=True, slots=True)
class Scenery:
    """What surrounds the people of a site."""

    floor: str
    """`paving`, `tiles`, `asphalt` or `carpet`."""
    backdrop: str
    """`walls` (a room) or `street` (facades)."""
    width: float
    depth: float
    """Of the floor plan in metres."""


_building = threading.Lock()


def empty_scene(camera: PinholeCamera, scenery: Scenery, day: int = 0) -> Image:
    """The picture without people, BGR uint8 `[height, width, 3]`; callers must not write into it.

    Args:
        camera: whose picture.
        scenery: floor and surroundings.
        day: shifts brightness and tint.
    """
    with _building:  # cameras that open at once wait for the first instead of building the same
        return _build(camera, scenery, day)


@lru_cache(maxsize=32)
def _build(camera: PinholeCamera, scenery: Scenery, day: int) -> Image:
    rows, columns = camera.height * SUPERSAMPLING, camera.width * SUPERSAMPLING
    rng = np.random.default_rng([day, 0xBA])
    brightness, tint = 1 + rng.uniform(-0.10, 0.08), 1 + rng.uniform(-0.03, 0.03, 3)
    fine = np.empty((rows, columns, 3), np.float32)
    for first in range(0, rows, BAND):
        end = min(first + BAND, rows)
        fine[first:end] = _band(camera, scenery, first, end, brightness, tint)
    small = cv2.resize(fine, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    scene: Image = np.clip(small, 0, 255).astype(np.uint8)
    scene.flags.writeable = False
    return scene


def _band(
    camera: PinholeCamera, scenery: Scenery, first: int, end: int, brightness: float, tint: Array
) -> Array:
    """Some rows of the finer picture."""
    rows, columns = camera.height * SUPERSAMPLING, camera.width * SUPERSAMPLING
    y, x = np.mgrid[first:end, 0:columns].astype(np.float64)
    offset = (SUPERSAMPLING - 1) / 2
    pixels = np.stack([(x - offset) / SUPERSAMPLING, (y - offset) / SUPERSAMPLING], axis=-1)
    floor_xy, floor_depth = camera.floor_at(pixels)
    wall_depth, along, height, face = _walls(camera, scenery, pixels)
    on_wall = wall_depth < floor_depth
    on_floor = ~on_wall
    picture = np.empty((end - first, columns, 3))
    picture[on_floor] = _floor(scenery, floor_xy[on_floor])
    walls = _room if scenery.backdrop == "walls" else _facade
    picture[on_wall] = walls(along[on_wall], height[on_wall], face[on_wall])
    # Corners where wall and floor meet are darker.
    meet = np.exp(-np.abs(height) / 0.25) * on_wall
    meet += np.exp(-np.abs(floor_depth - wall_depth) / 0.5) * on_floor
    picture *= (1 - 0.28 * np.clip(meet, 0, 1))[..., None]
    light = np.full(on_wall.shape, 1.0 if scenery.backdrop == "walls" else 0.95)
    light[on_floor] = _light(scenery, floor_xy[on_floor])
    picture *= light[..., None]
    vignette = 1 - 0.22 * (((x / columns - 0.5) * 2) ** 2 + ((y / rows - 0.5) * 2) ** 2) / 2
    picture *= vignette[..., None] * brightness * tint
    return picture


def _walls(
    camera: PinholeCamera, scenery: Scenery, pixels: Array
) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Depth, position along, height and number of the wall that each pixel's ray meets first."""
    margin = 2.6 if scenery.backdrop == "walls" else 5.0
    centre = np.array([(camera.width - 1) / 2, (camera.height - 1) / 2])
    local = np.concatenate([(pixels - centre) / camera.focal_px, np.ones((*pixels.shape[:-1], 1))], axis=-1)
    rays = local @ camera.rotation
    spot = np.asarray(camera.position)
    low, high = np.array([-margin, -margin]), np.array([scenery.width + margin, scenery.depth + margin])
    depths = []
    for axis in (0, 1):
        ray = rays[..., axis]
        ray = np.where(np.abs(ray) < 1e-6, 1e-6, ray)
        depths.append(np.where(ray > 0, (high[axis] - spot[axis]) / ray, (low[axis] - spot[axis]) / ray))
    first = depths[0] < depths[1]
    depth = np.where(first, depths[0], depths[1])
    hit = spot + rays * depth[..., None]
    along = np.where(first, hit[..., 1], hit[..., 0])
    face = np.where(first, 0, 2) + (np.where(first, rays[..., 0], rays[..., 1]) > 0)
    return depth, along, hit[..., 2], face


def _noise(x: Array, y: Array, seed: int) -> Array:
    """Smooth noise in -1..1 with features of one unit."""
    grid = np.random.default_rng(seed).uniform(-1, 1, (64, 64))
    ix, iy = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = x - ix, y - iy
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    ix, jx = ix & 63, (ix + 1) & 63
    iy, jy = (iy & 63) << 6, ((iy + 1) & 63) << 6
    values, rest = grid.ravel(), 1 - fx  # `take` from a line costs a third of indices by row and column
    top = values.take(iy + ix) * rest + values.take(iy + jx) * fx
    bottom = values.take(jy + ix) * rest + values.take(jy + jx) * fx
    blend: Array = top * (1 - fy) + bottom * fy
    return blend


def _cell(x: Array, y: Array, seed: int) -> Array:
    """One random value in -1..1 per unit cell."""
    grid = np.random.default_rng(seed).uniform(-1, 1, (97, 89))
    cell: Array = grid[np.floor(y).astype(np.int64) % 97, np.floor(x).astype(np.int64) % 89]
    return cell


def _joint(x: Array, y: Array, half_width: float) -> NDArray[np.bool_]:
    """Near the border of a unit cell."""
    fx, fy = x - np.floor(x), y - np.floor(y)
    joint: NDArray[np.bool_] = np.minimum(np.minimum(fx, 1 - fx), np.minimum(fy, 1 - fy)) < half_width
    return joint


def _floor(scenery: Scenery, xy: Array) -> Array:
    x, y = xy[..., 0], xy[..., 1]
    grain = 5 * _noise(x * 9, y * 9, 1) + 6 * _noise(x * 1.7, y * 1.7, 2) + 5 * _noise(x * 0.4, y * 0.4, 3)
    if scenery.floor == "tiles":
        value = 172 + 7 * _cell(x / 0.6, y / 0.6, 4) + 0.5 * grain - 34 * _joint(x / 0.6, y / 0.6, 0.018)
        tint = np.array([0.95, 1.0, 1.03])
    elif scenery.floor == "carpet":
        stripe = (np.abs(y - scenery.depth / 2) > scenery.depth / 2 - 0.45) * 18.0
        value = 112 + grain + 4 * _noise(x * 30, y * 30, 5) - stripe
        tint = np.array([1.06, 0.98, 0.92])
    elif scenery.floor == "asphalt":
        value = 104 + 1.2 * grain + 5 * _noise(x * 28, y * 28, 6)
        line = (np.abs((x % 2.6) - 1.3) < 0.05) & (y < 3.6) | (np.abs(y - 3.6) < 0.05)
        worn = _noise(x * 6, y * 6, 7) > -0.55
        value = np.where(line & worn, 188 + grain, value)
        tint = np.array([1.02, 1.0, 0.98])
    else:
        row = np.floor(y / 0.4)
        shifted = x / 0.6 + 0.5 * (row % 2)
        value = 146 + 10 * _cell(shifted, y / 0.4, 8) + grain - 30 * _joint(shifted, y / 0.4, 0.03)
        tint = np.array([0.93, 0.99, 1.03])
    floor: Array = value[..., None] * tint
    return floor


def _room(along: Array, height: Array, face: NDArray[np.int64]) -> Array:
    base = 186 + 3 * _noise(along * 2, height * 2, 9) - 9 * (face % 3)
    wall = base[..., None] * np.array([0.98, 1.0, 1.0])
    skirting = height < 0.12
    rail = np.abs(height - 1.0) < 0.03
    wall = np.where((skirting | rail)[..., None], np.array([96.0, 104, 112]), wall)
    place = (along + 1.3 * face) % 4.2
    frame = (np.abs(place - 2.1) < 0.55) & (height < 2.15)
    leaf = (np.abs(place - 2.1) < 0.48) & (height < 2.08)
    shade = np.array([84.0, 112, 140]) * (1 + 0.05 * _noise(along * 3, height * 25, 10))[..., None]
    wall = np.where(frame[..., None], np.array([150.0, 158, 164]), wall)
    wall = np.where(leaf[..., None], shade, wall)
    poster = (np.abs(place - 0.25) < 0.35) & (np.abs(height - 1.7) < 0.3)
    print_ = 120 + 60 * _cell(along * 5, height * 5, 11)
    wall = np.where(poster[..., None], print_[..., None] * np.array([1.05, 0.9, 0.8]), wall)
    return np.where((height > 3.4)[..., None], np.array([206.0, 208, 206]), wall)


def _facade(along: Array, height: Array, face: NDArray[np.int64]) -> Array:
    u, v = along / 0.26 + 0.5 * (np.floor(height / 0.085) % 2), height / 0.085
    brick = 112 + 11 * _cell(u, v, 12) + 6 * _noise(along, height, 13)
    brick = brick + 22 * _joint(u, v, 0.06) + 6 * (face % 2)
    wall = brick[..., None] * np.array([0.80, 0.92, 1.12])
    plinth = height < 0.55
    stone = (128 + 8 * _cell(along / 0.9, height / 0.55, 14))[..., None] * np.array([0.98, 1, 1])
    wall = np.where(plinth[..., None], stone, wall)
    place = (along + 0.9 * face) % 3.0
    frame = (np.abs(place - 1.5) < 0.70) & (np.abs(height - 1.9) < 0.80)
    glass = (np.abs(place - 1.5) < 0.62) & (np.abs(height - 1.9) < 0.72) & (np.abs(place - 1.5) > 0.03)
    reflection = 62 + 26 * _noise(along * 1.3 + height * 0.8, height * 0.9, 15) + 14 * (height - 1.2)
    wall = np.where(frame[..., None], np.array([172.0, 178, 180]), wall)
    return np.where(glass[..., None], reflection[..., None] * np.array([1.15, 1.05, 0.9]), wall)


def _light(scenery: Scenery, xy: Array) -> Array:
    """On the floor: pools of light under lamps indoors; patches of shade outdoors."""
    x, y = xy[..., 0], xy[..., 1]
    if scenery.backdrop == "walls":
        pools: Array = np.sin(x * 2 * np.pi / 4.0) ** 2 * np.sin(y * 2 * np.pi / 4.0 + 0.6) ** 2
        return 0.93 + 0.14 * pools
    return 1.0 + 0.08 * _noise(x * 0.22, y * 0.22, 16)
