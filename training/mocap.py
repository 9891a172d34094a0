"""Recorded walks as Fourier series: reads motion capture, finds gait cycles, fits every segment.

`walks.npz` holds 3D joints at 30 Hz: `pos` `[frames, joints, 3]` in metres, z up, `heading` `[frames]`,
`start` (first frame of each trial and the end), and per trial `subject`, `source`, `speed`.
`docs/real-people.md` names the sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitstream.synth.motion import HARMONICS, ROOT, ROWS, SEGMENTS, TERMS, basis, unit

FPS = 30.0
GRAVITY = 9.81
HELD_OUT = (
    "SM_2014004", "SM_2014019", "SM_2014029", "SM_2014048", "SM_2015026", "BZ_HC031A", "BZ_HC039A",
    "BZ_HC033A", "BZ_HC055A", "CMU_A13", "CMU_A19", "CMU_07", "CMU_A27",
)  # fmt: skip
"""People whom no part of training sees: every third of those with two walks or more, of each source."""
BONES = (
    ("hips", "r_hip", "l_hip"), ("left_thigh", "l_hip", "l_knee"), ("right_thigh", "r_hip", "r_knee"),
    ("left_shank", "l_knee", "l_ankle"), ("right_shank", "r_knee", "r_ankle"), ("left_foot", "l_heel",
    "l_toe"), ("right_foot", "r_heel", "r_toe"), ("spine", "hip", "shoulder"), ("shoulders", "r_shoulder",
    "l_shoulder"), ("left_upper_arm", "l_shoulder", "l_elbow"), ("right_upper_arm", "r_shoulder",
    "r_elbow"), ("left_forearm", "l_elbow", "l_wrist"), ("right_forearm", "r_elbow", "r_wrist"), ("head",
    "shoulder", "ear"), ("face", "ear", "nose"),
)  # fmt: skip


@dataclass
class Walk:
    """One trial."""

    subject: str
    source: str
    joints: dict[str, np.ndarray]
    """Metres `[frames, 3]`; `hip`, `shoulder` and `ear` are the middles of the two."""
    heading: np.ndarray
    fps: float = FPS


@dataclass
class FittedWalk:
    """A trial as Fourier series."""

    subject: str
    source: str
    series: np.ndarray
    """`[ROWS, 3, TERMS]`."""
    stride: float
    """Metres of two steps."""
    rate: float
    """Cycles a second."""
    leg: float
    """Hip joint to ankle joint in metres."""
    cycle: np.ndarray
    """Gait cycle of every frame, left heel strikes at whole numbers, `[frames]`."""
    channels: np.ndarray
    """What the series was fitted to, `[frames, ROWS, 3]`; the root without its even pace."""

    @property
    def relative_stride(self) -> float:
        """Stride in leg lengths."""
        return self.stride / self.leg

    @property
    def relative_walk_ratio(self) -> float:
        """Step length over cadence, in leg lengths per step a minute."""
        return self.stride / 2 / (self.rate * 120) / self.leg


def read_walks(path: Path) -> list[Walk]:
    """All trials of a file."""
    data = np.load(path)
    names = [str(name) for name in data["joint_names"]]
    walks = []
    for index, (first, last) in enumerate(zip(data["start"][:-1], data["start"][1:], strict=True)):
        positions = data["pos"][first:last].astype(np.float64)
        joints = {name: positions[:, i] for i, name in enumerate(names)}
        heading = data["heading"][first:last].astype(np.float64)
        walks.append(
            Walk(str(data["subject"][index]), str(data["source"][index]), with_middles(joints), heading)
        )
    return walks


def with_middles(joints: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Joints and the middles of hips, shoulders and ears."""
    middles = {part: (joints[f"l_{part}"] + joints[f"r_{part}"]) / 2 for part in ("hip", "shoulder", "ear")}
    return {**joints, **middles}


def fit(walk: Walk, harmonics: int = HARMONICS) -> FittedWalk | None:
    """Fourier series of a trial; None where no two heel strikes can be told."""
    channels = to_channels(walk)
    leg = leg_length(walk)
    channels[:, ROOT] /= leg
    cycle = find_cycle(walk)
    if cycle is None:
        return None
    series, slope = fit_series(cycle, channels, harmonics)
    channels[:, ROOT] -= slope * (cycle - cycle.mean())[:, None]
    return FittedWalk(
        subject=walk.subject,
        source=walk.source,
        series=series,
        stride=float(slope[0] * leg),
        rate=float(np.polyfit(np.arange(len(cycle)) / walk.fps, cycle, 1)[0]),
        leg=leg,
        cycle=cycle,
        channels=channels,
    )


def leg_length(walk: Walk) -> float:
    """Hip joint to ankle joint, both sides averaged, metres."""
    return sum(
        float(np.linalg.norm(walk.joints[a] - walk.joints[b], axis=1).mean()) / 2
        for side in "lr"
        for a, b in ((f"{side}_hip", f"{side}_knee"), (f"{side}_knee", f"{side}_ankle"))
    )


def to_channels(walk: Walk) -> np.ndarray:
    """Segment directions and the root in metres, in the walker's own axes `[frames, ROWS, 3]`."""
    cos, sin = np.cos(walk.heading), np.sin(walk.heading)
    turn = np.zeros((len(cos), 3, 3))
    turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1], turn[:, 2, 2] = cos, sin, -sin, cos, 1
    out = np.empty((len(cos), ROWS, 3))
    for name, start, end in BONES:
        vector = walk.joints[end] - walk.joints[start]
        out[:, SEGMENTS.index(name)] = unit(np.einsum("tij,tj->ti", turn, vector))
    hip = walk.joints["hip"]
    step = np.einsum("tij,tj->ti", turn[:-1], np.diff(hip, axis=0))
    out[:, ROOT, :2] = np.concatenate([np.zeros((1, 2)), np.cumsum(step[:, :2], 0)])
    out[:, ROOT, 2] = hip[:, 2]
    return out


def find_cycle(walk: Walk) -> np.ndarray | None:
    """Gait cycle of every frame, from where an ankle is farthest ahead of the hips (Zeni et al., 2008)."""
    ahead = np.stack([np.cos(walk.heading), np.sin(walk.heading)], -1)
    times, beats = [], []
    for side, offset in (("l", 0.0), ("r", 0.5)):
        gap = walk.joints[f"{side}_ankle"] - walk.joints["hip"]
        for sign, phase in ((1, offset), (-1, offset + 0.62)):
            # The farthest behind the hips, where the foot leaves the floor, comes 0.62 of a cycle later.
            for moment in _peaks(sign * (gap[:, :2] * ahead).sum(1)):
                times.append(moment)
                beats.append(phase)
    if len(times) < 3:
        return None
    return _through(np.array(times), np.array(beats), len(ahead))


def _peaks(signal: np.ndarray) -> list[float]:
    """Fractional indices of the highest points of a wave that do not lie at its ends."""
    high = 0.5 * np.ptp(signal) + signal.min()
    found = []
    for i in range(1, len(signal) - 1):
        if signal[i] > high and signal[i] >= signal[i - 1] and signal[i] > signal[i + 1]:
            bend = signal[i - 1] - 2 * signal[i] + signal[i + 1]
            found.append(i + 0.5 * (signal[i - 1] - signal[i + 1]) / min(bend, -1e-9))
    return found


def _through(times: np.ndarray, beats: np.ndarray, frames: int) -> np.ndarray | None:
    """Smooth cycles `[frames]` through events whose fraction of a cycle is known."""
    best: tuple[float, np.ndarray] | None = None
    for rate in np.linspace(0.6, 1.45, 171) / FPS:
        offset = np.angle(np.exp(2j * np.pi * (beats - rate * times)).mean()) / (2 * np.pi)
        missed = beats - rate * times - offset
        cost = float(np.square(missed - np.round(missed)).mean())
        if best is None or cost < best[0]:
            best = (cost, np.round(rate * times + offset - beats) + beats)
    if best is None or best[0] > 0.01:
        return None
    degree = 1 if len(times) < 8 else 2 if len(times) < 12 else 3
    line = np.polynomial.Polynomial.fit(times, best[1], degree)
    cycle: np.ndarray = line(np.arange(frames))
    return cycle if (np.diff(cycle) > 0).all() else None


def fit_series(cycle: np.ndarray, channels: np.ndarray, harmonics: int) -> tuple[np.ndarray, np.ndarray]:
    """Series `[ROWS, 3, TERMS]` through channels `[frames, ROWS, 3]`; the root's travel per cycle `[3]`."""
    terms = basis(cycle)[:, : 1 + 2 * harmonics]
    weight = np.concatenate([[0.0], np.repeat(np.arange(1, harmonics + 1), 2) ** 2.0]) * 2e-3 * len(cycle)

    def solve(design: np.ndarray, penalty: np.ndarray, values: np.ndarray) -> np.ndarray:
        answer: np.ndarray = np.linalg.solve(design.T @ design + np.diag(penalty), design.T @ values)
        return answer

    flat = channels[:, :ROOT].reshape(len(cycle), -1)
    body = solve(terms, weight, flat).T.reshape(ROOT, 3, -1)
    steady = np.concatenate([terms, (cycle - cycle.mean())[:, None]], 1)
    root = solve(steady, np.append(weight, 0.0), channels[:, ROOT])
    series = np.zeros((ROWS, 3, TERMS))
    series[:ROOT, :, : 1 + 2 * harmonics] = body
    series[ROOT, :, : 1 + 2 * harmonics] = root[:-1].T
    series[ROOT, :2, 0] = 0
    slope = root[-1] * np.array([1.0, 1.0, 0.0])
    return series, slope
