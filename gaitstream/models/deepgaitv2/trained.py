"""DeepGaitV2 for the export."""

from __future__ import annotations

from pathlib import Path

import torch

from gaitstream.models.deepgaitv2.module import DeepGaitV2, Mode
from gaitstream.models.deepgaitv2.spec import FAMILY
from gaitstream.models.graphs.checkpoint import State, count, read_module, size
from gaitstream.models.graphs.inputs import SILHOUETTE, silhouette
from gaitstream.models.graphs.opengait import TRAINING_ONLY
from gaitstream.models.graphs.traced import TracedModel
from gaitstream.models.graphs.traced_models import ClipModel, SetModel, Tap
from gaitstream.models.manifest import ClipContract, InputContract
from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.trained import FEATURES

TAP = Tap("before the neck")


def load(path: Path, options: SilhouetteOptions) -> TracedModel:
    """Read a checkpoint; its keys say whether it is 2D, P3D or 3D.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    return wrap(read_module(path, FAMILY, build, TRAINING_ONLY), silhouette(options.preparation))


def make_random(seed: int) -> TracedModel:
    """The P3D model of the published size with random weights."""
    torch.manual_seed(seed)
    return wrap(DeepGaitV2().eval())


def wrap(module: DeepGaitV2, silhouettes: InputContract = SILHOUETTE) -> TracedModel:
    """The module for the export: frame by frame where it is 2-D."""
    if module.mode == "2d":
        return SetModel(
            FAMILY.name,
            module,
            (silhouettes,),
            lambda frames: {FEATURES: module.features(frames)},
            module.embed,
            TAP,
        )
    return ClipModel(
        FAMILY.name,
        module,
        (silhouettes,),
        lambda frames: module.embed(module.maps(frames).amax(2)),
        ClipContract(context=module.context),
        TAP,
    )


def build(state: State) -> DeepGaitV2:
    """A module of the checkpoint's kind and sizes."""
    mode = _mode(state)
    inner = {"2d": "layer{}.forward_block.", "p3d": "layer{}.", "3d": "layer{}."}[mode]
    last = {"2d": "bn2.weight", "p3d": "conv2.forward_block.1.weight", "3d": "bn2.weight"}[mode]
    stages = ["layer1.forward_block.", *(inner.format(index) for index in (2, 3, 4))]
    norms = ["bn2.weight", last, last, last]
    return DeepGaitV2(
        mode,
        size(state, "layer0.forward_block.0.weight", 1, 1),
        tuple(
            size(state, f"{stage}0.{norm}", 0, default)
            for stage, norm, default in zip(stages, norms, (64, 128, 256, 512), strict=True)
        ),
        tuple(count(state, stage + "{}." + norm) for stage, norm in zip(stages, norms, strict=True)),
        size(state, "FCs.fc_bin", 2, 256),
        size(state, "FCs.fc_bin", 0, 16),
        size(state, "BNNecks.fc_bin", 2, 0),
    )


def _mode(state: State) -> Mode:
    if "layer2.forward_block.0.conv1.weight" in state:
        return "2d"
    return "3d" if "layer2.0.conv1.weight" in state else "p3d"
