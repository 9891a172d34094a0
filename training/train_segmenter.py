"""Train the demo segmenter on rendered people, and write it as ONNX with its manifest.

    python training/train_segmenter.py --data runs/masks --minutes 8 --out runs/segmenter

People who walk before and behind somebody are pasted from other crops.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from augment import photometric
from graphs import write_graph
from networks import MASK_SIZE, MaskGraph, MaskNet
from schedule import follow_clock
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from gaitstream.cli.script import run_script

INSIDE = 127.5
MANIFEST = {
    "graph": "segmenter.onnx", "layout": "probability", "colour": "rgb", "scale": 1.0,
    "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "size": list(MASK_SIZE), "licence": "Apache-2.0",
}  # fmt: skip


def paste(crops: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Paste each crop's neighbour in the batch aside, before the person or behind.

    Args:
        crops: `[n, 3, h, w]`.
        masks: 0 or 1, `[n, 1, h, w]`.
        rng: where, and which of them.
    """
    others, where = crops.roll(1, 0).clone(), masks.roll(1, 0).clone()
    n, _, height, width = crops.shape
    for index in range(n):
        aside = int(rng.integers(width // 4, width)) * int(rng.choice((-1, 1)))
        down = int(rng.integers(-height // 5, height // 5))
        others[index] = others[index].roll((down, aside), (1, 2))
        where[index] = where[index].roll((down, aside), (1, 2))
    behind = torch.from_numpy(rng.random(n) < 0.5)[:, None, None, None]
    shown = where * torch.where(behind, 1 - masks, torch.ones_like(masks))
    chosen = torch.from_numpy(rng.random(n) < 0.4)[:, None, None, None]
    shown = shown * chosen
    return torch.where(shown > 0, others, crops), masks * (1 - shown)


def loss_of(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of every pixel, and one minus Dice of every crop."""
    inside = logits.sigmoid()
    shared = (inside * masks).sum((1, 2, 3))
    dice = (2 * shared + 1) / (inside.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + 0.5 * (1 - dice).mean()


@torch.no_grad()
def evaluate(net: nn.Module, crops: np.ndarray, masks: np.ndarray) -> float:
    """Mean intersection over union of people alone, percent."""
    net.eval()
    shares = []
    for start in range(0, len(crops), 64):
        found = net(_planes(crops[start : start + 64])) > 0
        true = torch.from_numpy(masks[start : start + 64])[:, None] > INSIDE
        shares.append((found & true).sum((1, 2, 3)) / (found | true).sum((1, 2, 3)))
    net.train()
    return 100 * torch.cat(shares).mean().item()


def _planes(crops: np.ndarray) -> Tensor:
    planes = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    return planes.contiguous(memory_format=torch.channels_last)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder written by render_masks.py")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    crops, masks = (np.load(args.data / f"{name}.npy", mmap_mode="r") for name in ("crops", "masks"))
    held = len(crops) // 20
    net = MaskNet().to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=1e-4)
    rng = np.random.default_rng(args.seed)
    start, step = time.monotonic(), 0
    while (elapsed := (time.monotonic() - start) / (60 * args.minutes)) < 1:
        follow_clock(optimizer, args.rate, step, elapsed)
        chosen = np.sort(rng.choice(len(crops) - held, args.batch, replace=False)) + held
        clean = _planes(crops[chosen])
        inside = (torch.from_numpy(masks[chosen])[:, None] > INSIDE).float()
        x = torch.where(torch.rand(len(clean), 1, 1, 1) < 0.4, clean, photometric(clean))
        x, inside = paste(x, inside, rng)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x.contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits.float(), inside)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update_parameters(net)
        step += 1
        if step % 100 == 0:
            share = evaluate(average.module, crops[:128], masks[:128])
            print(f"{elapsed * args.minutes:6.1f} min step {step} IoU {share:.2f} %", flush=True)
    share = evaluate(average.module, crops[:held], masks[:held])
    result = {"minutes": args.minutes, "steps": step, "iou": share}
    print(result)
    (args.out / "training.json").write_text(json.dumps(result, indent=2))
    torch.save(average.module.state_dict(), args.out / "segmenter.pt")
    write_graph(
        MaskGraph(average.module), torch.zeros(1, 3, *MASK_SIZE), args.out / "segmenter.onnx",
        input_name="crops", output_name="probability", pixels=True,
    )  # fmt: skip
    (args.out / "segmenter.json").write_text(json.dumps(MANIFEST, indent=2) + "\n")


if __name__ == "__main__":
    run_script(main)
