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
from walks import CROWD, GROUPS, KINDS, crowd_member

from gaitstream.kernels import align
from gaitstream.models.pose import PoseModel, keypoints, to_heatmap
from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.background import Scenery
from gaitstream.synth.render import Renderer
from gaitstream.synth.studio import Pass, sample_camera, sample_pass

SCENERIES = (
    Scenery("paving", "street", 13.0, 9.0),
    Scenery("tiles", "walls", 12.0, 8.0),
    Scenery("asphalt", "street", 15.0, 10.0),
    Scenery("carpet", "walls", 16.0, 4.0),
)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pose", type=Path, required=True)
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--seed", type=int, default=CROWD, help="of the crowd; another to hold out")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=["formula"], help="of walk, taking turns"
    )
    parser.add_argument("--cameras", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    pose = PoseModel.load(args.pose, threads=args.threads)
    rng = np.random.default_rng([args.seed, args.first, 0x6A])
    cameras = [sample_camera(rng) for _ in range(args.cameras)]
    renderers = [
        Renderer(camera, SCENERIES[i % 4], day=i % 3, quality=int(rng.integers(60, 95)))
        for i, camera in enumerate(cameras)
    ]
    encoded = ("parts", "points", "found", "scores")
    kept: dict[str, list[np.ndarray]] = {name: [] for name in (*encoded, "people", "cameras")}
    for person in range(args.first, args.first + args.people):
        identity = crowd_member(args.seed, person, args.kinds)
        for day in range(args.passes):
            number = int(rng.integers(len(cameras)))
            look = sample_appearance(args.seed, person, day)
            walked = sample_pass(identity, look, rng, 30, cameras[number], tries=6)
            if len(walked.boxes) < args.frames:
                continue
            result = encode(walked, renderers[number], pose, args.frames, rng)
            for name, value in zip(encoded, result, strict=True):
                kept[name].append(value)
            kept["people"].append(np.int64(person))
            kept["cameras"].append(np.int64(number))
        if person % 50 == 49:
            print(f"{person + 1} people, {len(kept['people'])} passes", flush=True)
    for name, values in kept.items():
        np.save(args.out / f"{name}.npy", np.stack(values))


def encode(
    walked: Pass, renderer: Renderer, pose: PoseModel, frames: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Part maps uint8 `[frames, 1 + parts, 64, 48]`, joints, true and found, `[frames, 17, 2]`, scores."""
    chosen = np.sort(rng.choice(len(walked.boxes), frames, replace=False))
    crops, points = [], []
    size = 1 + 0.025 * rng.standard_normal()
    for index in chosen:
        image = walked.picture(int(index), renderer)
        x1, y1, x2, y2 = walked.boxes[index].astype(float)
        x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, image.shape[1]), min(y2, image.shape[0])
        wide, tall = x2 - x1, y2 - y1
        cx = (x1 + x2) / 2 + wide * 0.02 * rng.standard_normal()
        cy = (y1 + y2) / 2 + tall * 0.01 * rng.standard_normal()
        scale = size * (1 + 0.012 * rng.standard_normal()) / 2
        half = np.array([wide, tall]) * scale
        box = np.array([[cx - half[0], cy - half[1], cx + half[0], cy + half[1]]], np.float32)
        crops.append(pose.crop(image, box)[0])
        points.append(to_heatmap(walked.keypoints[index][None, :, :2], box)[0])
    heatmaps = pose.heatmaps(np.stack(crops))
    found = keypoints(heatmaps)
    aligned = align(heatmaps, found, groups=GROUPS, gamma_deg=0.0, small_angle="align")
    parts = np.clip(np.asarray(aligned.parts) * 255 + 0.5, 0, 255).astype(np.uint8)
    true = np.stack(points).astype(np.float32)
    return parts, true, found[..., :2].astype(np.float32), np.asarray(aligned.score)


if __name__ == "__main__":
    main()
