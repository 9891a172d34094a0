"""Walk people past cameras and keep the silhouettes the demo segmenter finds, for `train_gaitbase.py`.

    python training/render_silhouettes.py --segmenter runs/segmenter/segmenter.json --out runs/outlines

Every pass has other clothes and another camera. Writes `silhouettes.npy`, uint8 `[passes, frames, 64, 44]`,
`people.npy` and `cameras.npy`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from passes import Crowd, CrowdPass, found_boxes
from walks import CROWD, KINDS, crowd_member

from gaitstream.models import silhouettes
from gaitstream.models.segmenter import Segmenter

SIZE = (64, 44)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segmenter", type=Path, required=True)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--frames", type=int, default=10)
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
    segmenter = Segmenter.load(args.segmenter, threads=args.threads)
    rng = np.random.default_rng([args.seed, args.first, 0x6B])
    crowd = Crowd(
        seed=args.seed, people=range(args.first, args.first + args.people), passes=args.passes,
        frames=args.frames, cameras=args.cameras,
    )  # fmt: skip
    kept, people, cameras = [], [], []
    for one in crowd.walk(lambda seed, person: crowd_member(seed, person, args.kinds), rng):
        kept.append(outline(one, segmenter, rng))
        people.append(one.person)
        cameras.append(one.camera)
    np.save(args.out / "silhouettes.npy", np.stack(kept))
    np.save(args.out / "people.npy", np.array(people))
    np.save(args.out / "cameras.npy", np.array(cameras))
    print(f"{len(kept)} passes", flush=True)


def outline(one: CrowdPass, segmenter: Segmenter, rng: np.random.Generator) -> np.ndarray:
    """Silhouettes of one pass, uint8 `[frames, 64, 44]`."""
    camera = one.walked.camera
    boxes = found_boxes(one.walked.boxes[one.chosen], (camera.width, camera.height), rng)
    crops = [
        segmenter.crop(one.walked.picture(int(index), one.renderer), box)[0]
        for index, box in zip(one.chosen, boxes, strict=True)
    ]
    return silhouettes.draw(segmenter.masks(np.stack(crops)), SIZE)[:, 0]


if __name__ == "__main__":
    main()
