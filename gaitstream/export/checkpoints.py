"""Reading checkpoints: whose they are, what they lack, and the module they fill.

Sizes (backbone, widths, embedding) are read from the tensors; a checkpoint then has to hold exactly the
keys of that module, except for what only training uses.
"""

from __future__ import annotations

import difflib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gaitstream.errors import CheckpointError, MissingExtraError
from gaitstream.export.biggait import BigGait, GaitNet
from gaitstream.export.gaitheat import GaitHeat

State = dict[str, Tensor]
M = TypeVar("M", bound=nn.Module)

OPTIONAL = re.compile(
    r"num_batches_tracked$"
    r"|BNNecks[^.]*\.fc_bin$"  # classifiers over the training identities
    r"|_Branch\.up_sampling\."  # reconstruction, a training loss
    r"|mask_token$"  # masked-image training of DINOv2
)
"""Keys that inference does without: they may be missing, and of any shape."""

MAGIC = (b"PK\x03\x04", b"\x80")
"""How PyTorch's files begin: a zip archive, or a pickle in older ones."""

FAMILIES = (
    ("BigGait", re.compile(r"^(Denoising|Appearance|Mask)_Branch\.|^gait_net\.")),
    ("GaitHeat", re.compile(r"^Backbone\d(_fusion)?\.|^FCs_fusion\.")),
    ("a DINOv2 backbone", re.compile(r"^(blocks\.\d+\.|patch_embed\.|pos_embed$)")),
    ("another OpenGait model", re.compile(r"^(FCs|BNNecks|Backbone|HPP)\.")),
    ("a YOLO or RT-DETR detector", re.compile(r"^(backbone\.backbone|head\.(cls|reg)|model\.\d+)\.")),
)
"""What a checkpoint looks like, by its keys; the first that matches names it."""


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
    DistributedDataParallel (`module.` before every key), and `.safetensors`. Never runs pickled code.

    Raises:
        CheckpointError: the file is missing, truncated, unsafe, or holds no tensors.
        MissingExtraError: a `.safetensors` file without that package.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    state = _find_state(loaded)
    if not state:
        raise CheckpointError(f"{path} holds no tensors by name: {_describe(loaded)}")
    state = _strip(state)
    broken = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(f"{path} holds values that are not finite in {', '.join(broken[:5])}")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def load_biggait(path: str | Path, dinov2: str | Path | None = None) -> BigGait:
    """Build BigGait from a checkpoint, in evaluation mode.

    Args:
        path: OpenGait's checkpoint.
        dinov2: DINOv2's own file, needed where the checkpoint does not hold the backbone.

    Raises:
        CheckpointError: a file cannot be read or does not fit; see `MismatchError`.
    """
    path = Path(path)
    state = read_state(path)
    _expect(path, state, "BigGait")
    if dinov2 is not None:
        _join_backbone(path, state, Path(dinov2))
    elif not any(key.startswith("backbone.") for key in state):
        raise CheckpointError(f"{path} does not hold the DINOv2 backbone: give its file with --dinov2")
    with torch.device("meta"):
        model = _shape_biggait(state)
    return _fill(path, model, state, "BigGait")


def load_gaitheat(path: str | Path) -> GaitHeat:
    """Build GaitHeat from a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    path = Path(path)
    state = read_state(path)
    _expect(path, state, "GaitHeat")
    with torch.device("meta"):
        model = _shape_gaitheat(state)
    return _fill(path, model, state, "GaitHeat")


def looks_like(state: Mapping[str, Any]) -> str:
    """Whose checkpoint this seems to be, judged by its keys."""
    for name, pattern in FAMILIES:
        if any(pattern.search(key) for key in state):
            return name
    first = ", ".join(sorted(state)[:3])
    return f"an unknown model ({len(state)} tensors, such as {first})"


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
        known = file.read(4).startswith(MAGIC)
    if not known:
        raise CheckpointError(f"{path} is not a PyTorch checkpoint: give a .pt, .pth or .safetensors file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise anything at all
        reason = str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__
        unsafe = isinstance(error, pickle.UnpicklingError) and "Unsupported operand" not in str(error)
        if unsafe and "weights only" in str(error).lower():
            raise CheckpointError(
                f"{path} holds more than tensors and numbers, which safe loading refuses ({reason}): "
                "save it again with torch.save({'model': model.state_dict()}, FILE)"
            ) from error
        raise CheckpointError(f"{path} is truncated or damaged ({reason}): copy it again") from error


def _find_state(loaded: Any) -> State:
    """The deepest dict of tensors under the usual names."""
    if not isinstance(loaded, Mapping):
        return {}
    for name in ("model", "state_dict", "teacher"):
        if isinstance(loaded.get(name), Mapping):
            return _find_state(loaded[name])
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}


def _describe(loaded: Any) -> str:
    if isinstance(loaded, Mapping):
        return f"a dict with {', '.join(map(str, list(loaded)[:5])) or 'nothing in it'}"
    return f"a {type(loaded).__name__}"


def _strip(state: State) -> State:
    """Drop what wrappers put before the names, and the chunk numbers of DINOv2's sharded training."""
    while all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return {re.sub(r"(^|\.)blocks\.\d+\.(\d+\.)", r"\1blocks.\2", key): value for key, value in state.items()}


def _expect(path: Path, state: State, model: str) -> None:
    found = looks_like(state)
    if found != model:
        command = {
            "BigGait": "; export it with 'gaitstream export biggait'",
            "GaitHeat": "; export it with 'gaitstream export gaitheat'",
            "a DINOv2 backbone": "; it belongs after --dinov2",
        }.get(found, "")
        raise CheckpointError(f"{path} is not a {model} checkpoint: it looks like {found}{command}")


def _join_backbone(path: Path, state: State, dinov2: Path) -> None:
    """Add the backbone's keys; a different one inside the checkpoint is an error."""
    backbone = read_state(dinov2)
    if looks_like(backbone) != "a DINOv2 backbone":
        raise CheckpointError(f"{dinov2} is not a DINOv2 backbone: it looks like {looks_like(backbone)}")
    for key, value in backbone.items():
        own = state.setdefault(f"backbone.{key}", value)
        if own.shape != value.shape or not torch.equal(own, value):
            raise CheckpointError(
                f"{path} holds a backbone of its own, which differs from {dinov2} in {key}: "
                "leave out --dinov2"
            )


def _size(state: State, key: str, axis: int, default: int) -> int:
    """One dimension of a tensor, or the published one where it is missing: the comparison then says so."""
    value = state.get(key)
    return int(value.shape[axis]) if value is not None and value.ndim > axis else default


def _channels(state: State, keys: list[str]) -> tuple[int, int, int, int]:
    c1, c2, c3, c4 = (
        _size(state, key, 0, default) for key, default in zip(keys, (64, 128, 256, 512), strict=True)
    )
    return c1, c2, c3, c4


def _shape_biggait(state: State) -> BigGait:
    dim = _size(state, "backbone.cls_token", 2, 384)
    depth = 1 + max(
        (int(m[1]) for key in state if (m := re.match(r"backbone\.blocks\.(\d+)\.", key))), default=11
    )
    widths = (
        _size(state, "Denoising_Branch.down_sampling.3.weight", 0, 16),
        _size(state, "Appearance_Branch.down_sampling.weight", 0, 16),
    )
    trunk = "gait_net.post_backbone.forward_block.layer{}.0.bn2.weight"
    net = GaitNet(
        widths,
        _channels(
            state,
            ["gait_net.pre_part.forward_block.bn1.weight", *(trunk.format(index) for index in (2, 3, 4))],
        ),
        _size(state, "gait_net.fusion.conv.forward_block.0.weight", 0, 4),
        _size(state, "gait_net.FCs.fc_bin", 0, 16),
        _size(state, "gait_net.FCs.fc_bin", 2, 256),
        _size(state, "gait_net.BNNecks.fc_bin", 2, 0),
    )
    return BigGait(
        dim=dim,
        depth=depth,
        hidden=_size(state, "backbone.blocks.0.mlp.fc1.weight", 0, 4 * dim),
        denoising_hidden=_size(state, "Denoising_Branch.down_sampling.0.weight", 0, 2 * dim),
        positions=_size(state, "backbone.pos_embed", 1, 1370),
        net=net,
        widths=widths,
    )


def _shape_gaitheat(state: State) -> GaitHeat:
    layers = [f"Backbone{index}.forward_block.layer{index}." for index in (1, 2, 3, 4)]
    d2, d3, d4 = (max(1, sum(f"{layer}{i}.bn2.weight" in state for i in range(64))) for layer in layers[1:])
    return GaitHeat(
        _channels(state, [f"{layer}0.bn2.weight" for layer in layers]),
        _size(state, "FCs_fusion.fc_bin", 0, 16),
        _size(state, "FCs_fusion.fc_bin", 2, 256),
        _size(state, "BNNecks_fusion.fc_bin", 2, 0),
        (d2, d3, d4),
    )


def _fill(path: Path, model: M, state: State, name: str) -> M:
    """Give a module on the meta device the checkpoint's tensors, after comparing every key."""
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state and not OPTIONAL.search(key)]
    unexpected = [key for key in state if key not in wanted and not OPTIONAL.search(key)]
    misshapen = [
        (key, tuple(wanted[key].shape), tuple(state[key].shape))
        for key in wanted
        if key in state and wanted[key].shape != state[key].shape and not OPTIONAL.search(key)
    ]
    if missing or unexpected or misshapen:
        raise MismatchError(path, name, missing, unexpected, misshapen, list(wanted))
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
