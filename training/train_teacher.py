"""Train a teacher on joint coordinates, from which `train_gait.py` learns faster than from names.

    python training/train_teacher.py --minutes 8 --out runs/teacher.pt

The teacher has GaitHeat's own head, but takes joints instead of heatmaps: one small network, the same for
every horizontal strip as convolutions are, looks at the joints they could see from there. So it sees millions
of frames in minutes, and what it computes on true joints, strip by strip, are targets without noise.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from head import Head, identity_loss
from schedule import follow_clock
from torch import Tensor, nn
from walks import CROWD, KINDS, Noise, WalkBank, align_points, disturb, draw_keypoints

from gaitstream.cli.script import run_script

STRIPS, WIDTH, CHANNELS, DIM = 16, 192, 64, 64
REACH = 17.0
"""Heatmap pixels above and below a strip that its features depend on: as far as the convolutions see."""
LEFT, RIGHT = [1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]


def nameless(points: Tensor) -> Tensor:
    """Joints `[..., 17, 2]` with each pair ordered by x: part maps do not tell left from right."""
    one, other = points[..., LEFT, :], points[..., RIGHT, :]
    swapped = one[..., :1] > other[..., :1]
    first, second = torch.where(swapped, other, one), torch.where(swapped, one, other)
    return torch.cat([points[..., :1, :], first, second], -2)


class _Norm(nn.BatchNorm1d):
    """Of the last dimension; keeps channels from dying."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).view_as(x)


class Teacher(Head):
    """Aligned joints `[n, frames, 17, 2]` to what GaitHeat's fusion branch should make of their maps."""

    def __init__(self, people: int) -> None:
        super().__init__(STRIPS, CHANNELS, DIM, people)
        self.crowd = people
        self.strip = nn.Sequential(
            nn.Linear(3 * 17, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
            nn.Linear(WIDTH, CHANNELS), _Norm(CHANNELS), nn.ReLU(),
        )  # fmt: skip
        self.register_buffer("centres", torch.arange(STRIPS) * 4 + 1.5, persistent=False)

    def features(self, points: Tensor) -> Tensor:
        """Features of every strip of frames `[n, 17, 2]`: `[n, strips, channels]`."""
        points = nameless(points)[:, None]
        centres: Tensor = self.get_buffer("centres")
        dy = points[..., 1] - centres[:, None]
        near = ((REACH + 3 - dy.abs()) / 6).clamp(0, 1)
        x = torch.cat([(points[..., 0] - 24) / 10 * near, dy / 10 * near, near], -1)
        out: Tensor = self.strip(x)
        return out

    def pooled(self, points: Tensor) -> Tensor:
        """Features of sequences `[n, frames, 17, 2]`, pooled over the frames: `[n, strips, channels]`."""
        return self.features(points.flatten(0, 1)).unflatten(0, points.shape[:2]).amax(1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--people", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, nargs=2, default=(192, 12), metavar=("SEQUENCES", "FRAMES"))
    parser.add_argument("--rendered", type=Path, help="written by render_gait.py: joints that were found")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--resume", type=Path, help="a teacher to go on with; its features drift little")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=["formula"], help="of walk, taking turns"
    )
    parser.add_argument("--walks", type=int, default=2, help="of every person")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    bank = WalkBank(CROWD, args.people, args.walks, args.kinds)
    net = Teacher(args.people)
    if args.resume:
        net.load_state_dict(torch.load(args.resume, weights_only=True)["state"])
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=1e-4)
    rng = torch.Generator().manual_seed(args.seed)
    found = Found(args.rendered) if args.rendered else None
    start, step = time.monotonic(), 0
    while (elapsed := (time.monotonic() - start) / (60 * args.minutes)) < 1:
        follow_clock(optimizer, args.rate, step, elapsed, warm=100, floor=0.005)
        people, points = walk(args, bank, found, rng)
        _, cosines = net.embed(net.pooled(align_points(points)))
        loss = identity_loss(cosines, people)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"{elapsed * args.minutes:.1f} min step {step} loss {loss:.3f}", flush=True)
    torch.save({"state": net.state_dict(), "people": args.people}, args.out)


class Found:
    """Joints that the demo pose model found on rendered people, and whose they are."""

    def __init__(self, folder: Path) -> None:
        self.points = torch.from_numpy(np.load(folder / "found.npy"))
        self.people = torch.from_numpy(np.load(folder / "people.npy"))

    def draw(self, count: int, frames: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Identities `[count]` and joints `[count, frames, 17, 2]`."""
        chosen = torch.randint(len(self.people), (count,), generator=rng)
        order = torch.rand((count, self.points.shape[1]), generator=rng).argsort(1)[:, :frames]
        return self.people[chosen], self.points[chosen[:, None], order]


def walk(
    args: argparse.Namespace, bank: WalkBank, found: Found | None, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Identities and joints of a batch: drawn with a pose model's errors, half of them found by one."""
    count, frames = args.batch
    half = count // 2 if found else 0
    noise = Noise()
    people = torch.randint(len(bank), (count - half,), generator=rng)
    points = disturb(draw_keypoints(bank, people, frames, rng, noise), rng, noise)
    if found is None:
        return people, points
    whose, where = found.draw(half, frames, rng)
    return torch.cat([people, whose]), torch.cat([points, where])


def load_teacher(path: Path) -> Teacher:
    """The trained teacher, frozen."""
    state = torch.load(path, weights_only=True)
    net = Teacher(state["people"])
    net.load_state_dict(state["state"])
    return net.eval().requires_grad_(False)


if __name__ == "__main__":
    run_script(main)
