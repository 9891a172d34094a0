"""Fit the fusion head of a gait model anew to many whole windows of drawn people, in closed form.

    python training/fit_metric.py --gait runs/recovered.pt --out runs/gait/metric.pt

Convolutions stay as they are. Drawing windows costs little, so the head can see thousands of people of both
kinds of walk, from every side and height, through the errors of many pose models: enough to take strip by
strip the directions in which people differ most for how much their windows do (linear discriminants).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from fit_head import fusion_head, report, save_head, take_statistics
from head import Head
from torch import Tensor
from walks import CROWD, KINDS, Noise, WalkBank, draw_keypoints, draw_parts

from gaitstream.cli.script import run_script
from gaitstream.models.gaitheat.checkpoint import load_module as load_gaitheat
from gaitstream.models.gaitheat.module import GaitHeat
from gaitstream.models.graphs.heads import pool_rows

FRAMES = 24
HELD = CROWD + 9000
RIDGE = 0.02
"""Of the mean variance, added to what differs between windows."""


@torch.no_grad()
def encode_drawn(
    model: GaitHeat, bank: WalkBank, windows: int, seed: int, batch: int = 8
) -> tuple[Tensor, Tensor]:
    """Rows of drawn windows, `[people * windows, parts, channels]`, and whose they are."""
    rng = torch.Generator().manual_seed(seed)
    noise = Noise()
    features = torch.compile(model.features)
    people = torch.arange(len(bank)).repeat_interleave(windows)
    rows, start = [], time.monotonic()
    for index, some in enumerate(people.split(batch)):
        maps = draw_parts(draw_keypoints(bank, some, FRAMES, rng, noise), rng, noise).flatten(0, 1)
        with torch.autocast("cpu", torch.bfloat16):
            fused = features(maps.contiguous(memory_format=torch.channels_last))[2].float()
        rows.append(pool_rows(fused.unflatten(0, (len(some), FRAMES)).amax(1)))
        if index % 100 == 99:
            print(f"{(index + 1) * batch} windows, {time.monotonic() - start:.0f} s", flush=True)
    return torch.cat(rows), people


@torch.no_grad()
def fit_discriminants(head: Head, rows: Tensor, people: Tensor, power: float = 0.5) -> None:
    """Replace a head's projections and neck by linear discriminants of its windows.

    In each strip what differs within people becomes white; a direction then counts by how much people
    differ in it: a gain of b / (b + 1) where people's variance is b, to a power (1 is the estimate of a
    person's mean).

    Args:
        head: changed in place; its projections keep their shape.
        rows: `[n, parts, channels]`.
        people: whose they are, `[n]`.
        power: see above.
    """
    parts, _, dim = head.fcs.fc_bin.shape
    _, whose, count = people.unique(return_inverse=True, return_counts=True)
    mean = rows.mean(0)
    means = torch.zeros(len(count), *rows.shape[1:]).index_add_(0, whose, rows) / count[:, None, None]
    rest = rows - means[whose]
    within = torch.einsum("npi,npj->pij", rest, rest) / (len(rows) - len(count))
    apart = means - mean
    each = float(count.float().mean())
    between = torch.einsum("npi,npj->pij", apart, apart) / len(count) - within / each
    for part in range(parts):
        steady = within[part] + RIDGE * within[part].diagonal().mean() * torch.eye(len(within[part]))
        white = torch.linalg.inv(torch.linalg.cholesky(steady))
        sizes, axes = torch.linalg.eigh(white @ between[part] @ white.T)
        sizes, axes = sizes.flip(0).clamp(min=0)[:dim], axes.flip(1)[:, :dim]
        gain = (sizes / (sizes + 1)) ** power
        head.fcs.fc_bin[part].copy_((axes.T @ white).T * gain)
    norm = head.necks.bn1d
    take_statistics(head, rows)
    norm.weight.copy_((norm.get_buffer("running_var") + norm.eps).sqrt())
    norm.bias.zero_()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gait", type=Path, required=True)
    parser.add_argument("--people", type=int, default=1500)
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=Path, help="keep the encoded windows here, and take them from here")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    model = load_gaitheat(args.gait).to(memory_format=torch.channels_last)
    train = kept_rows(args, model, "train", CROWD, args.people, args.windows)
    held = kept_rows(args, model, "held", HELD, 120, 4)
    head = fusion_head(model)
    report_kinds("as it came", head, held, args.kinds)
    take_statistics(head, train[0])
    report_kinds("statistics of whole windows", head, held, args.kinds)
    for power in (0.25, 0.5, 0.75, 1.0):
        fit_discriminants(head, *train, power)
        report_kinds(f"discriminants, gain to the power of {power}", head, held, args.kinds)
    fit_discriminants(head, *train)
    save_head(head, args.gait, args.out)


def report_kinds(what: str, head: Head, held: tuple[Tensor, Tensor], kinds: list[str]) -> None:
    """Print the scores of people of each kind of walk among themselves."""
    rows, people = held
    for number, kind in enumerate(kinds):
        chosen = people % len(kinds) == number
        report(f"{what}, {kind}", head, rows[chosen], people[chosen])


def kept_rows(
    args: argparse.Namespace, model: GaitHeat, name: str, seed: int, people: int, windows: int
) -> tuple[Tensor, Tensor]:
    """Encoded windows of a crowd, from the folder `--rows` if they are there."""
    path = args.rows / f"{name}.npz" if args.rows else None
    if path is not None and path.exists():
        data = np.load(path)
        return torch.from_numpy(data["rows"]), torch.from_numpy(data["people"])
    bank = WalkBank(seed, people, 3, args.kinds)
    rows, whose = encode_drawn(model, bank, windows, seed)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, rows=rows.numpy(), people=whose.numpy())
    return rows, whose


if __name__ == "__main__":
    run_script(main)
