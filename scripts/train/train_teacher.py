"""Train a teacher on joint coordinates, from which `train_gait.py` learns faster than from names.

    python scripts/train/train_teacher.py --minutes 3 --out runs/teacher.pt

A small network over sets of frames takes aligned joints instead of heatmaps, so that it sees millions of
frames in minutes. Its embeddings of the true joints are targets that are free of noise.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from walks import Noise, WalkBank, align_points, draw_keypoints

DIM = 128
MARGIN, SCALE = 0.15, 20.0


class Teacher(nn.Module):
    """Aligned joints `[n, frames, 17, 2]` to standardised embeddings `[n, 128]`."""

    def __init__(self, people: int, traits: int) -> None:
        super().__init__()
        self.frame = nn.Sequential(
            nn.Linear(34, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256)
        )
        self.head = nn.Sequential(
            nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, DIM)
        )
        self.norm = nn.BatchNorm1d(DIM)
        self.people = nn.Parameter(torch.randn(people, DIM) * 0.05)
        self.traits = nn.Linear(DIM, traits)

    def forward(self, points: Tensor) -> Tensor:
        """See the class."""
        frames = self.frame(((points - torch.tensor([24.0, 32.0])) / 10).flatten(2))
        out: Tensor = self.norm(self.head(torch.cat([frames.amax(1), frames.mean(1)], -1)))
        return out


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    bank = WalkBank(args.seed, args.people, 2)
    net = Teacher(args.people, bank.traits.shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-4)
    rng = torch.Generator().manual_seed(args.seed)
    numbers = np.random.default_rng(args.seed)
    noise = Noise()
    start, step = time.monotonic(), 0
    while (elapsed := (time.monotonic() - start) / (60 * args.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (0.02 + 0.5 * (1 + math.cos(math.pi * elapsed)))
        people = torch.randint(args.people, (320,), generator=rng)
        points, _ = draw_keypoints(bank, people, int(numbers.integers(3, 13)), rng, noise)
        amount = torch.rand(len(people), 1, 1, 1, generator=rng)
        bias = 0.3 * torch.randn(len(people), 1, 17, 2, generator=rng)
        jitter = 0.4 * torch.randn(points.shape, generator=rng)
        embedding = net(align_points(points + amount * (bias + jitter)))
        cosine = F.normalize(embedding, dim=-1) @ F.normalize(net.people, dim=-1).T
        logits = SCALE * (cosine - MARGIN * F.one_hot(people, args.people))
        told = F.mse_loss(net.traits(embedding), bank.traits[people])
        named = F.cross_entropy(logits, people)
        optimizer.zero_grad()
        (named + 2 * told).backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            minutes = elapsed * args.minutes
            print(f"{minutes:.1f} min step {step} ce {named:.3f} traits {told:.3f}", flush=True)
    torch.save({"state": net.state_dict(), "people": args.people, "traits": bank.traits.shape[1]}, args.out)


def load_teacher(path: Path) -> Teacher:
    """The trained teacher, frozen."""
    state = torch.load(path, weights_only=True)
    net = Teacher(state["people"], state["traits"])
    net.load_state_dict(state["state"])
    return net.eval().requires_grad_(False)


if __name__ == "__main__":
    main()
