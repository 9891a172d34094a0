"""A checkpoint of the family, its graph, and what it has to compute."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from gaitstream.models.graphs import fold
from gaitstream.models.graphs.checkpoint import expect, fill, read_state, size
from gaitstream.models.graphs.layers import project_rows
from gaitstream.models.graphs.splice import half_output, sealed
from gaitstream.models.graphs.walkers import about, sequence_index
from gaitstream.models.graphs.writer import GraphWriter
from gaitstream.models.manifest import ClipContract, CropContract, EmbeddingContract, InputContract, InputKind
from gaitstream.models.spec import NoOptions
from gaitstream.models.trained import Array, Case, Description, NvinferCase, TrainedModel
from stranger.contrast import graph as contrast
from stranger.outline.trained import PRODUCER, drawn_silhouettes
from stranger.stride.module import CONTEXT, PARTS, SILHOUETTE, Stride
from stranger.stride.spec import FAMILY

FEATURE = f"{FAMILY.name}_feature"
"""Output of the graph for nvinfer."""
FRAMES = 5
"""Of the windows that the proof is made on."""


def load(path: Path, options: NoOptions) -> TrainedStride:
    """Read a checkpoint; sizes are those of its tensors."""
    state = read_state(path)
    expect(path, state, FAMILY)
    with torch.device("meta"):
        module = Stride(size(state, "stride.0.weight", 0, 8), size(state, "embed.fc_bin", 2, 12))
    return TrainedStride(fill(path, module, state, FAMILY.title))


class TrainedStride(TrainedModel):
    """The family's checkpoint, ready to be exported."""

    family = FAMILY.name
    module: Stride

    def __init__(self, module: Stride) -> None:
        self.module = module

    def describe(self) -> Description:
        """A window of silhouettes in, 16 parts out."""
        parts, _, dim = self.module.embed.fc_bin.shape
        return Description(
            input=InputContract(
                kind=InputKind.SILHOUETTE,
                height=SILHOUETTE[0],
                width=SILHOUETTE[1],
                channels=1,
                crop_rule="segment",
            ),
            clip=ClipContract(min_frames=1, context=CONTEXT),
            nvinfer=CropContract(height=SILHOUETTE[0], width=SILHOUETTE[1], rule="segment"),
            embedding=EmbeddingContract(parts=parts, dim=dim, tap="the last layer"),
        )

    def graphs(self, *, half: bool) -> dict[str, onnx.ModelProto]:
        """`clip`."""
        g = GraphWriter("toy_stride_clip", half=half)
        x = g.narrow(g.input("silhouettes", ["n", 1, "s", *SILHOUETTE]))
        for index in (0, 2):
            layer = self.module.stride[index]
            assert isinstance(layer, nn.Conv3d)
            assert layer.bias is not None
            x = g.conv(x, fold.array(layer.weight), fold.array(layer.bias), stride=(1, 2, 2), pad=1)
            x = g.tap(f"stride{index}", g.op("Relu", x))
        pooled = g.op("ReduceMax", x, g.constant(np.asarray([2], np.int64)), keepdims=0)
        x = project_rows(g, g.widen(pooled), fold.array(self.module.embed.fc_bin))
        g.output("embedding", g.transpose(x, 1, 0, 2), ["n", PARTS, self.module.embed.fc_bin.shape[2]])
        return {"clip": g.model(PRODUCER)}

    def for_nvinfer(self, graphs: Mapping[str, onnx.ModelProto], *, half: bool) -> onnx.ModelProto:
        """The toy segmentation model alone: the clip graph takes its silhouettes when the window closes."""
        return sealed(half_output(contrast.silhouettes(SILHOUETTE, white=255.0), "silhouettes", FEATURE))

    def nvinfer_case(self) -> NvinferCase:
        """Pictures that show the drawn silhouettes."""
        crops = contrast.crops_of(drawn_silhouettes())
        feeds = {"silhouettes": contrast.silhouettes_of(crops)}
        return NvinferCase(crops, FEATURE, lambda _: feeds, {"fp32": 0.0, "fp16": 0.0})

    @torch.no_grad()
    def case(self) -> Case:
        """Six drawn windows."""
        silhouettes = drawn_silhouettes(FRAMES)
        windows = torch.from_numpy(silhouettes.reshape(-1, FRAMES, 1, *SILHOUETTE)).transpose(1, 2)
        return Case(
            about(FRAMES),
            {"silhouettes": silhouettes},
            sequence_index(FRAMES),
            {},
            self.module(windows).numpy(),
            partial(self._trace, windows),
        )

    @torch.no_grad()
    def _trace(self, windows: Tensor) -> dict[str, Array]:
        first = self.module.stride[:2](windows)
        return {"stride0": first.numpy(), "stride2": self.module.stride[2:](first).numpy()}
