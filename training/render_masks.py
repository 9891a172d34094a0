"""Render crops of people with their masks, for `train_segmenter.py`.

    python training/render_masks.py --people 600 --out runs/masks

Writes `crops.npy`, RGB uint8 `[n, 128, 96, 3]`, and `masks.npy`, uint8 `[n, 128, 96]`, 255 inside the
person.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from networks import MASK_SIZE
from passes import Crowd, CrowdPass, found_boxes

from gaitstream.cli.script import run_script
from gaitstream.models.crops import crop_around
from gaitstream.synth.identity import sample_identity

SEED = 71_000


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--frames", type=int, default=8, help="of every person's walk")
    parser.add_argument("--cameras", type=int, default=24)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    rng = np.random.default_rng([args.seed, args.first, 0x3A])
    crowd = Crowd(
        seed=args.seed, people=range(args.first, args.first + args.people), passes=1, frames=args.frames,
        cameras=args.cameras,
    )  # fmt: skip
    pairs = [pair for one in crowd.walk(sample_identity, rng) for pair in cut(one, rng)]
    crops, masks = (np.stack(values) for values in zip(*pairs, strict=True))
    order = rng.permutation(len(crops))
    np.save(args.out / "crops.npy", crops[order])
    np.save(args.out / "masks.npy", masks[order])
    print(f"{len(crops)} crops", flush=True)


def cut(one: CrowdPass, rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Crops and masks of one pass."""
    camera = one.walked.camera
    boxes = found_boxes(one.walked.boxes[one.chosen], (camera.width, camera.height), rng)
    pairs = []
    for index, box in zip(one.chosen, boxes, strict=True):
        picture, mask = one.walked.picture(int(index), one.renderer), one.walked.mask(int(index))
        (crop,) = crop_around(picture, box, MASK_SIZE)
        (inside,) = crop_around(np.repeat(mask[..., None], 3, axis=2), box, MASK_SIZE)
        pairs.append((crop.transpose(1, 2, 0), inside[0]))
    return pairs


if __name__ == "__main__":
    run_script(main)
