"""Do embeddings hold for recorded people who were left out of training, from eight views?

    python training/evaluate_people.py --mocap walks.npz
    python training/evaluate_people.py --mocap walks.npz --gait walkers --everybody
    python training/evaluate_people.py --mocap walks.npz --checkpoint runs/gait/gait.pt
    python training/evaluate_people.py --mocap walks.npz --teacher runs/teacher.pt

Every walk is seen by cameras in eight directions; joints are projected, disturbed as pose models disturb
them, and drawn as heatmaps; the bundle embeds them. Everybody is enrolled by one walk from one view and
searched by their other walks, from every view. Works with every bundle on heatmaps or joints, and with
checkpoints and teachers that are still being trained.
Sources are searched one by one: marker sets differ, and would give people away.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mocap import HELD_OUT, Walk, read_walks
from train_gait import embed as embed_maps
from train_teacher import load_teacher
from walks import GROUPS, Noise, align_points, disturb

from gaitstream.cli.script import run_script
from gaitstream.evaluate.distances import pairwise
from gaitstream.evaluate.verification import verify
from gaitstream.kernels import align
from gaitstream.models.gaitheat.checkpoint import load_module
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.resolve import resolve
from gaitstream.synth.cameras import look_at
from gaitstream.synth.skeleton import KEYPOINTS

VIEWS = 8
SHORT = {"left": "l", "right": "r"}


@dataclass
class Sight:
    """A walk as a camera sees it.

    Attributes:
        points: joints in pixels of the heatmaps of everybody's boxes, `[frames, 17, 2]`.
        scale: pixels of the picture per heatmap pixel, `[frames]`.
        corner: where heatmaps begin in the picture, `[frames, 2]`.
    """

    points: np.ndarray
    scale: np.ndarray
    corner: np.ndarray

    def in_picture(self) -> np.ndarray:
        """Joints in pixels of the picture, `[frames, 17, 2]`."""
        placed: np.ndarray = self.points * self.scale[:, None, None] + self.corner[:, None]
        return placed


Embed = Callable[[Sight, np.random.Generator], np.ndarray]
"""A walk to an embedding `[parts, dim]`."""


@dataclass
class Tracklets:
    """Embedded walks of several views."""

    embeddings: np.ndarray
    """`[n, parts, dim]`."""
    subjects: np.ndarray
    sources: np.ndarray
    walks: np.ndarray
    views: np.ndarray


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mocap", type=Path, required=True)
    parser.add_argument("--gait", default="demo", help="bundle of a model on heatmaps or joints")
    parser.add_argument("--checkpoint", type=Path, help="instead: written by train_gait.py or fit_metric.py")
    parser.add_argument("--teacher", type=Path, help="instead: written by train_teacher.py")
    parser.add_argument("--everybody", action="store_true", help="also people who were trained on")
    parser.add_argument("--clean", action="store_true", help="without a pose model's errors")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    walks = [w for w in read_walks(args.mocap) if args.everybody or w.subject in HELD_OUT]
    result = score(embed(embedder(args), walks, args.seed, args.clean))
    print(json.dumps(result, indent=2))


def embedder(args: argparse.Namespace) -> Embed:
    """What makes embeddings, by the command line."""
    if args.teacher:
        teacher = load_teacher(args.teacher)

        def by_teacher(seen: Sight, _: np.random.Generator) -> np.ndarray:
            joints = align_points(torch.from_numpy(seen.points).float())[None]
            return np.asarray(teacher.embed(teacher.pooled(joints))[0][0])

        return by_teacher
    if args.checkpoint:
        model = load_module(args.checkpoint)

        def by_checkpoint(seen: Sight, rng: np.random.Generator) -> np.ndarray:
            maps, found = draw(seen.points, rng)
            parts = np.asarray(align(maps, found, groups=GROUPS, gamma_deg=0.0, small_angle="align").parts)
            embedding: np.ndarray = embed_maps(model, torch.from_numpy(parts)[None])[0]
            return embedding

        return by_checkpoint
    recognizer = Recognizer.load(resolve(args.gait, "recognizer"), threads=1)

    def by_bundle(seen: Sight, rng: np.random.Generator) -> np.ndarray:
        maps, found = draw(seen.points, rng)
        joints = np.concatenate([seen.in_picture(), found[..., 2:]], -1).astype(np.float32)
        embedding: np.ndarray = recognizer.embed_inputs(
            {"heatmaps": maps, "keypoints": found, "joints": joints}
        )
        return embedding

    return by_bundle


def embed(make: Embed, walks: list[Walk], seed: int, clean: bool) -> Tracklets:
    """Every walk from every view."""
    rng = np.random.default_rng(seed)
    noisy = torch.Generator().manual_seed(seed)
    rows, labels = [], []
    for number, walk in enumerate(walks):
        joints = coco(walk)
        for view in range(VIEWS):
            seen = see(joints, view, rng)
            if not clean:
                points = torch.from_numpy(seen.points).float()[None]
                seen.points = disturb(points, noisy, Noise())[0].numpy()
            rows.append(make(seen, rng))
            labels.append((walk.subject, walk.source, number, view))
    subjects, sources, numbers, views = zip(*labels, strict=True)
    return Tracklets(np.stack(rows), *map(np.array, (subjects, sources, numbers, views)))


def coco(walk: Walk) -> np.ndarray:
    """COCO's joints `[t, 17, 3]`; eyes were not recorded: between nose and ears, a little higher."""
    named = dict(walk.joints)
    for short in SHORT.values():
        named[f"{short}_eye"] = 0.65 * named["nose"] + 0.35 * named[f"{short}_ear"] + (0.0, 0.0, 0.03)
    return np.stack([named[_name(joint)] for joint in KEYPOINTS], 1)


def _name(joint: str) -> str:
    side, _, part = joint.partition("_")
    return f"{SHORT[side]}_{part}" if part else joint


def see(joints: np.ndarray, view: int, rng: np.random.Generator, keep: int = 30) -> Sight:
    """A walk `[t, 17, 3]` from one of the directions.

    Every second frame of long walks, for the pipeline's 15 a second; all of short ones.
    """
    shown = joints[::2] if len(joints) >= 2 * keep else joints
    first = int(rng.integers(max(1, len(shown) - keep + 1)))
    shown = shown[first : first + keep]
    middle = shown.mean((0, 1))
    angle = 2 * np.pi * (view + rng.uniform(-0.3, 0.3)) / VIEWS
    distance, height = rng.uniform(5, 9), rng.uniform(1.6, 4.0)
    spot = (middle[0] + distance * np.cos(angle), middle[1] + distance * np.sin(angle), height)
    camera = look_at("view", spot, (float(middle[0]), float(middle[1]), 0.9), 60.0, 1280, 720)
    pixels, _ = camera.project(shown)
    low, high = pixels.min(1), pixels.max(1)
    tall = high[:, 1] - low[:, 1]
    # A person reaches over their joints: by the top of the head, feet and the breadth of limbs.
    low, high = low - tall[:, None] * (0.06, 0.08), high + tall[:, None] * (0.06, 0.06)
    size = np.maximum(high[:, 1] - low[:, 1], (high[:, 0] - low[:, 0]) * 4 / 3) * 1.25
    size = size * (1 + 0.03 * rng.standard_normal() + 0.012 * rng.standard_normal(len(size)))
    centre = (low + high) / 2 + tall[:, None] * 0.012 * rng.standard_normal((len(size), 2))
    scale = size / 64
    corner = centre - scale[:, None] * (23.5, 31.5)
    return Sight((pixels - corner[:, None]) / scale[:, None, None], scale, corner)


def draw(points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Heatmaps `[t, 17, 64, 48]` of joints `[t, 17, 2]`, and the joints with their peaks `[t, 17, 3]`."""
    across = np.exp(-0.5 * ((np.arange(48) - points[..., :1]) / 2) ** 2)
    along = np.exp(-0.5 * ((np.arange(64) - points[..., 1:]) / 2) ** 2)
    peak = rng.uniform(0.6, 1.0, (1, 17)) * rng.uniform(0.9, 1.0, points.shape[:2])
    maps = (peak[..., None, None] * along[..., :, None] * across[..., None, :]).astype(np.float32)
    return maps, np.concatenate([points, peak[..., None]], -1).astype(np.float32)


def score(tracklets: Tracklets) -> dict[str, float]:
    """Rank-1 and EER between different walks, within each source, from the same view and across views.

    A search asks for one tracklet among one walk of everybody, seen from one other view.
    """
    distances = pairwise(tracklets.embeddings, tracklets.embeddings)
    result: dict[str, float] = {"people": len(set(tracklets.subjects)), "tracklets": len(tracklets.subjects)}
    for name, same_view in (("same_view", True), ("across_views", False)):
        ranks, own, others = [], [], []
        for source in np.unique(tracklets.sources):
            inside = np.flatnonzero(tracklets.sources == source)
            for probe in inside:
                ranks += searches(distances[probe], tracklets, inside, probe, same_view)
            pairs = comparable(tracklets, inside, same_view)
            same = tracklets.subjects[pairs[0]] == tracklets.subjects[pairs[1]]
            gaps = distances[pairs]
            own.append(gaps[same])
            others.append(gaps[~same])
        result[f"rank1_{name}"] = 100 * float(np.mean(ranks))
        result[f"chance_{name}"] = 100 * chance(tracklets)
        result[f"eer_{name}"] = 100 * verify(np.concatenate(own), np.concatenate(others)).eer
    return result


def chance(tracklets: Tracklets) -> float:
    """Rank-1 of guessing, averaged over the tracklets."""
    sizes = {s: len(set(tracklets.subjects[tracklets.sources == s])) for s in set(tracklets.sources)}
    return float(np.mean([1 / sizes[source] for source in tracklets.sources]))


def comparable(tracklets: Tracklets, inside: np.ndarray, same_view: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of tracklets of different walks, from the same view or from different ones."""
    one, other = np.meshgrid(inside, inside, indexing="ij")
    fits = (tracklets.walks[one] < tracklets.walks[other]) & (
        (tracklets.views[one] == tracklets.views[other]) == same_view
    )
    return one[fits], other[fits]


def searches(
    distances: np.ndarray, tracklets: Tracklets, inside: np.ndarray, probe: int, same_view: bool
) -> list[bool]:
    """Whether a tracklet finds its person in the gallery of every view: the first other walk of everybody."""
    views = [tracklets.views[probe]] if same_view else np.setdiff1d(np.arange(VIEWS), tracklets.views[probe])
    found = []
    for view in views:
        gallery: dict[str, int] = {}
        for row in inside:
            if tracklets.views[row] == view and tracklets.walks[row] != tracklets.walks[probe]:
                gallery.setdefault(str(tracklets.subjects[row]), int(row))
        if str(tracklets.subjects[probe]) in gallery:
            nearest = min(gallery, key=lambda name: distances[gallery[name]])
            found.append(nearest == tracklets.subjects[probe])
    return found


if __name__ == "__main__":
    run_script(main)
