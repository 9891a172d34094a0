"""What graphs look at, as it travels from the pictures to them: rows per person, by name.

| name | type and shape | made by |
|---|---|---|
| `crops` | uint8 RGB `[n, 3, height, width]` | `crops.crop_padded` |
| `ratios` | float32 `[n]`, width over height of the boxes | likewise |
| `heatmaps` | float32 `[n, 17, 64, 48]` | the pose model |
| `keypoints` | float32 `[n, 17, 3]`, x, y, score in heatmap pixels | `pose.keypoints` |
| `silhouettes` | uint8 `[n, 1, height, width]`, 255 inside the person | the segmentation model |
| `skeleton_maps` | uint8 `[n, 2, height, width]`, limbs and joints, 255 at most | `skeleton_maps.draw` |
| `joints` | float32 `[n, 17, 3]`, x, y in pixels of the picture, score | `pose.to_image` |
| `representations` | uint8 `[n, channels, height, width]` | a data set alone |

Silhouettes, maps and representations may also be floats in 0..1 or bools.

A model that needs the whole window keeps a frame's inputs as one row until the window closes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.errors import EngineError
from gaitstream.models.manifest import InputContract, InputKind, Manifest
from gaitstream.models.pose_outputs import HEAT_HEIGHT, HEAT_WIDTH, JOINTS

Inputs = Mapping[str, NDArray[Any]]
"""Arrays by name, see the table above; they have as many rows as there are persons."""

NAMES: dict[InputKind, str] = {
    InputKind.CROP: "crops",
    InputKind.POSE: "heatmaps",
    InputKind.SILHOUETTE: "silhouettes",
    InputKind.SKELETON_MAP: "skeleton_maps",
    InputKind.JOINTS: "joints",
    InputKind.REPRESENTATION: "representations",
}
PICTURES = frozenset({"silhouettes", "skeleton_maps", "representations"})
"""Inputs that are shares of white: bytes, or floats in 0..1."""
WHITE = 255.0


def row_shape(contract: InputContract) -> tuple[int, ...]:
    """Shape of one person's row of an input."""
    if contract.kind is InputKind.POSE:
        return JOINTS, HEAT_HEIGHT, HEAT_WIDTH
    if contract.kind is InputKind.JOINTS:
        return JOINTS, 3
    return contract.channels, contract.height, contract.width


def kept_shape(manifest: Manifest) -> tuple[int, ...]:
    """Shape of what one frame leaves behind until its window closes; see `Manifest.keeps`.

    Several inputs or outputs lie behind each other in one flat row.
    """
    if manifest.keeps == "inputs":
        shapes = [row_shape(contract) for contract in manifest.inputs]
    else:
        shapes = [feature.shape for feature in manifest.features.values()]
    return shapes[0] if len(shapes) == 1 else (sum(map(math.prod, shapes)),)


def kept_type(manifest: Manifest) -> np.dtype[Any]:
    """In which type a window keeps its frames: heatmaps in half precision, pictures as bytes."""
    if manifest.keeps != "inputs" or InputKind.JOINTS in manifest.needs:
        return np.dtype(np.float32)
    return np.dtype(np.float16 if InputKind.POSE in manifest.needs else np.uint8)


def pack(manifest: Manifest, inputs: Inputs) -> NDArray[Any]:
    """The inputs of frames as one row each, `[n, *kept_shape]`.

    Raises:
        EngineError: an input is missing, of another length or shape, or no picture.
    """
    names = [NAMES[contract.kind] for contract in manifest.inputs]
    arrays = [pick(inputs, name, manifest) for name in names]
    if len(arrays) == 1:
        return arrays[0]
    for name, array, contract in zip(names, arrays, manifest.inputs, strict=True):
        if array.shape[1:] != row_shape(contract):
            wanted = ", ".join(map(str, row_shape(contract)))
            raise EngineError(f"{manifest.model} takes {name} [n, {wanted}]; given are {list(array.shape)}")
    lengths = {name: len(array) for name, array in zip(names, arrays, strict=True)}
    if len(set(lengths.values())) > 1:
        given = ", ".join(f"{count} of {name}" for name, count in lengths.items())
        raise EngineError(f"{manifest.model} takes a row of every input per frame; given are {given}")
    return flat_rows([_as_kept(name, array) for name, array in zip(names, arrays, strict=True)])


def _as_kept(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """An input as it lies beside others in a row: pictures as bytes."""
    if name in PICTURES and array.dtype != np.uint8:
        return np.rint(as_graph_input(name, array, "float32") * WHITE).astype(np.uint8)
    if name == "crops" and array.dtype != np.uint8:
        raise EngineError(f"crops are {array.dtype}: give uint8, 0..255")
    return array


def flat_rows(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays of as many rows each, behind each other in flat rows `[n, total]`."""
    return np.concatenate([array.reshape(len(array), math.prod(array.shape[1:])) for array in arrays], axis=1)


def unpack(manifest: Manifest, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The inputs in rows of `pack`; the rows may have any axes in front: `[..., *kept_shape]`."""
    shapes = {NAMES[contract.kind]: row_shape(contract) for contract in manifest.inputs}
    if len(shapes) == 1:
        return dict.fromkeys(shapes, rows)
    # Beside heatmaps, pictures have lost their type in the common row.
    return {
        name: part if name in ("heatmaps", "joints") else part.astype(np.uint8)
        for name, part in split(rows, shapes).items()
    }


def split(rows: NDArray[Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """Cut flat rows `[..., total]` into arrays `[..., *shape]` by name."""
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
    parts = np.split(rows, ends, axis=-1)
    return {
        name: part.reshape(*rows.shape[:-1], *shape)
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def pick(inputs: Inputs, name: str, manifest: Manifest) -> NDArray[Any]:
    """One of the inputs.

    Raises:
        EngineError: it is not among them.
    """
    if name not in inputs:
        raise EngineError(f"{manifest.model} needs {name}; given are {', '.join(inputs) or 'none'}")
    return inputs[name]


def as_graph_input(name: str, array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """An input as a graph takes it: pictures as floats in 0..1, unless the graph takes bytes.

    Raises:
        EngineError: a picture is neither bytes nor shares in 0..1, or values are not finite.
    """
    if array.dtype == np.uint8 and name in PICTURES:
        return array if dtype == "uint8" else (array / np.float32(WHITE)).astype(dtype, copy=False)
    if name not in PICTURES:
        check_finite({name: array})
    elif array.dtype != np.bool_ and not _are_shares(array):
        raise EngineError(
            f"{name} are {array.dtype} {_range(array)}: give uint8 in 0..255, floats in 0..1 or bools"
        )
    return array.astype(dtype, copy=False)


def check_masks(name: str, array: NDArray[Any]) -> None:
    """Refuse masks stored as bytes of 0 and 1: as shares of white they would be all but black.

    Raises:
        EngineError: they are.
    """
    if array.dtype == np.uint8 and array.size and array.max() == 1:
        raise EngineError(f"{name} are uint8 of 0 and 1: give 0 and 255, bools, or floats in 0..1")


def check_finite(inputs: Inputs) -> None:
    """Refuse floats that are none.

    Raises:
        EngineError: there are some.
    """
    for name, array in inputs.items():
        if array.dtype.kind == "f" and array.size and not np.isfinite([array.min(), array.max()]).all():
            raise EngineError(f"{name} hold NaN or infinity: leave out the frames that do")


def check_given(inputs: Inputs) -> None:
    """Refuse what somebody gives by hand and cannot mean: floats that are none, masks of 0 and 1 as bytes.

    Raises:
        EngineError: there are some.
    """
    check_finite(inputs)
    for name in PICTURES.intersection(inputs):
        check_masks(name, inputs[name])


def _are_shares(array: NDArray[Any]) -> bool:
    return array.dtype.kind == "f" and (not array.size or bool(array.min() >= 0 and array.max() <= 1))


def _range(array: NDArray[Any]) -> str:
    return f"in {array.min()}..{array.max()}" if array.size else "without values"


def largest(features: Floats) -> Floats:
    """Element-wise maximum over frames, the first axis.

    Raises:
        EngineError: there is no frame.
    """
    if len(features) == 0:
        raise EngineError("there are no frames to pool: a tracklet needs at least one")
    pooled: Floats = features.max(axis=0)
    return pooled
