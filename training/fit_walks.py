"""Learn the space of human walks from motion capture, and the bodies of people from an anthropometric survey.

    python training/fit_walks.py --mocap walks.npz --women ANSUR_II_FEMALE_Public.csv --men
    ANSUR_II_MALE_Public.csv

Writes `gaitstream/synth/walk_space.npz`; `docs/real-people.md` names the sources. People of
`mocap.HELD_OUT` are left out. Everybody counts twice, once in a mirror, so that no side is preferred.
Marker sets differ in where they see a joint; so the mean of each source is moved to the mean of the sources
with measured joints.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from mocap import HELD_OUT, FittedWalk, fit, fit_series, read_walks

from gaitstream.cli.script import run_script
from gaitstream.synth.motion import ROOT, ROWS, SEGMENTS, TERMS, mirrored
from gaitstream.synth.walk_space import MEASURES

SPACE = Path(__file__).resolve().parents[1] / "gaitstream" / "synth" / "walk_space.npz"
PEOPLE, WALKS, STRIDES = 56, 40, 32
"""Directions that are kept."""
STRIDE_HARMONICS = 4
MEASURED = ("schreiber2019", "biomechzoo")
HEAD = [SEGMENTS.index("head"), SEGMENTS.index("face")]
SIZE = ROWS * 3 * TERMS


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mocap", type=Path, required=True)
    parser.add_argument("--women", type=Path, required=True, help="ANSUR II, measurements in millimetres")
    parser.add_argument("--men", type=Path, required=True)
    parser.add_argument("--everybody", action="store_true", help="leave nobody out")
    parser.add_argument("--out", type=Path, default=SPACE)
    args = parser.parse_args()
    left_out = () if args.everybody else HELD_OUT
    walks = [fit(walk) for walk in read_walks(args.mocap) if walk.subject not in left_out]
    learned = learn([walk for walk in walks if walk is not None])
    bodies = [body_statistics(path) for path in (args.women, args.men)]
    learned["bodies"] = np.stack([mean for mean, _ in bodies])
    learned["body_factors"] = np.stack([factor for _, factor in bodies])
    np.savez_compressed(
        args.out,
        **{
            name: value.astype(np.float16 if value.ndim == 4 else np.float32)
            for name, value in learned.items()
        },
    )
    print(f"{args.out}: {args.out.stat().st_size / 1024:.0f} KiB")


def learn(walks: list[FittedWalk]) -> dict[str, np.ndarray]:
    """The arrays of `WalkSpace`, bodies excepted."""
    people = sorted({walk.subject for walk in walks})
    whose = np.array([people.index(walk.subject) for walk in walks])
    rows = np.stack([_row(walk) for walk in walks])
    stride = np.array([walk.relative_stride for walk in walks])
    per_stride = slope_within(rows, stride, whose)
    middle = float(np.mean(stride))
    level = rows - np.outer(stride - middle, per_stride)
    persons = np.stack([level[whose == person].mean(0) for person in range(len(people))])
    sources = np.array([next(w.source for w in walks if w.subject == person) for person in people])
    own, mean = alike(persons, sources)
    rest = level - persons[whose]
    many = np.bincount(whose)[whose] > 1
    # A person's mean takes part of what differs between their walks.
    rest = rest[many] / np.sqrt(1 - 1 / np.bincount(whose)[whose][many])[:, None]
    walk_directions = directions(_both_ways(rest), WALKS)
    people_directions = between(_both_ways(own), _both_ways(rest), np.bincount(whose).mean())
    print(f"{len(walks)} walks of {len(people)} people")
    return {
        "mean": _series(mean),
        "per_stride": _series(per_stride),
        "stride": np.array(middle),
        "people": _series(people_directions),
        "walks": _series(walk_directions),
        "strides": _series(directions(_both_ways(stride_residuals(walks)), STRIDES)),
        "walk_ratio": mean[-1:][0],
        "walk_ratio_of": people_directions[:, -1],
    }


def _row(walk: FittedWalk) -> np.ndarray:
    """A walk's series and the logarithm of its walk ratio, `[SIZE + 1]`."""
    return np.append(walk.series.ravel(), np.log(walk.relative_walk_ratio))


def _series(rows: np.ndarray) -> np.ndarray:
    return rows[..., :SIZE].reshape(*rows.shape[:-1], ROWS, 3, TERMS)


def _mirror(rows: np.ndarray) -> np.ndarray:
    turned = mirrored(_series(rows)).reshape(*rows.shape[:-1], SIZE)
    return np.concatenate([turned, rows[..., SIZE:]], -1)


def _both_ways(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, _mirror(rows)])


def slope_within(rows: np.ndarray, stride: np.ndarray, whose: np.ndarray) -> np.ndarray:
    """Change of rows `[n, m]` with the stride, from differences between a person's own walks, `[m]`."""
    centred, steps = rows.copy(), stride.copy()
    for person in np.unique(whose):
        centred[whose == person] -= rows[whose == person].mean(0)
        steps[whose == person] -= stride[whose == person].mean()
    slope: np.ndarray = steps @ centred / (steps @ steps)
    return slope


def alike(persons: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is a person's own, without the source's mean, `[people, m]`; the mean of the measured sources."""
    own = persons.copy()
    for source in np.unique(sources):
        own[sources == source] -= persons[sources == source].mean(0)
    means = np.stack([persons[sources == source].mean(0) for source in MEASURED])
    mean: np.ndarray = means.mean(0)
    # Heads were not measured in the first source: an upright head that moves with the trunk stands there.
    head = np.zeros((ROWS, 3, TERMS), bool)
    head[HEAD] = True
    head = np.append(head.ravel(), False)
    mean[head] = means[1][head]
    without = np.flatnonzero(sources == MEASURED[0])
    others = np.flatnonzero(sources != MEASURED[0])
    lent = np.random.default_rng(1).choice(others, len(without))
    own[np.ix_(without, np.flatnonzero(head))] = own[np.ix_(lent, np.flatnonzero(head))]
    return own, mean


def directions(rows: np.ndarray, count: int) -> np.ndarray:
    """Principal directions of centred rows `[n, m]`, as long as their standard deviations, `[count, m]`."""
    _, sizes, axes = np.linalg.svd(rows, full_matrices=False)
    kept: np.ndarray = axes[:count] * (sizes[:count] / np.sqrt(len(rows)))[:, None]
    return kept


def between(own: np.ndarray, rest: np.ndarray, walks_each: float) -> np.ndarray:
    """Directions in which people differ, less what their walks' own differences add to a mean of them."""
    found = directions(own, PEOPLE)
    variance = np.square(found).sum(1)
    axes = found / np.sqrt(variance)[:, None]
    noise = np.square(rest @ axes.T).mean(0) / walks_each
    share = np.sqrt(np.maximum(1 - noise / variance, 0))
    sources = len(MEASURED) + 1
    # The means of the sources were taken out of their people.
    spread = np.sqrt(len(own) / 2 / (len(own) / 2 - sources))
    return found * share[:, None] * spread


def stride_residuals(walks: list[FittedWalk]) -> np.ndarray:
    """How single strides differ from their walk's mean, `[strides, SIZE + 1]`, from the longer walks."""
    rows = []
    for walk in walks:
        first, last = walk.cycle[0], walk.cycle[-1]
        if last - first < 2.5:
            continue
        for start in np.arange(first, last - 1, 0.5):
            chosen = (walk.cycle >= start) & (walk.cycle < start + 1)
            series, _ = fit_series(walk.cycle[chosen], walk.channels[chosen], STRIDE_HARMONICS)
            series[ROOT, 2, 0] -= walk.series[ROOT, 2, 0]
            series[:ROOT, :, 0] -= walk.series[:ROOT, :, 0]
            kept = 1 + 2 * STRIDE_HARMONICS
            series[:, :, 1:kept] -= walk.series[:, :, 1:kept]
            rows.append(np.append(series.ravel(), 0.0))
    return np.stack(rows)


def body_statistics(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean `[MEASURES]` and Cholesky factor of the covariance of one sex's measures.

    Joints are not landmarks: a shoulder joint lies below the acromion by 0.15 of the width between the two,
    hip joints are 0.63 of the width of the pelvis apart, a chin is as far from the vertex as 1.67 times the
    tragion.
    """
    with path.open(encoding="latin1", newline="") as file:
        table = list(csv.DictReader(file))

    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in table]) / 1000

    stature, shoulders = column("stature"), column("biacromialbreadth")
    knee, ankle = column("lateralfemoralepicondyleheight"), column("lateralmalleolusheight")
    girth = np.sqrt(column("weightkg") / stature**3)
    drop = 0.15 * shoulders
    lengths = {
        "thigh": column("trochanterionheight") - knee, "shank": knee - ankle, "ankle_height": ankle,
        "foot": column("footlength"), "shoulder_height": column("acromialheight") - drop,
        "hip_height": column("trochanterionheight"), "shoulder_width": shoulders,
        "hip_width": 0.63 * column("bicristalbreadth"), "upper_arm": column("acromionradialelength") - drop,
        "forearm": column("radialestylionlength"), "head": 1.67 * column("tragiontopofhead"),
    }  # fmt: skip
    values = {name: length / stature for name, length in lengths.items()}
    values |= {"stature": stature, "build": girth / girth.mean()}
    logs = np.log(np.stack([values[name] for name in MEASURES], 1))
    spread = np.cov(logs.T) + 1e-9 * np.eye(len(MEASURES))
    return logs.mean(0), np.linalg.cholesky(spread)


if __name__ == "__main__":
    run_script(main)
