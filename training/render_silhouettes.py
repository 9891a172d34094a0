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
from passes import Crowd, CrowdPass, add_crowd_arguments, found_boxes
from walks import crowd_member

from gaitstream.cli.script import run_script
from gaitstream.models import silhouettes
from gaitstream.models.segmenter import Segmenter

SIZE = (64, 44)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segmenter", type=Path, required=True)
    add_crowd_arguments(parser, people=1000, passes=4, frames=10)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    segmenter = Segmenter.load(args.segmenter, threads=args.threads)
    rng = np.random.default_rng([args.seed, args.first, 0x6B])
    kept, people, cameras = [], [], []
    for one in Crowd.of(args).walk(lambda seed, person: crowd_member(seed, person, args.kinds), rng):
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
    run_script(main)
