"""Walkers in windows, drawn in whatever way a model looks at a person: fixed inputs for comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gaitstream.models import skeleton_maps
from gaitstream.models.graphs.walkers import CLIPS, PEOPLE, SEED, draw_crop, draw_silhouette, walker
from gaitstream.models.inputs import NAMES
from gaitstream.models.manifest import InputContract, InputKind
from gaitstream.models.silhouettes import network_input

Array = NDArray[Any]
LENGTHS = (7, 4)
"""Frames of each person's windows: graphs must be right for more than one length."""
STEP = 0.45
"""Phase of the gait between frames."""
HEIGHT_PX = 180.0


def about(count: int = PEOPLE * CLIPS) -> str:
    """So many drawn windows in words, for reports."""
    return f"{count} drawn windows of {' and '.join(map(str, LENGTHS))} frames, {PEOPLE} people"


def draw_sequences(
    inputs: Sequence[InputContract], attempt: int = 0
) -> tuple[dict[str, Array], NDArray[np.int64]]:
    """The frames of every window back to back, by input, and the index of each one's window.

    Args:
        inputs: what is drawn.
        attempt: others for every number.

    Returns:
        Inputs `[frames, ...]` as `InputKind` says, and `[frames]`.
    """
    lengths = [LENGTHS[clip % len(LENGTHS)] for _ in range(PEOPLE) for clip in range(CLIPS)]
    return _draw(inputs, lengths, attempt)


def draw(
    inputs: Sequence[InputContract], frames: int, windows: int = 1
) -> tuple[dict[str, Array], NDArray[np.int64]]:
    """Some windows of one length, likewise."""
    return _draw(inputs, [frames] * windows)


def clip_of(array: Array, mine: NDArray[np.bool_]) -> Tensor:
    """A window's frames with time as the second axis: `[channels, frames, ...]`."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array[mine], 0, 1)))


def each_length(sequences: NDArray[np.int64], embed: Callable[[list[int]], Tensor]) -> Array:
    """Embed neighbouring windows of one length together, `[windows, parts, dim]`."""
    lengths = np.bincount(sequences).tolist()
    found = [embed(list(group)).numpy() for _, group in groupby(range(len(lengths)), key=lengths.__getitem__)]
    return np.concatenate(found)


def _draw(
    inputs: Sequence[InputContract], lengths: list[int], attempt: int = 0
) -> tuple[dict[str, Array], NDArray[np.int64]]:
    sequences = np.repeat(np.arange(len(lengths)), lengths)
    frames = [
        (
            index // CLIPS,
            float(np.random.default_rng([SEED, index, attempt]).uniform(0, 2 * np.pi)) + STEP * frame,
        )
        for index, length in enumerate(lengths)
        for frame in range(length)
    ]
    return {NAMES[one.kind]: DRAWN[one.kind](frames, one) for one in inputs}, sequences


Frames = list[tuple[int, float]]
"""Person and phase of each frame."""


def _silhouettes(frames: Frames, contract: InputContract) -> Array:
    size = contract.height
    stored = np.stack([draw_silhouette(person, phase, 0.0, size) for person, phase in frames])
    return _cut(network_input(stored[:, None]), contract)


def _skeleton_maps(frames: Frames, contract: InputContract) -> Array:
    return _cut(network_input(skeleton_maps.draw(_joints(frames), (contract.height,) * 2)), contract)


def _representations(frames: Frames, contract: InputContract) -> Array:
    """Stand-ins for what only data sets hold: silhouettes turned and weakened channel by channel."""
    base = np.stack([draw_silhouette(person, phase, 0.0, contract.height) for person, phase in frames])
    channels = [np.roll(base, 3 * index, axis=2) // (index + 1) for index in range(contract.channels)]
    return _cut(network_input(np.stack(channels, 1)), contract)


def _keypoints(frames: Frames, _: InputContract) -> Array:
    return _joints(frames)


def _crops(frames: Frames, _: InputContract) -> Array:
    rng = np.random.default_rng(SEED)
    return np.stack([draw_crop(person, phase, 0.45, rng) for person, phase in frames])


def _joints(frames: Frames) -> NDArray[np.float32]:
    rng = np.random.default_rng([SEED, 1])
    joints = np.stack([walker(person, phase, 0.0) for person, phase in frames]) * HEIGHT_PX + (120.0, 130.0)
    joints += rng.normal(0, 0.6, joints.shape)
    scores = rng.uniform(0.4, 1.0, (*joints.shape[:2], 1))
    return np.concatenate([joints, scores], -1).astype(np.float32)


def _cut(array: NDArray[np.float32], contract: InputContract) -> NDArray[np.float32]:
    """Pictures whose stored width was not square are cut to the contract's in the middle."""
    spare = array.shape[-1] - contract.width
    return array[..., spare // 2 : spare // 2 + contract.width] if spare > 0 else array


DRAWN: dict[InputKind, Callable[[Frames, InputContract], Array]] = {
    InputKind.SILHOUETTE: _silhouettes,
    InputKind.SKELETON_MAP: _skeleton_maps,
    InputKind.REPRESENTATION: _representations,
    InputKind.JOINTS: _keypoints,
    InputKind.CROP: _crops,
}
