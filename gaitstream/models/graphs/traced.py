"""Graphs traced from a PyTorch module, for families that need no algebra of their own.

`torch.onnx` folds the batch norms; sizes that vary keep a name. Half precision comes from the float32 graph.
"""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from gaitstream.errors import ExportError
from gaitstream.models.graphs.halve import halve
from gaitstream.models.graphs.writer import IR_VERSION, OPSET, PRODUCER
from gaitstream.models.trained import TrainedModel

Function = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Traced:
    """A graph to be traced.

    Attributes:
        function: of the module, from the inputs in order to one output or a tuple.
        inputs: an example of each by name; sizes that vary must differ from 1.
        outputs: their names.
        varies: axes that vary by input, with the names of their sizes; the batch `n` is axis 0 of all.
        least: the smallest of these sizes, where it is not 1.
    """

    function: Function
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    varies: dict[str, dict[int, str]] = field(default_factory=dict)
    least: dict[str, int] = field(default_factory=dict)


class _Call(nn.Module):
    """A function of a module as a module, which is what can be traced."""

    def __init__(self, module: nn.Module, function: Function) -> None:
        super().__init__()
        self.module = module
        self._function = function

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self._function(*inputs)


def trace(module: nn.Module, graph: Traced) -> onnx.ModelProto:
    """The graph of a module's function, in float32.

    Raises:
        ExportError: the function cannot be traced.
    """
    names = {"n": torch.export.Dim("n")}
    axes: list[dict[int, Any]] = []
    for name in graph.inputs:
        varies = {0: "n", **graph.varies.get(name, {})}
        for size in varies.values():
            names.setdefault(size, torch.export.Dim(size, min=graph.least.get(size)))
        axes.append({axis: names[size] for axis, size in varies.items()})
    call = _Call(module, graph.function).eval()
    try:
        with _quiet(), _uncollected():
            program = torch.onnx.export(
                call,
                tuple(graph.inputs.values()),
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                opset_version=OPSET,
                dynamic_shapes=(tuple(axes),),
                dynamo=True,
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise ExportError(f"{type(module).__name__} cannot be traced: {error}") from error
    if program is None:
        raise ExportError(f"{type(module).__name__} cannot be traced: the exporter gave no graph")
    model = _sealed(program.model_proto)
    for info, varies in zip(model.graph.input, axes, strict=True):
        dims = info.type.tensor_type.shape.dim
        fixed = [str(axis) for axis in varies if not dims[axis].dim_param]
        if fixed:
            raise ExportError(
                f"{type(module).__name__}: axes {', '.join(fixed)} of {info.name} lost their varying size"
            )
    return model


class TracedModel(TrainedModel):
    """A model whose graphs are traced from its module."""

    @abstractmethod
    def traced(self) -> Mapping[str, Traced]:
        """The graphs by role."""

    def graphs(self, *, half: bool) -> dict[str, onnx.ModelProto]:
        """The graphs by role; in float32 or half precision."""
        found = self._float32()
        return {role: halve(graph) if half else graph for role, graph in found.items()}

    def _float32(self) -> dict[str, onnx.ModelProto]:
        """Traced once: both precisions come from them."""
        kept: dict[str, onnx.ModelProto] | None = getattr(self, "_graphs", None)
        if kept is None:
            with torch.no_grad():
                kept = {role: trace(self.module, graph) for role, graph in self.traced().items()}
            self._graphs = kept
        return kept


def drop_traces(model: onnx.ModelProto) -> None:
    """Take out what the exporter wrote of its machine: stack traces, documentation, metadata."""
    graph = model.graph
    del model.metadata_props[:]
    del graph.metadata_props[:]
    graph.doc_string = ""
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        item.doc_string = ""
        del item.metadata_props[:]


def _sealed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what depends on the exporter's version and machine."""
    model.producer_name, model.producer_version = PRODUCER, ""
    model.ir_version = min(model.ir_version, IR_VERSION)
    drop_traces(model)
    del model.graph.value_info[:]
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise ExportError(f"the traced graph is not valid: {error}") from error
    return model


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Garbage is looked for afterwards: among all that a trace makes, looking takes a fifth of its time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's progress and its warnings about packages that are not needed."""
    noisy: Any = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        noisy.setLevel(level)
