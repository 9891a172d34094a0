"""From an ONNX file to an engine that runs: pick, look in the cache, build, load."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gaitstream.engines.base import (
    PRECISIONS,
    Batch,
    BuildRequest,
    Engine,
    Pixels,
    Probe,
    Progress,
    Runtime,
    no_progress,
)
from gaitstream.engines.cache import CachedEngine, EngineCache, Key, ShapeCache
from gaitstream.engines.graph_files import graph_sha256, weight_files
from gaitstream.engines.libraries import import_openvino
from gaitstream.engines.openvino_answers import last_line, port_shape
from gaitstream.engines.registry import candidates, runtime_named
from gaitstream.errors import EngineError, GaitstreamError, NoRoomError, RefusedEngineError

if TYPE_CHECKING:
    import openvino as ov

log = logging.getLogger(__name__)

NARROW = 200
"""Mean width of layers below which tiles (AMX) are no faster in int8 than in bf16: the demo's pose model, of
92, takes 1.09 times as long, GaitHeat at its published size, of 363, 0.73 times (docs/performance.md)."""


def open_engine(
    graph: str | Path,
    runtime: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    batch: Batch | None = None,
    *,
    device: str | None = None,
    free_batch: bool = False,
    pixels: Pixels | None = None,
    proven: Collection[str] = (),
    quantised: Path | None = None,
    cache: EngineCache | None = None,
    progress: Progress = no_progress,
    for_once: bool = False,
) -> Engine:
    """Compile an ONNX file, or take it from the cache, and make it ready to run.

    Args:
        graph: the ONNX file.
        runtime: `tensorrt`, `tensorrt-rtx`, `onnxruntime`, `openvino`, or `auto`: the best that works here.
        precision: `fp32`, `fp16`, `bf16`, `int8`, or `auto`: what the graph is typed in, fp32 where the
            device has no better. bf16 changes results: it is taken unasked only where it is `proven`.
        threads: CPU threads; None takes all.
        batch: sizes to compile for, where the runtime needs to know; None is 1, 16, 64.
        device: `cpu`, `cuda` or `cuda:1`, where a runtime has several.
        free_batch: open the first dimension of a graph exported for one batch size, where the graph and the
            runtime allow it: not with ONNX Runtime.
        pixels: have the engine take its floating point picture input as uint8 and normalise it itself.
            Not with ONNX Runtime: there the input's dtype stays, which is how a caller finds out.
        proven: lower precisions in which the model was measured to be as good; `auto` takes one that the
            device computes natively.
        quantised: the same model's graph in int8, which is opened in its place where int8 is settled on.
        cache: where compiled engines are kept.
        progress: told of a build under way.
        for_once: it will be called so seldom that shapes which come again are not compiled for.

    Raises:
        MissingExtraError: the runtime named is not installed.
        EngineError: an unknown name, a missing file or one of its weights, or a graph that does not compile.
    """
    path = Path(graph)
    if not path.is_file():
        raise EngineError(f"there is no graph {path}; give an .onnx file that exists")
    weight_files(path)
    if precision != "auto" and precision not in PRECISIONS:
        raise EngineError(f"there is no precision {precision!r}: use auto, {', '.join(PRECISIONS)}")
    failures = []
    for name in candidates(runtime):
        try:
            chosen = runtime_named(name)
            may = proven if quantised is not None else set(proven) - {"int8"}
            settled = settle_precision(path, precision, chosen.probe(device), may)
            graph = quantised if settled == "int8" and quantised is not None else path
            # ONNX Runtime cannot, and its engines must not be built anew for a wish it ignores.
            bytes_in = pixels if name != "onnxruntime" else None
            opened = free_batch and name != "onnxruntime"
            request = BuildRequest(
                graph, settled, device, batch or Batch(), threads, opened, bytes_in, for_once
            )
            return _open_freely(chosen, request, cache or EngineCache(), progress)
        except GaitstreamError as error:
            if runtime != "auto":
                raise
            log.warning("%s cannot run %s, trying the next runtime: %s", name, path.name, error)
            failures.append(f"{name}: {error}")
    raise EngineError(f"no runtime can run {path} ({'; '.join(failures) or 'none is installed'})")


def build_engine(
    request: BuildRequest,
    runtime: str,
    *,
    cache: EngineCache | None = None,
    progress: Progress = no_progress,
) -> CachedEngine:
    """Compile into the cache, for this machine or for `request.device`.

    Raises:
        MissingExtraError: the runtime is not installed.
        EngineError: the graph does not compile, comes out in another precision, or cannot be kept.
    """
    chosen = runtime_named(runtime)
    key = _key(chosen, request)
    return (cache or EngineCache()).get(
        key, request.graph, lambda: chosen.build(request, progress), must_keep=True
    )


def settle_precision(graph: Path, precision: str, probe: Probe, proven: Collection[str] = ()) -> str:
    """What `auto` means for one file: the type of its weights, or a proven lower one the device computes.

    bf16 needs no graph of its own; a graph in half or in int8 is another file. int8 is the faster one, but
    for narrow layers on a CPU that multiplies tiles.
    """
    if precision != "auto":
        return precision
    typed = graph_precision(graph)
    if typed == "fp32" and not probe.accelerator:
        may_be_slower = probe.has_tiles and "int8" in proven and mean_width(graph) < NARROW
        for lower in ("bf16", "int8") if may_be_slower else ("int8", "bf16"):
            if lower in proven and lower in probe.precisions:
                return lower
    return typed if typed in probe.precisions else "fp32"


def graph_precision(graph: Path) -> str:
    """`int8` of a quantised graph, `fp16` when most constants are half floats, else `fp32`.

    Raises:
        EngineError: the file is not a graph.
    """
    model = _read(graph)
    nodes = model.get_ops()
    if any(node.get_type_name() == "FakeQuantize" for node in nodes):
        return "int8"
    kinds = Counter(
        node.get_output_element_type(0).to_string() for node in nodes if node.get_type_name() == "Constant"
    )
    return "fp16" if kinds["f16"] > kinds["f32"] else "fp32"


def mean_width(graph: Path) -> float:
    """Input channels of a graph's convolutions and matrix products, averaged over their weights."""
    weights = widths = 0
    for node in _read(graph).get_ops():
        kind = node.get_type_name()
        if kind not in ("Convolution", "MatMul") or not node.input(1).get_partial_shape().is_static:
            continue
        shape = list(node.input(1).get_shape())
        weights += prod(shape)
        widths += prod(shape) * (shape[1] if kind == "Convolution" else min(shape[-2:]))
    return widths / max(weights, 1)


def graph_shapes(graph: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Shapes of a graph's inputs and outputs by name, -1 where dynamic, without compiling it.

    Raises:
        EngineError: the file is not a graph.
    """
    model = _read(graph)
    inputs, outputs = (
        {port.get_any_name(): port_shape(port) for port in ports} for ports in (model.inputs, model.outputs)
    )
    return inputs, outputs


def graph_types(graph: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Element types of a graph's inputs and outputs by name (`f32`, `f16`, `i64`), without compiling it.

    Raises:
        EngineError: the file is not a graph.
    """
    model = _read(graph)
    inputs, outputs = (
        {port.get_any_name(): str(port.get_element_type().to_string()) for port in ports}
        for ports in (model.inputs, model.outputs)
    )
    return inputs, outputs


def _read(graph: Path) -> ov.Model:
    core = import_openvino().Core()
    try:
        return cast("ov.Model", core.read_model(graph))
    except RuntimeError as error:
        raise EngineError(
            f"{graph} is not an ONNX graph that can be read ({last_line(error)}); give an .onnx file"
        ) from error


def _open_freely(runtime: Runtime, request: BuildRequest, cache: EngineCache, progress: Progress) -> Engine:
    """With the first dimension open where that is wished and the graph allows it."""
    if not request.free_batch:
        return _open(runtime, request, cache, progress)
    try:
        engine = _open(runtime, request, cache, progress)
        if not _keeps_its_batch(engine, request.graph):
            return engine
        engine.close()
        why = "a reshape of its own is for that alone"
    except NoRoomError:
        raise
    except EngineError as error:
        why = str(error)
    log.info("%s stays at the batch it was exported with: %s", request.graph.name, why)
    return _open(runtime, replace(request, free_batch=False), cache, progress)


def _keeps_its_batch(engine: Engine, graph: Path) -> bool:
    """Whether an output still has the batch that the inputs were exported with, and were opened from."""
    kept = {name: spec.shape[0] for name, spec in engine.outputs.items() if spec.shape and spec.shape[0] > 0}
    if not kept:
        return False
    inputs, outputs = graph_shapes(graph)
    batches = {shape[0] for shape in inputs.values() if shape}
    return any(rows in batches and outputs.get(name, (-1,))[0] == rows for name, rows in kept.items())


def _open(runtime: Runtime, request: BuildRequest, cache: EngineCache, progress: Progress) -> Engine:
    key = _key(runtime, request)
    found = cache.get(key, request.graph, lambda: runtime.build(request, progress))
    if found.sidecar is not None:
        request = replace(request, shapes=ShapeCache(cache, key, request.graph))
    try:
        engine = runtime.load(request, found.built)
    except RefusedEngineError as error:
        if found.reason:
            raise
        found = cache.get(
            key, request.graph, lambda: runtime.build(request, progress), refuse=f"it did not load ({error})"
        )
        engine = runtime.load(request, found.built)
    if found.reason:
        log.info("built %s for %s: %s", request.graph.name, runtime.name, found.reason)
    return engine


def _key(runtime: Runtime, request: BuildRequest) -> Key:
    probe = runtime.probe(request.device, to_run=False)
    batch = request.batch
    # A GPU's engine is the same whatever the CPU does, and takes minutes.
    threads = None if probe.accelerator else request.threads
    profile = f"{batch.min},{batch.opt},{batch.max};threads={threads};free={request.free_batch}"
    if request.pixels is not None:
        profile += f";{request.pixels}"
    return Key(
        graph_sha256=graph_sha256(request.graph),
        runtime=runtime.name,
        version=probe.version,
        device=probe.device,
        precision=request.precision,
        profile=profile,
    )
