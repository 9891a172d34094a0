"""DeepGaitV2 for the export."""

from __future__ import annotations

from pathlib import Path

from gaitstream.models.deepgaitv2.module import DeepGaitV2
from gaitstream.models.deepgaitv2.spec import FAMILY
from gaitstream.models.graphs.checkpoint import State, read_module, size
from gaitstream.models.graphs.deep import DEEP, DEPTHS, Mode, read_deep_sizes
from gaitstream.models.graphs.inputs import SILHOUETTE, silhouette
from gaitstream.models.graphs.opengait import TRAINING_ONLY
from gaitstream.models.graphs.traced import TracedModel
from gaitstream.models.graphs.traced_models import ClipModel, SetModel, Tap, share
from gaitstream.models.graphs.weights import seeded
from gaitstream.models.manifest import ClipContract, InputContract
from gaitstream.models.silhouette_options import SilhouetteOptions
from gaitstream.models.trained import FEATURES

TAP = Tap("before the neck")
MODES: dict[str, Mode] = {"2d": "2d", "p3d": "p3d", "3d": "3d"}


def load(path: Path, options: SilhouetteOptions) -> TracedModel:
    """Read a checkpoint; its keys say whether it is 2D, P3D or 3D.

    Raises:
        CheckpointError: the file cannot be read or does not fit; see `MismatchError`.
    """
    return wrap(read_module(path, FAMILY, build, TRAINING_ONLY), silhouette(options.preparation))


def make_random(seed: int, variant: str) -> TracedModel:
    """A model of a published size with random weights: `p3d`, `2d`, `3d`, or a deep one: `p3d-deep`, say."""
    mode, _, deep = variant.partition("-")
    return wrap(seeded(DeepGaitV2(MODES[mode], depths=DEEP if deep else DEPTHS), seed))


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
        share(module, module.embed),
    )


def build(state: State) -> DeepGaitV2:
    """A module of the checkpoint's kind and sizes."""
    mode = _mode(state)
    return DeepGaitV2(
        mode,
        size(state, "layer0.forward_block.0.weight", 1, 1),
        **read_deep_sizes(state, mode, "layer1.forward_block."),
    )


def _mode(state: State) -> Mode:
    if "layer2.forward_block.0.conv1.weight" in state:
        return "2d"
    return "3d" if "layer2.0.conv1.weight" in state else "p3d"
