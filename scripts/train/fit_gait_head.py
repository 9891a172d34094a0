"""Fit the demo gait model's heads on whole tracklets, over the frozen backbone of `train_gait.py`.

    python scripts/train/fit_gait_head.py --gait runs/gait/gait.pt --rendered runs/walks \
        --out runs/gait/final.pt

`train_gait.py` sees a few frames at a time, to be quick; the maximum over a whole tracklet is distributed
otherwise. Here tracklets are pooled once, and the heads learn from all of them with the published losses.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from train_gait import CHANNELS, DIM, Rendered, cross_entropy, score, triplet
from walks import Noise, WalkBank, draw_keypoints, draw_parts

from gaitstream.export.gaitheat import GaitHeat

BRANCHES = ("part", "global", "fusion")


@torch.no_grad()
def pool(model: GaitHeat, maps: Tensor) -> Tensor:
    """Pooled maps of the three branches `[3, n, c, 16, 12]` in half precision."""
    n, s = maps.shape[:2]
    with torch.autocast("cpu", torch.bfloat16):
        features = model.features(maps.flatten(0, 1).contiguous())
    return torch.stack([f.unflatten(0, (n, s)).amax(1) for f in features]).half()


def pool_drawn(model: GaitHeat, bank: WalkBank, people: Tensor, rng: torch.Generator, frames: int) -> Tensor:
    """Pooled maps of drawn walks."""
    out = []
    for some in people.split(8):
        points, _ = draw_keypoints(bank, some, frames, rng, Noise())
        out.append(pool(model, draw_parts(points, rng, Noise())))
    return torch.cat(out, 1)


def pool_rendered(model: GaitHeat, rendered: Rendered, sequences: np.ndarray) -> Tensor:
    """Pooled maps of rendered walks."""
    out = []
    for start in range(0, len(sequences), 8):
        maps = torch.from_numpy(rendered.parts[sequences[start : start + 8]]).float() / 255
        out.append(pool(model, maps))
    return torch.cat(out, 1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gait", type=Path, required=True)
    parser.add_argument("--rendered", type=Path)
    parser.add_argument("--drawn", type=int, default=3, help="drawn walks of each person")
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--frames", type=int, default=14)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    state = torch.load(args.gait, weights_only=True)["model"]
    trunk = {
        key: value for key, value in state.items() if not key.endswith("fc_bin") or key.startswith("FCs")
    }
    model = GaitHeat(CHANNELS, dim=DIM, identities=args.people).to(memory_format=torch.channels_last)
    model.load_state_dict(trunk, strict=False)
    model.eval()
    features, people = collect(args, model)
    held_features, held_people, held_views = held_out(args, model)
    fit(args, model, features, people, (held_features, held_people, held_views))
    torch.save({"model": model.state_dict()}, args.out)


def collect(args: argparse.Namespace, model: GaitHeat) -> tuple[Tensor, Tensor]:
    """Pooled maps `[3, n, c, 16, 12]` and identities `[n]` of all training tracklets."""
    rng = torch.Generator().manual_seed(args.seed + 11)
    features, people = [], []
    if args.drawn:
        bank = WalkBank(args.seed, args.people)
        drawn = torch.arange(args.people).repeat(args.drawn)
        features.append(pool_drawn(model, bank, drawn, rng, args.frames))
        people.append(drawn)
        print(f"{len(drawn)} drawn tracklets pooled", flush=True)
    if args.rendered:
        rendered = Rendered(args.rendered)
        numbers = np.load(args.rendered / "people.npy")
        usable = np.flatnonzero(numbers < args.people)
        features.append(pool_rendered(model, rendered, usable))
        people.append(torch.from_numpy(numbers[usable]))
        print(f"{len(usable)} rendered tracklets pooled", flush=True)
    return torch.cat(features, 1), torch.cat(people)


def held_out(args: argparse.Namespace, model: GaitHeat) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """The same of people who are not trained on, with their view: rendered ones where there are any."""
    if args.rendered and (np.load(args.rendered / "people.npy") >= args.people).any():
        numbers = np.load(args.rendered / "people.npy")
        rest = np.flatnonzero(numbers >= args.people)
        return pool_rendered(model, Rendered(args.rendered), rest), numbers[rest], ranks(numbers[rest])
    people = torch.arange(60).repeat(3)
    bank = WalkBank(args.seed + 5000, 60, 2)
    rng = torch.Generator().manual_seed(5)
    return pool_drawn(model, bank, people, rng, args.frames), people.numpy(), ranks(people.numpy())


def ranks(people: np.ndarray) -> np.ndarray:
    """How many times a person came before, which stands for the view: 0, 1, 2, ..."""
    seen: dict[int, int] = {}
    out = []
    for person in people.tolist():
        out.append(seen.get(person, 0))
        seen[person] = out[-1] + 1
    return np.array(out)


def fit(
    args: argparse.Namespace, model: GaitHeat, features: Tensor, people: Tensor,
    held: tuple[Tensor, np.ndarray, np.ndarray],
) -> None:  # fmt: skip
    """Train the three heads; the schedule follows the clock."""
    heads = [model.get_submodule(f"{kind}_{name}") for name in BRANCHES for kind in ("FCs", "BNNecks")]
    parameters = [p for head in heads for p in head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=5e-3)
    rng = np.random.default_rng(args.seed)
    of = [np.flatnonzero(people.numpy() == p) for p in range(args.people)]
    present = np.array([p for p, rows in enumerate(of) if len(rows) >= 2])
    start, step = time.monotonic(), 0
    while (elapsed := (time.monotonic() - start) / (60 * args.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 30) * (0.01 + 0.5 * (1 + math.cos(math.pi * elapsed)))
        for head in heads:
            head.train()
        chosen = rng.choice(present, min(40, len(present)), replace=False)
        rows = np.concatenate([rng.choice(of[p], 4, replace=len(of[p]) < 4) for p in chosen])
        ids = people[rows]
        loss = torch.zeros(())
        for index, name in enumerate(BRANCHES):
            branch = model.embed(name, features[index, rows].float())
            weight = 1.0 if name == "fusion" else 0.2
            loss = loss + weight * (triplet(branch.before, ids) + triplet(branch.after, ids))
            loss = loss + weight * 0.5 * cross_entropy(branch, ids)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"{elapsed * args.minutes:5.1f} min step {step} loss {loss.item():.3f}", judge(model, held))
    model.eval()
    print("final", judge(model, held), flush=True)


@torch.no_grad()
def judge(model: GaitHeat, held: tuple[Tensor, np.ndarray, np.ndarray]) -> dict[str, float]:
    """Scores of people who are not trained on."""
    model.eval()
    embeddings = model.embed("fusion", held[0][2].float()).after.numpy()
    return {key: round(value, 2) for key, value in score(embeddings, held[1], held[2]).items()}


if __name__ == "__main__":
    main()
