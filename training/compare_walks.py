"""How unlike people the synthetic world walks: distributions, and a classifier that tells the two apart.

    python training/compare_walks.py --mocap walks.npz --out benchmarks/results/walks.json

As many synthetic people walk as were recorded, each as often, at the same stride lengths and for as long.
All walks go through the same fit. The classifier (kernel ridge regression on the Fourier series, head and
feet left out: they were estimated in part) is tested on people of both kinds that it was not fitted to. An
AUC of 0.5 is chance.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from fit_walks import alike
from mocap import FPS, HELD_OUT, FittedWalk, Walk, fit, read_walks, with_middles

from gaitstream.cli.script import run_script
from gaitstream.synth.gait import pose
from gaitstream.synth.identity import WalkKind, sample_identity
from gaitstream.synth.motion import ROOT, ROWS, SEGMENTS, TERMS, basis, unit
from gaitstream.synth.paths import Line
from gaitstream.synth.skeleton import INDEX

SEED = 60601
SHOWN = [row for row in range(ROWS) if row == ROOT or not SEGMENTS[row].endswith(("foot", "head", "face"))]
CLASSIFIED_TERMS = 1 + 2 * 4
FOLDS = 5
JOINTS = ("nose", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "heel", "toe")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mocap", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=SEED, help="of the synthetic people")
    parser.add_argument("--out", type=Path, help="JSON file to write the figures to")
    args = parser.parse_args()
    people = [walk for walk in map(fit, read_walks(args.mocap)) if walk is not None]
    kinds = {
        "people": people,
        "formula": synthetic(people, "formula", args.seed),
        "learned": synthetic(people, "learned", args.seed),
    }
    result: dict[str, object] = {kind: describe(walks) for kind, walks in kinds.items()}
    features = common_features(people)
    unseen = np.array([walk.subject in HELD_OUT for walk in people])
    for kind in ("formula", "learned"):
        made = np.stack([_features(walk.series) for walk in kinds[kind]])
        names = [walk.subject for walk in people]
        result[f"auc_{kind}"] = tell_apart(features, made, names)
        result[f"auc_{kind}_on_people_left_out"] = tell_apart(features, made, names, unseen)
        raw = np.stack([_features(walk.series) for walk in people])
        result[f"auc_{kind}_sources_as_recorded"] = tell_apart(raw, made, names)
    show(result)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=2) + "\n")


def synthetic(people: list[FittedWalk], kind: WalkKind, seed: int = SEED) -> list[FittedWalk]:
    """Synthetic walks that match recorded ones one by one."""
    subjects = sorted({walk.subject for walk in people})
    rng = np.random.default_rng(seed)
    made = []
    for like in people:
        person = sample_identity(seed, subjects.index(like.subject), kind).once(rng, "none")
        stride = like.relative_stride * person.leg
        # The walk ratio of a person stays, so a stride has its speed.
        speed = (stride / 2) ** 2 / (60 * person.walk_ratio)
        s = stride * rng.uniform(1, 2) + speed * np.arange(len(like.cycle)) / FPS
        joints = pose(person, Line((0.0, 0.0), 0.0), s, np.zeros(len(s)), stride)
        walked = fit(to_walk(like.subject, kind, joints))
        if walked is None:
            raise SystemExit(f"no gait cycle was found in a walk of kind {kind}")
        made.append(walked)
    return made


def to_walk(subject: str, source: str, joints: np.ndarray) -> Walk:
    """Synthetic joints `[frames, joints, 3]` of a walk along x, named as in the recordings."""
    named = {
        f"{side[0]}_{name}": joints[:, INDEX[f"{side}_{name}"]]
        for side in ("left", "right")
        for name in JOINTS
        if name != "nose"
    }
    named["nose"] = joints[:, INDEX["nose"]]
    return Walk(subject, source, with_middles(named), np.zeros(len(joints)))


def describe(walks: list[FittedWalk]) -> dict[str, list[float]]:
    """Mean, spread between people, spread within a person of every trait."""
    traits = [traits_of(walk) for walk in walks]
    names = sorted({walk.subject for walk in walks})
    whose = np.array([names.index(walk.subject) for walk in walks])
    return {name: spreads(np.array([t[name] for t in traits]), whose) for name in traits[0]}


def spreads(values: np.ndarray, whose: np.ndarray) -> list[float]:
    """Mean over people, standard deviation between people, and within those with several walks."""
    persons = np.array([values[whose == person].mean() for person in np.unique(whose)])
    count = np.bincount(whose)
    inside = sum(((values[whose == p] - persons[p]) ** 2).sum() for p in range(len(persons)) if count[p] > 1)
    freedom = (count[count > 1] - 1).sum()
    return [float(persons.mean()), float(persons.std(ddof=1)), float(np.sqrt(inside / freedom))]


def traits_of(walk: FittedWalk) -> dict[str, float]:
    """What a gait laboratory would report: degrees, lengths in shares of the leg."""
    phases = np.arange(100) / 100
    wave = np.einsum("rck,tk->trc", walk.series, basis(phases))
    segment = {name: unit(wave[:, row]) for row, name in enumerate(SEGMENTS)}
    pairs = {part: [segment[f"{side}_{part}"] for side in ("left", "right")] for part in PAIRED}
    knees = [between(t, s) for t, s in zip(pairs["thigh"], pairs["shank"], strict=True)]
    elbows = [between(u, f) for u, f in zip(pairs["upper_arm"], pairs["forearm"], strict=True)]
    swings = [np.ptp(forward(arm)) for arm in pairs["upper_arm"]]
    root = wave[:, ROOT]
    fitted = np.einsum("rck,tk->trc", walk.series, basis(walk.cycle))
    feet = [sole_track(walk, phases, side) for side in ("left", "right")]
    return {
        "cadence, steps/min": 120 * walk.rate,
        "stride, leg lengths": walk.relative_stride,
        "walk ratio, 1000 leg/(steps/min)": 1000 * walk.relative_walk_ratio,
        "step width, leg": float(feet[0] - feet[1]),
        "thigh swing": float(np.mean([np.ptp(forward(t)) for t in pairs["thigh"]])),
        "knee, most": float(np.mean([k.max() for k in knees])),
        "knee, in stance": float(np.mean([knees[0][8:30].max(), np.roll(knees[1], 50)[8:30].max()])),
        "knees, left less right": float(knees[0].max() - knees[1].max()),
        "pelvis turn": float(np.ptp(turn(segment["hips"]))),
        "pelvis list": float(np.ptp(list_of(segment["hips"]))),
        "rise and fall, leg": float(np.ptp(root[:, 2])),
        "sway, leg": float(np.ptp(root[:, 1])),
        "trunk lean": float(forward(-segment["spine"]).mean() * -1),
        "trunk roll": float(np.ptp(np.degrees(np.arcsin(segment["spine"][:, 1])))),
        "shoulder turn": float(np.ptp(turn(segment["shoulders"]))),
        "arm swing": float(np.mean(swings)),
        "arm swing, left less right": float(swings[0] - swings[1]),
        "arms apart": float(np.mean([aside(arm) for arm in pairs["upper_arm"]])),
        "elbow, mean": float(np.mean([e.mean() for e in elbows])),
        "elbow, range": float(np.mean([np.ptp(e) for e in elbows])),
        "off the series, degrees": float(
            np.degrees(np.sqrt(np.square(fitted - walk.channels)[:, SHOWN[:-1]].sum(-1).mean()))
        ),
    }


PAIRED = ("thigh", "shank", "upper_arm", "forearm")


def between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angle of two directions `[t, 3]` in degrees `[t]`."""
    angle: np.ndarray = np.degrees(np.arccos(np.clip((one * other).sum(-1), -1, 1)))
    return angle


def forward(direction: np.ndarray) -> np.ndarray:
    """How far ahead something that hangs down points, degrees `[t]`."""
    angle: np.ndarray = np.degrees(np.arctan2(direction[:, 0], -direction[:, 2]))
    return angle


def aside(direction: np.ndarray) -> float:
    """How far from the vertical to the side, mean, degrees."""
    return float(np.degrees(np.arcsin(np.abs(direction[:, 1]))).mean())


def turn(axis: np.ndarray) -> np.ndarray:
    """Rotation of an axis from right to left about the vertical, degrees `[t]`."""
    angle: np.ndarray = np.degrees(np.arctan2(-axis[:, 0], axis[:, 1]))
    return angle


def list_of(axis: np.ndarray) -> np.ndarray:
    """How much the left end is higher, degrees `[t]`."""
    angle: np.ndarray = np.degrees(np.arcsin(axis[:, 2]))
    return angle


def sole_track(walk: FittedWalk, phases: np.ndarray, side: str) -> float:
    """How far to the left a foot stands while it lies flat, in leg lengths, with thighs as long as shanks."""
    wave = np.einsum("rck,tk->trc", walk.series, basis(phases))
    sign = 1 if side == "left" else -1
    thigh, shank = (unit(wave[:, SEGMENTS.index(f"{side}_{part}")]) for part in ("thigh", "shank"))
    hips = unit(wave[:, SEGMENTS.index("hips")])
    track = wave[:, ROOT, 1] + 0.5 * (thigh + shank)[:, 1] + sign * 0.11 * hips[:, 1]
    flat = (np.arange(10, 30) + (0 if side == "left" else 50)) % 100
    return float(track[flat].mean())


def common_features(people: list[FittedWalk]) -> np.ndarray:
    """Features of recorded walks `[walks, m]`, their sources' means moved to that of measured joints."""
    names = sorted({walk.subject for walk in people})
    whose = np.array([names.index(walk.subject) for walk in people])
    rows = np.stack([np.append(walk.series.ravel(), 0.0) for walk in people])
    persons = np.stack([rows[whose == person].mean(0) for person in range(len(names))])
    sources = np.array([next(w.source for w in people if w.subject == name) for name in names])
    own, mean = alike(persons, sources)
    moved = rows - persons[whose] + own[whose] + mean
    return np.stack([_features(row[:-1].reshape(ROWS, 3, TERMS)) for row in moved])


def _features(series: np.ndarray) -> np.ndarray:
    # The height of the root depends on where hips are seen, not on the walk.
    rows = series[SHOWN, :, :CLASSIFIED_TERMS].copy()
    rows[-1, :, 0] = 0
    flat: np.ndarray = rows.ravel()
    return flat


def tell_apart(
    real: np.ndarray, made: np.ndarray, subjects: list[str], judged: np.ndarray | None = None
) -> float:
    """Area under the ROC curve of a classifier on people it was not fitted to.

    Args:
        real: features of recorded walks `[walks, m]`.
        made: those of their synthetic counterparts, row by row.
        subjects: whose pair each row is.
        judged: which rows count; all when None.
    """
    names = sorted(set(subjects))
    order = np.random.default_rng(SEED).permutation(len(names))
    fold = np.array([order[names.index(subject)] % FOLDS for subject in subjects])
    scores = np.zeros((2, len(real)))
    for number in range(FOLDS):
        train = fold != number
        x = np.concatenate([real[train], made[train]])
        target = np.repeat([1.0, -1.0], train.sum())
        for kind, rows in enumerate((real, made)):
            scores[kind, ~train] = _ridge(x, target, rows[~train])
    keep = np.ones(len(real), bool) if judged is None else judged
    gap = scores[0, keep][:, None] - scores[1, keep][None]
    return float((gap > 0).mean() + 0.5 * (gap == 0).mean())


def _ridge(x: np.ndarray, target: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Kernel ridge regression, a Gaussian and a linear kernel together."""
    middle, scale = x.mean(0), x.std(0) + 0.02 * x.std()
    x, asked = (x - middle) / scale, (asked - middle) / scale

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
        value: np.ndarray = np.exp(-square / (2 * x.shape[1])) + 0.5 * a @ b.T / x.shape[1]
        return value

    weights = np.linalg.solve(kernel(x, x) + 0.05 * np.eye(len(x)), target)
    answer: np.ndarray = kernel(asked, x) @ weights
    return answer


def show(result: dict[str, object]) -> None:
    """Print tables."""
    kinds = ("people", "formula", "learned")
    print(f"{'mean +- between people (within a person)':42}" + "".join(f"{kind:>26}" for kind in kinds))
    tables = [result[kind] for kind in kinds]
    for name in tables[0]:
        cells = "".join("{:>10.2f} +-{:5.2f} ({:5.2f})".format(*table[name]) for table in tables)
        print(f"{name:42}{cells}")
    for name, value in result.items():
        if name.startswith("auc"):
            print(f"{name:42}{value:.3f}")


if __name__ == "__main__":
    run_script(main)
