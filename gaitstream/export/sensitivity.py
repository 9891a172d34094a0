"""Which layers of a quantised graph make its noise, found by leaving them out, and kept in floating point.

The noise is what eight bits do to the result (of a gait model, the embedding), as power: the errors of layers
add up in it. A layer is kept where the result gains by it far more than the layer's share of the work. Layers
are tried in groups that are halved where it is worth it, because most of them do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import msgspec
import onnx

from gaitstream.export.quantise import PRODUCTS, EightBits, prepared, quantised_names, restore

LEAST_GAIN = 0.05
"""Share of the noise's power that a kept layer takes away."""
WORTH = 3.0
"""How many times its share of the work a kept layer's share of the noise is."""
MOST_WORK = 0.15
"""Share of the work that may stay in floating point."""
Noise = Callable[[onnx.ModelProto], float]
"""The relative error of a graph's result."""


class KeptLayer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer that stays in floating point.

    Attributes:
        name: of its node.
        work: its share of the multiply-adds.
        gain: share of the noise's power that it would make.
    """

    name: str
    work: float
    gain: float

    def __str__(self) -> str:
        return f"{self.name} ({self.gain:.0%} of the noise)"


class Quantisation(msgspec.Struct, frozen=True, kw_only=True):
    """How a graph came to its eight bits, for the report.

    Attributes:
        precision: int8 or fp8.
        source: of the inputs that calibrated.
        frames: how many there were.
        people: whose; 0 where nobody counted.
        layers: convolutions and matrix products in eight bits.
        kept: those that stay in floating point.
        noise_all: relative error of the result on calibrating inputs with every layer in them.
        noise: the same as the graph is.
    """

    precision: EightBits
    source: str
    frames: int
    people: int = 0
    layers: int
    kept: tuple[KeptLayer, ...]
    noise_all: float
    noise: float

    def sentence(self) -> str:
        """One line for people."""
        names = ", ".join(str(one) for one in self.kept)
        whose = f" of {self.people} people" if self.people else ""
        before = f", {self.noise_all:.1%} without" if self.kept else ""
        return (
            f"{self.precision}: {self.layers} layers in eight bits, ranges from {self.frames} frames{whose} "
            f"({self.source}); kept in floating point: {names or 'none'}; noise {self.noise:.1%}{before}"
        )


@dataclass(frozen=True)
class Chosen:
    """A graph with its disturbing layers in floating point.

    Attributes:
        graph: the quantised graph.
        kept: the layers.
        noise_all: relative error with every layer in integers.
        noise: relative error of the graph.
    """

    graph: onnx.ModelProto
    kept: tuple[KeptLayer, ...]
    noise_all: float
    noise: float


def keep_sensitive(quantised: onnx.ModelProto, original: onnx.ModelProto, noise: Noise) -> Chosen:
    """Put the layers that make most of the noise back into floating point.

    Args:
        quantised: every product in integers.
        original: in float32.
        noise: measures a graph against the original.
    """
    search = _Search(quantised, original, noise)
    names = quantised_names(quantised)
    halves = names[: len(names) // 2], names[len(names) // 2 :]  # without both there is no noise at all
    found = [one for half in halves for one in search.within(half)]
    found.sort(key=lambda layer: -layer.gain)
    kept: list[KeptLayer] = []
    for layer in found:
        if sum(one.work for one in kept) + layer.work <= MOST_WORK:
            kept.append(layer)
    if not kept:
        return Chosen(quantised, (), search.all**0.5, search.all**0.5)
    graph = restore(quantised, original, {layer.name for layer in kept})
    return Chosen(graph, tuple(kept), search.all**0.5, noise(graph))


def as_it_is(quantised: onnx.ModelProto, noise: Noise) -> Chosen:
    """A quantised graph that keeps nothing in floating point, and its noise."""
    found = noise(quantised)
    return Chosen(quantised, (), found, found)


class _Search:
    def __init__(self, quantised: onnx.ModelProto, original: onnx.ModelProto, noise: Noise) -> None:
        self._quantised, self._original, self._noise = quantised, original, noise
        self._work = work_shares(prepared(original))
        self.all = noise(quantised) ** 2

    def within(self, names: Sequence[str]) -> list[KeptLayer]:
        """The layers among some that are worth keeping."""
        if not names:
            return []
        gain, work = self._gain(names), sum(self._work.get(name, 0.0) for name in names)
        if len(names) == 1:
            worth = gain >= max(LEAST_GAIN, WORTH * work)
            return [KeptLayer(name=names[0], gain=gain, work=work)] if worth else []
        # One layer of little work may hide in a large group, so that its share of the work tells nothing.
        if gain < LEAST_GAIN or (work <= MOST_WORK and gain < WORTH * work / 2):
            return []
        half = len(names) // 2
        return [*self.within(names[:half]), *self.within(names[half:])]

    def _gain(self, names: Sequence[str]) -> float:
        """Share of the noise's power that goes when some layers are left out."""
        left = self._noise(restore(self._quantised, self._original, set(names))) ** 2
        return (self.all - left) / self.all if self.all else 0.0


def work_shares(model: onnx.ModelProto) -> dict[str, float]:
    """Each product's share of a graph's multiply-adds, for one row of its batch, by the node's name."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        info.name: [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim]
        for info in (*graph.value_info, *graph.input, *graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    counts = {node.name: _multiply_adds(node, shapes) for node in graph.node if node.op_type in PRODUCTS}
    total = sum(counts.values()) or 1
    return {name: count / total for name, count in counts.items()}


def _multiply_adds(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> int:
    source, weight, output = (shapes.get(name, [1]) for name in (*node.input[:2], node.output[0]))
    if node.op_type == "Conv":
        return prod(output) * prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return prod(source) * prod(weight[1:])
    return prod(output) * source[-1]
