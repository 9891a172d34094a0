"""Render pictures of crowds for the detector, and crops of people for the pose model.

    python training/render_scenes.py --scenes 64 --out runs/scenes

Writes `frames.npy` uint8 RGB `[n, 180, 320, 3]`, `boxes.npy` and `boxes_of.npy` (xyxy and visibility `[m, 5]`
with the picture of each), `crops.npy` uint8 RGB `[k, 256, 192, 3]` and `joints.npy` `[k, 17, 3]` (heatmap
pixels, COCO's flag). Nobody of one scene walks in another. `--studio` adds crops of people alone before that
many other cameras.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from gaitstream.cli.script import run_script
from gaitstream.synth.address import parse_address
from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.identity import sample_identity
from gaitstream.synth.render import Renderer
from gaitstream.synth.source import SyntheticCamera
from gaitstream.synth.studio import SCENERIES, sample_camera, sample_pass
from gaitstream.synth.truth import Truth, observe

SITES = ("plaza", "lobby", "yard")
CHUNKS, PER_CHUNK, CHUNK = 8, 8, 32


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--studio", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    frames, boxes, owners, crops, joints = [], [], [], [], []
    cv2.setNumThreads(1)
    for scene in range(args.scenes):
        rng = np.random.default_rng([args.seed, scene])
        camera = SyntheticCamera(parse_address(address(rng, args.seed + scene, scene)))
        for chunk in rng.integers(0, 200, CHUNKS):
            for index in chunk * CHUNK + rng.choice(CHUNK, PER_CHUNK, replace=False):
                image, truth = camera.image(int(index)), camera.truth(int(index))
                small = cv2.resize(image, (320, 180), interpolation=cv2.INTER_AREA)
                labelled = np.concatenate([truth.boxes, truth.visibility[:, None]], 1)
                labelled[:, :4] /= image.shape[1] / 320
                boxes.append(labelled.astype(np.float32))
                owners.append(np.full(len(labelled), len(frames)))
                frames.append(small[:, :, ::-1])
                for crop, where in people(image, truth, rng):
                    crops.append(crop)
                    joints.append(where)
        if scene % 20 == 19:
            print(f"{scene + 1} scenes, {len(frames)} pictures, {len(crops)} crops", flush=True)
    for number in range(args.studio):
        for crop, where in studio(np.random.default_rng([args.seed, number, 0x57]), args.seed):
            crops.append(crop)
            joints.append(where)
    order = np.random.default_rng(args.seed).permutation(len(crops)) if args.studio else np.arange(len(crops))
    crops, joints = [crops[i] for i in order], [joints[i] for i in order]
    np.save(args.out / "frames.npy", np.stack(frames))
    np.save(args.out / "boxes.npy", np.concatenate(boxes))
    np.save(args.out / "boxes_of.npy", np.concatenate(owners))
    np.save(args.out / "crops.npy", np.stack(crops))
    np.save(args.out / "joints.npy", np.stack(joints).astype(np.float32))


def address(rng: np.random.Generator, seed: int, scene: int) -> str:
    """A synthetic camera: one of twelve views, since an empty scene takes long to draw, and new people."""
    site = SITES[scene % len(SITES)]
    return (
        f"synth://{site}?camera={1 + scene // 3 % 4}&people={rng.integers(3, 10)}&seed={seed}"
        f"&day={scene // 3 % 4}&quality={rng.integers(55, 96)}"
    )


def studio(rng: np.random.Generator, seed: int, walks: int = 100) -> list[tuple[np.ndarray, np.ndarray]]:
    """Crops of people walking by one camera of its own, two of each walk."""
    camera = sample_camera(rng)
    scenery = SCENERIES[int(rng.integers(len(SCENERIES)))]
    renderer = Renderer(camera, scenery, int(rng.integers(4)), quality=int(rng.integers(55, 96)))
    out = []
    for _ in range(walks):
        person, day = int(rng.integers(4000)), int(rng.integers(1000))
        walk = sample_pass(
            sample_identity(seed, person), sample_appearance(seed, person, day), rng, 8, camera, tries=3
        )
        stature = np.array([walk.identity.stature])
        girth = np.array([walk.identity.build * walk.appearance.bulk])
        for index in rng.permutation(len(walk.joints))[:2]:
            image = walk.picture(int(index), renderer)
            moment = walk.joints[index][None]
            truth = observe(camera, moment, stature, girth, np.zeros(1), (walk.identity.name,))
            out.extend(people(image, truth, rng))
    return out


def people(
    image: np.ndarray, truth: Truth, rng: np.random.Generator, most: int = 3
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Crops `[256, 192, 3]` RGB of some people who can be seen, with boxes as inexact as a detector's."""
    usable = np.flatnonzero((truth.visibility > 0.35) & (truth.boxes[:, 3] - truth.boxes[:, 1] > 36))
    out = []
    for person in rng.permutation(usable)[:most]:
        x1, y1, x2, y2 = truth.boxes[person].astype(float)
        # Detectors end boxes at the border of the picture.
        x1, y1 = max(x1, 0.0), max(y1, 0.0)
        x2, y2 = min(x2, image.shape[1]), min(y2, image.shape[0])
        width = max(x2 - x1, (y2 - y1) * 0.75) * 1.25 * rng.uniform(0.86, 1.2)
        centre_x = (x1 + x2) / 2 + width * rng.normal(0, 0.03)
        centre_y = (y1 + y2) / 2 + width * rng.normal(0, 0.04)
        scale = 192 / width
        left, top = centre_x - width / 2, centre_y - width / 0.75 / 2
        matrix = np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]])
        crop = cv2.warpAffine(image, matrix, (192, 256), flags=cv2.INTER_LINEAR)
        where = truth.keypoints[person].astype(float)
        # Centres of pixels are whole numbers both in the picture and in the heatmap.
        where[:, 0] = (where[:, 0] + 0.5 - left) * scale / 4 - 0.5
        where[:, 1] = (where[:, 1] + 0.5 - top) * scale / 4 - 0.5
        out.append((crop[:, :, ::-1], where))
    return out


if __name__ == "__main__":
    run_script(main)
