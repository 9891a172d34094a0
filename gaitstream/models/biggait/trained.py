"""BigGait for the export: graphs, manifest and cases of one checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from gaitstream.models.biggait import cases, graphs, masks, nvinfer
from gaitstream.models.biggait.module import CROP, BigGait
from gaitstream.models.biggait.spec import FAMILY
from gaitstream.models.biggait.weights import seed_biggait
from gaitstream.models.manifest import EmbeddingContract, FeatureContract, InputContract, InputKind
from gaitstream.models.trained import Case, Description, MaskBranch, NvinferCase, TrainedModel

NVINFER_LIMIT = 1e-3
"""Largest relative error of the features: outputs are rounded to half precision, which is 2e-4."""


class TrainedBigGait(TrainedModel):
    """BigGait, whose checkpoint says everything."""

    family = FAMILY.name
    module: BigGait

    def __init__(self, module: BigGait, backbone: Path | None = None) -> None:
        """Take a module.

        Args:
            module: in evaluation mode.
            backbone: the file its backbone came from, where that was not the checkpoint.
        """
        self.module = module
        self._backbone = backbone

    def sources(self) -> tuple[Path, ...]:
        """The backbone's file."""
        return () if self._backbone is None else (self._backbone,)

    def describe(self) -> Description:
        """Padded RGB crops and their ratios; the embedding is the feature before the neck."""
        channels, height, width = graphs.feature_shape(self.module)
        parts, _, dim = self.module.gait_net.FCs.fc_bin.shape
        return Description(
            input=InputContract(
                kind=InputKind.CROP, height=CROP[0], width=CROP[1], channels=3, crop_rule="pad_to_aspect"
            ),
            feature=FeatureContract(channels=channels, height=height, width=width),
            embedding=EmbeddingContract(parts=parts, dim=dim, tap="before the neck"),
        )

    def graphs(self, *, half: bool) -> dict[str, onnx.ModelProto]:
        """`frame` and `head`."""
        return {
            "frame": graphs.write_frame(self.module, half=half),
            "head": graphs.write_head(self.module, half=half),
        }

    def case(self) -> Case:
        """Twelve drawn crops."""
        return cases.make_case(self.module)

    def mask_branch(self) -> MaskBranch:
        """The mask branch; the crops are those of the case."""
        feeds = self.case().feeds
        expected = cases.foreground(self.module, feeds["crops"], feeds["ratios"])
        return MaskBranch(masks.write(self.module), feeds["crops"], expected)

    def for_nvinfer(self, graphs: Mapping[str, onnx.ModelProto], *, half: bool) -> onnx.ModelProto:  # noqa: ARG002 - the frame graph is of that precision
        """The frame graph, which finds the widths in the padding."""
        return nvinfer.write(graphs["frame"])

    def nvinfer_case(self) -> NvinferCase:
        """The same crops; the ordinary graph is told the ratios."""
        feeds = self.case().feeds
        limits = dict.fromkeys(("fp32", "fp16"), NVINFER_LIMIT)
        return NvinferCase(feeds["crops"].astype(np.float32), nvinfer.FEATURE, lambda _: feeds, limits)


def make_random(seed: int, variant: str) -> TrainedBigGait:
    """A model of the published size with random weights, on DINOv2's ViT-`S` or ViT-`L`."""
    module = BigGait() if variant == "S" else BigGait(dim=1024, depth=24)
    seed_biggait(module, seed)
    return TrainedBigGait(module)
