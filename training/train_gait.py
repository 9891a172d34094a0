"""Train the demo gait model: GaitHeat at reduced width on the synthetic world.

    python training/train_gait.py --teacher runs/teacher.pt --rendered runs/walks --out runs/gait

`docs/demo-models.md` has the steps before and after.

Triplet loss (batch all, margin 0.2) on every part before the neck and cross-entropy after it, for the three
branches, as published; besides, the fusion branch learns what `train_teacher.py` computed from the true
joints, strip by strip, which spares it a great deal of searching. The heatmaps are drawn ideal ones with a
pose model's errors (`walks.py`) and, with `--rendered`, those of the demo pose model on rendered people.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from head import identity_loss
from networks import CHANNELS, DEPTHS, DIM
from schedule import follow_clock
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from train_teacher import Teacher, load_teacher
from walks import CROWD, KINDS, Noise, WalkBank, align_points, draw_keypoints, draw_parts
from workers import join, my_rank, seconds_since, share_gradients

from gaitstream.cli.script import run_script
from gaitstream.evaluate.distances import pairwise
from gaitstream.evaluate.openset import search
from gaitstream.evaluate.retrieval import retrieve
from gaitstream.evaluate.verification import pairs, verify
from gaitstream.models.gaitheat.module import BranchOutput, GaitHeat
from gaitstream.models.graphs.heads import pool_rows
from gaitstream.models.graphs.resnet import BasicBlock

MARGIN = 0.2
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
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, nargs=3, default=(18, 2, 4), metavar=("P", "K", "FRAMES"))
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument(
        "--names", type=float, default=0.1, help="weight of the triplet loss and cross-entropy"
    )
    parser.add_argument("--teacher", type=Path, required=True, help="written by train_teacher.py")
    parser.add_argument("--rendered", type=Path, help="written by render_gait.py")
    parser.add_argument("--share", type=float, default=0.5, help="share of rendered sequences")
    parser.add_argument("--held", type=Path, help="people not trained on, written by render_gait.py")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=["formula"], help="of walk, taking turns"
    )
    parser.add_argument("--walks", type=int, default=2, help="of every person")
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--trunk", type=Path, help="checkpoint to take convolutions from; may lack blocks")
    parser.add_argument("--freeze", type=int, default=0, help="stages, from the first, that stay as they are")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    join()
    train(args)


class Lessons:
    """Losses of one batch."""

    def __init__(self, model: GaitHeat, teacher: Teacher, bank: WalkBank, rng: torch.Generator) -> None:
        self.model, self.teacher = model, teacher
        self.features = torch.compile(model.features)
        points = draw_keypoints(bank, torch.randint(len(bank), (500,), generator=rng), 4, rng, Noise())
        spread = teacher.features(align_points(points).flatten(0, 1)).std((0, 1))
        # Channels that died in the teacher's training teach nothing.
        self.weight = torch.where(spread > 0.01, 1 / spread, 0.0) / (spread > 0.01).float().mean().sqrt()

    def __call__(self, maps: Tensor, points: Tensor, people: Tensor) -> dict[str, Tensor]:
        """Distances to what the teacher makes of the true joints, and the published losses.

        Args:
            maps: `[n, frames, 1 + parts, 64, 48]`.
            points: true joints in heatmap pixels `[n, frames, 17, 2]`.
            people: identities `[n]`.
        """
        with torch.no_grad():
            wanted = self.teacher.features(align_points(points).flatten(0, 1))
            embedding, _ = self.teacher.embed(wanted.unflatten(0, maps.shape[:2]).amax(1))
        with torch.autocast("cpu", torch.bfloat16):
            features = [feature.float() for feature in self.features(maps.flatten(0, 1))]
        losses = {"triplet": torch.zeros(()), "ce": torch.zeros(())}
        for name, feature in zip(("part", "global", "fusion"), features, strict=True):
            branch = self.model.embed(name, feature.unflatten(0, maps.shape[:2]).amax(1))
            weight = 0.6 if name == "fusion" else 0.2
            losses["triplet"] = losses["triplet"] + weight * triplet(branch.before, people)
            losses["ce"] = losses["ce"] + weight * cross_entropy(branch, people)
        # The fusion branch comes last.
        losses["features"] = (((pool_rows(features[-1]) - wanted) * self.weight) ** 2).mean()
        losses["identity"] = identity_loss(branch.logits.float().mean(1), people)
        losses["embedding"] = 1 - F.cosine_similarity(branch.after, embedding, dim=-1).mean()
        return losses


def start_model(args: argparse.Namespace, teacher: Teacher) -> GaitHeat:
    """The model with the teacher's head, or as a checkpoint has it."""
    model = GaitHeat(CHANNELS, dim=DIM, identities=teacher.crowd, depths=DEPTHS)
    if args.resume:
        model.load_state_dict(torch.load(args.resume, weights_only=True)["model"])
    else:
        if args.trunk:
            take_over(model, torch.load(args.trunk, weights_only=True)["model"])
        model.FCs_fusion.load_state_dict(teacher.fcs.state_dict())
        model.BNNecks_fusion.load_state_dict(teacher.necks.state_dict())
    stages = [[model.Backbone1], *map(list, model.stages())]
    for networks in stages[: args.freeze]:
        for network in networks:
            network.eval().requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def take_over(model: GaitHeat, state: dict[str, Tensor]) -> None:
    """Load the convolutions of a shallower model; further blocks begin by changing nothing."""
    model.load_state_dict({k: v for k, v in state.items() if k.startswith("Backbone")}, strict=False)
    for name, module in model.named_modules():
        if isinstance(module, BasicBlock) and f"{name}.conv1.weight" not in state:
            torch.nn.init.zeros_(module.bn2.weight)


def train(args: argparse.Namespace) -> None:
    """The loop; the learning rate follows the clock, so that a run fits its time."""
    teacher = load_teacher(args.teacher)
    bank = WalkBank(CROWD, teacher.crowd, args.walks, args.kinds)
    unseen = WalkBank(CROWD + 5000, 60, 2, args.kinds)
    model = start_model(args, teacher)
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    rendered = Rendered(args.rendered) if args.rendered else None
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=1e-4)
    rank = my_rank()
    rng = torch.Generator().manual_seed(args.seed + 77 * rank)
    numbers = np.random.default_rng(args.seed + 77 * rank)
    lessons = Lessons(model, teacher, bank, rng)
    weights = {
        "features": 1.0,
        "embedding": 1.0,
        "triplet": args.names,
        "ce": args.names,
        "identity": args.names,
    }
    held = {"drawn": unseen_maps(unseen)}
    if args.held:
        held["rendered"] = held_maps(args.held)
    start, step, last = time.monotonic(), 0, 0.0
    shown: dict[str, float] = {}
    log = (args.out / "log.jsonl").open("a")
    while (elapsed := seconds_since(start) / (60 * args.minutes)) < 1:
        rate = follow_clock(optimizer, args.rate, step, elapsed, warm=60)
        losses = lessons(*batch(args, bank, rendered, rng, numbers))
        loss = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        average.update_parameters(model)
        step += 1
        for key, value in losses.items():
            shown[key] = 0.95 * shown.get(key, value.item()) + 0.05 * value.item()
        minutes = elapsed * args.minutes
        if rank:
            continue
        if step % 50 == 0:
            rounded = {k: round(v, 3) for k, v in shown.items()}
            print(f"{minutes:6.1f} min step {step} lr {rate:.1e}", rounded, flush=True)
        if minutes - last > 4:
            last = minutes
            result = {
                name: score(embed(average.module, maps), *labels) for name, (maps, *labels) in held.items()
            }
            print(f"{minutes:6.1f} min step {step} {result}", flush=True)
            log.write(json.dumps({"minutes": minutes, "step": step, **shown, **result}) + "\n")
            log.flush()
            save(args, average.module)
    if rank:
        return
    save(args, average.module)
    for name, (maps, *labels) in held.items():
        print("final", name, score(embed(average.module, maps), *labels))


def batch(
    args: argparse.Namespace, bank: WalkBank, rendered: Rendered | None, rng: torch.Generator,
    numbers: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Part maps `[P * K, frames, 1 + parts, 64, 48]`, true joints, identities `[P * K]`."""
    p, k, frames = args.batch
    noise = Noise()
    crowd = torch.arange(len(bank)) if rendered is None else torch.from_numpy(rendered.people)
    chosen = crowd[torch.randperm(len(crowd), generator=rng)[:p]]
    people = chosen.repeat_interleave(k)
    if rendered is not None and numbers.random() < args.share:
        maps, points = rendered.draw(people, frames, numbers)
    else:
        people = torch.randperm(len(bank), generator=rng)[:p].repeat_interleave(k)
        points = draw_keypoints(bank, people, frames, rng, noise)
        maps = draw_parts(points, rng, noise)
    return maps, points, people


VIEWS = 4


def unseen_maps(bank: WalkBank, frames: int = 16) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Every unseen person from `VIEWS` cameras around, as drawn; identities and views."""
    rng = torch.Generator().manual_seed(7)
    noise = Noise()
    maps = []
    for view in range(VIEWS):
        azimuth = torch.rand(len(bank), generator=rng) * math.pi / 2 + view * math.pi / 2
        points = draw_keypoints(bank, torch.arange(len(bank)), frames, rng, noise, azimuth=azimuth)
        maps.append(draw_parts(points, rng, noise))
    people = np.arange(len(bank))
    return torch.cat(maps), np.tile(people, VIEWS), np.repeat(np.arange(VIEWS), len(people))


def held_maps(folder: Path) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Rendered people; how often one was met before stands for the view."""
    maps = torch.from_numpy(np.load(folder / "parts.npy")).float() / 255
    people = np.load(folder / "people.npy")
    return maps, people, seen_before(people)


def seen_before(people: np.ndarray) -> np.ndarray:
    """How often each person of a list was met in it before."""
    return np.array([(people[:i] == person).sum() for i, person in enumerate(people)])


def save(args: argparse.Namespace, model: GaitHeat) -> None:
    """The checkpoint in the released layout."""
    target = args.out / "gait.pt"
    torch.save({"model": model.state_dict()}, target.with_suffix(".tmp"))
    target.with_suffix(".tmp").replace(target)


if __name__ == "__main__":
    run_script(main)
