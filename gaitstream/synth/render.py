"""What a camera sees: the empty scene, shadows, people from far to near, and the camera's own faults."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from gaitstream.synth.appearance import Appearance
from gaitstream.synth.background import Scenery, empty_scene
from gaitstream.synth.cameras import NEAR_M, Array, PinholeCamera
from gaitstream.synth.figure import ProjectedBody, paint
from gaitstream.synth.skeleton import LIMBS
from gaitstream.synth.truth import radii_px

Image = NDArray[np.uint8]

_START = np.array([limb.start for limb in LIMBS])
_END = np.array([limb.end for limb in LIMBS])
_SHADOW_LIMBS = tuple(i for i, limb in enumerate(LIMBS) if "hand" not in limb.part)
SHADOW_SCALE = 4
"""Shadows are painted this much coarser than the picture, which also softens them."""


class Renderer:
    """Draws the pictures of one camera.

    Args:
        camera: whose pictures.
        scenery: floor and surroundings.
        day: of the light.
        quality: JPEG quality of the camera's stream, 1..100; None leaves compression out.
        noise: standard deviation of the sensor noise in grey levels.
    """

    def __init__(
        self,
        camera: PinholeCamera,
        scenery: Scenery,
        day: int = 0,
        quality: int | None = 82,
        noise: float = 2.4,
    ) -> None:
        self.camera = camera
        self.quality = quality
        self._scene = empty_scene(camera, scenery, day)
        indoors = scenery.backdrop == "walls"
        rng = np.random.default_rng([day, 0x11])
        turn = rng.uniform(0, 2 * np.pi)
        self._sun = np.array([np.cos(turn), np.sin(turn)]) * (0.18 if indoors else rng.uniform(0.35, 0.7))
        self._shade = 0.34 if indoors else 0.42
        right = camera.rotation[0][:2]
        # The light comes from where the shadows do not fall, and from above.
        self._light = (float(-2 * self._sun @ right), -0.75)
        self._tint = (0.98, 1.0, 1.0) if indoors else (1.02, 1.04, 1.06)
        bank = np.random.default_rng(5).normal(0, noise, (camera.height + 64, camera.width + 64))
        self._plus = cv2.cvtColor(np.clip(np.round(bank), 0, 40).astype(np.uint8), cv2.COLOR_GRAY2BGR)
        self._minus = cv2.cvtColor(np.clip(np.round(-bank), 0, 40).astype(np.uint8), cv2.COLOR_GRAY2BGR)

    def picture(
        self, joints: Array, stature: Array, girth: Array, looks: Sequence[Appearance], index: int = 0
    ) -> Image:
        """Draw one picture.

        Args:
            joints: world positions in metres, `[p, joints, 3]`.
            stature: metres, `[p]`.
            girth: factor of the limbs' radii, `[p]`.
            looks: of the `p` persons.
            index: number of the picture, which picks its noise.

        Returns:
            BGR uint8 `[height, width, 3]`.
        """
        image: Image = self._scene.copy()
        if len(joints):
            pixels, depth = self.camera.project(joints)
            radii = radii_px(self.camera, depth, stature, girth)
            near = depth.min(axis=1) > NEAR_M
            self._shadows(image, joints[near], stature[near] * girth[near])
            for person in np.argsort(-depth[:, 17]):
                if near[person]:
                    figure = ProjectedBody(looks[person], pixels[person], depth[person], radii[person])
                    paint(image, figure, self._light, self._tint)
        return self._sensor(image, index)

    def _shadows(self, image: Image, joints: Array, size: Array) -> None:
        if not len(joints):
            return
        rows, columns = image.shape[0] // SHADOW_SCALE, image.shape[1] // SHADOW_SCALE
        mask = np.zeros((rows, columns), np.uint8)
        fallen = joints.copy()
        fallen[..., :2] += joints[..., 2:] * self._sun
        fallen[..., 2] = 0
        pixels, depth = self.camera.project(fallen)
        scale = self.camera.focal_px / np.maximum(depth, NEAR_M) * size[:, None] / SHADOW_SCALE
        ends = np.round(pixels * (16 / SHADOW_SCALE)).astype(np.int64).tolist()
        for person in range(len(joints)):
            if depth[person].min() < NEAR_M:
                continue
            for index in _SHADOW_LIMBS:
                limb = LIMBS[index]
                width = (limb.start_radius + limb.end_radius) * float(scale[person, limb.start])
                width *= 2.2 if limb.part.endswith("foot") else 0.9
                cv2.line(
                    mask, ends[person][limb.start], ends[person][limb.end], 255, max(1, round(width)),
                    cv2.LINE_AA, 4,
                )  # fmt: skip
        left, top, wide, high = cv2.boundingRect(mask)
        if not wide:
            return
        left, top = max(left - 2, 0), max(top - 2, 0)
        right, bottom = min(left + wide + 5, columns), min(top + high + 5, rows)
        soft = cv2.GaussianBlur(mask[top:bottom, left:right], (3, 3), 0.9)
        keep = 255 - cv2.convertScaleAbs(soft, alpha=self._shade)
        size_px = ((right - left) * SHADOW_SCALE, (bottom - top) * SHADOW_SCALE)
        keep = cv2.cvtColor(cv2.resize(keep, size_px, interpolation=cv2.INTER_LINEAR), cv2.COLOR_GRAY2BGR)
        roi = image[top * SHADOW_SCALE : bottom * SHADOW_SCALE, left * SHADOW_SCALE : right * SHADOW_SCALE]
        cv2.multiply(roi, keep[: roi.shape[0], : roi.shape[1]], dst=roi, scale=1 / 255)

    def _sensor(self, image: Image, index: int) -> Image:
        """Lens softness, noise, compression."""
        dx, dy = (index * 37) % 64, (index * 53 + index // 64 * 7) % 64
        window = np.s_[dy : dy + self.camera.height, dx : dx + self.camera.width]
        image = cv2.GaussianBlur(image, (3, 3), 0.55)  # type: ignore[assignment]
        cv2.add(image, self._plus[window], dst=image)
        cv2.subtract(image, self._minus[window], dst=image)
        if self.quality is None:
            return image
        _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        decoded: Image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)  # type: ignore[assignment]
        return decoded
