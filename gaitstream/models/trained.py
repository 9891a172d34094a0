"""What a family makes of a checkpoint: a module that writes its graphs and says what they must compute.

The machinery of the export (`gaitstream.export`) writes, compares, judges and seals; whatever depends on the
model it asks of a `TrainedModel`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import ExportError
from gaitstream.models.bundle import Role
from gaitstream.models.manifest import (
    AlignmentContract,
    ClipContract,
    CropContract,
    EmbeddingContract,
    FeatureContract,
    InputContract,
    SkeletonContract,
)

if TYPE_CHECKING:
    import onnx
    import torch

    from gaitstream.engines.cache import EngineCache

Array = NDArray[Any]
FEATURES, POOLED, EMBEDDING = "features", "pooled", "embedding"
"""Names of the frame graph's output, the head graph's input and the last output of all."""


class Description(TypedDict, total=False):
    """The fields of `manifest.Manifest` that a family decides; those left out keep their defaults."""

    input: InputContract
    more_inputs: tuple[InputContract, ...]
    alignment: AlignmentContract
    skeleton: SkeletonContract
    feature: FeatureContract
    more_features: dict[str, FeatureContract]
    clip: ClipContract
    embedding: EmbeddingContract
    nvinfer: CropContract


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a comparison must keep to.

    Float32 has to give the module's values. Lower precisions have to keep decisions: what a threshold or a
    rounding inside a network does to a map is no fault of a graph, see docs/parity.md.

    Attributes:
        fp32: largest relative error of features and embedding in float32.
        gpu_fp32: the same on a GPU, whose matrix units may round float32 inputs to ten bits (TF32).
        front: largest absolute error of a front graph, whose values lie in 0..1.
        half: largest change of a distance between two sequences in half precision, as a share of the mean.
        bfloat: the same in bfloat16.
    """

    fp32: float = 1e-5
    gpu_fp32: float = 1e-3
    front: float = 1e-5
    half: float = 0.02
    bfloat: float = 0.05


@dataclass(frozen=True)
class FrontCase:
    """Inputs of a graph that comes before the frame graph, and what it has to make of them.

    Attributes:
        role: of the graph.
        feeds: its inputs.
        output: name of its output.
        expected: the module's result.
    """

    role: Role
    feeds: dict[str, Array]
    output: str
    expected: Array


@dataclass(frozen=True)
class Case:
    """Fixed inputs, and what the PyTorch module makes of them.

    Attributes:
        about: the inputs in words: `12 drawn frames in 6 sequences of 3 people`.
        feeds: inputs of the frame graph, `[frames, ...]`; of a clip graph, `[sequences, frames, ...]`.
        sequences: index of each frame's sequence `[frames]`; of a clip model, 0, 1, 2, ...
        features: the frame graph's outputs by name, `[frames, ...]`; nothing of a clip model.
        embedding: `[sequences, parts, dim]`.
        trace: computes the module's values at the taps of the frame or clip graph.
        fronts: the graphs before it.
        limits: what must hold.
        noise: relative error of the embedding that rounding brings within the module itself; None where it
            was not measured.
    """

    about: str
    feeds: dict[str, Array]
    sequences: NDArray[np.int64]
    features: dict[str, Array]
    embedding: Array
    trace: Callable[[], dict[str, Array]]
    fronts: tuple[FrontCase, ...] = ()
    limits: Limits = field(default_factory=Limits)
    noise: float | None = None


def pool(features: Array, sequences: NDArray[np.int64]) -> Array:
    """Maximum over the frames of each sequence: `[frames, ...]` to `[sequences, ...]`."""
    return np.stack([features[sequences == index].max(0) for index in range(sequences.max() + 1)])


@dataclass(frozen=True)
class MaskBranch:
    """The masks that a model makes of people for itself, as a segmentation model.

    Attributes:
        graph: float32, from crops `[n, 3, height, width]` RGB 0..255, cut out by the rule `pad_to_aspect`, to
            the probability of the person `[n, 1, rows, columns]`.
        crops: fixed inputs, uint8.
        expected: what the module makes of them.
    """

    graph: onnx.ModelProto
    crops: NDArray[np.uint8]
    expected: Array


class GraphRunner(Protocol):
    """Runs a bundle's graphs on one runtime.

    Attributes:
        runtime: its name.
        cache: where compiled engines are kept.
    """

    runtime: str
    cache: EngineCache

    def run(self, role: Role, feeds: dict[str, Array], *, precise: bool = False) -> dict[str, Array]:
        """Run the graph of a role in the precision under comparison, or in float32."""
        ...

    def graph(self, role: Role) -> Path:
        """The file of a role's graph in the precision under comparison."""
        ...

    def run_part(self, role: Role, feeds: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Run what lies between some values of a role's graph.

        Args:
            role: of the graph.
            feeds: values by name, inputs or in between.
            outputs: names of the values that are wanted.
        """
        ...


@dataclass(frozen=True)
class NvinferCase:
    """Pixels for the graph for nvinfer, and how the ordinary graphs come to the same features.

    Attributes:
        crops: float32 `[n, 3, height, width]`, RGB 0..255.
        output: name of the feature in that graph.
        ordinary: the frame graph's inputs for these pixels, by the ordinary way.
        limits: largest relative error by precision; a comparison without one is recorded only.
        by_plugin: the features of the graph that holds our plugin's operator, which a runner without the
            plugin cannot run: the operator is computed by its CPU build, the rest by the runner. None where
            there is no such graph.
    """

    crops: Array
    output: str
    ordinary: Callable[[GraphRunner], dict[str, Array]]
    limits: Mapping[str, float]
    by_plugin: Callable[[GraphRunner], Array] | None = None


class TrainedModel(ABC):
    """A checkpoint's module in evaluation mode, with the options it is exported with.

    Roles of graphs are the fields of `bundle.Graphs`. A model of shape `frame` encodes each frame alone: its
    `frame` graph gives features, which are pooled over time and embedded by the `head` graph. A model of
    shape `clip` embeds a window of frames with one `clip` graph.

    Attributes:
        module: what the graphs were written from.
    """

    module: torch.nn.Module

    @property
    @abstractmethod
    def family(self) -> str:
        """Name of the family, which the manifest gives as the model."""

    def sources(self) -> tuple[Path, ...]:
        """Files with weights beside the checkpoint, whose hashes the manifest keeps."""
        return ()

    @abstractmethod
    def describe(self) -> Description:
        """What the manifest says of inputs, features and embedding."""

    @abstractmethod
    def graphs(self, *, half: bool) -> dict[str, onnx.ModelProto]:
        """The graphs by role: `frame` and `head`, or `clip`; in float32 or half precision."""

    def fronts(self) -> dict[str, onnx.ModelProto]:
        """Graphs that come before them by role, always in float32: alignment, for one."""
        return {}

    @abstractmethod
    def case(self) -> Case:
        """Fixed inputs and the module's results.

        Raises:
            ExportError: no inputs tell right from wrong with these weights.
        """

    def mask_branch(self) -> MaskBranch:
        """Its own masks of people as a segmentation model.

        Raises:
            ExportError: it makes none.
        """
        raise ExportError(f"{self.family} makes no masks of people: export it without --masks")

    def for_nvinfer(
        self,
        graphs: Mapping[str, onnx.ModelProto],  # noqa: ARG002 - for those that can
        *,
        half: bool,  # noqa: ARG002
    ) -> onnx.ModelProto:
        """One graph from pixels `crops` float32 `[n, 3, h, w]` RGB 0..255 to features, for DeepStream.

        Args:
            graphs: this model's graphs by role, fronts among them, in the precision asked for.
            half: whether that is half precision.

        Raises:
            ExportError: the model needs what DeepStream does not give, or an option is missing.
        """
        raise ExportError(f"{self.family} has no graph for DeepStream: export it with --target native")

    def for_nvinfer_plugin(
        self,
        graphs: Mapping[str, onnx.ModelProto],  # noqa: ARG002 - for those that have an operator
        *,
        half: bool,  # noqa: ARG002
    ) -> onnx.ModelProto | None:
        """As `for_nvinfer`, with an operator of our TensorRT plugin; None for models that need none."""
        return None

    def nvinfer_case(self) -> NvinferCase:
        """How that graph is proved."""
        raise ExportError(f"{self.family} has no graph for DeepStream")
