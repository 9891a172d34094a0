"""Ideal heatmaps of the synthetic walkers, made in bulk: what `train_gait.py` learns from first.

A bank holds one gait cycle of every training identity at several speeds. A batch draws a camera and a
stretch of walking for each sequence, projects the joints, and draws the heatmaps a pose model would give:
Gaussians at the joints, with the errors of a real one (bias, jitter, dropped joints, varying height and
width of the peaks, imprecise person boxes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from gaitstream.synth.gait import LEAD, pose
from gaitstream.synth.identity import WalkerIdentity, WalkKind, sample_identity
from gaitstream.synth.paths import Line
from gaitstream.synth.skeleton import LIMBS

GROUPS = ((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), (11, 12, 13, 14, 15, 16))
"""Upper and lower body."""
CROWD = 1
"""Seed of the training identities. Rendered and drawn walkers of one number have to be the same person."""
PHASES = 48
TARGET_XY = (24.0, 16.0)
KINDS: tuple[WalkKind, ...] = ("formula", "learned")
ANKLES = (15, 16)
FAR_SIDE = ((7, 8), (9, 10), (13, 14), (15, 16))
"""Pairs of joints, left and right, one of which may be taken for the other."""


def crowd_member(seed: int, index: int, kinds: Sequence[WalkKind]) -> WalkerIdentity:
    """Person `index` of a training crowd in which the kinds of walk take turns."""
    return sample_identity(seed, index, kinds[index % len(kinds)])


@dataclass
class Noise:
    """Errors of the pose model and the detector that a batch imitates; pixels are heatmap pixels."""

    bias_px: float = 0.4
    """Standard deviation of each joint's error that stays through a sequence."""
    jitter_px: float = 0.4
    """Standard deviation of each joint's error from frame to frame."""
    most: float = 1.2
    """Sequences have from none to this much of both."""
    astray: float = 0.02
    """Share of joints found elsewhere."""
    swapped: float = 0.05
    """Share of a sequence's frames in which both joints of a pair are found at one of them, on average."""
    ankle_lost: float = 0.08
    """Share of sequences that lose an ankle for good."""
    side_px: float = 0.35
    """Standard deviation of an error that all joints of a sequence share, as of a body seen from one side."""
    box_bias: float = 0.03
    """Standard deviation of the box height's error through a sequence, as a share."""
    box_jitter: float = 0.012
    dropped: float = 0.04
    """Share of joints a frame loses."""
    sigma: tuple[float, float] = (1.5, 2.5)
    peak: tuple[float, float] = (0.55, 1.0)
    distance_m: tuple[float, float] = (3.0, 14.0)
    height_m: tuple[float, float] = (1.2, 5.0)
    """Of the camera."""


class WalkBank:
    """One gait cycle at several speeds for each of many people.

    Attributes:
        joints: `[people, speeds, PHASES, joints, 3]` metres; the walker heads along x, the pelvis stays near
            x = 0.
        stride: metres of two steps, `[people, speeds]`.
        speed: m/s, `[people, speeds]`.
        radius: body radius at each joint, metres `[people, joints]`.
    """

    def __init__(
        self, seed: int, people: int, speeds: int = 3, kinds: Sequence[WalkKind] = ("formula",)
    ) -> None:
        rng = np.random.default_rng([seed, 0xBA])
        crowd = [crowd_member(seed, index, kinds) for index in range(people)]
        joints, strides, rates = [], [], []
        for person in crowd:
            for _ in range(speeds):
                speed = person.speed * rng.uniform(0.86, 1.14)
                stride = 2 * person.step_length(speed)
                s = stride * (LEAD + 3 + np.arange(PHASES) / PHASES)
                walked = pose(one_cycle(person, rng), Line((0.0, 0.0), 0.0), s, np.zeros(PHASES), stride)
                walked[..., 0] -= s[:, None]
                joints.append(walked.astype(np.float32))
                strides.append(stride)
                rates.append(speed)
        shape = (people, speeds)
        self.joints = torch.from_numpy(np.stack(joints)).unflatten(0, shape)
        self.stride = torch.tensor(strides, dtype=torch.float32).view(shape)
        self.speed = torch.tensor(rates, dtype=torch.float32).view(shape)
        self.radius = torch.from_numpy(np.stack([_radii(p) for p in crowd]))

    def __len__(self) -> int:
        return len(self.joints)

    def walk(self, people: Tensor, speed: Tensor, walked: Tensor, offset: Tensor) -> Tensor:
        """Joints of walkers who have gone so far, `[n, frames, joints, 3]`.

        Args:
            people: index of each `[n]`.
            speed: index of their speeds `[n]`.
            walked: metres along x of every frame `[n, frames]`.
            offset: gait cycle at 0 m, `[n, 1]`.
        """
        phase = ((walked / self.stride[people, speed][:, None] + offset) % 1.0) * PHASES
        low = phase.long() % PHASES
        share = (phase - phase.floor())[..., None, None]
        who, which = people[:, None], speed[:, None]
        body = self.joints[who, which, low] * (1 - share)
        body += self.joints[who, which, (low + 1) % PHASES] * share
        body[..., 0] += walked[..., None]
        return body


def project(
    body: Tensor, azimuth: Tensor, distance: Tensor, height: Tensor, aside: Tensor, above: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Walkers at the origin as cameras around them see them.

    Args:
        body: joints in metres `[n, frames, joints, 3]`.
        azimuth: direction of the camera from the origin, radians `[n]`, like all that follow.
        distance: of the camera on the floor, metres.
        height: of the camera, metres.
        aside: how far it looks past the walker, radians.
        above: how far it looks below their middle, radians.

    Returns:
        x, y in focal lengths from the picture's middle, and the depth in metres, each `[n, frames, joints]`.
    """
    camera = torch.stack([distance * azimuth.cos(), distance * azimuth.sin(), height], -1)
    yaw = azimuth + np.pi + aside
    pitch = torch.atan2(height - 0.9, distance) + above
    forward = torch.stack([yaw.cos() * pitch.cos(), yaw.sin() * pitch.cos(), -pitch.sin()], -1)
    right = torch.stack([yaw.sin(), -yaw.cos(), 0 * yaw], -1)
    down = torch.linalg.cross(forward, right)
    relative = body - camera[:, None, None]
    depth = (relative * forward[:, None, None]).sum(-1).clamp(min=0.5)
    x = (relative * right[:, None, None]).sum(-1) / depth
    y = (relative * down[:, None, None]).sum(-1) / depth
    return x, y, depth


def one_cycle(person: WalkerIdentity, rng: np.random.Generator) -> WalkerIdentity:
    """A person on one walk, with or without a bag, all of whose strides are alike."""
    if person.style is None:
        return person
    walking = person.style.once(rng, str(rng.choice(["none", "backpack", "shoulder"], p=[0.6, 0.25, 0.15])))
    return replace(person, style=replace(walking, strides=0))


def _radii(person: WalkerIdentity) -> np.ndarray:
    """Radius in metres at each joint: the largest of its limbs."""
    count = max(max(limb.start, limb.end) for limb in LIMBS) + 1
    radius = np.zeros(count, np.float32)
    for limb in LIMBS:
        radius[limb.start] = max(radius[limb.start], limb.start_radius * person.stature * person.build)
        radius[limb.end] = max(radius[limb.end], limb.end_radius * person.stature * person.build)
    return radius


def draw_keypoints(
    bank: WalkBank,
    people: Tensor,
    frames: int,
    rng: torch.Generator,
    noise: Noise,
    window: int = 30,
    azimuth: Tensor | None = None,
) -> Tensor:
    """Joints of random walks in heatmap pixels of their own person crop.

    Args:
        bank: the walkers.
        people: index into the bank of every sequence `[n]`.
        frames: frames kept of each window.
        rng: source of randomness.
        noise: imprecision of the person box.
        window: frames at 15 a second that the kept ones are drawn from.
        azimuth: camera direction seen from the walker at mid-window, radians `[n]`; random when absent.

    Returns:
        Joints `[n, frames, 17, 2]`.
    """
    n = len(people)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=rng)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng)

    speed_index = torch.randint(bank.joints.shape[1], (n,), generator=rng)
    rate = bank.speed[people, speed_index]
    fps = uniform(10, 25, n)
    order = torch.rand((n, window), generator=rng).argsort(1)[:, :frames].sort(1).values
    time = order / fps[:, None]
    walked = rate[:, None] * (time - window / 2 / fps[:, None])
    body = bank.walk(people, speed_index, walked, torch.rand((n, 1), generator=rng))
    if azimuth is None:
        azimuth = uniform(0, 2 * np.pi, n)
    distance, height = uniform(*noise.distance_m, n), uniform(*noise.height_m, n)
    aside, above = uniform(-0.45, 0.45, n), uniform(-0.12, 0.12, n)
    x, y, depth = project(body, azimuth, distance, height, aside, above)
    radius = bank.radius[people][:, None] / depth
    left, top = (x - radius).amin(-1), (y - radius).amin(-1)
    width, tall = (x + radius).amax(-1) - left, (y + radius).amax(-1) - top
    scale = 1 + noise.box_bias * normal(n, 1) + noise.box_jitter * normal(n, frames)
    centre_x = left + width / 2 + width * noise.box_jitter * 2 * normal(n, frames)
    centre_y = top + tall / 2 + tall * noise.box_jitter * normal(n, frames)
    crop_h = torch.maximum(tall, width * 4 / 3) * scale * 1.25
    to_pixels = 64 / crop_h[..., None]
    px = (x - centre_x[..., None]) * to_pixels + 23.5
    py = (y - centre_y[..., None]) * to_pixels + 31.5
    return torch.stack([px, py], -1)[:, :, :17]


def disturb(points: Tensor, rng: torch.Generator, noise: Noise) -> Tensor:
    """Joints `[n, frames, 17, 2]` as a pose model finds them: moved, for good and from frame to frame."""
    n, frames = points.shape[:2]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng)

    points = _merge_sides(points, rng, noise)
    amount = noise.most * torch.rand((n, 1, 1, 1), generator=rng)
    moved = noise.bias_px * normal(n, 1, 17, 2) + noise.jitter_px * normal(n, frames, 17, 2)
    # Knees and ankles of one view are found too high or too low together, arms too far in or out.
    moved = moved + noise.side_px * normal(n, 1, 1, 2) * torch.linspace(-1, 1, 17)[:, None]
    astray = torch.rand((n, frames, 17, 1), generator=rng) < noise.astray
    return points + amount * moved + astray * 4 * normal(n, frames, 17, 2)


def _merge_sides(points: Tensor, rng: torch.Generator, noise: Noise) -> Tensor:
    """Find the far one of a pair of joints at the near one, as pose models do when legs pass each other.

    Exchanging the two would change nothing: part maps do not tell left from right.
    """
    n, frames = points.shape[:2]
    merged = points.clone()
    for pair in FAR_SIDE:
        keep, lose = pair if torch.rand((), generator=rng) < 0.5 else pair[::-1]
        close = (points[:, :, keep] - points[:, :, lose]).norm(dim=-1) < 5
        often = 2 * noise.swapped * torch.rand((n, 1), generator=rng) * (1 + 2 * close)
        hit = torch.rand((n, frames), generator=rng) < often
        merged[:, :, lose] = torch.where(hit[..., None], points[:, :, keep], points[:, :, lose])
    return merged


def align_points(points: Tensor, seen: Tensor | None = None) -> Tensor:
    """Pose-guided alignment of joints instead of maps, `[..., 17, 2]`; the spine is read from `seen`.

    The same two steps as the maps take: rotation by the tilt of the spine about its midpoint, then the
    neck to `TARGET_XY`. Gaussians stay Gaussians, so moving their centres is enough.
    """
    seen = points if seen is None else seen
    neck, hip = seen[..., 5:7, :].mean(-2), seen[..., 11:13, :].mean(-2)
    spine = hip - neck
    angle = torch.atan2(spine[..., 1], spine[..., 0]) - np.pi / 2
    cos, sin = angle.cos()[..., None], angle.sin()[..., None]
    centre = ((neck + hip) / 2)[..., None, :]

    def rotate(p: Tensor) -> Tensor:
        x, y = (p - centre).unbind(-1)
        return torch.stack([cos * x + sin * y, -sin * x + cos * y], -1) + centre

    # The published matrices take pixel indices for coordinates, half a pixel off; kept as they are.
    moved = rotate(points + 0.5) - 0.5
    return moved + (torch.tensor(TARGET_XY) - rotate(neck[..., None, :]))


def draw_parts(points: Tensor, rng: torch.Generator, noise: Noise) -> Tensor:
    """Part maps `[n, frames, 1 + parts, 64, 48]` a pose model and the alignment would give for joints.

    Args:
        points: true joints in heatmap pixels `[n, frames, 17, 2]`.
        rng: source of randomness.
        noise: how imprecise the pose model is.
    """
    n, t = points.shape[:2]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=rng)

    shown = disturb(points, rng, noise)
    aligned = align_points(shown, shown + 0.15 * normal(n, t, 17, 2))
    peak = uniform(*noise.peak, n, 1, 17) * uniform(0.9, 1.05, n, t, 17)
    lost = torch.rand((n, t, 17), generator=rng) < noise.dropped * uniform(0, 2, n, 1, 1)
    gone = torch.rand((n, 1, len(ANKLES)), generator=rng) < noise.ankle_lost / len(ANKLES)
    lost[..., list(ANKLES)] |= gone
    peak = torch.where(lost, uniform(0.02, 0.4, n, t, 17), peak).clamp(max=1.0)
    sigma = uniform(*noise.sigma, n, 1, 17) * uniform(0.95, 1.05, n, t, 17)
    across = torch.arange(48.0) - aligned[..., :1]
    along = torch.arange(64.0) - aligned[..., 1:]
    factor = -0.5 / sigma[..., None] ** 2
    gx, gy = torch.exp(factor * across**2), peak[..., None] * torch.exp(factor * along**2)
    maps = [(gy[:, :, list(g), :, None] * gx[:, :, list(g), None, :]).amax(2) for g in GROUPS]
    # Between the joints a network's maps are not empty, and a maximum over time collects what is there.
    dirt = uniform(0, 0.05, n, 1, 1, 1) * normal(n * t, 1, 9, 7).unflatten(0, (n, t))[:, :, 0]
    maps = [torch.maximum(m, _spread(dirt * uniform(0.3, 1, n, t, 1, 1))) for m in maps]
    whole = torch.maximum(maps[0], maps[1])
    return torch.stack([whole, *maps], 2).clamp_(0, 1)


def _spread(coarse: Tensor) -> Tensor:
    """Smooth maps `[n, frames, 64, 48]` from coarse ones."""
    return F.interpolate(coarse, size=(64, 48), mode="bilinear", align_corners=True)
