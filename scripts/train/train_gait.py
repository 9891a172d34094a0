"""Train the demo gait model: GaitHeat at reduced width on the synthetic world.

    python scripts/train/train_gait.py --minutes 40 --out runs/gait
    gaitstream export gaitheat --checkpoint runs/gait/gait.pt --out runs/gait/bundle

Triplet loss (batch all, margin 0.2) on every part before the neck and cross-entropy after it, for the three
branches, as published; besides, the fusion branch has to tell the identity's parameters, which a synthetic
world knows and which spares it a great deal of searching. The heatmaps are drawn ideal ones with a pose
model's errors (`walks.py`) and, with `--rendered`, those of the demo pose model on rendered people.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from train_teacher import DIM as TEACHER_DIM
from train_teacher import load_teacher
from walks import Noise, WalkBank, align_points, draw_keypoints, draw_parts
from workers import join, my_rank, seconds_since, share_gradients

from gaitstream.evaluate.distances import pairwise
from gaitstream.evaluate.openset import search
from gaitstream.evaluate.retrieval import retrieve
from gaitstream.evaluate.verification import pairs, verify
from gaitstream.export.gaitheat import BranchOutput, GaitHeat
from gaitstream.export.heads import pool_rows

CHANNELS = (8, 16, 32, 64)
DIM = 64
MARGIN = 0.2
SEEN = (
    0.47, 0.31, 0.06, 0.54, 0.36, 0.03, 0.11, 0.04, 0.56, 0.22, 0.17, 0.10, 0.15, 0.02, 0.06, 0.02, 0.02,
    0.02, 0.04, 0.16, 0.02, 0.02, 0.12, 0.02, 0.38, 0.02, 0.02, 0.44, 0.45, 0.87, 0.86, 0.52, 0.77, 0.79,
    0.17, 0.50, 0.43, 0.75,
)  # fmt: skip
"""How much of each trait's variance can be told from joints in pictures: the weights of their loss."""
SCALE = 16.0


def triplet(before: Tensor, ids: Tensor) -> Tensor:
    """Batch-all triplet loss of every part, mean over the triplets that are not yet satisfied."""
    x = before.transpose(0, 1)
    gaps = torch.cdist(x, x)
    same = ids[:, None] == ids[None]
    positive = same & ~torch.eye(len(ids), dtype=torch.bool)
    anchors, mates = positive.nonzero(as_tuple=True)
    gap = gaps[:, anchors, mates][..., None] - gaps[:, anchors] + MARGIN
    gap = torch.where(~same[anchors][None], gap, torch.zeros(())).relu()
    total: Tensor = (gap.sum((1, 2)) / (gap > 0).sum((1, 2)).clamp(min=1)).mean()
    return total


def cross_entropy(branch: BranchOutput, ids: Tensor) -> Tensor:
    """Cross-entropy of every part's cosine classifier."""
    logits = branch.logits.float() * SCALE
    return F.cross_entropy(logits.flatten(0, 1), ids.repeat_interleave(logits.shape[1]), label_smoothing=0.1)


class Rendered:
    """Part maps of the demo pose model on rendered walkers, written by `render_gait.py`.

    `parts.npy` holds uint8 `[sequences, frames, 1 + parts, 64, 48]`, `people.npy` the identity of each and
    `points.npy` the true joints in heatmap pixels `[sequences, frames, 17, 2]`.
    """

    def __init__(self, folder: Path) -> None:
        self.parts = np.load(folder / "parts.npy", mmap_mode="r")
        self.points = np.load(folder / "points.npy", mmap_mode="r")
        people = np.load(folder / "people.npy")
        self.of = {int(p): np.flatnonzero(people == p) for p in np.unique(people)}
        self.people = np.array(sorted(self.of))

    def draw(self, people: Tensor, frames: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Sequences of these people with random frames: maps `[n, frames, 1 + parts, 64, 48]` and joints."""
        maps, points = [], []
        for person in people.tolist():
            sequence = rng.choice(self.of[person])
            chosen = np.sort(rng.choice(self.parts.shape[1], frames, replace=False))
            maps.append(self.parts[sequence][chosen])
            points.append(self.points[sequence][chosen])
        return torch.from_numpy(np.stack(maps)).float() / 255, torch.from_numpy(np.stack(points)).float()


@torch.no_grad()
def embed(model: GaitHeat, maps: Tensor) -> np.ndarray:
    """Embeddings `[n, parts, dim]` of sequences `[n, s, 1 + k, 64, 48]`."""
    model.eval()
    out = []
    for chunk in maps.split(8):
        with torch.autocast("cpu", torch.bfloat16):
            pooled = model.features(chunk.flatten(0, 1))[2].unflatten(0, chunk.shape[:2]).amax(1)
        out.append(model.embed("fusion", pooled.float()).after)
    model.train()
    return torch.cat(out).numpy()


def score(embeddings: np.ndarray, people: np.ndarray, views: np.ndarray) -> dict[str, float]:
    """Rank-1 across views, EER and open-set FNIR with half of the people enrolled from view 0."""
    distances = pairwise(embeddings, embeddings)
    other = views[:, None] != views[None]
    found = retrieve(distances, people, people, views, views)
    enrolled = (views == 0) & (people < np.median(people))
    rest = views != 0
    opened = search(distances[np.ix_(rest, enrolled)], people[rest], people[enrolled])
    curve = verify(*pairs(distances, people, people, other))
    return {
        "rank1": found.rank1,
        "eer": 100 * curve.eer,
        "eer_threshold": curve.eer_threshold,
        "fnir_at_fpir_1": 100 * opened.fnir_at_fpir(0.01),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--people", type=int, default=800)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, nargs=3, default=(10, 4, 4), metavar=("P", "K", "FRAMES"))
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--ce", type=float, default=0.5, help="weight of the cross-entropy")
    parser.add_argument("--teacher", type=Path, required=True, help="written by train_teacher.py")
    parser.add_argument("--teach", type=float, default=4.0, help="weight of the teacher's embeddings")
    parser.add_argument("--rendered", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="share of rendered sequences")
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    join()
    train(args)


def train(args: argparse.Namespace) -> None:
    """The loop; the learning rate follows the clock, so that a run fits its time."""
    bank, unseen = WalkBank(args.seed, args.people), WalkBank(args.seed + 5000, 60, 2)
    model = GaitHeat(CHANNELS, dim=DIM, identities=args.people).to(memory_format=torch.channels_last)
    traits = nn.Linear(16 * DIM, bank.traits.shape[1])
    teacher = load_teacher(args.teacher)
    pupil = nn.Linear(16 * DIM, TEACHER_DIM)
    views = nn.Sequential(nn.BatchNorm1d(16 * CHANNELS[3]), nn.Linear(16 * CHANNELS[3], 5))
    if args.resume:
        state = torch.load(args.resume, weights_only=True)
        same = model.state_dict()
        known = {k: v for k, v in state["model"].items() if v.shape == same[k].shape}
        model.load_state_dict(known, strict=False)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98), use_buffers=True
    )
    rendered = Rendered(args.rendered) if args.rendered else None
    parameters = [*model.parameters(), *traits.parameters(), *views.parameters(), *pupil.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=2e-4)
    rank = my_rank()
    rng = torch.Generator().manual_seed(args.seed + 77 * rank)
    numbers = np.random.default_rng(args.seed + 77 * rank)
    held = unseen_maps(unseen)
    start, step, last = time.monotonic(), 0, 0.0
    shown: dict[str, float] = {}
    seen = torch.tensor(SEEN)
    log = (args.out / "log.jsonl").open("a")
    while (elapsed := seconds_since(start) / (60 * args.minutes)) < 1:
        warm = min(1.0, (step + 1) / 60)
        rate = args.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * elapsed)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        people, maps, view, points = batch(args, bank, rendered, rng, numbers)
        with torch.no_grad():
            taught = teacher(align_points(points))
        with torch.autocast("cpu", torch.bfloat16):
            n, s = maps.shape[:2]
            features = model.features(maps.flatten(0, 1))
        loss = torch.zeros(())
        for name, feature in zip(("part", "global", "fusion"), features, strict=True):
            pooled = feature.float().unflatten(0, (n, s)).amax(1)
            branch = model.embed(name, pooled)
            weight = 2.0 if name == "fusion" else 0.5
            far, ce = triplet(branch.before, people), cross_entropy(branch, people)
            loss = loss + weight * (far + args.ce * ce)
            if name == "fusion":
                error = (traits(branch.after.flatten(1) * 4) - bank.traits[people]) ** 2
                told = (error * seen).sum(1).mean() / seen.sum()
                guessed = views(pool_rows(pooled).flatten(1))[: len(view)]
                placed = F.mse_loss(guessed, view) if len(view) else torch.zeros(())
                copied = F.mse_loss(pupil(branch.after.flatten(1) * 4), taught)
                loss = loss + 1.0 * told + 0.5 * placed + args.teach * copied
                parts = {"teacher": copied, "triplet": far, "ce": ce, "traits": told, "view": placed}
                values = {key: part.item() for key, part in parts.items()}
                for key, value in values.items():
                    shown[key] = 0.95 * shown.get(key, value) + 0.05 * value
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        average.update_parameters(model)
        step += 1
        minutes = elapsed * args.minutes
        if rank:
            continue
        if step % 20 == 0:
            rounded = {k: round(v, 3) for k, v in shown.items()}
            print(f"{minutes:6.1f} min step {step} lr {rate:.1e}", rounded, flush=True)
        if minutes - last > 3 or (step == 100 and not args.resume):
            last = minutes
            result = score(embed(average.module, held), *unseen_labels())
            print(f"{minutes:6.1f} min step {step} unseen {result}", flush=True)
            log.write(json.dumps({"minutes": minutes, "step": step, **shown, **result}) + "\n")
            log.flush()
            save(args, average.module, traits)
    if rank:
        return
    save(args, average.module, traits)
    print("final", score(embed(average.module, held), *unseen_labels()))


def batch(
    args: argparse.Namespace, bank: WalkBank, rendered: Rendered | None, rng: torch.Generator,
    numbers: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Identities `[P * K]`, part maps `[P * K, frames, 1 + parts, 64, 48]`, views, true joints."""
    p, k, frames = args.batch
    pool = len(bank) if rendered is None else len(rendered.people)
    chosen = torch.randperm(pool, generator=rng)[:p]
    if rendered is not None:
        chosen = torch.from_numpy(rendered.people)[chosen]
    real = round(k * args.share) if rendered is not None else 0
    drawn = chosen.repeat_interleave(k - real)
    maps, people, joints = [], [], []
    view = torch.zeros((0, 5))
    if k > real:
        noise = Noise()
        points, view = draw_keypoints(bank, drawn, frames, rng, noise)
        maps.append(draw_parts(points, rng, noise))
        people.append(drawn)
        joints.append(points)
    if rendered is not None and real:
        people.append(chosen.repeat_interleave(real))
        shown, where = rendered.draw(people[-1], frames, numbers)
        maps.append(shown)
        joints.append(where)
    return torch.cat(people), torch.cat(maps), view, torch.cat(joints)


VIEWS, PER_VIEW = 4, 1


def unseen_maps(bank: WalkBank, frames: int = 16) -> Tensor:
    """Every unseen person from `VIEWS` cameras around, with a typical pose model's errors."""
    rng = torch.Generator().manual_seed(7)
    noise = Noise()
    maps = []
    for view in range(VIEWS):
        azimuth = torch.rand(len(bank), generator=rng) * math.pi / 2 + view * math.pi / 2
        points, _ = draw_keypoints(bank, torch.arange(len(bank)), frames, rng, noise, azimuth=azimuth)
        maps.append(draw_parts(points, rng, noise))
    return torch.cat(maps)


def unseen_labels(people: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Identities and views of `unseen_maps`."""
    return np.tile(np.arange(people), VIEWS), np.repeat(np.arange(VIEWS), people)


def save(args: argparse.Namespace, model: GaitHeat, traits: nn.Module) -> None:
    """The checkpoint in the released layout, without the training identities' classifiers in the export."""
    target = args.out / "gait.pt"
    torch.save({"model": model.state_dict(), "traits": traits.state_dict()}, target.with_suffix(".tmp"))
    target.with_suffix(".tmp").replace(target)


if __name__ == "__main__":
    main()
