"""Where two limits of the reasons come from: how far is a stranger, and how small is too small.

    python scripts/derive_limits.py --people 16
    python scripts/derive_limits.py --video walkers.mp4 --detector yolox_nano.onnx --pose simplepose.onnx

A reason says "a stranger, most likely" beyond `FAR` thresholds, and "too small" for people like nobody under
`SMALL_PX` (`gaitstream.pipeline.verdict`). In the synthetic world people who were never seen walk past four
cameras. Eight are enrolled by what one camera saw, all walk past the others: how far are the enrolled and the
others from the nearest template, in thresholds? Then everybody is looked at again in smaller pictures. Of a
video without labels each person's second half is searched among everybody's first, in smaller pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from demo_crowds import CAMERAS, DEMO, FRAMES, SCENERIES, TRACKLETS, crops_of_pass
from demo_crowds import Models as DemoModels
from evaluate_video import Models as VideoModels
from evaluate_video import Track, follow, read

from gaitstream import zoo
from gaitstream.cli.script import run_script
from gaitstream.evaluate.distances import pairwise
from gaitstream.gallery.calibration import calibrate
from gaitstream.gallery.matching import Matcher
from gaitstream.models.pose import keypoints
from gaitstream.pipeline.verdict import FAR, SMALL_PX
from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.identity import sample_identity
from gaitstream.synth.render import Renderer
from gaitstream.synth.studio import sample_camera, sample_pass

SEED = 51966
FACTORS = (1.0, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4, 1.45, 1.5, 1.75)
HEIGHTS = (200, 128, 100, 85, 70, 56, 44, 32)
"""Pixels of the box, largest first; what is smaller to begin with stays as it is."""
CROP_ROOM = 1.25
"""A crop shows the box enlarged by this."""
GROUP, GALLERIES = 8, 200
MISSED = 0.5
"""Percent of the tracklets of enrolled people that may be taken for strangers'."""
GROWN = 1.05
"""How much further from one's own a smaller picture may be."""


@dataclass(frozen=True)
class Crowd:
    """Tracklets of people who were never seen: embeddings by height `[n, parts, dim]`, and whose they are."""

    embeddings: dict[int, np.ndarray]
    people: np.ndarray
    cameras: np.ndarray


def shrink(crop: np.ndarray, height_px: float) -> np.ndarray:
    """A crop as it would be of somebody so high, RGB uint8 `[3, 256, 192]`."""
    rows, columns = crop.shape[1:]
    share = height_px * CROP_ROOM / rows
    if share >= 1:
        return crop
    picture = np.ascontiguousarray(crop.transpose(1, 2, 0))
    small = cv2.resize(picture, (round(columns * share), round(rows * share)), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(large.transpose(2, 0, 1))


def watch(first: int, last: int) -> Crowd:
    """Some people past every camera three times, in other clothes before each."""
    cv2.setNumThreads(1)
    models = DemoModels.load(DEMO)
    mounted = [sample_camera(np.random.default_rng([SEED, number])) for number in range(CAMERAS)]
    renderers = [Renderer(c, SCENERIES[i % len(SCENERIES)], day=40 + i) for i, c in enumerate(mounted)]
    found: dict[int, list[np.ndarray]] = {height: [] for height in HEIGHTS}
    labels = []
    for person in range(first, last):
        rng = np.random.default_rng([SEED, person, 1])
        for number, renderer in enumerate(renderers):
            look = sample_appearance(SEED, person, 10 + number)
            for _ in range(TRACKLETS):
                walked = sample_pass(sample_identity(SEED, person), look, rng, FRAMES, mounted[number])
                crops, _truth = crops_of_pass(walked, renderer, models)
                if len(crops) >= FRAMES // 2:
                    labels.append((person, number))
                    for height in HEIGHTS:
                        found[height].append(embed(crops, height, models))
    people, cameras = np.array(labels).T
    return Crowd({height: np.stack(each) for height, each in found.items()}, people, cameras)


def embed(crops: Sequence[np.ndarray], height_px: int, models: DemoModels) -> np.ndarray:
    """The embedding of one tracklet at a height, `[parts, dim]`; all frames count, whatever their pose."""
    heatmaps = models.pose.heatmaps(np.stack([shrink(crop, height_px) for crop in crops]))
    return models.gait.embed(heatmaps, keypoints(heatmaps))


def thresholds_away(crowd: Crowd) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Distances to the nearest person in thresholds, as `verdict.is_far` has them: of enrolled and others.

    Every gallery holds eight people by the tracklets of one camera; everybody's tracklets before the other
    cameras are searched for.

    Returns:
        By the threshold they are divided by: the gallery's own, or that of the packaged model.
    """
    rng = np.random.default_rng(SEED)
    whole = crowd.embeddings[HEIGHTS[0]]
    distances = pairwise(whole, whole)
    found: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {
        "the gallery's own": ([], []),
        "advised": ([], []),
    }
    for _ in range(GALLERIES):
        group, camera = rng.choice(np.unique(crowd.people), GROUP, replace=False), rng.integers(CAMERAS)
        held = np.isin(crowd.people, group) & (crowd.cameras == camera)
        known = [(str(one), whole[held & (crowd.people == one)]) for one in np.unique(crowd.people[held])]
        calibration = calibrate(Matcher.build(known))
        if calibration is None:
            continue
        nearest = distances[:, held].min(1)
        probes, mine = crowd.cameras != camera, np.isin(crowd.people, crowd.people[held])
        for name, threshold in zip(found, (calibration.threshold, zoo.advice().threshold), strict=True):
            found[name][0].append(nearest[probes & mine] / threshold)
            found[name][1].append(nearest[probes & ~mine] / threshold)
    return {name: (np.concatenate(own), np.concatenate(others)) for name, (own, others) in found.items()}


def by_height(crowd: Crowd) -> dict[int, tuple[float, float, float]]:
    """By height: rank-1 across cameras, and median distances to one's own and to the nearest other person."""
    rows = {}
    for height, probes in crowd.embeddings.items():
        distances = pairwise(probes, crowd.embeddings[HEIGHTS[0]])
        distances[crowd.cameras[:, None] == crowd.cameras] = np.inf
        mine = crowd.people[:, None] == crowd.people
        own, other = np.where(mine, distances, np.inf).min(1), np.where(mine, np.inf, distances).min(1)
        rows[height] = (100 * float(np.mean(own < other)), float(np.median(own)), float(np.median(other)))
    return rows


def of_video(video: Path, models: VideoModels) -> dict[int, tuple[float, float, float]]:
    """The same of a video, within it: the second half of everybody among the first halves at full size."""
    tracks = follow(read(video), models.detector, models.pose)
    known, rows = models.tracklets_of(tracks), {}
    halves = [own[: len(own) // 2] for own in known]
    for height in HEIGHTS:
        smaller = [Track([shrink(crop, height) for crop in one.crops], one.boxes) for one in tracks]
        found = models.tracklets_of(smaller)
        if len(found) < len(known):
            continue
        own, other = [], []
        for person, embeddings in enumerate(found):
            away = np.stack([pairwise(embeddings[len(embeddings) // 2 :], half).min(1) for half in halves])
            own.extend(away[person])
            other.extend(np.delete(away, person, axis=0).min(0))
        right = 100 * float(np.mean(np.array(own) < np.array(other)))
        rows[height] = (right, float(np.median(own)), float(np.median(other)))
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=16, help="in the synthetic world")
    parser.add_argument("--video", type=Path, help="of people who walk throughout")
    parser.add_argument("--detector", default="demo", help="for the video")
    parser.add_argument("--pose", default="demo", help="for the video")
    args = parser.parse_args()
    filmed = {}
    if args.video:  # before the minutes that the synthetic world takes: it may not be there
        models = VideoModels.load(args.detector, args.pose, "demo", FRAMES, 1)
        filmed[args.video.name] = of_video(args.video, models)
    with ProcessPoolExecutor(2) as pool:
        middle = args.people // 2
        halves = [pool.submit(watch, *some) for some in ((0, middle), (middle, args.people))]
        crowd = join([half.result() for half in halves])
    heights = {"across cameras": by_height(crowd), **filmed}
    tell_far(thresholds_away(crowd))
    tell_small(heights)


def tell_far(away: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Print whom each factor takes for a stranger, and the smallest that misses hardly anybody."""
    for name, both in away.items():
        print(f"tracklets beyond so many thresholds ({name})")
        rows = {factor: [100 * float(np.mean(some > factor)) for some in both] for factor in FACTORS}
        for factor, (enrolled, strangers) in rows.items():
            print(f"{factor:5.2f}  enrolled {enrolled:5.1f} %  strangers {strangers:5.1f} %")
        fit = [factor for factor, (enrolled, _) in rows.items() if enrolled <= MISSED]
        print(f"at most {MISSED:g} % of the enrolled: {min(fit, default=float('nan'))}; FAR is {FAR}")


def tell_small(heights: dict[str, dict[int, tuple[float, float, float]]]) -> None:
    """Print what smaller pictures cost, and the smallest that cost little."""
    for name, rows in heights.items():
        print(f"rank-1, median distances to one's own and to the nearest other ({name})")
        for height, (rank, own, other) in rows.items():
            print(f"{height:4} px  {rank:5.1f} %  {own:.3f}  {other:.3f}")
        most = GROWN * rows[HEIGHTS[0]][1]
        fit = [height for height in rows if all(rows[one][1] <= most for one in rows if one >= height)]
        print(f"at most {GROWN - 1:.0%} further from one's own: {min(fit)} px; SMALL_PX is {SMALL_PX:g}")


def join(crowds: Sequence[Crowd]) -> Crowd:
    """Several crowds as one."""
    return Crowd(
        {height: np.concatenate([one.embeddings[height] for one in crowds]) for height in HEIGHTS},
        np.concatenate([one.people for one in crowds]),
        np.concatenate([one.cameras for one in crowds]),
    )


if __name__ == "__main__":
    run_script(main)
