"""A data set's sequences through a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import SourceError
from gaitstream.models import skeleton_maps
from gaitstream.models.inputs import NAMES, WHITE, Inputs, check_masks
from gaitstream.models.manifest import InputContract, InputKind, Manifest
from gaitstream.models.recognizer import Recognizer

Array = NDArray[Any]
CUT = {InputKind.SILHOUETTE, InputKind.SKELETON_MAP, InputKind.REPRESENTATION}
"""Inputs that are stored square and cut to the middle columns."""


def inputs_of(
    manifest: Manifest, arrays: Sequence[Array], frames: int | None = None, names: Sequence[str] = ()
) -> Inputs:
    """The model's inputs among a sequence's arrays, told apart by their shapes.

    Args:
        manifest: of the bundle.
        arrays: a row per frame each, in the order of the files' names.
        frames: at most so many, the first ones; all when None.
        names: of the files, for messages.

    Raises:
        SourceError: an input is not among them, or no picture, or several arrays could be it.
        EngineError: silhouettes are bytes of 0 and 1.
    """
    found: dict[str, Array] = {}
    left = [array[:frames] for array in arrays]
    for contract in manifest.inputs:
        fitting = [i for i, array in enumerate(arrays) if _fits(contract, array)]
        if len(fitting) > 1:
            called = names or [f"array {i}" for i in range(len(arrays))]
            which = [called[i] for i in fitting]
            others = [other for other in manifest.inputs if other is not contract]
            needed = [i for i, array in enumerate(arrays) if any(_fits(other, array) for other in others)]
            listed = ",".join(called[i] for i in sorted({*needed, fitting[-1]} - {*fitting[:-1]}))
            raise SourceError(
                f"{' and '.join(which)} could both be the {contract.kind.value} that {manifest.model} looks "
                f"at: say which with --files, such as --files '{listed}'"
            )
        if not fitting:
            shapes = ", ".join(f"{list(array.shape)} ({array.dtype})" for array in arrays)
            raise SourceError(
                f"{manifest.model} looks at {contract.kind.value}, {contract.height} x {contract.width}; the "
                f"sequence has arrays of shape {shapes}"
            )
        found[NAMES[contract.kind]] = _prepared(contract, left[fitting[0]])
    ratios = next((array for array in left if array.ndim == 1), None)
    if ratios is not None and InputKind.CROP in manifest.needs:
        found["ratios"] = ratios.astype(np.float32)
    return found


def embed(model: Recognizer, inputs: Inputs) -> NDArray[np.float32]:
    """One sequence's embedding, float32 `[parts, dim]`."""
    return model.embed_inputs(inputs)


def _fits(contract: InputContract, array: Array) -> bool:
    """Whether an array is what an input looks at."""
    test: Callable[[Array], bool] = _SHAPES[contract.kind]
    return test(array) and (
        contract.kind not in (InputKind.SKELETON_MAP, InputKind.REPRESENTATION)
        or array.shape[1] == contract.channels
    )


_SHAPES: dict[InputKind, Callable[[Array], bool]] = {
    InputKind.CROP: lambda a: a.ndim == 4 and 3 in (a.shape[1], a.shape[3]) and a.dtype == np.uint8,
    InputKind.POSE: lambda a: a.ndim == 4 and a.shape[1] == 17,
    InputKind.SILHOUETTE: lambda a: a.ndim == 3 and a.shape[1] >= 32,
    InputKind.SKELETON_MAP: lambda a: a.ndim == 4,
    InputKind.JOINTS: lambda a: a.ndim == 3 and a.shape[1] in (17, 18) and a.shape[2] >= 3,
    InputKind.REPRESENTATION: lambda a: a.ndim == 4,
}


def _prepared(contract: InputContract, array: Array) -> Array:
    if contract.kind is InputKind.CROP:
        return np.ascontiguousarray(array if array.shape[1] == 3 else np.moveaxis(array, 3, 1))
    if contract.kind is InputKind.JOINTS:
        points = skeleton_maps.to_coco17(array[:, :, :3].astype(np.float32))
        return skeleton_maps.fill_missing(points).astype(np.float32)
    if contract.kind in CUT:
        framed = array[:, None] if array.ndim == 3 else array
        spare = framed.shape[-1] - contract.width * framed.shape[-2] // contract.height
        cut = framed[..., spare // 2 : framed.shape[-1] - spare // 2] if spare > 0 else framed
        if cut.shape[-2:] != (contract.height, contract.width):
            raise SourceError(
                f"frames are {array.shape[-2]} x {array.shape[-1]}; the model takes {contract.height} x "
                f"{contract.width} or square ones of that height"
            )
        picture = _picture(cut)
        if contract.kind is InputKind.SILHOUETTE:
            check_masks(NAMES[contract.kind], picture)
        return np.ascontiguousarray(picture)
    return array


def _picture(array: Array) -> Array:
    """Bytes as they are; what holds 0..255 in another type divided by 255, as the published code does.

    Raises:
        SourceError: there are values that are neither in 0..255 nor in 0..1.
    """
    if array.dtype in (np.uint8, np.bool_):
        return array
    real = array.dtype.kind in "iuf"
    least, most = (array.min(), array.max()) if real else (0, 0)
    if not real or not (least >= 0 and most <= WHITE):
        values = f"in {least}..{most}" if real else "which is no grey value"
        raise SourceError(f"pictures are {array.dtype} {values}: expected are 0..255 or 0..1")
    if array.dtype.kind != "f":
        return array.astype(np.uint8)
    return (array / WHITE if most > 1 else array).astype(np.float32)
