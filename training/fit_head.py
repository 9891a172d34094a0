"""Fit the fusion head of a demo gait model to whole windows of rendered people, in closed form.

    python training/fit_head.py --gait runs/gait/gait.pt --rendered runs/walks --out runs/gait/final.pt

`train_gait.py` sees a handful of frames of a sequence at a time, since convolutions are dear; what the
pipeline embeds is the maximum over a whole window, which is higher. So the neck's statistics are taken anew
from whole windows, and directions in which one person's windows differ as much as people do are shrunk.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from head import Head
from torch import Tensor
from train_gait import score, seen_before

from gaitstream.cli.script import run_script
from gaitstream.models.gaitheat.checkpoint import load_module as load_gaitheat
from gaitstream.models.gaitheat.module import GaitHeat
from gaitstream.models.graphs.heads import pool_rows

AMOUNT = 0.5
"""How far to go towards the filter that fits these windows best: other pose models err otherwise."""


def fusion_head(model: GaitHeat) -> Head:
    """The head of the fusion branch, without a classifier."""
    fcs, necks = model.get_submodule("FCs_fusion"), model.get_submodule("BNNecks_fusion")
    parts, channels, dim = fcs.get_parameter("fc_bin").shape
    head = Head(parts, channels, dim, 0)
    head.fcs.load_state_dict(fcs.state_dict())
    head.necks.bn1d.load_state_dict(necks.get_submodule("bn1d").state_dict())
    return head.eval()


@torch.no_grad()
def encode(model: GaitHeat, folder: Path) -> tuple[Tensor, Tensor]:
    """Rows of whole passes, `[passes, parts, channels]`, and the identities `[passes]`."""
    parts = np.load(folder / "parts.npy", mmap_mode="r")
    features = torch.compile(model.features)
    rows = []
    start = time.monotonic()
    for index in range(len(parts)):
        maps = torch.from_numpy(parts[index].astype(np.float32) / 255)
        with torch.autocast("cpu", torch.bfloat16):
            fused = features(maps.contiguous(memory_format=torch.channels_last))[2].float()
        rows.append(pool_rows(fused.amax(0, keepdim=True))[0])
        if index % 1000 == 999:
            print(f"{index + 1} passes, {time.monotonic() - start:.0f} s", flush=True)
    return torch.stack(rows), torch.from_numpy(np.load(folder / "people.npy"))


def channel_major(strips: Tensor) -> Tensor:
    """`[..., parts, dim]` in the layout of the neck's batch normalisation, `[..., dim * parts]`."""
    return strips.transpose(-1, -2).flatten(-2)


@torch.no_grad()
def take_statistics(head: Head, rows: Tensor) -> None:
    """Take the neck's mean and variance from windows `[n, parts, channels]`."""
    projected = channel_major(head.fcs(rows))
    head.necks.bn1d.get_buffer("running_mean").copy_(projected.mean(0))
    head.necks.bn1d.get_buffer("running_var").copy_(projected.var(0))


@torch.no_grad()
def shrink(head: Head, rows: Tensor, people: Tensor) -> None:
    """Move each strip towards what its person's mean is expected to be, given one window (Wiener's filter).

    With covariances B of people's means and W of a person's windows that is B (B + W)^-1 (y - m) + m, which
    projection and neck can express together; `AMOUNT` is how far.

    Args:
        head: changed in place.
        rows: windows `[n, parts, channels]`.
        people: whose they are, `[n]`.
    """
    norm = head.necks.bn1d
    parts, _, dim = head.fcs.fc_bin.shape

    def strips(flat: Tensor) -> Tensor:
        return flat.unflatten(-1, (dim, parts)).transpose(-1, -2)

    after = strips(norm(channel_major(head.fcs(rows))))
    _, whose, count = people.unique(return_inverse=True, return_counts=True)
    means = torch.zeros(len(count), parts, dim).index_add_(0, whose, after) / count[:, None, None]
    within = _scatter(after - means[whose]) / (len(after) - len(count))
    total = _scatter(after - after.mean(0)) / (len(after) - 1)
    keep = torch.eye(dim).lerp(torch.linalg.solve(total, total - within), AMOUNT)
    scale = strips(norm.weight / (norm.get_buffer("running_var") + norm.eps).sqrt())
    head.fcs.fc_bin.copy_(head.fcs.fc_bin * scale[:, None] @ keep)
    take_statistics(head, rows)
    norm.weight.copy_((norm.get_buffer("running_var") + norm.eps).sqrt())
    norm.bias.copy_(channel_major(after.mean(0)))


def _scatter(x: Tensor) -> Tensor:
    """Sums of products of dimensions, `[n, parts, dim]` to `[parts, dim, dim]`."""
    return torch.einsum("npi,npj->pij", x, x)


@torch.no_grad()
def report(what: str, head: Head, rows: Tensor, people: Tensor) -> None:
    """Print the scores of windows."""
    figures = score(head.embed(rows)[0].numpy(), people.numpy(), seen_before(people.numpy()))
    print(what, {key: round(value, 2) for key, value in figures.items()}, flush=True)


def save_head(head: Head, checkpoint: Path, out: Path) -> None:
    """Write a checkpoint of GaitHeat again with another head for the fused strips."""
    state = torch.load(checkpoint, weights_only=True)["model"]
    state["FCs_fusion.fc_bin"] = head.fcs.fc_bin.detach()
    for name, value in head.necks.bn1d.state_dict().items():
        state[f"BNNecks_fusion.bn1d.{name}"] = value
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state}, out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gait", type=Path, required=True, help="written by train_gait.py")
    parser.add_argument("--rendered", type=Path, nargs="+", required=True, help="written by render_gait.py")
    parser.add_argument("--held", type=Path, required=True, help="people not trained on, to show the effect")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_gaitheat(args.gait).to(memory_format=torch.channels_last)
    held = encode(model, args.held)
    encoded = [encode(model, folder) for folder in args.rendered]
    rows, people = (torch.cat(values) for values in zip(*encoded, strict=True))
    head = fusion_head(model)
    report("as it came", head, *held)
    take_statistics(head, rows)
    report("statistics of whole windows", head, *held)
    shrink(head, rows, people)
    report("shrunk", head, *held)
    save_head(head, args.gait, args.out)


if __name__ == "__main__":
    run_script(main)
