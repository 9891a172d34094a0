"""What a camera should see: boxes, keypoints, visibility, computed from geometry and not from pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaitstream.synth.cameras import NEAR_M, Array, PinholeCamera
from gaitstream.synth.skeleton import LIMBS

Floats = NDArray[np.float32]

_START = np.array([limb.start for limb in LIMBS])
_END = np.array([limb.end for limb in LIMBS])
_RADII = np.array([[limb.start_radius, limb.end_radius] for limb in LIMBS])
_ALONG = np.linspace(0.0, 1.0, 4)


@dataclass(frozen=True, slots=True)
class Truth:
    """Everybody who is in front of a camera and at least partly in the picture, nearest last."""

    time_ns: int
    people: NDArray[np.int64]
    """Index of each person in the world, `[n]`."""
    names: tuple[str, ...]
    boxes: Floats
    """Around the whole body, hidden parts too; xyxy pixels `[n, 4]`, may reach over the border."""
    visibility: Floats
    """Share of the body that is inside the picture and not behind another person, `[n]`."""
    keypoints: Floats
    """COCO keypoints `[n, 17, 3]`: x, y in pixels and COCO's flag: 0 outside the picture, 1 hidden by
    another person, 2 visible. Parts hidden by the person's own body count as visible."""
    depth_m: Floats
    """Distance of the pelvis along the optical axis, `[n]`."""
    walking: NDArray[np.bool_]
    """False while standing still, `[n]`."""


def radii_px(camera: PinholeCamera, depth: Array, stature: Array, girth: Array) -> Array:
    """Limb radii in pixels `[p, limbs, 2]` from joint depths `[p, joints]`, statures and girths `[p]`."""
    ends = np.stack([depth[:, _START], depth[:, _END]], axis=-1)
    scale = (stature * girth)[:, None, None]
    radii: Array = _RADII * scale * camera.focal_px / np.maximum(ends, NEAR_M)
    return radii


def observe(
    camera: PinholeCamera, joints: Array, stature: Array, girth: Array, standing: Array,
    names: tuple[str, ...], time_ns: int = 0,
) -> Truth:  # fmt: skip
    """The ground truth of one picture.

    Args:
        camera: whose picture.
        joints: world positions in metres, `[p, joints, 3]`.
        stature: metres, `[p]`.
        girth: factor of the limbs' radii, `[p]`.
        standing: 0 walking .. 1 standing, `[p]`.
        names: of the `p` persons.
        time_ns: of the picture.
    """
    pixels, depth = camera.project(joints)
    radii = radii_px(camera, depth, stature, girth)
    boxes = _boxes(pixels, radii)
    size = np.array([camera.width, camera.height])
    seen = (
        (depth.min(axis=1) > NEAR_M) & (boxes[:, :2] < size - 1).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    )
    order = np.flatnonzero(seen)
    order = order[np.argsort(-depth[order, 17])]
    samples = _body_points(pixels)
    hidden = np.zeros(samples.shape[:2], dtype=bool)
    hidden_joint = np.zeros((len(joints), 17), dtype=bool)
    for place, behind in enumerate(order):
        for front in order[place + 1 :]:
            if _apart(boxes[behind], boxes[front]):
                continue
            points = np.concatenate([samples[behind], pixels[behind, :17]])
            cover = _covered(points, pixels[front], radii[front])
            hidden[behind] |= cover[:-17]
            hidden_joint[behind] |= cover[-17:]
    inside = ((samples >= 0) & (samples <= size - 1)).all(axis=-1)
    joint_inside = ((pixels[:, :17] >= 0) & (pixels[:, :17] <= size - 1)).all(axis=-1)
    flags = np.where(joint_inside, np.where(hidden_joint, 1, 2), 0)
    keypoints = np.concatenate([pixels[:, :17], flags[..., None]], axis=-1)
    return Truth(
        time_ns=time_ns,
        people=order,
        names=tuple(names[index] for index in order),
        boxes=boxes[order].astype(np.float32),
        visibility=(inside & ~hidden).mean(axis=1)[order].astype(np.float32),
        keypoints=keypoints[order].astype(np.float32),
        depth_m=depth[order, 17].astype(np.float32),
        walking=standing[order] < 0.5,
    )


def _boxes(pixels: Array, radii: Array) -> Array:
    ends = np.stack([pixels[:, _START], pixels[:, _END]], axis=2)
    low, high = ends - radii[..., None], ends + radii[..., None]
    low = np.minimum(low.min(axis=(1, 2)), pixels.min(axis=1))
    high = np.maximum(high.max(axis=(1, 2)), pixels.max(axis=1))
    return np.concatenate([low, high], axis=-1)


def _body_points(pixels: Array) -> Array:
    """Points along the limbs, `[p, limbs * 4, 2]`."""
    start, end = pixels[:, _START, None], pixels[:, _END, None]
    points: Array = start + (end - start) * _ALONG[:, None]
    return points.reshape(len(pixels), points.shape[1] * points.shape[2], 2)


def _apart(a: Array, b: Array) -> bool:
    return bool(a[0] > b[2] or b[0] > a[2] or a[1] > b[3] or b[1] > a[3])


def _covered(points: Array, pixels: Array, radii: Array) -> NDArray[np.bool_]:
    """Which points `[k, 2]` lie on the limbs of a person with joints `[joints, 2]`, radii `[limbs, 2]`."""
    start, line = pixels[_START], pixels[_END] - pixels[_START]
    square = np.maximum((line**2).sum(axis=-1), 1e-9)
    offset = points[:, None] - start
    along = np.clip((offset * line).sum(axis=-1) / square, 0, 1)
    gap = np.linalg.norm(offset - along[..., None] * line, axis=-1)
    limit = radii[:, 0] + along * (radii[:, 1] - radii[:, 0])
    covered: NDArray[np.bool_] = (gap <= limit).any(axis=1)
    return covered
