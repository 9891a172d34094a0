"""Speed of the recognisers: every runtime and precision of this machine beside eager PyTorch and the floor.

The floor is the multiply-adds of the graph that runs, over the rate of one large matrix product in the same
precision, measured in the same process. Eager PyTorch runs the package's own modules, which hold the weights
the graphs were written from.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gaitstream.bench.machine import matrix_rate_gflops
from gaitstream.bench.measure import figure, peak_memory_mib, time_ms
from gaitstream.bench.process import ContenderError, run_contender
from gaitstream.bench.result import Chart, Figure, Row, Suite
from gaitstream.bench.suites import Settings
from gaitstream.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

FRAMES = 30
SEED = 11
RATE_SIZE = 2048
"""Edge of the square matrices whose product gives the machine's rate."""
BATCHES = (1, 4, 16)
"""Frames in a call, for the throughput against the batch."""
MODELS: tuple[Literal["biggait", "gaitheat"], ...] = ("biggait", "gaitheat")


def run(settings: Settings) -> Suite:
    """Measure every contender in a process of its own.

    Args:
        settings: quick measures one repetition instead of five; without bundles, full-width ones with
            random weights are made.

    Raises:
        ConfigError: there is nothing to run.
    """
    quick, say, bundles = settings.quick, settings.say, settings.bundles
    rows: list[Row] = []
    notes = []
    with tempfile.TemporaryDirectory(prefix="gaitstream-bench-") as folder:
        for root in bundles or [make_bundle(model, Path(folder) / model) for model in MODELS]:
            for function, arguments in contenders(root):
                say(f"  {root.name}: {' '.join(map(str, arguments.values())) or 'eager PyTorch'}")
                common = {"bundle": str(root), "repeats": 1 if quick else 5}
                try:
                    rows += run_contender(f"{__name__}:{function}", common | arguments)
                except ContenderError as error:
                    notes.append(f"{root.name} {arguments} did not run: {str(error).splitlines()[-1]}")
    if not rows:
        raise ConfigError(f"no contender ran: {'; '.join(notes)}")
    notes += [
        f"a tracklet has {FRAMES} frames; `window` is the cost of one more window that overlaps by half; "
        "`last` is the time between the last frame and the embedding when the others are encoded already",
        *_ratios(rows),
    ]
    return Suite(name="recognizer", title="Recognisers", rows=rows, notes=notes, charts=_charts(rows))


def make_bundle(model: Literal["biggait", "gaitheat"], root: Path) -> Path:
    """A bundle of the published size with random weights."""
    from gaitstream.export.api import Options, write_bundle

    root.mkdir()
    write_bundle(make_module(model), root, Options(version="random weights"))
    return root


def make_module(model: Literal["biggait", "gaitheat"]) -> Any:
    """The PyTorch module whose weights `make_bundle` writes."""
    import torch

    from gaitstream.export.biggait import BigGait
    from gaitstream.export.gaitheat import GaitHeat

    torch.manual_seed(SEED)
    module: nn.Module = BigGait() if model == "biggait" else GaitHeat()
    return module.eval()


def contenders(bundle: Path) -> list[tuple[str, dict[str, Any]]]:
    """Functions of this module and their arguments: eager PyTorch, then every runtime that works here."""
    from gaitstream.bundle import Bundle
    from gaitstream.engines.registry import ranked, survey

    stored = Bundle.open(bundle).manifest.graphs
    found: list[tuple[str, dict[str, Any]]] = [("measure_eager", {})]
    for name, probe in ranked(survey()):
        for precision in probe.precisions:
            needs = "fp32" if precision == "bf16" else precision
            if needs in stored and not (precision == "bf16" and name != "openvino"):
                found.append(("measure_engine", {"runtime": name, "precision": precision}))
    return found


def measure_engine(bundle: str, repeats: int, runtime: str, precision: str) -> list[Row]:
    """One runtime and precision, through the public API."""
    from gaitstream.bundle import Bundle
    from gaitstream.recognizer import Recognizer

    model = Recognizer.load(bundle, runtime, precision)
    name = model.manifest.model
    frames = make_frames(name)
    features = model.encode(*frames)
    half, last = [one[: FRAMES // 2] for one in frames], [one[-1:] for one in frames]
    pooled = [model.pool(features[: FRAMES // 2]), model.pool(features[FRAMES // 2 :])]

    def window() -> None:
        newest = model.pool(model.encode(*half))
        model.embed_pooled(model.pool(np.stack([pooled[0], newest])))

    def after_last() -> None:
        newest = model.encode(*last)[0]
        model.embed_pooled(np.maximum(pooled[0], newest))

    tracklet = time_ms(lambda: model.embed(*frames), repeats=repeats)
    window_ms = time_ms(window, repeats=repeats)
    last_ms = time_ms(after_last, repeats=2 * repeats)
    by_batch = batch_rates(lambda n: model.encode(*(one[:n] for one in frames)), repeats)
    memory = peak_memory_mib()
    gflop = graph_gflop(Bundle.open(bundle).graph("frame", "fp32"))
    floor = FRAMES * gflop / rate_gflops(precision) * 1e3
    return [
        Row(
            contender=f"{runtime} {precision}",
            setting={"model": name},
            figures={
                "tracklet": figure(tracklet, "ms"),
                "frame": figure([value / FRAMES for value in tracklet], "ms"),
                "window": figure(window_ms, "ms"),
                "last": figure(last_ms, "ms"),
                "memory": figure([memory], "MiB"),
                **by_batch,
            },
            floor={"tracklet": floor, "frame": floor / FRAMES},
            note=f"{gflop:.1f} GFLOP a frame, {model.frame.proof().matrix_half_share:.0%} of it in half",
        )
    ]


def measure_speed(bundle: str, repeats: int, runtime: str, precision: str) -> list[Row]:
    """Cost of a frame alone, without floors: needs no PyTorch and no onnx."""
    from gaitstream.recognizer import Recognizer

    model = Recognizer.load(bundle, runtime, precision)
    frames = make_frames(model.manifest.model)
    times = time_ms(lambda: model.encode(*frames), repeats=repeats, min_total_s=2.0)
    return [
        Row(
            contender=f"{model.runtime} {model.precision}",
            setting={"model": model.manifest.model},
            figures={"frame": figure([value / FRAMES for value in times], "ms")},
        )
    ]


def batch_rates(encode: Callable[[int], object], repeats: int) -> dict[str, Figure]:
    """Frames a second by the number of frames in a call."""
    return {
        f"batch {n}": figure(
            [n / ms * 1e3 for ms in time_ms(partial(encode, n), repeats=repeats)], "frames/s", "higher"
        )
        for n in BATCHES
    }


def measure_eager(bundle: str, repeats: int) -> list[Row]:
    """The package's PyTorch module, eager, fp32, every frame of the tracklet in one batch."""
    import torch

    from gaitstream.bundle import Bundle

    manifest = Bundle.open(bundle).manifest
    module = make_module(manifest.model)
    frames = [torch.from_numpy(one)[None] for one in make_frames(manifest.model)]

    def embed(n: int = FRAMES) -> None:
        with torch.inference_mode():
            module(*(one[:, :n] for one in frames))

    tracklet = time_ms(embed, repeats=repeats)
    gflop = graph_gflop(Bundle.open(bundle).graph("frame", "fp32"))
    by_batch = batch_rates(embed, repeats)
    memory = peak_memory_mib()
    floor = FRAMES * gflop / rate_gflops("fp32") * 1e3
    return [
        Row(
            contender="PyTorch fp32, eager",
            setting={"model": manifest.model},
            figures={
                "tracklet": figure(tracklet, "ms"),
                "frame": figure([value / FRAMES for value in tracklet], "ms"),
                "memory": figure([memory], "MiB"),
                **by_batch,
            },
            floor={"tracklet": floor, "frame": floor / FRAMES},
            note=f"{torch.get_num_threads()} threads",
        )
    ]


def make_frames(model: str) -> list[np.ndarray[Any, Any]]:
    """A tracklet's inputs of the frame graph; the values do not change the work."""
    rng = np.random.default_rng(SEED)
    if model == "biggait":
        crops = rng.integers(0, 256, (FRAMES, 3, 256, 128), dtype=np.uint8)
        return [crops, np.full(FRAMES, 0.42, np.float32)]
    return [rng.random((FRAMES, 3, 64, 48), dtype=np.float32)]


def rate_gflops(precision: str) -> float:
    """GFLOP a second of one large matrix product in this precision, on all cores of the device that computes.

    On a CPU OpenVINO gives the rate: PyTorch's own product reaches less than half of it on some.
    """
    import torch

    if not (precision == "fp16" and torch.cuda.is_available()):
        return matrix_rate_gflops("fp32" if precision == "fp16" else precision)
    left = torch.randn(RATE_SIZE, RATE_SIZE, device="cuda").half()
    times = time_ms(lambda: (left @ left)[0, 0].item(), repeats=7, warmup=2)
    return 2 * RATE_SIZE**3 / min(times) / 1e6


def graph_gflop(graph: Path) -> float:
    """GFLOP of a graph's convolutions and matrix products for one frame (a multiply-add counts as two)."""
    import onnx

    model = onnx.load(graph)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    for value in [*inferred.input, *inferred.value_info, *inferred.output]:
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    total = 0
    for node in inferred.node:
        if node.op_type in ("Conv", "MatMul", "Gemm"):
            weight, output = shapes[node.input[1]], shapes[node.output[0]]
            depth = int(np.prod(weight[1:])) if node.op_type == "Conv" else weight[-2]
            total += 2 * int(np.prod(output)) * depth
    return total / 1e9


def _charts(rows: list[Row]) -> list[Chart]:
    """Throughput against the batch, a chart per model."""
    charts = []
    for model in dict.fromkeys(str(row.setting["model"]) for row in rows):
        series: dict[str, list[tuple[str | float, float]]] = {
            row.contender: [(float(n), row.figures[f"batch {n}"].median) for n in BATCHES]
            for row in rows
            if row.setting["model"] == model
        }
        charts.append(
            Chart(
                name=f"recognizer-{model}-throughput",
                title=f"{model}: frames encoded a second",
                kind="line",
                x_label="frames in a call",
                y_label="frames/s",
                series=series,
                log_x=True,
            )
        )
    return charts


def _ratios(rows: list[Row]) -> list[str]:
    """How much faster than eager PyTorch, in the same run."""
    lines = []
    for model in dict.fromkeys(row.setting["model"] for row in rows):
        of_model = [row for row in rows if row.setting["model"] == model]
        eager = [row.figures["tracklet"].median for row in of_model if row.contender.startswith("PyTorch")]
        if eager:
            base = statistics.median(eager)
            gains = ", ".join(
                f"{row.contender} {base / row.figures['tracklet'].median:.1f} x"
                for row in of_model
                if not row.contender.startswith("PyTorch")
            )
            lines.append(f"{model} against eager PyTorch in this run: {gains}")
    return lines
