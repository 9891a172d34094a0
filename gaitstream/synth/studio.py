"""Samples for training and evaluation: one person walking past one camera, cheaply, without a world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gaitstream.synth.appearance import Appearance
from gaitstream.synth.background import Scenery
from gaitstream.synth.cameras import Array, PinholeCamera, look_at
from gaitstream.synth.figure import ProjectedBody, paint
from gaitstream.synth.gait import pose
from gaitstream.synth.identity import WalkerIdentity
from gaitstream.synth.paths import Line
from gaitstream.synth.render import Renderer
from gaitstream.synth.truth import Floats, observe, radii_px


@dataclass(frozen=True, slots=True)
class Pass:
    """One person walking straight through one camera's picture."""

    camera: PinholeCamera
    identity: WalkerIdentity
    appearance: Appearance
    joints: Array
    """World positions in metres, `[t, joints, 3]`."""
    keypoints: Floats
    """COCO keypoints in pixels with COCO's flags, `[t, 17, 3]`."""
    boxes: Floats
    """xyxy pixels, `[t, 4]`."""

    def picture(self, index: int, renderer: Renderer) -> NDArray[np.uint8]:
        """One moment, BGR uint8 `[height, width, 3]`, drawn by a renderer of the same camera."""
        stature = np.array([self.identity.stature])
        girth = np.array([self.identity.build * self.appearance.bulk])
        return renderer.picture(self.joints[index][None], stature, girth, (self.appearance,), index)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Where the person is at one moment, uint8 `[height, width]`, 255 inside."""
        pixels, depth = self.camera.project(self.joints[index][None])
        stature = np.array([self.identity.stature])
        girth = np.array([self.identity.build * self.appearance.bulk])
        radii = radii_px(self.camera, depth, stature, girth)
        figure = ProjectedBody(self.appearance, pixels[0], depth[0], radii[0])
        shape = (self.camera.height, self.camera.width, 3)
        before, behind = np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)
        for picture in (before, behind):
            paint(picture, figure, (0.0, -1.0), (1.0, 1.0, 1.0))
        # What is painted over looks the same on black and on white.
        inside: NDArray[np.bool_] = (before == behind).all(axis=-1)
        return inside.astype(np.uint8) * np.uint8(255)


def sample_camera(
    rng: np.random.Generator, width: int = 640, height: int = 360, fps: float = 15.0
) -> PinholeCamera:
    """A surveillance camera like those of the sites, at any side of the origin, looking at it."""
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(5.5, 11.0)
    spot = (float(distance * np.cos(angle)), float(distance * np.sin(angle)), float(rng.uniform(2.2, 4.0)))
    return look_at("studio", spot, (0.0, 0.0, 0.85), float(rng.uniform(52, 70)), width, height, fps)


def sample_pass(
    identity: WalkerIdentity, appearance: Appearance, rng: np.random.Generator, frames: int = 30,
    camera: PinholeCamera | None = None, tries: int = 20,
) -> Pass:  # fmt: skip
    """Let a person walk past a camera in a random direction, the whole body in the picture if possible.

    Args:
        identity: who.
        appearance: what they wear; its pace sets the speed.
        rng: source of direction, place and gait phase.
        frames: pictures in the pass.
        camera: whose pictures; a random one when None.
        tries: draws of a path before settling for one that leaves the picture.
    """
    camera = sample_camera(rng) if camera is None else camera
    speed = identity.speed * appearance.pace
    stride = 2 * identity.step_length(speed)
    times = np.arange(frames) / camera.fps
    girth = np.array([identity.build * appearance.bulk])
    for _ in range(tries):
        heading, middle = rng.uniform(0, 2 * np.pi), rng.uniform(-1.6, 1.6, 2)
        half = speed * times[-1] / 2
        origin = (middle[0] - half * np.cos(heading), middle[1] - half * np.sin(heading))
        phase = rng.uniform(0, stride)
        back = (origin[0] - phase * np.cos(heading), origin[1] - phase * np.sin(heading))
        joints = pose(
            identity, Line((float(back[0]), float(back[1])), float(heading)), phase + speed * times,
            np.zeros(frames), stride,
        )  # fmt: skip
        seen = [
            observe(camera, moment[None], np.array([identity.stature]), girth, np.zeros(1), (identity.name,))
            for moment in joints
        ]
        if all(len(truth.people) for truth in seen) and min(t.visibility[0] for t in seen) > 0.97:
            break
    whole = [truth for truth in seen if len(truth.people)]
    keep = [index for index, truth in enumerate(seen) if len(truth.people)]
    return Pass(
        camera=camera,
        identity=identity,
        appearance=appearance,
        joints=joints[keep],
        keypoints=np.stack([truth.keypoints[0] for truth in whole]),
        boxes=np.stack([truth.boxes[0] for truth in whole]),
    )


SCENERIES = tuple(
    Scenery(floor, backdrop, 12.0, 12.0)
    for floor in ("paving", "tiles", "asphalt", "carpet")
    for backdrop in ("walls", "street")
)
