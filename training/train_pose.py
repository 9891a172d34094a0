"""Train the demo pose model on rendered people, and write it as ONNX with its manifest.

python training/train_pose.py --data runs/scenes --minutes 12 --out runs/pose
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
from networks import PoseNet
from schedule import follow_clock
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from workers import join, my_rank, seconds_since, share_gradients

from gaitstream.cli.script import run_script

SIGMA = 2.0
"""Of the target Gaussians, in heatmap pixels, as is usual for 64 x 48 maps."""
SHARPNESS = 12.0
"""Heatmap values times this are the logits of a joint's place."""
FLIP = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)


def targets(joints: Tensor) -> tuple[Tensor, Tensor]:
    """Gaussians at the joints, and how much each map counts.

    Args:
        joints: `[n, 17, 3]`: x, y in heatmap pixels and COCO's flag.

    Returns:
        Heatmaps `[n, 17, 64, 48]`, empty for joints outside the picture, and weights `[n, 17, 1, 1]`: a joint
        hidden by somebody else counts less, since nobody can know where it is.
    """
    x, y, flag = joints.unbind(-1)
    across = torch.exp(-0.5 * ((torch.arange(48.0) - x[..., None]) / SIGMA) ** 2)
    along = torch.exp(-0.5 * ((torch.arange(64.0) - y[..., None]) / SIGMA) ** 2)
    maps = along[..., :, None] * across[..., None, :] * (flag > 0)[..., None, None]
    return maps, torch.where(flag == 1, 0.3, 1.0)[..., None, None]


def loss_of(found: Tensor, maps: Tensor, weight: Tensor, placing: float) -> Tensor:
    """Squared error, which shapes the peaks, and cross-entropy over places, which finds joints sooner."""
    # Most of a map is empty: its peak counts more, so that it keeps its height.
    height = ((found - maps) ** 2 * weight * (1 + 4 * maps)).mean() * 200
    place = maps.flatten(2) / maps.flatten(2).sum(-1, keepdim=True).clamp(min=1e-6)
    named = -(place * F.log_softmax(found.flatten(2) * SHARPNESS, -1)).sum(-1, keepdim=True)
    return height + placing * (named * weight[..., 0]).mean()


def flip(crops: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror half of the crops."""
    chosen = torch.rand(len(crops)) < 0.5
    mirrored = joints[:, list(FLIP)].clone()
    mirrored[..., 0] = 47.0 - mirrored[..., 0]
    return (
        torch.where(chosen[:, None, None, None], crops.flip(-1), crops),
        torch.where(chosen[:, None, None], mirrored, joints),
    )


def peaks(maps: Tensor) -> Tensor:
    """Joints `[n, 17, 2]` in heatmap pixels: the maximum, moved a quarter towards its higher neighbour."""
    from gaitstream.models.pose import keypoints

    return torch.from_numpy(keypoints(maps.float().numpy())[..., :2])


@torch.no_grad()
def evaluate(net: nn.Module, crops: np.ndarray, joints: np.ndarray) -> dict[str, float]:
    """Share of visible joints within 2 heatmap pixels (5% of a person's height), and the median error."""
    net.eval()
    found = []
    for start in range(0, len(crops), 64):
        x = torch.from_numpy(crops[start : start + 64]).permute(0, 3, 1, 2).float()
        with torch.autocast("cpu", torch.bfloat16):
            found.append(peaks(net(x.contiguous(memory_format=torch.channels_last))))
    net.train()
    truth = torch.from_numpy(joints.astype(np.float32))
    error = (torch.cat(found) - truth[..., :2]).norm(dim=-1)[truth[..., 2] == 2]
    return {
        "pck_2px": 100 * (error < 2).float().mean().item(),
        "pck_1px": 100 * (error < 1).float().mean().item(),
        "median_px": error.median().item(),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder written by render_scenes.py")
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--placing", type=float, default=0.6, help="share of the time with cross-entropy")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    join()
    crops, joints = np.load(args.data / "crops.npy", mmap_mode="r"), np.load(args.data / "joints.npy")
    held = len(crops) // 20
    net = PoseNet().to(memory_format=torch.channels_last)
    if args.resume:
        net.load_state_dict(torch.load(args.resume, weights_only=True))
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99), use_buffers=True
    )
    parameters = list(net.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=args.rate, weight_decay=1e-4)
    rng = np.random.default_rng([args.seed, my_rank()])
    torch.manual_seed(args.seed + 1000 * my_rank())
    start, step, last, shown = time.monotonic(), 0, 0.0, 0.0
    while (elapsed := seconds_since(start) / (60 * args.minutes)) < 1:
        follow_clock(optimizer, args.rate, step, elapsed)
        chosen = np.sort(rng.choice(len(crops) - held, args.batch, replace=False)) + held
        clean = torch.from_numpy(crops[chosen]).permute(0, 3, 1, 2).float()
        x = torch.where(torch.rand(len(clean), 1, 1, 1) < 0.4, clean, photometric(clean))
        x, where = flip(x, torch.from_numpy(joints[chosen].astype(np.float32)))
        maps, weight = targets(where)
        placing = max(0.0, 1 - elapsed / args.placing) if args.placing else 0.0
        with torch.autocast("cpu", torch.bfloat16):
            out = net(x.contiguous(memory_format=torch.channels_last))
        # Cross-entropy makes peaks broad and low: it leaves before the end.
        loss = loss_of(out.float(), maps, weight, placing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share_gradients(parameters)
        optimizer.step()
        average.update_parameters(net)
        step += 1
        shown = loss.item() if step == 1 else 0.95 * shown + 0.05 * loss.item()
        minutes = elapsed * args.minutes
        if my_rank():
            continue
        if step % 50 == 0:
            print(f"{minutes:6.1f} min step {step} loss {shown:.4f}", flush=True)
        if minutes - last > 2.5:
            last = minutes
            torch.save(average.module.state_dict(), args.out / "pose.pt")
            print(f"{minutes:6.1f} min", evaluate(average.module, crops[:300], joints[:300]), flush=True)
    if my_rank():
        return
    torch.save(average.module.state_dict(), args.out / "pose.pt")
    result = {"minutes": args.minutes, "steps": step, **evaluate(average.module, crops[:held], joints[:held])}
    print(result)
    (args.out / "training.json").write_text(json.dumps(result, indent=2))
    write(average.module, args.out)


def write(net: nn.Module, out: Path) -> None:
    """`pose.onnx`, taking uint8 crops, and the manifest beside it."""
    sample = torch.zeros(1, 3, 256, 192)
    write_graph(net, sample, out / "pose.onnx", input_name="crops", output_name="heatmaps", pixels=True)
    manifest = {
        "graph": "pose.onnx", "colour": "rgb", "scale": 1.0, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0],
        "licence": "Apache-2.0",
    }  # fmt: skip
    (out / "pose.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    run_script(main)
