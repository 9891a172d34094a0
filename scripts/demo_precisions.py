"""Whether the demo's detector and pose model are as good in bf16 and int8, which their manifests then allow.

    python scripts/demo_precisions.py       # a minute; writes the figures into metrics.json

Needs a CPU with bf16. The same walks, in every precision: people found, joints, and how far the embeddings
of the gait model move.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from demo_tracking import measure_tracking

from gaitstream.cli.script import run_script
from gaitstream.evaluate.distances import pairwise
from gaitstream.models.pose import PoseModel, keypoints, to_heatmap
from gaitstream.models.recognizer import Recognizer
from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.background import Scenery
from gaitstream.synth.identity import sample_identity
from gaitstream.synth.render import Renderer
from gaitstream.synth.studio import sample_camera, sample_pass

DEMO = Path(__file__).resolve().parents[1] / "gaitstream" / "zoo" / "demo"
PRECISIONS = ("fp32", "bf16", "int8")
PEOPLE, FRAMES, SEED = 40, 30, 70707


def main() -> None:
    """Measure and write."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    path = DEMO / "metrics.json"
    figures = json.loads(path.read_text())
    figures["precisions"] = {**joints(), **people()}
    path.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures["precisions"], indent=2))


def people() -> dict[str, float]:
    """Recall and precision of the detector, percent."""
    result = {}
    for precision in PRECISIONS:
        with_tracks = measure_tracking(DEMO, precision=precision)
        result |= {f"{name}_{precision}": with_tracks[name] for name in ("recall", "precision", "idf1")}
    return result


def joints() -> dict[str, float]:
    """Joint errors in heatmap pixels, and distances between embeddings."""
    models = [PoseModel.load(DEMO / "pose.json", "openvino", p, 1) for p in PRECISIONS]
    gait = Recognizer.load(DEMO / "gaitheat", threads=1)
    rng = np.random.default_rng(SEED)
    camera = sample_camera(rng)
    renderer = Renderer(camera, Scenery("tiles", "walls", 12.0, 8.0), day=9)
    errors: list[list[np.ndarray]] = [[] for _ in PRECISIONS]
    embeddings: list[list[np.ndarray]] = [[] for _ in PRECISIONS]
    for person in range(PEOPLE):
        look = sample_appearance(SEED, person, 0)
        walk = sample_pass(sample_identity(SEED, person), look, rng, FRAMES, camera)
        crops, truth = [], []
        for index, box in enumerate(walk.boxes):
            crops.append(models[0].crop(walk.picture(index, renderer), box[None])[0])
            truth.append(to_heatmap(walk.keypoints[index][None, :, :2], box[None])[0])
        for number, model in enumerate(models):
            heatmaps = model.heatmaps(np.stack(crops))
            found = keypoints(heatmaps)
            errors[number].append(np.linalg.norm(found[..., :2] - np.stack(truth), axis=-1).ravel())
            embeddings[number].append(gait.embed(heatmaps, found))
    same = np.eye(PEOPLE, dtype=bool)
    result = {}
    for precision, found, rows in zip(PRECISIONS, errors, embeddings, strict=True):
        between = pairwise(np.stack(embeddings[0]), np.stack(rows))
        result[f"moved_{precision}"] = float(np.median(between[same]))
        result[f"impostor_{precision}"] = float(np.median(between[~same]))
        error = np.concatenate(found)
        result[f"median_px_{precision}"] = float(np.median(error))
        result[f"pck_2px_{precision}"] = 100 * float(np.mean(error < 2))
    return result


if __name__ == "__main__":
    run_script(main)
