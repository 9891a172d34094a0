"""Train the demo person detector on rendered crowds, and write it as ONNX with its manifest.

python training/train_detector.py --data runs/scenes --minutes 8 --out runs/detector
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
from networks import DetectGraph, DetectNet
from schedule import follow_clock
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from gaitstream.cli.script import run_script

WIDTH, HEIGHT = 320, 192
PICTURE_HEIGHT = 180
VISIBLE = 0.3
"""People of whom less can be seen are neither asked for nor punished."""


class Scenes:
    """Pictures with boxes from `render_scenes.py`; the first twentieth is held out."""

    def __init__(self, folder: Path) -> None:
        self.frames = np.load(folder / "frames.npy", mmap_mode="r")
        boxes, owners = np.load(folder / "boxes.npy"), np.load(folder / "boxes_of.npy")
        self.boxes = [boxes[owners == index] for index in range(len(self.frames))]
        self.held = len(self.frames) // 20

    def draw(
        self, chosen: np.ndarray, rng: np.random.Generator, *, train: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Letterboxed pictures `[n, 3, 192, 320]`, augmented for training, and boxes `[m, 5]` of each."""
        x = torch.from_numpy(self.frames[chosen]).permute(0, 3, 1, 2).float()
        boxes = [torch.from_numpy(self.boxes[index]).clone() for index in chosen]
        x = F.pad(x, (0, 0, 0, HEIGHT - PICTURE_HEIGHT), value=114.0)
        for b in boxes:
            b[:, 0:4:2] = b[:, 0:4:2].clamp(0, WIDTH)
            b[:, 1:4:2] = b[:, 1:4:2].clamp(0, PICTURE_HEIGHT)
        if train:
            x, boxes = _mirror(x, boxes, rng)
            x, boxes = _zoom(photometric(x), boxes, rng)
        return x, boxes


def _mirror(x: Tensor, boxes: list[Tensor], rng: np.random.Generator) -> tuple[Tensor, list[Tensor]]:
    if rng.random() < 0.5:
        return x, boxes
    turned = []
    for b in boxes:
        b = b.clone()
        b[:, [0, 2]] = WIDTH - b[:, [2, 0]]
        turned.append(b)
    return x.flip(-1), turned


def _zoom(x: Tensor, boxes: list[Tensor], rng: np.random.Generator) -> tuple[Tensor, list[Tensor]]:
    """Scale and shift the whole batch alike."""
    scale, dx, dy = rng.uniform(0.75, 1.35), rng.uniform(-40, 40), rng.uniform(-25, 25)
    # Output pixel p shows input (p - centre - d) / scale + centre.
    theta = torch.tensor([[1 / scale, 0, -2 * dx / WIDTH / scale], [0, 1 / scale, -2 * dy / HEIGHT / scale]])
    grid = F.affine_grid(theta.expand(len(x), 2, 3).float(), list(x.shape), align_corners=False)
    x = F.grid_sample(x - 114.0, grid, align_corners=False) + 114.0
    out = []
    for b in boxes:
        b = b.clone()
        wide, tall = (b[:, 2] - b[:, 0]) * scale, (b[:, 3] - b[:, 1]) * scale
        b[:, 0:4:2] = ((b[:, 0:4:2] - WIDTH / 2) * scale + WIDTH / 2 + dx).clamp(0, WIDTH)
        b[:, 1:4:2] = ((b[:, 1:4:2] - HEIGHT / 2) * scale + HEIGHT / 2 + dy).clamp(0, HEIGHT)
        left = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) / (wide * tall).clamp(min=1e-3)
        b[:, 4] *= left
        out.append(b[left > 0.05])
    return x, out


def assign(boxes: list[Tensor], rows: int, columns: int, stride: int) -> tuple[Tensor, Tensor, Tensor]:
    """What each cell should say: score `[n, h, w]`, box `[n, h, w, 4]` and whether it counts `[n, h, w]`.

    Cells near the middle of a box are its own, those of the nearest person where two claim one.
    """
    n = len(boxes)
    score, target = torch.zeros(n, rows, columns), torch.zeros(n, rows, columns, 4)
    counts = torch.ones(n, rows, columns)
    y = ((torch.arange(rows) + 0.5) * stride)[:, None]
    x = ((torch.arange(columns) + 0.5) * stride)[None]
    for index, people in enumerate(boxes):
        for x1, y1, x2, y2, seen in people.tolist():  # from far to near: the nearest one overwrites
            wide, tall = x2 - x1, y2 - y1
            if wide < 2 or tall < 4:
                continue
            dx, dy = (x - (x1 + x2) / 2).abs(), (y - (y1 + y2) / 2).abs()
            inside = (x > x1) & (x < x2) & (y > y1) & (y < y2)
            if seen < VISIBLE or tall < 16:
                counts[index][inside & (score[index] == 0)] = 0
                continue
            centre = (dx <= max(stride * 0.75, 0.2 * wide)) & (dy <= max(stride * 0.75, 0.14 * tall))
            score[index][centre] = 1
            counts[index][centre] = 1
            target[index][centre] = torch.tensor([x1, y1, x2, y2])
    return score, target, counts


def box_loss(found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """One minus generalised IoU, and the IoU, of boxes `[m, 4]`."""
    low, high = torch.maximum(found[:, :2], wanted[:, :2]), torch.minimum(found[:, 2:], wanted[:, 2:])
    both = (high - low).clamp(min=0).prod(1)
    union = (found[:, 2:] - found[:, :2]).prod(1) + (wanted[:, 2:] - wanted[:, :2]).prod(1) - both
    hull = (torch.maximum(found[:, 2:], wanted[:, 2:]) - torch.minimum(found[:, :2], wanted[:, :2])).prod(1)
    iou = both / union.clamp(min=1e-6)
    return 1 - iou + (hull - union) / hull.clamp(min=1e-6), iou


def loss_of(net: DetectNet, x: Tensor, boxes: list[Tensor]) -> Tensor:
    """Focal loss on the scores, which learn the overlap of their box, and GIoU loss on the boxes."""
    with torch.autocast("cpu", torch.bfloat16):
        raw = net.raw(x.contiguous(memory_format=torch.channels_last))
    logits, found = net.decode(raw.float())
    score, target, counts = assign(boxes, logits.shape[1], logits.shape[2], net.STRIDE)
    positive = score > 0
    overlap = score.clone()
    number = max(1, int(positive.sum()))
    place = torch.zeros(())
    if positive.any():
        each, iou = box_loss(found[positive], target[positive])
        place = each.mean()
        overlap[positive] = iou.detach().clamp(min=0.05)
    guess = logits.sigmoid()
    focus = (overlap - guess).abs() ** 2
    named = F.binary_cross_entropy_with_logits(logits, overlap, reduction="none") * focus * counts
    return named.sum() / number * 2 + place * 2


@torch.no_grad()
def evaluate(net: DetectNet, scenes: Scenes, count: int = 200) -> dict[str, float]:
    """Recall and precision at score 0.4 and IoU 0.5, over people half of whom can be seen, and mean IoU."""
    net.eval()
    rng = np.random.default_rng(0)
    matched, wanted, given, ious = 0, 0, 0, []
    chosen = np.linspace(0, scenes.held - 1, min(count, scenes.held)).astype(int)
    for start in range(0, len(chosen), 32):
        x, boxes = scenes.draw(chosen[start : start + 32], rng, train=False)
        for rows, people in zip(DetectGraph(net)(x), boxes, strict=True):
            kept = suppress(rows.T, 0.4)
            given += len(kept)
            for person in people:
                tall = person[3] - person[1]
                overlap = box_loss(kept[:, :4], person[None, :4].expand(len(kept), 4))[1]
                best = float(overlap.max()) if len(kept) else 0.0
                if person[4] > 0.5 and tall > 20:
                    wanted += 1
                    matched += best > 0.5
                    ious.append(best)
                elif best > 0.4:
                    given -= 1
    net.train()
    hits = [iou for iou in ious if iou > 0.5]
    return {
        "recall": 100 * matched / max(wanted, 1),
        "precision": 100 * min(1.0, matched / max(given, 1)),
        "mean_iou": float(np.mean(hits)) if hits else 0.0,
    }


def suppress(rows: Tensor, threshold: float, overlap: float = 0.6) -> Tensor:
    """Non-maximum suppression of `[cells, 5]` (centre, size, score) into `[m, 5]` (xyxy, score)."""
    rows = rows[rows[:, 4] > threshold]
    rows = rows[rows[:, 4].argsort(descending=True)]
    boxes = torch.cat([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2, rows[:, 4:]], 1)
    kept: list[int] = []
    for index in range(len(boxes)):
        iou = box_loss(boxes[kept, :4], boxes[index, :4].expand(len(kept), 4))[1]
        if not kept or float(iou.max()) < overlap:
            kept.append(index)
    return boxes[kept]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder written by render_scenes.py")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    scenes = Scenes(args.data)
    net = DetectNet().to(memory_format=torch.channels_last)
    if args.resume:
        net.load_state_dict(torch.load(args.resume, weights_only=True))
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=1e-4)
    rng = np.random.default_rng(args.seed)
    start, step, last, shown = time.monotonic(), 0, 0.0, 0.0
    while (elapsed := (time.monotonic() - start) / (60 * args.minutes)) < 1:
        follow_clock(optimizer, args.rate, step, elapsed)
        chosen = rng.choice(len(scenes.frames) - scenes.held, args.batch, replace=False) + scenes.held
        loss = loss_of(net, *scenes.draw(np.sort(chosen), rng, train=True))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(net)
        step += 1
        shown = loss.item() if step == 1 else 0.95 * shown + 0.05 * loss.item()
        minutes = elapsed * args.minutes
        if step % 50 == 0:
            print(f"{minutes:6.1f} min step {step} loss {shown:.4f}", flush=True)
        if minutes - last > 2:
            last = minutes
            torch.save(average.module.state_dict(), args.out / "detector.pt")
            print(f"{minutes:6.1f} min", evaluate(average.module, scenes, 100), flush=True)
    torch.save(average.module.state_dict(), args.out / "detector.pt")
    result = {"minutes": args.minutes, "steps": step, **evaluate(average.module, scenes)}
    print(result)
    (args.out / "training.json").write_text(json.dumps(result, indent=2))
    write_graph(
        DetectGraph(average.module), torch.zeros(1, 3, HEIGHT, WIDTH), args.out / "detector.onnx",
        input_name="images", output_name="output", pixels=False,
    )  # fmt: skip


if __name__ == "__main__":
    run_script(main)
