"""The space of human walks, learned from motion capture of people, and bodies from published anthropometry.

`walk_space.npz` holds what `training/fit_walks.py` learned: a mean walk, how it changes with the length of
the stride, the directions in which people differ, those in which one person's walks differ, and those in
which their strides do, each with its standard deviation multiplied in. It also holds, for each sex, mean
and spread of body measures of ANSUR II (Gordon et al., 2014, *2012 Anthropometric Survey of U.S. Army
Personnel*, NATICK/TR-15/007).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np

from gaitstream.synth.motion import ROWS, SEGMENTS, TERMS, Array

MEASURES = (
    "stature", "thigh", "shank", "ankle_height", "foot", "shoulder_height", "hip_height", "shoulder_width",
    "hip_width", "upper_arm", "forearm", "head", "build",
)  # fmt: skip
"""Logarithms: stature in metres, lengths as shares of stature, girth as a factor of the average."""
REGIONS = ("legs", "arms", "trunk")
REGION_OF = np.array([
    0 if name.endswith(("thigh", "shank", "foot")) else 1 if name.endswith("arm") else 2
    for name in (*SEGMENTS, "root")
])  # fmt: skip
"""Region of every row of a series."""
TOGETHER = 0.6
"""Share of variance that the regions of a body have in common.

A few dozen recorded people show few of the ways in which legs, arms and trunk go together.
"""
SWING_LEFT = {
    "shoulder": {"right_upper_arm": 0.55, "right_forearm": 0.55},
    "backpack": {f"{side}_{part}": 0.85 for side in ("left", "right") for part in ("upper_arm", "forearm")},
}
"""Share of their swing that arms keep beside a bag."""
BACKPACK_LEAN = np.radians(3.5)
WIDEST = 2.5
"""Standard deviations; nobody is drawn farther out."""
SLOWEST, FASTEST = 0.11, 0.45
"""Strides drift in form by waves of so many rounds per gait cycle."""


@dataclass(frozen=True, slots=True)
class WalkStyle:
    """How one person walks: coordinates in the space of walks."""

    person: tuple[float, ...]
    """What stays, in standard deviations among people, for every region of the body in turn."""
    walk: tuple[float, ...] = ()
    """What is special to one walk, in standard deviations of a person's walks; none for the usual walk."""
    strides: int = 0
    """Seed of what changes from stride to stride; 0 for a walk that repeats itself."""
    bag: str = "none"
    """As in `Appearance`."""

    def once(self, rng: np.random.Generator, bag: str) -> WalkStyle:
        """The same person on one walk, carrying a bag."""
        drawn = _drawn(rng, len(space().walks))
        return replace(self, walk=drawn, strides=int(rng.integers(1, 2**31)), bag=bag)


@dataclass(frozen=True)
class WalkSpace:
    """See the module. Rows of `people`, `walks` and `strides` are series `[n, ROWS, 3, TERMS]`."""

    mean: Array
    per_stride: Array
    """Change of the mean with a stride longer by one leg length."""
    stride: float
    """Stride of the mean in leg lengths."""
    people: Array
    walks: Array
    strides: Array
    walk_ratio: float
    """Logarithm of the mean walk ratio: leg lengths per step a minute."""
    walk_ratio_of: Array
    """What each row of `people` adds to it, `[n]`."""
    bodies: Array
    """Mean measures of women and men, `[2, MEASURES]`."""
    body_factors: Array
    """Their covariances' Cholesky factors, `[2, MEASURES, MEASURES]`."""

    def series(self, style: WalkStyle, relative_stride: float) -> Array:
        """Series `[ROWS, 3, TERMS]` of a style's mean stride, at a stride in leg lengths."""
        series: Array = self.mean + self.per_stride * (relative_stride - self.stride)
        for weights, directions in ((style.person, self.people), (style.walk, self.walks)):
            if weights:
                of_row = np.reshape(weights, (len(REGIONS), -1))[REGION_OF]
                series = series + np.einsum("rn,nrck->rck", of_row, directions, optimize=True)
        return _carrying(series, style.bag)


def _carrying(series: Array, bag: str) -> Array:
    """A bag stills the arm beside it; a backpack bends the trunk. Sizes are plausible, not measured."""
    changed = series.copy()
    for segment, left in SWING_LEFT.get(bag, {}).items():
        changed[SEGMENTS.index(segment), :, 1:] *= left
    if bag == "backpack":
        changed[SEGMENTS.index("spine"), 0, 0] += BACKPACK_LEAN
    return changed


@cache
def space() -> WalkSpace:
    """What was learned."""
    with (files("gaitstream.synth") / "walk_space.npz").open("rb") as file:
        data = np.load(file)
        arrays = {name: data[name].astype(np.float64) for name in data.files}
    stride, ratio = (float(arrays.pop(name)) for name in ("stride", "walk_ratio"))
    return WalkSpace(stride=stride, walk_ratio=ratio, **arrays)


def sample_style(rng: np.random.Generator) -> WalkStyle:
    """Draw a person's style, as wide as people are."""
    return WalkStyle(_drawn(rng, len(space().people)))


def _drawn(rng: np.random.Generator, directions: int) -> tuple[float, ...]:
    """Coordinates of the regions in so many directions, one region after the other."""
    shared, own = rng.standard_normal((1, directions)), rng.standard_normal((len(REGIONS), directions))
    mixed = np.sqrt(TOGETHER) * shared + np.sqrt(1 - TOGETHER) * own
    return tuple(map(float, np.clip(mixed, -WIDEST, WIDEST).ravel()))


def walk_ratio(style: WalkStyle, leg: float) -> float:
    """A style's step length over cadence in metres per step a minute, for legs in metres."""
    legs = np.asarray(style.person)[: len(space().people)]
    return leg * float(np.exp(space().walk_ratio + space().walk_ratio_of @ legs))


def sample_body(rng: np.random.Generator, man: bool) -> dict[str, float]:
    """Draw body measures by name: metres, and girth as a factor."""
    known = space()
    drawn = np.clip(rng.standard_normal(len(MEASURES)), -WIDEST, WIDEST)
    values = np.exp(known.bodies[int(man)] + known.body_factors[int(man)] @ drawn)
    body = dict(zip(MEASURES, map(float, values), strict=True))
    return {
        name: value if name in ("stature", "build") else value * body["stature"]
        for name, value in body.items()
    }


@lru_cache(maxsize=512)
def stride_waves(seed: int) -> tuple[Array, Array]:
    """Rounds per cycle and phases of the waves in which strides drift, `[directions, 3]` each."""
    rng = np.random.default_rng([seed, 0x57])
    shape = (len(space().strides), 3)
    return rng.uniform(SLOWEST, FASTEST, shape), rng.uniform(0, 2 * np.pi, shape)


def stride_changes(seed: int, cycle: Array, terms: Array) -> Array:
    """What strides add to the channels `[t, ROWS, 3]`, from Fourier terms `[t, TERMS]` at cycles `[t]`."""
    if not seed:
        return np.zeros((len(cycle), ROWS, 3))
    rounds, phases = stride_waves(seed)
    # Three waves of unit variance together.
    weights = np.sqrt(2 / 3) * np.sin(2 * np.pi * cycle[:, None, None] * rounds + phases).sum(-1)
    directions = space().strides.reshape(-1, ROWS * 3, TERMS)
    changes: Array = np.einsum("tn,nrk,tk->tr", weights, directions, terms, optimize=True)
    return changes.reshape(len(cycle), ROWS, 3)
