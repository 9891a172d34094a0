"""How the demo gait model takes heatmaps of another pose model, on a video of people who keep their order.

    python scripts/check_other_pose.py --video walkers.mp4 --pose pose.onnx --detector yolox.onnx --people 4

People are told apart by their order from left to right, so they must walk side by side. Prints, for each
tracklet, whether the nearest other tracklet is of the same person.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from gaitstream import zoo
from gaitstream.evaluate.distances import pairwise
from gaitstream.pipeline.detect import DetectorModel
from gaitstream.pose import PoseModel, keypoints
from gaitstream.recognizer import Recognizer


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--pose", type=Path, required=True)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--window", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    gait = Recognizer.load(zoo.resolve("demo", "gaitheat"), threads=args.threads)
    rows = frames_of(args)
    embeddings, owners = [], []
    for person in range(args.people):
        maps = [row[person] for row in rows]
        for start in range(0, len(maps) - args.window + 1, args.window):
            stack = np.stack(maps[start : start + args.window])
            embeddings.append(gait.embed(stack, keypoints(stack)))
            owners.append(person)
    distances = pairwise(np.stack(embeddings), np.stack(embeddings))
    people = np.array(owners)
    report(distances, people)


def frames_of(args: argparse.Namespace) -> list[np.ndarray]:
    """Heatmaps `[people, 17, 64, 48]` of every frame in which everybody was found, left to right."""
    detector = DetectorModel.load(args.detector, threads=args.threads)
    pose = PoseModel.load(args.pose, threads=args.threads)
    video, rows, shown = cv2.VideoCapture(str(args.video)), [], 0
    while True:
        more, image = video.read()
        if not more:
            break
        shown += 1
        boxes = detector.detect([image], 0.4)[0].boxes[: args.people]
        if len(boxes) == args.people:
            rows.append(pose.heatmaps(pose.crop(image, boxes[boxes[:, 0].argsort()])))
    print(f"{len(rows)} of {shown} frames show {args.people} people")
    return rows


def report(distances: np.ndarray, people: np.ndarray) -> None:
    """Distances within and between people, and how often the nearest tracklet is of the same person."""
    same = people[:, None] == people[None]
    other = ~np.eye(len(people), dtype=bool)
    print(
        f"{len(people)} tracklets; mean distance within a person {distances[same & other].mean():.3f}, ",
        end="",
    )
    print(f"between people {distances[~same].mean():.3f}")
    nearest = np.where(other, distances, np.inf).argmin(1)
    right = people[nearest] == people
    print(f"nearest tracklet is of the same person: {right.sum()} of {len(people)}")
    for person in np.unique(people):
        mine = people == person
        within = distances[np.ix_(mine, mine)][~np.eye(mine.sum(), dtype=bool)].mean()
        print(
            f"person {person}: within {within:.3f}, to the others {distances[np.ix_(mine, ~mine)].mean():.3f}"
        )


if __name__ == "__main__":
    main()
