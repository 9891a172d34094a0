"""Walk people past cameras and keep what the demo pose model makes of them, for `train_gait.py`.

    python training/render_gait.py --pose runs/pose/pose.json --people 400 --passes 3 --out runs/walks

Every pass has other clothes and another camera. Writes `parts.npy`, aligned part maps uint8 `[passes, frames,
1 + parts, 64, 48]`, `points.npy`, true joints in heatmap pixels `[passes, frames, 17, 2]`, `found.npy`, those
the pose model found, `people.npy`, `cameras.npy` and `scores.npy`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from passes import Crowd, CrowdPass, add_crowd_arguments, found_boxes
from walks import GROUPS, crowd_member

from gaitstream.cli.script import run_script
from gaitstream.kernels import align
from gaitstream.models.pose import PoseModel, keypoints, to_heatmap


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pose", type=Path, required=True)
    add_crowd_arguments(parser, people=400, passes=3, frames=12)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    pose = PoseModel.load(args.pose, threads=args.threads)
    rng = np.random.default_rng([args.seed, args.first, 0x6A])
    encoded = ("parts", "points", "found", "scores")
    kept: dict[str, list[np.ndarray]] = {name: [] for name in (*encoded, "people", "cameras")}
    for one in Crowd.of(args).walk(lambda seed, person: crowd_member(seed, person, args.kinds), rng):
        for name, value in zip(encoded, encode(one, pose, rng), strict=True):
            kept[name].append(value)
        kept["people"].append(np.int64(one.person))
        kept["cameras"].append(np.int64(one.camera))
    for name, values in kept.items():
        np.save(args.out / f"{name}.npy", np.stack(values))


def encode(
    one: CrowdPass, pose: PoseModel, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Part maps uint8 `[frames, 1 + parts, 64, 48]`, joints, true and found, `[frames, 17, 2]`, scores."""
    crops, points = [], []
    camera = one.walked.camera
    boxes = found_boxes(one.walked.boxes[one.chosen], (camera.width, camera.height), rng)
    for index, box in zip(one.chosen, boxes, strict=True):
        crops.append(pose.crop(one.walked.picture(int(index), one.renderer), box)[0])
        points.append(to_heatmap(one.walked.keypoints[index][None, :, :2], box)[0])
    heatmaps = pose.heatmaps(np.stack(crops))
    found = keypoints(heatmaps)
    aligned = align(heatmaps, found, groups=GROUPS, gamma_deg=0.0, small_angle="align")
    parts = np.clip(np.asarray(aligned.parts) * 255 + 0.5, 0, 255).astype(np.uint8)
    true = np.stack(points).astype(np.float32)
    return parts, true, found[..., :2].astype(np.float32), np.asarray(aligned.score)


if __name__ == "__main__":
    run_script(main)
