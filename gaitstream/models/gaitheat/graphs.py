"""GaitHeat's `frame` and `head` graphs: the fusion branch alone, with everything constant folded.

The part and global heads do not reach the embedding and are left out.
"""

from __future__ import annotations

import numpy as np
import onnx

from gaitstream.models.gaitheat.module import GaitHeat
from gaitstream.models.gaitheat.spec import HEATMAP
from gaitstream.models.graphs import fold
from gaitstream.models.graphs.heads import SeparateBNNecks, SeparateFCs
from gaitstream.models.graphs.layers import block, project_rows, stem
from gaitstream.models.graphs.resnet import BasicBlock, SetBlock, Stem
from gaitstream.models.graphs.writer import PRODUCER, GraphWriter

EPS = 1e-12
"""Floor of a part's norm, as in the released normalisation."""

LAST = 3
"""Index of the last stage, counted from 0."""


def write_frame(model: GaitHeat, parts: int, *, half: bool = False) -> onnx.ModelProto:
    """Write the frame graph.

    Input `parts` float32 `[n, 1 + parts, 64, 48]`, aligned, the maximum over all joints first; output
    `features` float32 `[n, c, 16, 12]`.

    Args:
        model: in evaluation mode.
        parts: number of part maps beside the global one.
        half: compute in float16.

    Returns:
        The graph; its taps are named in its properties.
    """
    g = GraphWriter("gaitheat_frame", half=half)
    maps = 1 + parts
    x = g.narrow(g.input("parts", ["n", maps, *HEATMAP]))
    # Every map goes through the same weights: one convolution over n * maps pictures.
    x = g.reshape(x, -1, 1, *HEATMAP)
    first = model.Backbone1.forward_block
    assert isinstance(first, Stem)  # noqa: S101 - narrows the type
    x = stem(g, x, first)
    fused = g.tap("fused1", _max_over_maps(g, x, maps, model, 0))
    for index, (shared, fusing) in enumerate(model.stages(), 1):
        x = _stage(g, x, shared)
        top = _max_over_maps(g, x, maps, model, index)
        fused = g.op("Add", top, _stage(g, fused, fusing))
        if index < LAST:
            fused = g.tap(f"fused{index + 1}", fused)
    g.output("features", fused, ["n", *feature_shape(model)])
    return g.model(PRODUCER)


def write_head(model: GaitHeat, *, half: bool = False) -> onnx.ModelProto:
    """Write the head graph: `pooled` float32 `[n, c, 16, 12]` to `embedding` float32 `[n, parts, dim]`.

    The neck's batch norm is folded into the projections; every part has unit length.
    """
    g = GraphWriter("gaitheat_head", half=half)
    pooled = g.input("pooled", ["n", *feature_shape(model)])
    fcs, necks = model.get_submodule("FCs_fusion"), model.get_submodule("BNNecks_fusion")
    assert isinstance(fcs, SeparateFCs)  # noqa: S101 - narrows the type
    assert isinstance(necks, SeparateBNNecks)  # noqa: S101
    weight = fold.array(fcs.fc_bin)
    parts, _, dim = weight.shape
    # The released neck flattens channel-major: index = channel * parts + part.
    scale, shift = (v.reshape(dim, parts).T[:, None, :] for v in fold.bn_affine(necks.bn1d))
    x = g.op("Add", project_rows(g, pooled, weight * scale), g.constant(shift))
    x = g.widen(g.transpose(x, 1, 0, 2))
    norm = g.op("ReduceL2", x, g.constant(np.asarray([2], np.int64)), keepdims=1)
    x = g.op("Div", x, g.op("Max", norm, g.constant(np.float32(EPS), precise=True)))
    g.output("embedding", x, ["n", parts, dim], precise=True)
    return g.model(PRODUCER)


def feature_shape(model: GaitHeat) -> tuple[int, int, int]:
    """Channels, height and width of a frame's features."""
    fcs = model.get_submodule("FCs_fusion")
    assert isinstance(fcs, SeparateFCs)  # noqa: S101 - narrows the type
    return fcs.fc_bin.shape[1], HEATMAP[0] // 4, HEATMAP[1] // 4


def embedding_shape(model: GaitHeat) -> tuple[int, int]:
    """Parts and dimensions of the embedding."""
    fcs = model.get_submodule("FCs_fusion")
    assert isinstance(fcs, SeparateFCs)  # noqa: S101 - narrows the type
    return fcs.fc_bin.shape[0], fcs.fc_bin.shape[2]


def _stage(g: GraphWriter, x: str, wrapped: SetBlock) -> str:
    for layer in _blocks(wrapped):
        x = block(g, x, layer)
    return x


def _blocks(wrapped: SetBlock) -> list[BasicBlock]:
    return [module for module in wrapped.modules() if isinstance(module, BasicBlock)]


def _max_over_maps(g: GraphWriter, x: str, maps: int, model: GaitHeat, index: int) -> str:
    """Maximum over the maps of one frame: `[n * maps, c, h, w]` to `[n, c, h, w]`."""
    halvings = min(index, 2)
    shape = (_channels(model)[index], HEATMAP[0] >> halvings, HEATMAP[1] >> halvings)
    grouped = g.reshape(x, -1, maps, *shape)
    return g.op("ReduceMax", grouped, g.constant(np.asarray([1], np.int64)), keepdims=0)


def _channels(model: GaitHeat) -> list[int]:
    first = model.Backbone1.forward_block
    assert isinstance(first, Stem)  # noqa: S101 - narrows the type
    return [first.bn1.num_features, *(_blocks(shared)[-1].bn2.num_features for shared, _ in model.stages())]
