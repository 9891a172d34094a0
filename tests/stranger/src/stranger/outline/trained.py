"""A checkpoint of the family, its graphs, and what they have to compute."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from gaitstream.models.graphs import fold
from gaitstream.models.graphs.checkpoint import expect, fill, read_state, size
from gaitstream.models.graphs.layers import project_rows
from gaitstream.models.graphs.splice import chain, half_output, sealed
from gaitstream.models.graphs.walkers import about, draw_silhouette, schedule, sequence_index
from gaitstream.models.graphs.writer import GraphWriter
from gaitstream.models.manifest import (
    CropContract,
    EmbeddingContract,
    FeatureContract,
    InputContract,
    InputKind,
)
from gaitstream.models.trained import FEATURES, Array, Case, Description, NvinferCase, TrainedModel, pool
from stranger.contrast import graph as contrast
from stranger.outline.module import PARTS, SILHOUETTE, Outline
from stranger.outline.spec import FAMILY, OutlineOptions

PRODUCER = "stranger"
SLOPE = 0.01
FEATURE = f"{FAMILY.name}_feature"
"""Output of the graph for nvinfer."""
ROWS, COLUMNS = SILHOUETTE[0] // 4, SILHOUETTE[1] // 4


def load(path: Path, options: OutlineOptions) -> TrainedOutline:
    """Read a checkpoint; sizes are those of its tensors."""
    state = read_state(path)
    expect(path, state, FAMILY)
    with torch.device("meta"):
        module = Outline(size(state, "outline.0.weight", 0, 8), size(state, "embed.fc_bin", 2, 12))
    return TrainedOutline(fill(path, module, state, FAMILY.title), options)


class TrainedOutline(TrainedModel):
    """The family's checkpoint, ready to be exported."""

    family = FAMILY.name
    module: Outline

    def __init__(self, module: Outline, options: OutlineOptions | None = None) -> None:
        self.module = module
        self.options = options or OutlineOptions()

    def describe(self) -> Description:
        """Silhouettes in, one map per frame, 16 parts out."""
        _, channels, dim = self.module.embed.fc_bin.shape
        return Description(
            input=InputContract(
                kind=InputKind.SILHOUETTE,
                height=SILHOUETTE[0],
                width=SILHOUETTE[1],
                channels=1,
                crop_rule="segment",
            ),
            feature=FeatureContract(channels=channels, height=ROWS, width=COLUMNS),
            nvinfer=CropContract(height=SILHOUETTE[0], width=SILHOUETTE[1], rule="segment"),
            embedding=EmbeddingContract(parts=PARTS, dim=dim, tap=f"the last layer, {self.options.tap}"),
        )

    def graphs(self, *, half: bool) -> dict[str, onnx.ModelProto]:
        """`frame` and `head`."""
        return {"frame": self._frame(half=half), "head": self._head(half=half)}

    def _frame(self, *, half: bool) -> onnx.ModelProto:
        first, _, second, norm, _ = self.module.outline
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert first.bias is not None
        g = GraphWriter("toy_outline_frame", half=half)
        x = g.narrow(g.input("silhouettes", ["n", 1, *SILHOUETTE]))
        x = g.conv(x, fold.array(first.weight), fold.array(first.bias), stride=2, pad=1)
        x = g.tap("first", g.op("LeakyRelu", x, alpha=SLOPE))
        x = g.op("LeakyRelu", g.conv(x, *fold.conv_bn(second, norm), stride=2, pad=1), alpha=SLOPE)
        g.output(FEATURES, x, ["n", second.out_channels, ROWS, COLUMNS])
        return g.model(PRODUCER)

    def _head(self, *, half: bool) -> onnx.ModelProto:
        parts, channels, dim = self.module.embed.fc_bin.shape
        g = GraphWriter("toy_outline_head", half=half)
        pooled = g.input("pooled", ["n", channels, ROWS, COLUMNS])
        x = g.widen(g.transpose(project_rows(g, pooled, fold.array(self.module.embed.fc_bin)), 1, 0, 2))
        if self.options.tap == "unit":
            norm = g.op("ReduceL2", x, g.constant(np.asarray([2], np.int64)), keepdims=1)
            x = g.op("Div", x, norm)
        g.output("embedding", x, ["n", parts, dim], precise=True)
        return g.model(PRODUCER)

    def for_nvinfer(self, graphs: Mapping[str, onnx.ModelProto], *, half: bool) -> onnx.ModelProto:
        """The toy segmentation model before the frame graph."""
        pairs = [("silhouettes", "silhouettes")]
        whole = chain(contrast.silhouettes(SILHOUETTE), "", graphs["frame"], "frame/", pairs)
        return sealed(half_output(whole, "frame/features", FEATURE))

    def nvinfer_case(self) -> NvinferCase:
        """Pictures that show the drawn silhouettes."""
        crops = contrast.crops_of(drawn_silhouettes())
        feeds = {"silhouettes": contrast.silhouettes_of(crops)}
        return NvinferCase(crops, FEATURE, lambda _: feeds, {"fp32": 1e-3, "fp16": 3e-3})

    @torch.no_grad()
    def case(self) -> Case:
        """Twelve drawn silhouettes."""
        silhouettes = drawn_silhouettes()
        sequences = sequence_index()
        features = self.module.features(torch.from_numpy(silhouettes)).numpy()
        embedding = self.module.head(torch.from_numpy(pool(features, sequences)))
        if self.options.tap == "unit":
            embedding = nn.functional.normalize(embedding, dim=-1)
        return Case(
            about(),
            {"silhouettes": silhouettes},
            sequences,
            {FEATURES: features},
            embedding.numpy(),
            partial(self._trace, silhouettes),
        )

    @torch.no_grad()
    def _trace(self, silhouettes: Array) -> dict[str, Array]:
        first, relu, *_ = self.module.outline
        return {"first": relu(first(torch.from_numpy(silhouettes))).numpy()}


def drawn_silhouettes(frames: int = 2) -> NDArray[np.float32]:
    """Silhouettes of the drawn walkers in 0..1, the middle 44 columns, `[frames, 1, 64, 44]`."""
    plan = schedule(np.random.default_rng(0), frames)
    drawn = np.stack([draw_silhouette(person, phase, lean) for person, _, phase, lean in plan])
    edge = (drawn.shape[2] - SILHOUETTE[1]) // 2
    return np.ascontiguousarray(drawn[:, None, :, edge:-edge] / np.float32(255))
