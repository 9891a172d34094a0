"""Draw recorded walks beside synthetic ones: figures through a gait cycle, and angles of many people.

    python training/draw_walks.py --mocap walks.npz --out docs/images

Writes `walks-figures.png`, `walks-angles.png` and `walks-world.jpg`. Needs the extra `bench` (matplotlib).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import matplotlib

matplotlib.use("Agg")

import numpy as np
from compare_walks import between, forward, synthetic, turn
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from mocap import FittedWalk, fit, read_walks

from gaitstream.cli.script import run_script
from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.background import Scenery
from gaitstream.synth.cameras import look_at
from gaitstream.synth.gait import pose
from gaitstream.synth.identity import WalkKind, sample_identity
from gaitstream.synth.motion import ROOT, SEGMENTS, basis, unit
from gaitstream.synth.paths import Line
from gaitstream.synth.render import Renderer

SHOWN = "SM_2014019"
"""A person left out of what was learned."""
PHASES = 9
LENGTHS = {
    "hips": 0.11, "thigh": 0.5, "shank": 0.5, "foot": 0.22, "spine": 0.57, "shoulders": 0.23,
    "upper_arm": 0.33, "forearm": 0.31, "head": 0.3,
}  # fmt: skip
"""In leg lengths; one skeleton for all, so that only walks differ."""
TITLES = {"people": "recorded people", "learned": "learned walks", "formula": "the formula"}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mocap", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    people = [walk for walk in map(fit, read_walks(args.mocap)) if walk is not None]
    kinds = {
        "people": people,
        "learned": synthetic(people, "learned"),
        "formula": synthetic(people, "formula"),
    }
    draw_figures(kinds, args.out / "walks-figures.png")
    draw_angles(kinds, args.out / "walks-angles.png")
    rows = [world_row(kind, index) for kind in ("formula", "learned") for index in (1, 2)]
    picture = cv2.resize(np.vstack(rows), None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(args.out / "walks-world.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 82])


def draw_figures(kinds: dict[str, list[FittedWalk]], path: Path) -> None:
    """One person of each kind from the side and from the front."""
    figure, axes = plt.subplots(len(kinds), 2, figsize=(12, 6), width_ratios=(2, 1))
    for row, (kind, walks) in zip(axes, kinds.items(), strict=True):
        walk = next(walk for walk in walks if walk.subject == SHOWN)
        for axis, (across, step) in zip(row, ((0, 1.1), (1, 0.75)), strict=True):
            stick_figures(axis, walk, across, step)
        row[0].set_title(TITLES[kind], loc="left", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def stick_figures(axis: Axes, walk: FittedWalk, across: int, step: float) -> None:
    """A cycle as figures side by side; `across` is the coordinate that points to the right."""
    wave = np.einsum("rck,tk->trc", walk.series, basis(np.arange(PHASES) / PHASES))
    segment = {name: unit(wave[:, row]) for row, name in enumerate(SEGMENTS)}
    place = np.zeros((PHASES, 3))
    place[:, across] = step * np.arange(PHASES)
    neck = place + LENGTHS["spine"] * segment["spine"]
    lines = [("0.4", place, neck), ("0.4", neck, neck + LENGTHS["head"] * segment["head"])]
    for sign, side, colour in ((1, "left", "tab:blue"), (-1, "right", "tab:red")):
        hip = place + sign * LENGTHS["hips"] * segment["hips"]
        shoulder = neck + sign * LENGTHS["shoulders"] * segment["shoulders"]
        lines += [("0.4", place, hip), ("0.4", neck, shoulder)]
        for start, parts in ((hip, ("thigh", "shank", "foot")), (shoulder, ("upper_arm", "forearm"))):
            for part in parts:
                end = start + LENGTHS[part] * segment[f"{side}_{part}"]
                lines.append((colour, start, end))
                start = end
    height = walk.series[ROOT, 2, 0]
    for colour, start, end in lines:
        for one, other in zip(start, end, strict=True):
            axis.plot(
                (one[across], other[across]), (one[2] + height, other[2] + height), color=colour, lw=1.8
            )
    axis.set_aspect("equal")
    axis.axis("off")


def world_row(kind: WalkKind, index: int, phases: int = 8) -> np.ndarray:
    """A synthetic person at phases of one gait cycle, side by side, as the world draws them: BGR uint8."""
    look = sample_appearance(5, index)
    person = sample_identity(5, index, kind).once(np.random.default_rng(1), look.bag)
    stride = 2 * person.step_length(person.speed)
    s = stride * (3 + np.arange(phases) / phases)
    joints = pose(person, Line((0.0, 0.0), 0.0), s, np.zeros(phases), stride)
    joints[..., 0] += (np.linspace(-3, 3, phases) - s)[:, None]
    camera = look_at("side", (0.0, -6.0, 1.3), (0.0, 0.0, 0.9), 60.0, 960, 360)
    renderer = Renderer(camera, Scenery("tiles", "walls", 12.0, 8.0), quality=None)
    stature, girth = np.full(phases, person.stature), np.full(phases, person.build)
    picture: np.ndarray = renderer.picture(joints, stature, girth, [look] * phases, 0)
    return picture


def draw_angles(kinds: dict[str, list[FittedWalk]], path: Path) -> None:
    """Angles through the cycle: mean and spread over people."""
    phases = np.arange(101) / 100
    names = list(angles(kinds["people"][0], phases))
    figure, axes = plt.subplots(1, len(names), figsize=(14, 3))
    for kind, colour in (("people", "k"), ("learned", "tab:green"), ("formula", "tab:red")):
        curves = [angles(walk, phases) for walk in kinds[kind]]
        for axis, name in zip(axes, names, strict=True):
            values = np.stack([curve[name] for curve in curves])
            mean, spread = values.mean(0), values.std(0)
            axis.plot(100 * phases, mean, color=colour, label=TITLES[kind])
            axis.fill_between(100 * phases, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
            axis.set_title(f"{name}, degrees", fontsize=9)
    axes[0].legend(fontsize=7)
    figure.supxlabel("% of the cycle, from the left heel strike", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def angles(walk: FittedWalk, phases: np.ndarray) -> dict[str, np.ndarray]:
    """Angles of the left side in degrees, `[phases]` each."""
    wave = np.einsum("rck,tk->trc", walk.series, basis(phases))
    segment = {name: unit(wave[:, row]) for row, name in enumerate(SEGMENTS)}
    return {
        "thigh": forward(segment["left_thigh"]),
        "knee": between(segment["left_thigh"], segment["left_shank"]),
        "upper arm": forward(segment["left_upper_arm"]),
        "elbow": between(segment["left_upper_arm"], segment["left_forearm"]),
        "pelvis turn": turn(segment["hips"]),
        "shoulder turn": turn(segment["shoulders"]),
    }


if __name__ == "__main__":
    run_script(main)
