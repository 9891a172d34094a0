"""Adapt the fusion head of a demo gait model to whole windows of rendered people.

    python scripts/train/train_head.py --gait runs/gait/gait.pt --rendered runs/walks --out runs/final/gait.pt

`train_gait.py` sees a handful of frames of a sequence at a time, since convolutions are dear; what the
pipeline embeds is the maximum over a whole window, which is higher. With the convolutions kept, windows cost
almost nothing: they are encoded once, projections and necks learn from many of them to tell people apart, and
the neck's statistics are taken anew. Of what was learnt only a quarter is taken over: the rest fits those it
was learnt from. At last directions in which one person's windows differ as much as people do are shrunk.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
from head import Head, identity_loss
from schedule import follow_clock
from torch import Tensor
from train_gait import score, seen_before

from gaitstream.export.checkpoints import load_gaitheat
from gaitstream.export.gaitheat import GaitHeat
from gaitstream.export.heads import pool_rows

SHARE = 0.25
"""Of the newly trained head in the average of both."""


def fusion_head(model: GaitHeat, people: int) -> Head:
    """The head of the fusion branch, with a new classifier."""
    fcs, necks = model.get_submodule("FCs_fusion"), model.get_submodule("BNNecks_fusion")
    parts, channels, dim = fcs.get_parameter("fc_bin").shape
    head = Head(parts, channels, dim, people)
    head.fcs.load_state_dict(fcs.state_dict())
    head.necks.bn1d.load_state_dict(necks.get_submodule("bn1d").state_dict())
    return head.train()


@torch.no_grad()
def encode(model: GaitHeat, folder: Path, windows: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Rows of windows of these many random frames of every pass, `[passes, windows, parts, channels]`.

    The identities `[passes]` come second.
    """
    parts = np.load(folder / "parts.npy", mmap_mode="r")
    features = torch.compile(model.features)
    rng = np.random.default_rng(3)
    rows = []
    start = time.monotonic()
    for index in range(len(parts)):
        maps = torch.from_numpy(parts[index]).float().div_(255).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            fused = features(maps)[2].float()
        chosen = [rng.choice(len(fused), min(count, len(fused)), replace=False) for count in windows]
        rows.append(pool_rows(torch.stack([fused[some].amax(0) for some in chosen])))
        if index % 1000 == 999:
            print(f"{index + 1} passes, {time.monotonic() - start:.0f} s", flush=True)
    return torch.stack(rows), torch.from_numpy(np.load(folder / "people.npy"))


@torch.no_grad()
def average(head: Head, before: Head, rows: Tensor) -> None:
    """Move towards the head as it was, and take the neck's statistics from whole windows `[n, parts, c]`."""
    for new, old in zip(head.parameters(), before.parameters(), strict=True):
        new.lerp_(old, 1 - SHARE)
    # The layout of the neck: channel-major.
    flat = head.fcs(rows).transpose(1, 2).flatten(1)
    norm = head.necks.bn1d
    norm.get_buffer("running_mean").copy_(flat.mean(0))
    norm.get_buffer("running_var").copy_(flat.var(0))


@torch.no_grad()
def shrink(head: Head, rows: Tensor, people: Tensor) -> None:
    """Replace each strip by what its person's mean is expected to be, given one window (Wiener's filter).

    With covariances B of people's means and W of a person's windows that is B (B + W)^-1 (y - m) + m, which
    projection and neck can express together.

    Args:
        head: changed in place.
        rows: whole windows `[n, parts, channels]`.
        people: whose they are, `[n]`.
    """
    head.eval()
    norm = head.necks.bn1d
    parts, _, dim = head.fcs.fc_bin.shape

    def strips(of: Tensor) -> Tensor:
        """Per strip, from the channel-major layout of the neck: `[n, parts, dim]`."""
        return of.unflatten(-1, (dim, parts)).transpose(-1, -2)

    def flat(of: Tensor) -> Tensor:
        return of.transpose(-1, -2).flatten(-2)

    after = strips(norm(flat(head.fcs(rows))))
    _, whose, count = people.unique(return_inverse=True, return_counts=True)
    means = torch.zeros(len(count), parts, dim).index_add_(0, whose, after) / count[:, None, None]
    within = _scatter(after - means[whose]) / (len(after) - len(count))
    total = _scatter(after - after.mean(0)) / (len(after) - 1)
    keep = torch.linalg.solve(total, total - within)
    scale = strips(norm.weight / (norm.get_buffer("running_var") + norm.eps).sqrt())
    head.fcs.fc_bin.copy_(head.fcs.fc_bin * scale[:, None] @ keep)
    moved = flat(head.fcs(rows))
    norm.get_buffer("running_mean").copy_(moved.mean(0))
    norm.get_buffer("running_var").copy_(moved.var(0))
    norm.weight.copy_((moved.var(0) + norm.eps).sqrt())
    norm.bias.copy_(flat(after.mean(0)))
    head.train()


def _scatter(x: Tensor) -> Tensor:
    """Sums of products of dimensions, `[n, parts, dim]` to `[parts, dim, dim]`."""
    return torch.einsum("npi,npj->pij", x, x)


def train(head: Head, rows: Tensor, people: Tensor, minutes: float, rate: float) -> None:
    """Learn to tell people apart from windows `[passes, windows, parts, channels]`."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.02)
    start, step = time.monotonic(), 0
    while (elapsed := (time.monotonic() - start) / (60 * minutes)) < 1:
        follow_clock(optimizer, rate, step, elapsed, warm=100)
        chosen = torch.randint(len(rows), (256,))
        window = torch.randint(rows.shape[1], (256,))
        _, cosines = head.embed(rows[chosen, window])
        loss = identity_loss(cosines, people[chosen], smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 200 == 0:
            print(f"{elapsed * minutes:.1f} min step {step} loss {loss:.3f}", flush=True)


@torch.no_grad()
def report(what: str, head: Head, rows: Tensor, people: Tensor) -> None:
    """Print the scores of people left out, on whole windows."""
    head.eval()
    embeddings = head.embed(rows[:, 0])[0].numpy()
    head.train()
    figures = score(embeddings, people.numpy(), seen_before(people.numpy()))
    print(what, {key: round(value, 2) for key, value in figures.items()}, flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gait", type=Path, required=True, help="written by train_gait.py")
    parser.add_argument("--rendered", type=Path, nargs="+", required=True, help="written by render_gait.py")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = load_gaitheat(args.gait)
    encoded = [encode(model, folder, (1000, 20, 16, 12)) for folder in args.rendered]
    rows, names = torch.cat([r for r, _ in encoded]), torch.cat([p for _, p in encoded])
    known, people = names.unique(return_inverse=True)
    held = people >= len(known) * 95 // 100
    head = fusion_head(model, len(known))
    print(f"{len(rows)} passes of {len(known)} people")
    report("as it came", head, rows[held], people[held])
    before = copy.deepcopy(head)
    train(head, rows[~held], people[~held], args.minutes, args.rate)
    report("trained", head, rows[held], people[held])
    average(head, before, rows[~held, 0])
    report("averaged", head, rows[held], people[held])
    shrink(head, rows[~held, 0], people[~held])
    report("shrunk", head, rows[held], people[held])
    state = torch.load(args.gait, weights_only=True)["model"]
    state["FCs_fusion.fc_bin"] = head.fcs.fc_bin.detach()
    for name, value in head.necks.bn1d.state_dict().items():
        state[f"BNNecks_fusion.bn1d.{name}"] = value
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state}, args.out)


if __name__ == "__main__":
    main()
