"""Reading checkpoints: whose they are, what they lack, and the module they fill.

A family reads sizes (backbone, widths, embedding) from the tensors and builds its module on the meta device;
a checkpoint then has to hold exactly the keys of that module, except for what only training uses.
"""

from __future__ import annotations

import difflib
import math
import pickle
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gaitstream.errors import CheckpointError, MissingExtraError
from gaitstream.models.spec import ModelFamily, Shapes, recognise

State = dict[str, Tensor]
M = TypeVar("M", bound=nn.Module)

MAGIC = (b"PK\x03\x04", b"\x80")
"""How PyTorch's files begin: a zip archive, or a pickle in older ones."""

PLACES = ("model", "state_dict", "teacher")
"""Where a trainer's dict has the state dict."""
WRAPPERS = ("module.", "_orig_mod.")
"""What DistributedDataParallel and `torch.compile` put before every key."""
AVERAGED = "n_averaged"
"""What PyTorch's `AveragedModel` keeps beside the weights it averages."""
ATTRIBUTES = ("model.", "net.", "network.")
"""What training frameworks put before every key: the attribute of theirs that is the model."""
DEEPEST = 8
"""Dicts within dicts, at most: one may hold itself."""
MOST_BEYOND = 4 << 30
"""Bytes that tensors may have beyond their file's: one number may be all values of a tensor."""
PICKLE, TORCH_PROTOCOL = 0x80, 2
"""First byte of a pickle, and the protocol that PyTorch writes."""

VARIANCE = ".running_var"
COUNTERS = r"num_batches_tracked$"
CLASSIFIERS = r"BNNecks[^.]*\.fc_bin$"
"""Classifiers over the training identities, as OpenGait names them."""
TRAINING_ONLY = re.compile(f"{COUNTERS}|{CLASSIFIERS}")
"""Keys that inference does without, in most families: they may be missing, and of any shape."""

DINOV2 = "a DINOv2 backbone"
OTHERS = (
    (
        "a DINOv2 backbone",
        re.compile(r"^(blocks\.\d+\.|patch_embed\.|pos_embed$)"),
        "it belongs after --dinov2",
    ),
    ("another OpenGait model", re.compile(r"^(FCs|BNNecks|Backbone|HPP)\."), ""),
    ("a YOLO or RT-DETR detector", re.compile(r"^(backbone\.backbone|head\.(cls|reg)|model\.\d+)\."), ""),
)
"""Checkpoints that are no family's: what they are, by their keys, and where they belong."""


class _Passed:
    """Stands for the type of a NumPy number that lies beside the weights, and which nobody needs."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


def _making(module: str) -> Callable[..., None]:
    """Stands for what makes such a number; PyTorch finds it by its name."""

    def scalar(*_: Any) -> None: ...

    scalar.__module__, scalar.__qualname__ = module, "scalar"
    return scalar


SCALARS: list[Any] = [
    type("dtype", (_Passed,), {"__module__": "numpy"}),
    *map(_making, ("numpy.core.multiarray", "numpy._core.multiarray")),
]
"""What is called where a checkpoint names NumPy's numbers; NumPy's own functions are not."""


class MismatchError(CheckpointError):
    """A checkpoint's keys do not fit the model.

    Attributes:
        missing: keys the model needs and the checkpoint lacks.
        unexpected: keys of the checkpoint that the model does not have.
        misshapen: key, expected shape and shape found.
    """

    def __init__(
        self,
        path: Path,
        model: str,
        missing: list[str],
        unexpected: list[str],
        misshapen: list[tuple[str, tuple[int, ...], tuple[int, ...]]],
        known: list[str],
    ) -> None:
        self.missing, self.unexpected, self.misshapen = missing, unexpected, misshapen
        lines = [f"{path} does not fit {model}:"]
        lines += [f"  missing     {key}" for key in missing]
        lines += [f"  unexpected  {key}{_nearest(key, missing or known)}" for key in unexpected]
        lines += [f"  wrong shape {key}: {list(found)}, needs {list(want)}" for key, want, found in misshapen]
        lines.append("export the checkpoint with the names the published code gives them")
        super().__init__("\n".join(lines))


def read_state(path: str | Path) -> State:
    """Read a state dict.

    Takes what OpenGait and FastPoseGait save (a dict with `model`), bare state dicts, those of
    DistributedDataParallel (`module.` before every key), of compiled modules (`_orig_mod.`) and of training
    frameworks (`model.`), one alone under any name, and `.safetensors`. Never runs pickled code.

    Raises:
        CheckpointError: the file is missing, cannot be read, is truncated or unsafe, or holds no tensors, or
            several models.
        MissingExtraError: a `.safetensors` file without that package.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise CheckpointError(f"there is no checkpoint {path}")
        loaded = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror or error}): see to its permissions and its disk"
        ) from error
    state = _find_state(path, loaded)
    if all(value.ndim == 0 for value in state.values()):  # counts and rates, if anything
        state = _only_one(path, _elsewhere(loaded)) or state
    if not state:
        raise CheckpointError(
            f"{path} holds no tensors by name: {_describe(loaded)}; they lie at the top, or in a dict under "
            f"{' or '.join(PLACES)}: save the one you want there"
        )
    state = _strip({key: value for key, value in state.items() if key != AVERAGED}, WRAPPERS)
    if not recognise(shapes_of(state)):  # a family's own keys may begin like this
        state = _strip(state, (*WRAPPERS, *ATTRIBUTES))
    odd = [f"{key} ({kind})" for key, value in state.items() if (kind := _odd(value))]
    if odd:
        raise CheckpointError(
            f"{path} holds tensors that are no plain arrays of real numbers: {', '.join(odd[:5])}; save them "
            "as dense float32"
        )
    _check_sizes(path, state)
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    broken = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(f"{path} holds values that are not finite in {', '.join(broken[:5])}")
    negative = [key for key, value in state.items() if key.endswith(VARIANCE) and (value < 0).any()]
    if negative:
        raise CheckpointError(
            f"{path} holds negative variances in {', '.join(negative[:5])}: copy it again, or take another"
        )
    return state


def _odd(value: Tensor) -> str:
    """What keeps a tensor from being a plain array of real numbers; nothing for those that are."""
    # Of floats of four bits two lie in one byte, which torch makes no others of.
    if value.is_complex() or value.is_quantized or str(value.dtype).startswith("torch.float4"):
        return str(value.dtype).removeprefix("torch.")
    if value.layout is not torch.strided or value.is_nested:
        return str(value.layout).removeprefix("torch.")
    return "" if value.device.type == "cpu" else f"on {value.device.type}, without values"


def _check_sizes(path: Path, state: State) -> None:
    """See that tensors are about as large as the file, before memory is taken for them.

    Raises:
        CheckpointError: they have far more values than the file, as expanded tensors do.
    """
    claimed = {key: value.numel() * value.element_size() for key, value in state.items()}
    total, stored = sum(claimed.values()), path.stat().st_size
    if total > stored + MOST_BEYOND:
        largest = max(claimed, key=claimed.__getitem__)
        raise CheckpointError(
            f"{path} has {stored} bytes and tensors of {total}, the largest {largest} "
            f"{list(state[largest].shape)}: save whole ones, with .clone() where they are expanded"
        )


def shapes_of(state: State) -> Shapes:
    """Shapes by key, by which families recognise their checkpoints."""
    return {key: tuple(value.shape) for key, value in state.items()}


def recognise_checkpoint(path: str | Path) -> ModelFamily:
    """The family whose checkpoint a file is.

    Raises:
        CheckpointError: it cannot be read, or is no family's, or more than one's.
    """
    shapes = shapes_of(read_state(path))
    found = recognise(shapes)
    if len(found) == 1:
        return found[0]
    if not found:
        raise CheckpointError(
            f"{path} is no checkpoint of a gait model known here: it looks like {_other(shapes)}"
        )
    names = " or ".join(family.name for family in found)
    raise CheckpointError(
        f"{path} may be one of {names}: name the family, 'gaitstream export {found[0].name}'"
    )


def expect(path: Path, state: State, family: ModelFamily) -> None:
    """Stop where a checkpoint is not a family's.

    Raises:
        CheckpointError: saying what it looks like, and the command for that.
    """
    shapes = shapes_of(state)
    if family.recognises(shapes):
        return
    others = recognise(shapes)
    found = (
        f"{others[0].title}; export it with 'gaitstream export {others[0].name}'"
        if others
        else _other(shapes)
    )
    raise CheckpointError(f"{path} is not a {family.title} checkpoint: it looks like {found}")


def looks_like(shapes: Shapes) -> str:
    """Whose checkpoint this seems to be, or what else it is."""
    for family in recognise(shapes):
        return family.title
    for name, pattern, _ in OTHERS:
        if any(pattern.search(key) for key in shapes):
            return name
    first = ", ".join(sorted(shapes)[:3])
    return f"an unknown model ({len(shapes)} tensors, such as {first})"


def _other(shapes: Shapes) -> str:
    name = looks_like(shapes)
    place = next((place for other, _, place in OTHERS if other == name), "")
    return f"{name}; {place}" if place else name


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtraError("safetensors", "export", f"Reading {path.name}") from error
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}): copy it again") from error


def _read_torch(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(4)
    known = len(start) == len(MAGIC[0]) and start.startswith(MAGIC)
    if not known:
        raise CheckpointError(f"{path} is not a PyTorch checkpoint: give a .pt, .pth or .safetensors file")
    if start[0] == PICKLE and start[1] > TORCH_PROTOCOL:
        raise CheckpointError(
            f"{path} is a pickle that torch.save did not write and may hold code, which is never run: save "
            "it again with torch.save({'model': model.state_dict()}, FILE)"
        )
    try:
        # The warning is that it may be a program: then it is refused.
        with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(SCALARS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise anything at all
        reason = str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__
        unsafe = isinstance(error, pickle.UnpicklingError) and "Unsupported operand" not in str(error)
        if "TorchScript" in reason:
            raise CheckpointError(
                f"{path} is a TorchScript program, which is code and never run: save the weights alone with "
                "torch.save({'model': model.state_dict()}, FILE)"
            ) from error
        named = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(error))
        reason = f"it names {named[1]}" if named else reason
        if unsafe and "weights only" in str(error).lower():
            raise CheckpointError(
                f"{path} holds more than tensors and numbers, which safe loading refuses ({reason}): "
                "save it again with torch.save({'model': model.state_dict()}, FILE)"
            ) from error
        raise CheckpointError(f"{path} is truncated or damaged ({reason}): copy it again") from error


def _find_state(path: Path, loaded: Any, depth: int = DEEPEST) -> State:
    """The deepest dict of tensors under the usual names; under one of them may lie a configuration as well.

    Raises:
        CheckpointError: under two of them lie different weights of one model.
    """
    if not isinstance(loaded, Mapping) or not depth:
        return {}
    inner = {name: _find_state(path, loaded[name], depth - 1) for name in PLACES if name in loaded}
    found = {name: state for name, state in inner.items() if state}
    alike: dict[str, State] = {}
    for name, state in found.items():
        if not any(_equal(state, other) for other in alike.values()):
            alike[name] = state
    if len({tuple(sorted(state)) for state in alike.values()}) < len(alike):
        _only_one(path, alike)
    return next(iter(found.values()), {}) or _tensors(loaded)


def _equal(state: State, other: State) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[key], other[key]) for key in state)


def _tensors(loaded: Mapping[Any, Any]) -> State:
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}


def _elsewhere(loaded: Any) -> dict[str, State]:
    """Dicts of tensors under names that are not the usual ones, such as `model_state_dict` or `ema`."""
    if not isinstance(loaded, Mapping):
        return {}
    found = {str(name): _tensors(one) for name, one in loaded.items() if isinstance(one, Mapping)}
    return {name: state for name, state in found.items() if any(one.ndim for one in state.values())}


def _only_one(path: Path, found: dict[str, State]) -> State:
    """The only one of these; nothing where there is none.

    Raises:
        CheckpointError: there are several.
    """
    if len(found) > 1:
        raise CheckpointError(
            f"{path} holds several models, under {' and '.join(found)}: save the one you want with "
            "torch.save({'model': state_dict}, FILE)"
        )
    return next(iter(found.values()), {})


def _describe(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        return f"a dict with {', '.join(map(str, list(loaded)[:5])) or 'nothing in it'}"
    return f"a {type(loaded).__name__}"


def _strip(state: State, wrappers: Sequence[str]) -> State:
    """Drop what wrappers put before the names, and the chunk numbers of DINOv2's sharded training."""
    while wrapper := next((name for name in wrappers if _wraps(name, state)), ""):
        state = {key.removeprefix(wrapper): value for key, value in state.items()}
    return {re.sub(r"(^|\.)blocks\.\d+\.(\d+\.)", r"\1blocks.\2", key): value for key, value in state.items()}


def _wraps(name: str, state: State) -> bool:
    """Whether all keys begin with this, and go on with a name: YOLO's are `model.0.` and so forth."""
    return all(key.startswith(name) and not key[len(name) :][:1].isdigit() for key in state)


def size(state: State, key: str, axis: int, default: int) -> int:
    """One dimension of a tensor, or the published one where it is missing: the comparison then says so."""
    value = state.get(key)
    return int(value.shape[axis]) if value is not None and value.ndim > axis else default


def square_positions(state: State, key: str, default: int) -> int:
    """Positions of a transformer: one of the class, and a square grid.

    Raises:
        CheckpointError: the grid is none.
    """
    found = size(state, key, 1, default)
    if found < 2 or math.isqrt(found - 1) ** 2 != found - 1:
        raise CheckpointError(
            f"{key} has {found} positions: they must be one more than a square, such as {default}"
        )
    return found


def count(state: State, pattern: str) -> int:
    """How many numbered layers there are, counted from 0: `pattern` has a `{}` where the number stands."""
    found = 0
    while pattern.format(found) in state:
        found += 1
    return found


def widths(state: State, keys: Sequence[str]) -> tuple[int, int, int, int]:
    """First dimensions of a network's four stages, read from these tensors."""
    c1, c2, c3, c4 = (
        size(state, key, 0, default) for key, default in zip(keys, (64, 128, 256, 512), strict=True)
    )
    return c1, c2, c3, c4


def read_module(
    path: Path,
    family: ModelFamily,
    shape: Callable[[State], M],
    training_only: re.Pattern[str] = TRAINING_ONLY,
) -> M:
    """A family's module with the tensors of a checkpoint.

    Args:
        path: of the checkpoint.
        family: whose checkpoint it has to be.
        shape: builds a module of the checkpoint's sizes; called on the meta device.
        training_only: see `fill`.

    Returns:
        The module in evaluation mode.

    Raises:
        CheckpointError: the file cannot be read or is another model's.
        MismatchError: see `fill`.
    """
    state = read_state(path)
    expect(path, state, family)
    with torch.device("meta"):
        model = shape(state)
    return fill(path, model, state, family.title, training_only)


def fill(path: Path, model: M, state: State, title: str, training_only: re.Pattern[str] = TRAINING_ONLY) -> M:
    """Give a module on the meta device the checkpoint's tensors, after comparing every key.

    Args:
        path: of the checkpoint, for messages.
        model: built on the meta device.
        state: the checkpoint.
        title: the model's name, for messages.
        training_only: keys that inference does without: they may be missing, and of any shape.

    Returns:
        The module in evaluation mode.

    Raises:
        MismatchError: naming every key that is missing, unexpected or of another shape.
        CheckpointError: weights are whole numbers.
    """
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state and not training_only.search(key)]
    unexpected = [key for key in state if key not in wanted and not training_only.search(key)]
    misshapen = [
        (key, tuple(wanted[key].shape), tuple(state[key].shape))
        for key in wanted
        if key in state and wanted[key].shape != state[key].shape and not training_only.search(key)
    ]
    if missing or unexpected or misshapen:
        raise MismatchError(path, title, missing, unexpected, misshapen, list(wanted))
    whole = [
        f"{key} ({str(state[key].dtype).removeprefix('torch.')})"
        for key, empty in wanted.items()
        if key in state and empty.is_floating_point() and not state[key].is_floating_point()
    ]
    if whole:
        raise CheckpointError(f"{path} holds whole numbers for weights: {', '.join(whole[:5])}; save floats")
    filled = {}
    for key, empty in wanted.items():
        value = state.get(key)
        fits = value is not None and value.shape == empty.shape
        filled[key] = value if value is not None and fits else torch.zeros(empty.shape, dtype=empty.dtype)
    model.load_state_dict(filled, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def _nearest(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1, 0.75)
    return f" (nearest: {close[0]})" if close else ""
