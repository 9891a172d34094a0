"""Walk people past cameras and keep the joints that pose models find, for `train_joints.py`.

    python training/render_joints.py --pose gaitstream/zoo/demo/pose.json simplepose.onnx --people 800 \
        --kinds formula learned --out runs/joints

Every pass has other clothes and another camera. Writes `found.npy`, joints in pixels of the picture and
their scores `[pose models, passes, frames, 17, 3]`, `true.npy` `[passes, frames, 17, 2]` and `people.npy`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from passes import Crowd, CrowdPass, add_crowd_arguments, found_boxes
from walks import crowd_member

from gaitstream.cli.script import run_script
from gaitstream.models.pose import PoseModel, keypoints, to_image


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pose", type=Path, nargs="+", required=True)
    add_crowd_arguments(parser, people=400, passes=3, frames=24)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    poses = [PoseModel.load(path, threads=args.threads) for path in args.pose]
    rng = np.random.default_rng([args.seed, args.first, 0x70])
    found, true, people = [], [], []
    for one in Crowd.of(args).walk(lambda seed, person: crowd_member(seed, person, args.kinds), rng):
        found.append(find(one, poses, rng))
        true.append(one.walked.keypoints[one.chosen, :, :2].astype(np.float32))
        people.append(np.int64(one.person))
    np.save(args.out / "found.npy", np.stack(found, 1))
    np.save(args.out / "true.npy", np.stack(true))
    np.save(args.out / "people.npy", np.stack(people))


def find(one: CrowdPass, poses: list[PoseModel], rng: np.random.Generator) -> np.ndarray:
    """Joints by every pose model in pixels of the picture, `[pose models, frames, 17, 3]` float32."""
    camera = one.walked.camera
    boxes = np.concatenate(
        list(found_boxes(one.walked.boxes[one.chosen], (camera.width, camera.height), rng))
    )
    pictures = [one.walked.picture(int(index), one.renderer) for index in one.chosen]
    joints = []
    for pose in poses:
        crops = [pose.crop(picture, box[None])[0] for picture, box in zip(pictures, boxes, strict=True)]
        joints.append(to_image(keypoints(pose.heatmaps(np.stack(crops))), boxes))
    return np.stack(joints).astype(np.float32)


if __name__ == "__main__":
    run_script(main)
