"""Measure the packaged demo weights on people they have never seen, and write their model cards.

    python scripts/evaluate_demo.py                  # everything, several minutes
    python scripts/evaluate_demo.py --cards          # only the cards, from metrics.json

Everything runs as in the pipeline: rendered pictures, the demo detector's boxes, the demo pose model's
heatmaps, the demo bundle. Figures go to `gaitstream/zoo/demo/metrics.json`, recommended thresholds, which
come from training identities, to `advice.json`, and both into the cards.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from demo_cards import write_cards
from demo_tracking import measure_tracking

from gaitstream.evaluate.distances import pairwise
from gaitstream.evaluate.openset import OpenSet, search
from gaitstream.evaluate.retrieval import retrieve
from gaitstream.evaluate.verification import pairs, verify
from gaitstream.pipeline.detect import DetectorModel
from gaitstream.pose import PoseModel, crop_windows, keypoints
from gaitstream.recognizer import Recognizer
from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.background import Scenery
from gaitstream.synth.identity import sample_identity
from gaitstream.synth.render import Renderer
from gaitstream.synth.studio import Pass, sample_camera, sample_pass

DEMO = Path(__file__).resolve().parents[1] / "gaitstream" / "zoo" / "demo"
SCENERIES = (
    Scenery("paving", "street", 13.0, 9.0),
    Scenery("tiles", "walls", 12.0, 8.0),
    Scenery("asphalt", "street", 15.0, 10.0),
)
TRAINING_SEED, UNSEEN_SEED = 1, 90210
CAMERAS, FRAMES = 4, 30


@dataclass
class Models:
    """The three models, opened as the pipeline opens them."""

    detector: DetectorModel
    pose: PoseModel
    gait: Recognizer


@dataclass
class Passes:
    """What walking past cameras gave."""

    embeddings: np.ndarray
    """`[n, parts, dim]`."""
    people: np.ndarray
    cameras: np.ndarray
    joint_errors: np.ndarray
    """Of visible joints, in heatmap pixels `[m]`."""
    missed: float
    """Share of frames in which the detector did not find the person."""


def embed_pass(walked: Pass, renderer: Renderer, models: Models) -> tuple[np.ndarray | None, np.ndarray, int]:
    """One tracklet's embedding, its joint errors, and how many frames have no detection."""
    stature = np.array([walked.identity.stature])
    girth = np.array([walked.identity.build * walked.appearance.bulk])
    crops, truth = [], []
    for index, joints in enumerate(walked.joints):
        image = renderer.picture(joints[None], stature, girth, [walked.appearance], index)
        boxes = models.detector.detect([image])[0].boxes
        if not len(boxes):
            continue
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2
        wanted = (walked.boxes[index][:2] + walked.boxes[index][2:]) / 2
        box = boxes[np.linalg.norm(centre - wanted, axis=1).argmin()][None]
        crops.append(models.pose.crop(image, box)[0])
        left, top, gain = crop_windows(box)[0]
        where = walked.keypoints[index]
        truth.append(np.column_stack([(where[:, :2] + 0.5 - (left, top)) * gain / 4 - 0.5, where[:, 2]]))
    missed = len(walked.joints) - len(crops)
    if len(crops) < FRAMES // 2:
        return None, np.empty(0), missed
    heatmaps = models.pose.heatmaps(np.stack(crops))
    found, wanted = keypoints(heatmaps), np.stack(truth)
    errors = np.linalg.norm(found[..., :2] - wanted[..., :2], axis=-1)[wanted[..., 2] == 2]
    usable = models.gait.accepts(found)
    if usable.sum() < FRAMES // 2:
        return None, errors, missed
    return models.gait.embed(heatmaps[usable], found[usable]), errors, missed


def walk(models: Models, seed: int, first: int, count: int, views: int = CAMERAS) -> Passes:
    """Everybody past `views` different cameras, in other clothes each time."""
    rng = np.random.default_rng([seed, first, 0xE7])
    embeddings, people, cameras, errors, missed, shown = [], [], [], [], 0, 0
    mounted = [sample_camera(rng) for _ in range(views)]
    renderers = [Renderer(c, SCENERIES[i % 3], day=20 + i) for i, c in enumerate(mounted)]
    for person in range(first, first + count):
        for number, (camera, renderer) in enumerate(zip(mounted, renderers, strict=True)):
            look = sample_appearance(seed, person, 10 + number)
            walked = sample_pass(sample_identity(seed, person), look, rng, FRAMES, camera)
            embedding, off, gone = embed_pass(walked, renderer, models)
            errors.append(off)
            missed, shown = missed + gone, shown + len(walked.joints)
            if embedding is not None:
                embeddings.append(embedding)
                people.append(person)
                cameras.append(number)
        if person % 10 == 9:
            print(f"{person + 1 - first} of {count} people", flush=True)
    return Passes(
        np.stack(embeddings), np.array(people), np.array(cameras), np.concatenate(errors), missed / shown
    )


def score(passes: Passes) -> dict[str, float]:
    """Retrieval across cameras, verification, and open-set identification over several galleries."""
    people, cameras = passes.people, passes.cameras
    distances = pairwise(passes.embeddings, passes.embeddings)
    found = retrieve(distances, people, people, cameras, cameras)
    curve = verify(*pairs(distances, people, people, cameras[:, None] != cameras[None]))
    galleries = [(camera, half) for camera in range(CAMERAS) for half in (0, 1)]
    opened = [open_search(distances, people, cameras, *gallery) for gallery in galleries]
    return {
        "people": len(np.unique(people)),
        "tracklets": len(people),
        "rank1": found.rank1,
        "map": found.mean_ap,
        "eer": 100 * curve.eer,
        "eer_threshold": curve.eer_threshold,
        "fnir_at_fpir_1": 100 * float(np.mean([o.fnir_at_fpir(0.01) for o in opened])),
        "fnir_at_fpir_5": 100 * float(np.mean([o.fnir_at_fpir(0.05) for o in opened])),
        "searches": int(sum(len(o.mated_distance) + len(o.nonmated_distance) for o in opened)),
    }


def open_search(
    distances: np.ndarray, people: np.ndarray, cameras: np.ndarray, camera: int, half: int
) -> OpenSet:
    """Half of the people enrolled from one camera, everybody searched from the others."""
    enrolled = (cameras == camera) & (people % 2 == half)
    rest = cameras != camera
    return search(distances[np.ix_(rest, enrolled)], people[rest], people[enrolled])


def recommend(passes: Passes, models: Models) -> dict[str, float | str]:
    """The threshold at 2% FPIR for eight enrolled people, and the median lead of right answers, halved."""
    rng = np.random.default_rng(5)
    distances = pairwise(passes.embeddings, passes.embeddings)
    everybody = np.unique(passes.people)
    strangers, leads = [], []
    for _ in range(200):
        group = rng.choice(everybody, 8, replace=False)
        camera = rng.integers(CAMERAS)
        enrolled = np.flatnonzero((passes.cameras == camera) & np.isin(passes.people, group))
        rest = passes.cameras != camera
        known = rest & np.isin(passes.people, passes.people[enrolled])
        strangers.append(distances[np.ix_(rest & ~np.isin(passes.people, group), enrolled)].min(1))
        rows = np.sort(distances[np.ix_(known, enrolled)], axis=1)
        leads.append(rows[:, 1] - rows[:, 0])
    threshold = float(np.quantile(np.concatenate(strangers), 0.02))
    margin = float(np.median(np.concatenate(leads)) / 4)
    return {
        "threshold": round(threshold, 4), "margin": round(margin, 4), "fpir": 0.02,
        "fingerprint": models.gait.fingerprint,
    }  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=60, help="unseen identities")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--demo", type=Path, default=DEMO, help="folder of the weights")
    parser.add_argument("--cards", action="store_true", help="write the cards only")
    parser.add_argument("--no-tracking", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if not args.cards:
        measure(args)
    write_cards(args.demo)


def measure(args: argparse.Namespace) -> None:
    """Run everything and write the two files of figures."""
    models = Models(
        DetectorModel.load(args.demo / "detector.json", threads=args.threads),
        PoseModel.load(args.demo / "pose.json", threads=args.threads),
        Recognizer.load(args.demo / "gaitheat", threads=args.threads),
    )
    unseen = walk(models, UNSEEN_SEED, 0, args.people)
    result: dict[str, object] = {
        "gaitheat": {**score(unseen), "runtime": models.gait.runtime, "precision": models.gait.precision},
        "pose": {
            "pck_2px": 100 * float(np.mean(unseen.joint_errors < 2)),
            "pck_1px": 100 * float(np.mean(unseen.joint_errors < 1)),
            "median_px": float(np.median(unseen.joint_errors)),
            "joints": len(unseen.joint_errors),
        },
        "detector": {"missed_alone": 100 * unseen.missed},
    }
    print(json.dumps(result, indent=2), flush=True)
    known = walk(models, TRAINING_SEED, 0, min(args.people, 40))
    advice = recommend(known, models)
    if not args.no_tracking:
        result["tracking"] = measure_tracking(args.demo, threads=args.threads)
    (args.demo / "metrics.json").write_text(json.dumps(result, indent=2) + "\n")
    (args.demo / "advice.json").write_text(json.dumps(advice, indent=2) + "\n")
    print(json.dumps({**result, "advice": advice}, indent=2))


if __name__ == "__main__":
    main()
