"""Speed of the recognisers: every runtime and precision of a device beside PyTorch and the floor.

The floor is the multiply-adds of the graph that runs, over the rate of one large matrix product in the same
precision, measured in the same process. PyTorch, eager and compiled, runs the package's own modules, which
hold the weights the graphs were written from.
"""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.bench.flops import graph_gflop
from gaitstream.bench.machine import matrix_rate_gflops
from gaitstream.bench.measure import figure, peak_memory, time_ms
from gaitstream.bench.process import Contender, ContenderError, run_contender
from gaitstream.bench.result import Chart, Figure, Row, Suite
from gaitstream.bench.settings import Device, Settings
from gaitstream.engines import cuda
from gaitstream.engines.proof import Proof
from gaitstream.engines.registry import ranked, runtime_named, survey
from gaitstream.errors import ConfigError, EngineError
from gaitstream.models.bundle import Bundle
from gaitstream.models.inputs import NAMES, as_graph_input, pack, row_shape
from gaitstream.models.manifest import InputKind, Manifest
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.spec import families, find_family

if TYPE_CHECKING:
    from gaitstream.export.calibration import LabelledCalibration

FRAMES, STRIDE = 30, 15
"""Of a tracklet, and from one to the next."""
SEED = 11
TORCH_TYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
RATE_SIZE = 2048
"""Edge of the square matrices whose product gives the machine's rate."""
SETTLING_S = 0.5
"""Of calls before the measured ones: engines compile for what they are asked for often."""
MEASURED_S = 0.3
"""Of measured calls at least: three of a few milliseconds would all fall into one disturbance."""
BATCHES = (1, 4, 16)
"""Frames in a call, for the throughput against the batch."""
NOTES = (
    f"A tracklet has {FRAMES} frames; `last` is the time between the last frame and the embedding when the "
    f"others "
    "are encoded already. Frames a second by batch, and `window`, one more window that overlaps by half, "
    "are in the "
    "JSON.",
    "floor: the graph's multiply-adds over the rate of one large matrix product in the same precision. What "
    "the "
    "rest is: layers with few channels or small matrices, softmax and normalisation, which the floor does "
    "not "
    "count, and for PyTorch, memory that every layer's result goes through.",
)


def run(settings: Settings) -> Suite:
    """Measure every contender in a process of its own.

    Args:
        settings: quick measures one repetition instead of five; without bundles, full-width ones with
            random weights are made.

    Raises:
        ConfigError: there is nothing to run.
    """
    quick, say, bundles = settings.quick, settings.say, settings.bundles
    gpu = use_gpu(settings.device)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gaitstream-bench-") as folder:
        for root in bundles or [make_bundle(model, Path(folder) / model) for model in random_models()]:
            for name, function, arguments in [
                *settings.extra(Bundle.open(root), gpu, quick),
                *contenders(root, gpu=gpu),
            ]:
                say(f"recognizer: {root.name}, {name}")
                common = {"bundle": str(root), "repeats": 1 if quick else 5}
                try:
                    rows += run_contender(function, common | arguments)
                except ContenderError as error:
                    reason = str(error).splitlines()[-1]
                    model = Bundle.open(root).manifest.model
                    rows.append(
                        Row(
                            contender=name,
                            setting={"model": model},
                            figures={},
                            note=f"did not run: {reason}",
                        )
                    )
    if not any(row.figures for row in rows):
        raise ConfigError(f"no contender ran: {'; '.join(row.note for row in rows)}")
    return Suite(
        name="recognizer",
        title=f"Recognisers on {gpu or 'the CPU'}",
        rows=rows,
        columns=["tracklet", "frame", "last", "memory"],
        notes=[*_ratios(rows), *NOTES],
        charts=_charts(rows),
    )


def use_gpu(device: Device) -> str:
    """The name of the GPU to measure on; empty for the CPU.

    Raises:
        EngineError: a GPU is demanded, and the driver lists none.
    """
    found = [] if device == "cpu" else cuda.devices()
    if device == "cuda" and not found:
        raise EngineError(
            "--device cuda needs an NVIDIA GPU, and the driver lists none: see 'nvidia-smi', or use "
            "--device cpu"
        )
    return found[0].name if found else ""


def random_models() -> list[str]:
    """The families measured without a checkpoint: those of random weights whose size plans know."""
    return [family.name for family in families() if family.randomizer and family.gflop]


def make_bundle(model: str, root: Path, variant: str = "", *, eight_bits: bool = True) -> Path:
    """A bundle of a published size with random weights; in int8 too, where NNCF is installed."""
    from gaitstream.export.api import ExportOptions, write_bundle
    from gaitstream.export.eight_bits import add_eight_bits

    root.mkdir()
    trained = find_family(model).random(SEED, variant)
    plain = ExportOptions(version="random weights")
    options = plain if eight_bits else dataclasses.replace(plain, precisions=("fp32",))
    manifest = write_bundle(trained, root, options)
    if eight_bits and find_spec("nncf") is not None:
        bundle = Bundle(root, manifest)
        add_eight_bits(bundle, _random_calibration(bundle), search=False)
    return root


def _random_calibration(bundle: Bundle) -> LabelledCalibration:
    """Two sequences of random inputs, one being the other backwards: the ranges do not change the work."""
    from gaitstream.export.calibration import LabelledCalibration, frame_inputs

    inputs, feeds = make_inputs(bundle.manifest), {}
    for name, (dtype, _) in frame_inputs(bundle).items():
        rows = as_graph_input(name, inputs[name], dtype.name)
        feeds[name] = np.concatenate([rows, rows[::-1]])
    return LabelledCalibration("random inputs", feeds, np.repeat([0, 1], FRAMES), np.arange(2))


def make_module(model: str, variant: str = "") -> Any:
    """The PyTorch module whose weights `make_bundle` writes."""
    return find_family(model).random(SEED, variant).module


def contenders(bundle: Path, *, gpu: str) -> list[Contender]:
    """Every runtime that works on the device, in every precision that the bundle has.

    A GPU runtime that is missing is asked for as well: the row then says what to install.
    """
    stored = Bundle.open(bundle).manifest.graphs
    found: list[Contender] = []
    usable = {name: probe for name, probe in ranked(survey()) if probe.accelerator == bool(gpu)}
    for name, probe in usable.items():
        for precision in probe.precisions:
            needs = "fp32" if precision == "bf16" else precision
            if needs in stored and not (precision == "bf16" and name != "openvino"):
                arguments = {"runtime": name, "precision": precision}
                found.append((f"{name} {precision}", measure_engine, arguments))
    if gpu and "onnxruntime" not in usable:
        found.append(("onnxruntime fp32", need_cuda, {"runtime": "onnxruntime"}))
    return found


def need_cuda(bundle: str, repeats: int, runtime: str) -> list[Row]:  # noqa: ARG001 - a contender's arguments
    """Ask a runtime for the GPU it does not offer: its error names what is missing."""
    runtime_named(runtime).probe("cuda")
    return []


def measure_engine(bundle: str, repeats: int, runtime: str, precision: str) -> list[Row]:
    """One runtime and precision, through the public API."""
    model = Recognizer.load(bundle, runtime, precision)
    name = model.manifest.model
    work = TrackletWork(model)
    enough = partial(time_ms, warmup_s=SETTLING_S, min_total_s=MEASURED_S)
    tracklet = enough(work.tracklet, repeats=repeats)
    sliding = work
    if model.frames is None:
        sliding = TrackletWork(Recognizer.load(bundle, runtime, precision, stride=STRIDE))
    window_ms = enough(sliding.window, repeats=repeats)
    last_ms = enough(sliding.last, repeats=2 * repeats)
    by_batch = batch_rates(work.encode, repeats, filter(work.takes, BATCHES))
    memory = peak_memory()
    gflop = frame_gflop(Bundle.open(bundle))
    floor = FRAMES * gflop / rate_gflops(precision, model.engine.device) * 1e3
    return [
        Row(
            contender=f"{runtime} {precision}",
            setting={"model": name},
            figures={
                "tracklet": figure(tracklet, "ms"),
                "frame": figure([value / FRAMES for value in tracklet], "ms"),
                "window": figure(window_ms, "ms"),
                "last": figure(last_ms, "ms"),
                **memory,
                **by_batch,
            },
            floor={"tracklet": floor, "frame": floor / FRAMES},
            note=f"{gflop:.1f} GFLOP a frame, {_shares(model.engine.proof())}",
        )
    ]


def _shares(proof: Proof) -> str:
    """How many of the products run in lower precisions."""
    half, eight = proof.matrix_half_share, proof.matrix_int8_share
    return f"{half:.0%} of its products in half" + (f", {eight:.0%} in int8" if eight else "")


def measure_module(bundle: str, repeats: int, name: str) -> list[Row]:
    """The PyTorch module of a published size in float32 on all cores, a window of frames at once.

    Args:
        bundle: of the same size, whose manifest says what it looks at.
        repeats: the least number of measured calls.
        name: `family`, or `family:variant`.
    """
    import torch

    family, _, variant = name.partition(":")
    module = make_module(family, variant).eval()
    inputs = {
        key: torch.from_numpy(as_graph_input(key, rows, "float32"))[None]
        for key, rows in make_inputs(Bundle.open(Path(bundle)).manifest).items()
    }
    ratios = [inputs.pop("ratios")] if "ratios" in inputs else []
    window = [torch.cat(list(inputs.values()), 2)]  # several pictures are channels of one to a module
    if "ratios" in inspect.signature(module.forward).parameters:
        window += ratios
    with torch.inference_mode():
        times = time_ms(lambda: module(*window), repeats=repeats, warmup_s=SETTLING_S, min_total_s=MEASURED_S)
    figures = {"tracklet": figure(times, "ms")}
    return [Row(contender="PyTorch fp32", setting={"model": family}, figures=figures)]


def measure_speed(bundle: str, repeats: int, runtime: str, precision: str) -> list[Row]:
    """Cost of a frame alone, without floors: needs no PyTorch and no onnx."""
    model = Recognizer.load(bundle, runtime, precision)
    work = TrackletWork(model)
    times = time_ms(lambda: work.encode(FRAMES), repeats=repeats, min_total_s=2.0)
    return [
        Row(
            contender=f"{model.runtime} {model.precision}",
            setting={"model": model.manifest.model},
            figures={"frame": figure([value / FRAMES for value in times], "ms")},
        )
    ]


def batch_rates(
    encode: Callable[[int], object], repeats: int, batches: Iterable[int] = BATCHES
) -> dict[str, Figure]:
    """Frames a second by the number of frames in a call."""
    return {
        f"batch {n}": figure(
            [n / ms * 1e3 for ms in time_ms(partial(encode, n), repeats=repeats, warmup_s=SETTLING_S)],
            "frames/s",
            "higher",
        )
        for n in batches
    }


class TrackletWork:
    """What a recognizer does for a tracklet, piece by piece.

    A clip model, and one that waits for its window, does everything at the window's end, except for what
    windows share.
    """

    def __init__(self, model: Recognizer) -> None:
        self._model = model
        self._inputs = make_inputs(model.manifest)
        if model.frames is None or model.manifest.keeps == "inputs":
            self._rows = pack(model.manifest, self._inputs)
        else:
            self._rows = self.encode(FRAMES)
        self._turn = 0
        self._keeps_maps = model.manifest.keeps == "maps"
        pools = model.manifest.keeps == "maximum"
        self._pooled = model.pool(self._rows[: FRAMES // 2]) if pools else None

    def encode(self, frames: int) -> NDArray[Any]:
        """Encode so many frames; a clip model embeds them."""
        if self._model.frames is None:
            return self._model.embed_windows([self._rows[:frames]])
        return self._model.frames.encode({name: rows[:frames] for name, rows in self._inputs.items()})

    def takes(self, frames: int) -> bool:
        """Whether so many frames are enough for the model."""
        clip = self._model.manifest.clip
        return clip is None or clip.fit(len(clip.lengthen(self._rows[:frames]))) is not None

    def tracklet(self) -> None:
        """All frames, to the embedding."""
        if self._pooled is not None:
            self._model.embed_windows([self._model.pool(self.encode(FRAMES))])
        elif self._keeps_maps:
            self._model.embed_windows([self.encode(FRAMES)])
        else:
            self._model.embed_windows([np.concatenate([self._fresh(), self._fresh()])])

    def window(self) -> None:
        """A window that overlaps the last one by half."""
        self._finish(STRIDE)

    def last(self) -> None:
        """What is left to do after the last frame."""
        self._finish(1)

    def _finish(self, new: int) -> None:
        """Encode the new frames and embed them with what was pooled before."""
        if self._keeps_maps:
            self._model.embed_windows([np.concatenate([self._rows[new:], self.encode(new)])])
        elif self._pooled is None:
            self._rows = np.concatenate([self._rows[STRIDE:], self._fresh()])
            self._model.embed_windows([self._rows])
        else:
            newest = self._model.pool(self.encode(new))
            self._model.embed_windows([np.maximum(self._pooled, newest)])

    def _fresh(self) -> NDArray[Any]:
        """Half a tracklet that was never seen before."""
        self._turn += 1
        rows = self._rows[:STRIDE].copy()
        rows.reshape(-1)[:2] = divmod(self._turn, 251)
        return rows


def make_inputs(manifest: Manifest) -> dict[str, NDArray[Any]]:
    """A tracklet's inputs by name; the values do not change the work. Aligned parts stand for heatmaps."""
    rng = np.random.default_rng(SEED)
    inputs: dict[str, NDArray[Any]] = {}
    for contract in manifest.inputs:
        shape = (FRAMES, *row_shape(contract))
        if contract.kind is InputKind.POSE:
            waits = manifest.keeps == "inputs" or manifest.alignment is None
            if not waits:
                shape = (FRAMES, contract.channels, contract.height, contract.width)
            inputs["heatmaps" if waits else "parts"] = rng.random(shape, dtype=np.float32)
        elif contract.kind is InputKind.JOINTS:
            inputs[NAMES[contract.kind]] = rng.random(shape, dtype=np.float32)
        else:
            inputs[NAMES[contract.kind]] = rng.integers(0, 256, shape, dtype=np.uint8)
        if contract.kind is InputKind.CROP:
            inputs["ratios"] = np.full(FRAMES, 0.42, np.float32)
    return inputs


def frame_gflop(bundle: Bundle) -> float:
    """Multiply-adds of one frame, in GFLOP: of the frame graph, or a frame's share of the clip graph."""
    if bundle.manifest.shape == "frame":
        return graph_gflop(bundle.graph("frame", "fp32"))
    return graph_gflop(bundle.graph("clip", "fp32"), frames=FRAMES) / FRAMES


def rate_gflops(precision: str, device: str) -> float:
    """GFLOP a second of one large matrix product in this precision, on all cores of the device.

    On a CPU OpenVINO gives the rate: PyTorch's own product reaches less than half of it on some.

    Args:
        precision: of the product.
        device: an engine's word for it: `cpu`, or a GPU.
    """
    if device == "cpu":
        return matrix_rate_gflops(precision)
    import torch

    if precision == "int8":
        whole = torch.randint(-127, 128, (RATE_SIZE, RATE_SIZE), device="cuda", dtype=torch.int8)
        times = time_ms(lambda: torch._int_mm(whole, whole)[0, 0].item(), repeats=7, warmup=2)
    else:
        left = torch.randn(RATE_SIZE, RATE_SIZE, device="cuda", dtype=getattr(torch, TORCH_TYPES[precision]))
        times = time_ms(lambda: (left @ left)[0, 0].item(), repeats=7, warmup=2)
    return 2 * RATE_SIZE**3 / min(times) / 1e6


def _charts(rows: list[Row]) -> list[Chart]:
    """Throughput against the batch, a chart per model."""
    charts = []
    for model in dict.fromkeys(str(row.setting["model"]) for row in rows):
        series: dict[str, list[tuple[str | float, float]]] = {
            row.contender: [(float(n), row.figures[f"batch {n}"].median) for n in BATCHES]
            for row in rows
            if row.setting["model"] == model and "batch 1" in row.figures
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
        eager = [
            row.figures["tracklet"].median
            for row in of_model
            if row.contender == "PyTorch fp32, eager" and row.figures
        ]
        if eager:
            gains = ", ".join(
                f"{row.contender} {eager[0] / row.figures['tracklet'].median:.1f} x"
                for row in of_model
                if row.contender != "PyTorch fp32, eager" and row.figures
            )
            lines.append(f"{model} against eager PyTorch fp32 in this run: {gains}")
    return lines
