"""Joints of people who walk as pose models find them, drawn, recorded, rendered, for `train_joints.py`.

Drawn people and recorded ones walk past random cameras, which give joints in percent of the person's height;
then come the errors of pose models: those that stay through a tracklet, those that drift and those of single
frames, joints found at their other side, elsewhere or not at all, frames that are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from evaluate_people import coco
from mocap import FPS, HELD_OUT, read_walks
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from walks import CROWD, FAR_SIDE, KINDS, WalkBank, project

from gaitstream.models.gaitgraph2.module import MIRROR

FRAMES = 30
OTHER = 0.3
"""Share of found joints that are the last pose model's."""
LIMBS = (7, 8, 9, 10, 13, 14, 15, 16)
"""Elbows, wrists, knees, ankles: what pose models miss most."""
HIPS = (11, 12)


@dataclass
class Errors:
    """Errors of pose models in percent of the person's height; every sequence has a share of them."""

    grown: float = 1.0
    """Share of all of it that is there yet: who learns from good joints first, learns faster."""
    stays: float = 1.0
    """Of each joint, through a sequence."""
    drifts: float = 0.7
    """Of each joint, over some frames."""
    jumps: float = 0.7
    """Of each joint, from frame to frame."""
    shared: float = 0.6
    """Through a sequence, one way at the head and the other at the feet, as of a body seen from one side."""
    repeats: float = 1.5
    """Of each joint, the same wherever the body is in the same position: again at every stride."""
    astray: float = 0.03
    """Share of joints found elsewhere."""
    merged: float = 0.08
    """Share of the frames in which both joints of a pair are found at one of them; more where they meet."""
    exchanged: float = 0.04
    """Share of frames whose left and right are exchanged; of half as many sequences, throughout."""
    lost: float = 0.04
    """Share of joints that a frame does not show, on average."""
    hidden: float = 0.02
    """Share of joints that a whole sequence does not show."""


class Crowd:
    """Drawn people: one gait cycle of every walk."""

    def __init__(self, people: int, walks: int) -> None:
        self.bank = WalkBank(CROWD, people, walks, KINDS)
        self.bank.joints = self.bank.joints[..., :17, :].contiguous()

    def __len__(self) -> int:
        return len(self.bank)

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Identities `[count]` and joints `[count, FRAMES, 17, 3]` in metres."""
        people = torch.randint(len(self), (count,), generator=rng)
        speed = torch.randint(self.bank.joints.shape[1], (count,), generator=rng)
        walked = self.bank.speed[people, speed][:, None] * moments(count, rng)
        return people, self.bank.walk(people, speed, walked, torch.rand((count, 1), generator=rng))


class Recorded:
    """Recorded people who are not left out, and their mirror images as further people."""

    def __init__(self, mocap: Path) -> None:
        walks = [walk for walk in read_walks(mocap) if walk.subject not in HELD_OUT]
        names = sorted({walk.subject for walk in walks})
        self.count = 2 * len(names)
        self.walks, people = [], []
        for walk in walks:
            joints = torch.from_numpy(coco(walk)).float()
            flipped = joints[:, list(MIRROR)] * torch.tensor([1.0, -1.0, 1.0])
            for number, shown in enumerate((joints, flipped)):
                self.walks.append(shown - shown.mean((0, 1)) * torch.tensor([1.0, 1.0, 0.0]))
                people.append(2 * names.index(walk.subject) + number)
        self.people = torch.tensor(people)
        # Everybody is drawn as often.
        self.weights = 1 / torch.bincount(self.people)[self.people].float()

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Identities `[count]` and joints `[count, FRAMES, 17, 3]` in metres."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=rng)
        times = moments(count, rng)
        bodies = []
        for which, seconds in zip(chosen.tolist(), times, strict=True):
            walk = self.walks[which]
            at = (seconds - seconds[0]) * FPS
            at = at * min(1.0, (len(walk) - 1) / float(at[-1]))  # short walks are shown in slow motion
            at = at + torch.rand((), generator=rng) * (len(walk) - 1 - at[-1])
            low = at.long().clamp(max=len(walk) - 2)
            bodies.append(torch.lerp(walk[low], walk[low + 1], (at - low)[:, None, None]))
        return self.people[chosen], torch.stack(bodies)


class Found:
    """Joints that pose models found on rendered people."""

    def __init__(self, folders: list[Path]) -> None:
        self.joints = torch.from_numpy(np.concatenate([np.load(f / "found.npy") for f in folders], 1))
        self.people = torch.from_numpy(np.concatenate([np.load(f / "people.npy") for f in folders]))

    def draw(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Identities `[count]` and joints in pixels of pictures `[count, frames, 17, 3]`."""
        chosen = torch.randint(len(self.people), (count,), generator=rng)
        model = (torch.rand(count, generator=rng) < OTHER).long() * (len(self.joints) - 1)
        return self.people[chosen], self.joints[model, chosen]


def moments(count: int, rng: torch.Generator) -> Tensor:
    """Seconds of every frame around the middle, `[count, FRAMES]`: 8 to 31 a second, some missing."""
    rate = 8 + 23 * torch.rand((count, 1), generator=rng)
    missing = 0.25 * torch.rand((count, 1), generator=rng).square()
    steps = 1 + (torch.rand((count, FRAMES), generator=rng) < missing).float()
    ticks = steps.cumsum(1)
    return (ticks - ticks.mean(1, keepdim=True)) / rate


def film(body: Tensor, rng: torch.Generator) -> Tensor:
    """Walkers `[n, frames, 17, 3]` who head along x as random cameras see them: `[n, frames, 17, 2]`.

    Returns:
        Percent of each person's height in the middle frame, from nowhere in particular.
    """
    n = len(body)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=rng)

    body = bend(body, rng)
    azimuth, distance, height = uniform(0, 2 * np.pi), uniform(3.0, 14.0), uniform(1.0, 5.5)
    aside, above = uniform(-0.45, 0.45), uniform(-0.15, 0.15)
    x, y, _ = project(body, azimuth, distance, height, aside, above)
    roll = 0.06 * torch.randn(n, generator=rng)
    cos, sin = roll.cos()[:, None, None], roll.sin()[:, None, None]
    xy = torch.stack([cos * x - sin * y, sin * x + cos * y], -1)
    tall = xy[..., 1].amax(2) - xy[..., 1].amin(2)
    return xy * (100 / tall.mean(1))[:, None, None, None]


def bend(body: Tensor, rng: torch.Generator) -> Tensor:
    """Half of the walkers `[n, frames, joints, 3]`, who head along x, on an arc to the left or the right."""
    n = len(body)
    turn = 0.12 * torch.randn(n, generator=rng) * (torch.rand(n, generator=rng) < 0.5)
    along = body[:, :, list(HIPS), 0].mean(2)
    angle = turn[:, None] * along
    # sinc: straight on where the arc is flat.
    half = along * torch.sinc(angle / 2 / np.pi)
    cos, sin = angle.cos()[..., None], angle.sin()[..., None]
    x, y = body[..., 0] - along[..., None], body[..., 1]
    return torch.stack(
        [
            cos * x - sin * y + (half * (angle / 2).cos())[..., None],
            sin * x + cos * y + (half * (angle / 2).sin())[..., None],
            body[..., 2],
        ],
        -1,
    )


def repeated(xy: Tensor, rng: torch.Generator) -> Tensor:
    """Errors that depend on the body's position, in another way for every sequence: `[n, frames, 17, 2]`.

    A pose model that takes a far knee for a near one, or draws a bent elbow in, does so at every stride.
    Variance around one: random waves over the space of positions.
    """
    n, frames = xy.shape[:2]
    position = (xy - xy[:, :, list(HIPS)].mean(2, keepdim=True)).flatten(2) / 10
    position = position - position.mean(1, keepdim=True)
    waves = 12
    directions = torch.randn((n, position.shape[2], waves), generator=rng) / position.shape[2] ** 0.5
    phases = 2 * np.pi * torch.rand((n, 1, waves), generator=rng)
    sizes = torch.randn((n, waves, position.shape[2]), generator=rng) * (2 / waves) ** 0.5
    return ((2 * position @ directions + phases).sin() @ sizes).view(n, frames, 17, 2)


def disturb(xy: Tensor, rng: torch.Generator, errors: Errors) -> Tensor:
    """Joints in percent of the height `[n, frames, 17, 2]` as pose models find them, `[n, frames, 17, 3]`."""
    n, frames = xy.shape[:2]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng)

    def share(*shape: int) -> Tensor:
        return torch.rand(shape, generator=rng)

    # A pose model that is good in one way is mostly good in the others.
    amount = errors.grown * 2 * share(n, 1, 1, 1) * (0.4 + 1.2 * share(n, 1, 17, 1))
    # Some give 0.9 to nearly every joint, others 0.4 to 0.85.
    unsure = share(n, 1, 1).square()
    score = 0.98 - 0.1 * unsure - 0.3 * share(n, 1, 1) * share(n, 1, 17)
    score = score - (0.12 + 0.3 * unsure) * share(n, frames, 17)
    xy = xy.clone()
    for pair in FAR_SIDE:
        keep, lose = pair if float(share()) < 0.5 else pair[::-1]
        near = (xy[:, :, keep] - xy[:, :, lose]).norm(dim=-1) < 8
        hit = share(n, frames) < errors.merged * amount[:, :, 0, 0] * (0.3 + 2.0 * near)
        xy[:, :, lose] = torch.where(hit[..., None], xy[:, :, keep], xy[:, :, lose])
        score[:, :, lose] -= 0.2 * share(n, frames) * hit
    flip = (share(n, frames) < errors.exchanged * share(n, 1) * 2) | (share(n, 1) < errors.exchanged / 2)
    xy = torch.where(flip[..., None, None], xy[:, :, list(MIRROR)], xy)
    drift = normal(n, frames // 4 + 2, 17 * 2).transpose(1, 2)
    drift = F.interpolate(drift, size=frames, mode="linear", align_corners=True).transpose(1, 2)
    moved = errors.stays * normal(n, 1, 17, 2) + errors.drifts * 1.2 * drift.unflatten(2, (17, 2))
    moved = moved + errors.jumps * normal(n, frames, 17, 2)
    moved = moved + errors.shared * normal(n, 1, 1, 2) * torch.linspace(-1, 1, 17)[:, None]
    moved = moved + errors.repeats * repeated(xy, rng)
    rate = torch.full((17,), 0.3)
    rate[list(LIMBS)] = 1.0
    astray = share(n, frames, 17) < errors.astray * amount[..., 0] * rate
    score = score - 0.5 * share(n, frames, 17) * astray
    xy = xy + amount * moved + astray[..., None] * 8 * normal(n, frames, 17, 2)
    gone = share(n, frames, 17) < errors.grown * errors.lost * 2 * share(n, 1, 1) * rate
    # Legs behind a table, an arm behind a bag.
    gone = gone | (share(n, 1, 17) < errors.grown * errors.hidden * rate)
    score = torch.where(gone, 0.35 * share(n, frames, 17), score)
    xy = xy + gone[..., None] * 10 * normal(n, frames, 17, 2)
    return torch.cat([xy, score[..., None].clamp(0, 1)], -1)
