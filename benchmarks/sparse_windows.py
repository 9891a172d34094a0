"""What it costs in distance to encode a track on some of its frames alone.

    python -m benchmarks.sparse_windows --people 60 --out out/sparse.json

People of the synthetic world who were not trained on walk past two cameras for four seconds each, in other
clothes, at 15 frames a second. The first walk enrols them with all of its frames; the second is searched with
all frames of two seconds, and with every second or third of two or four.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.rows_file import write_rows
from gaitstream.data import Floats
from gaitstream.evaluate.distances import pairwise
from gaitstream.evaluate.retrieval import retrieve
from gaitstream.evaluate.verification import pairs, verify
from gaitstream.models.pose import PoseModel, keypoints
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.resolve import resolve
from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.background import Scenery
from gaitstream.synth.identity import sample_identity
from gaitstream.synth.render import Renderer
from gaitstream.synth.studio import sample_camera, sample_pass

SEED = 90210
FRAMES = 60
CHOICES = {
    "2 s, every frame": (30, 1),
    "2 s, every second": (30, 2),
    "2 s, every third": (30, 3),
    "4 s, every second": (60, 2),
    "4 s, every third": (60, 3),
    "4 s, every fourth": (60, 4),
}
"""Frames looked over, and the distance between those that are encoded."""


class Row(msgspec.Struct, frozen=True):
    """One choice of frames.

    Attributes:
        choice: which.
        encoded: frames in a window.
        same: median distance to the person's own template.
        others: median distance to the nearest of the others.
        rank1: percent of the walks whose nearest template is the walker's.
        eer: equal error rate, percent.
    """

    choice: str
    encoded: int
    same: float
    others: float
    rank1: float
    eer: float


def main() -> None:
    """Measure all choices."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--gait", help="a bundle of a model on heatmaps; the packaged one when absent")
    parser.add_argument("--out", type=Path, help="rows as JSON")
    args = parser.parse_args()
    pose = PoseModel.load(resolve("demo", "pose"))
    model = Recognizer.load(args.gait or resolve("demo", "recognizer", family="gaitheat"))
    walks = [[walk_features(pose, model, person, day) for person in range(args.people)] for day in range(2)]
    rows = list(measure(model, *walks))
    write_rows(rows, args.out)


def walk_features(pose: PoseModel, model: Recognizer, person: int, day: int) -> Floats:
    """Features of every frame of a walk, `[frames, ...]`."""
    rng = np.random.default_rng([SEED, person, day])
    camera = sample_camera(rng)
    renderer = Renderer(camera, Scenery("paving", "street", 13.0, 9.0), day=day, quality=80)
    look = sample_appearance(SEED, person, day)
    walked = sample_pass(sample_identity(SEED, person), look, rng, FRAMES, camera)
    crops = [
        pose.crop(walked.picture(index, renderer), walked.boxes[index][None])[0]
        for index in range(len(walked.boxes))
    ]
    heatmaps = pose.heatmaps(np.stack(crops))
    return model.encode(heatmaps, keypoints(heatmaps))


def measure(model: Recognizer, first: list[Floats], second: list[Floats]) -> Iterator[Row]:
    """A row for each choice, printed as it comes; who is not in view for long is left out."""
    whole = [n for n in range(len(first)) if len(first[n]) >= FRAMES // 2 and len(second[n]) == FRAMES]
    gallery = np.stack([model.embed_pooled(model.pool(first[n])) for n in whole])
    people = np.arange(len(whole))
    for choice, (span, step) in CHOICES.items():
        probes = np.stack([model.embed_pooled(model.pool(second[n][:span:step])) for n in whole])
        distances = pairwise(probes, gallery)
        others = np.where(np.eye(len(whole), dtype=bool), np.inf, distances).min(1)
        found = retrieve(distances, people, people)
        curve = verify(*pairs(distances, people, people))
        row = Row(
            choice=choice,
            encoded=len(range(0, span, step)),
            same=float(np.median(np.diag(distances))),
            others=float(np.median(others)),
            rank1=found.rank1,
            eer=100 * curve.eer,
        )
        print(msgspec.json.encode(row).decode(), flush=True)
        yield row


if __name__ == "__main__":
    main()
