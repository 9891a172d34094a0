"""Train the demo's second gait model: GaitBase at reduced width on rendered silhouettes.

    python training/train_gaitbase.py --rendered runs/outlines --held runs/held-outlines --out runs/gaitbase

Triplet loss (batch all, margin 0.2) on every part before the neck and cross-entropy after it, as published,
and cross-entropy over all parts together.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from head import identity_loss
from networks import OUTLINE_CHANNELS, OUTLINE_DIM
from schedule import follow_clock
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from train_gait import SCALE, score, seen_before, triplet

from gaitstream.cli.script import run_script
from gaitstream.models.gaitbase.module import GaitBase

PARTS = 16


class Outlines:
    """Silhouettes written by `render_silhouettes.py`."""

    def __init__(self, folders: list[Path]) -> None:
        self.silhouettes = np.concatenate([np.load(folder / "silhouettes.npy") for folder in folders])
        self.people = np.concatenate([np.load(folder / "people.npy") for folder in folders])
        self.names = np.unique(self.people)
        self.of = [np.flatnonzero(self.people == name) for name in self.names]

    def draw(self, people: int, walks: int, frames: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Some frames of some walks of some people: `[people * walks, frames, 1, 64, 44]`, and who."""
        chosen = rng.choice(len(self.names), people, replace=False)
        rows = np.concatenate([rng.choice(self.of[one], walks) for one in chosen])
        moments = rng.permuted(np.tile(np.arange(self.silhouettes.shape[1]), (len(rows), 1)), axis=1)
        picked = self.silhouettes[rows[:, None], moments[:, :frames]]
        return network_input(picked), torch.from_numpy(chosen.repeat(walks))


def network_input(silhouettes: np.ndarray) -> Tensor:
    """Bytes `[n, frames, 64, 44]` to `[n, frames, 1, 64, 44]` in 0..1."""
    return torch.from_numpy(silhouettes)[:, :, None].float() / 255


def disturb(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirror walks, move them a little, hide a patch of some."""
    x = torch.where(torch.from_numpy(rng.random(len(x)) < 0.5)[:, None, None, None, None], x.flip(-1), x)
    for walk in x:
        if rng.random() < 0.5:
            walk.copy_(walk.roll((int(rng.integers(-1, 2)), int(rng.integers(-2, 3))), (-2, -1)))
        if rng.random() < 0.25:
            top, left = int(rng.integers(0, 56)), int(rng.integers(0, 34))
            walk[:, :, top : top + int(rng.integers(4, 14)), left : left + int(rng.integers(4, 14))] = 0
    return x


@torch.no_grad()
def pooled_rows(model: GaitBase, silhouettes: np.ndarray) -> Tensor:
    """Pooled maps of whole windows, `[n, c, 16, 11]`."""
    model.eval()
    rows = []
    for start in range(0, len(silhouettes), 16):
        x = network_input(silhouettes[start : start + 16])
        rows.append(model.features(x.flatten(0, 1)).unflatten(0, x.shape[:2]).amax(1))
    return torch.cat(rows)


@torch.no_grad()
def figures(model: GaitBase, outlines: Outlines, rows: Tensor) -> dict[str, float]:
    """How well people are told apart by whole windows."""
    found = score(model.embed(rows).numpy(), outlines.people, seen_before(outlines.people))
    return {name: round(value, 2) for name, value in found.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rendered", type=Path, nargs="+", required=True)
    parser.add_argument("--held", type=Path, nargs="+", required=True, help="people not trained on")
    parser.add_argument("--minutes", type=float, default=14)
    parser.add_argument("--batch", type=int, nargs=3, default=(16, 3, 4), metavar=("P", "K", "FRAMES"))
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", type=Path, help="gaitbase.pt of an earlier run over the same people")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    train(args, Outlines(args.rendered), Outlines(args.held))


def train(args: argparse.Namespace, crowd: Outlines, held: Outlines) -> None:
    """The loop; the learning rate follows the clock, so that a run fits its time."""
    model = GaitBase(OUTLINE_CHANNELS, OUTLINE_DIM, PARTS, len(crowd.names))
    if args.resume:
        model.load_state_dict(torch.load(args.resume, weights_only=True)["model"])
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=5e-4)
    rng = np.random.default_rng(args.seed)
    start, step, last = time.monotonic(), 0, 0.0
    while (elapsed := (time.monotonic() - start) / (60 * args.minutes)) < 1:
        follow_clock(optimizer, args.rate, step, elapsed)
        x, people = crowd.draw(*args.batch, rng)
        losses = losses_of(model, disturb(x, rng), people)
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(model)
        step += 1
        minutes = elapsed * args.minutes
        if step % 50 == 0:
            shown = {name: round(value.item(), 3) for name, value in losses.items()}
            print(f"{minutes:6.1f} min step {step} {shown}", flush=True)
        if minutes - last > 3:
            last = minutes
            print(figures(average.module, held, pooled_rows(average.module, held.silhouettes)), flush=True)
            torch.save({"model": average.module.state_dict()}, args.out / "gaitbase.pt")
    torch.save({"model": average.module.state_dict()}, args.out / "gaitbase.pt")
    finish(args, average.module, held, step)


def losses_of(model: GaitBase, x: Tensor, people: Tensor) -> dict[str, Tensor]:
    """The published losses, and one over all parts together."""
    with torch.autocast("cpu", torch.bfloat16):
        maps = model.features(x.flatten(0, 1))
    before = model.embed(maps.float().unflatten(0, x.shape[:2]).amax(1))
    logits = model.BNNecks(before)[1]
    repeated = people.repeat_interleave(logits.shape[1])
    return {
        "triplet": triplet(before, people),
        "ce": 0.3 * F.cross_entropy(logits.flatten(0, 1) * SCALE, repeated, label_smoothing=0.1),
        "identity": 0.3 * identity_loss(logits.mean(1), people),
    }


def finish(args: argparse.Namespace, model: GaitBase, held: Outlines, steps: int) -> None:
    """Write the checkpoint as OpenGait does, without neck and classifier, and how good it is."""
    result = {
        "minutes": args.minutes, "steps": steps, **figures(model, held, pooled_rows(model, held.silhouettes)),
    }  # fmt: skip
    print(result, flush=True)
    (args.out / "training.json").write_text(json.dumps(result, indent=2))
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("BNNecks.")}
    torch.save({"model": state}, args.out / "final.pt")


if __name__ == "__main__":
    run_script(main)
