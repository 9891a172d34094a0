"""Pose-guided heatmap alignment: on the GPU if there is one, else the CPU forms against each other.

Every form does the same work on the same frames: 17 joint maps in, three part maps out, 3 of 4 frames tilted
enough to be rotated. The floor is the bytes that must move (each input byte read once, each output byte
written once) over the copy bandwidth measured in the same run.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.bench.machine import memory_bandwidth_gbps
from gaitstream.bench.measure import figure, time_ms
from gaitstream.bench.result import Chart, Row, Suite
from gaitstream.bench.settings import Settings
from gaitstream.errors import EngineError, GaitstreamError
from gaitstream.kernels import align
from gaitstream.kernels.build import build_cpu
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.kernels.cpu import align_cpu, default_threads, open_library
from gaitstream.kernels.cuda import Outputs, launcher
from gaitstream.kernels.driver import open_driver
from gaitstream.kernels.oracle import spine_matrices
from gaitstream.zoo import find

NECK, HIP = (5, 6), (11, 12)
"""Shoulders and hips among the COCO joints: their middles are the spine's ends."""
GROUPS = (tuple(range(11)), tuple(range(11, 17)))
PIXELS = 64 * 48
Call = Callable[[], object]
LAUNCHES = 64
"""Calls in a row that one measurement on a GPU is the mean of, at least."""
CACHE_TIMES = 4
"""Size of the buffers that calls go through, in GPU caches."""
Forms = Iterator[tuple[str, int, Call]]
"""Name, bytes per heatmap value, and the call to time."""


def frames(n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random heatmaps `[n, 17, 64, 48]` and joints `[n, 17, 3]`, tilted by 0, 10, -20 and 30 degrees."""
    random = np.random.default_rng(0)
    tilt = np.radians(np.resize([0.0, 10.0, -20.0, 30.0], n))
    keypoints = np.full((n, 17, 3), 0.8, np.float32)
    spine = 11 * np.stack([-np.sin(tilt), np.cos(tilt)], axis=1)
    keypoints[:, :, :2] = (24, 30)
    keypoints[:, 5:7, :2] -= spine[:, None].astype(np.float32)
    keypoints[:, 11:13, :2] += spine[:, None].astype(np.float32)
    return random.random((n, 17, 64, 48), np.float32), keypoints


def least_bytes(n: int, value_bytes: int) -> int:
    """Bytes an alignment of n frames must move: maps in, three float32 parts out."""
    return n * PIXELS * (17 * value_bytes + 3 * 4)


def cpu_forms(n: int, threads: int, folder: Path) -> Forms:
    """The CPU contenders; those whose packages are missing are left out."""
    maps, keypoints = frames(n)
    half = maps.astype(np.float16)

    def ours(values: NDArray[Any], backend: Any = "cpu") -> Call:
        return lambda: align(values, keypoints, groups=GROUPS, backend=backend, threads=threads)

    yield "gaitstream CPU build, float32", 4, ours(maps)
    yield "gaitstream CPU build, float16", 2, ours(half)
    planar = open_library(build_cpu(folder / "planar.so", defines=["GAITSTREAM_PGHA_PLANAR"]))
    options = AlignmentOptions(GROUPS)
    yield "the same, map by map", 4, lambda: align_cpu(maps, keypoints, options, None, threads, planar)
    yield from onnx_forms(maps, keypoints, threads)
    yield from torch_forms(maps, keypoints, threads)
    if n <= 64:
        yield "cv2.warpAffine, map by map", 4, lambda: warp_frames(maps, keypoints)
        yield "numpy oracle", 4, ours(maps, "numpy")


def onnx_forms(maps: NDArray[Any], keypoints: NDArray[Any], threads: int) -> Forms:
    """The demo bundle's align graph, of the same groups, on OpenVINO and ONNX Runtime."""
    try:
        import onnxruntime
        import openvino
    except ImportError:
        return
    path = find("demo", "recognizer") / "align.onnx"
    feeds = {"heatmaps": maps, "keypoints": keypoints}
    compiled = openvino.compile_model(
        str(path), "CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    )
    request = compiled.create_infer_request()
    yield "ONNX graph, OpenVINO", 4, lambda: request.infer(feeds, share_inputs=True, share_outputs=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    yield "ONNX graph, ONNX Runtime", 4, lambda: session.run(["parts"], feeds)


def torch_align(theta_rotation: Any, theta_shift: Any) -> Callable[[Any], Any]:
    """What a PyTorch user writes: two affine_grid + grid_sample, then the maxima."""
    import torch
    from torch.nn import functional

    # On the device beforehand: a list would be copied there at every call, which a captured graph refuses.
    groups = [torch.tensor(group, device=theta_rotation.device) for group in GROUPS]

    def call(maps: Any) -> Any:
        maps = maps.clamp(0, 1)
        for theta in (theta_rotation, theta_shift):
            grid = functional.affine_grid(theta.to(maps.dtype), list(maps.shape), align_corners=False)
            maps = functional.grid_sample(maps, grid, "bilinear", "border", align_corners=False)
        merged = [maps.amax(1)] + [maps[:, group].amax(1) for group in groups]
        return torch.stack(merged, 1)

    return call


def thetas(keypoints: NDArray[Any]) -> tuple[Any, Any]:
    """Matrices of both samplings as tensors, made beforehand: their cost is not counted against PyTorch."""
    import torch

    necks, hips = (keypoints[:, list(pair), :2].mean(axis=1, dtype=np.float64) for pair in (NECK, HIP))
    found = [spine_matrices(neck, hip)[:2] for neck, hip in zip(necks, hips, strict=True)]
    rotation, shift = (np.stack(part).astype(np.float32) for part in zip(*found, strict=True))
    return torch.from_numpy(rotation), torch.from_numpy(shift)


def torch_forms(maps: NDArray[Any], keypoints: NDArray[Any], threads: int) -> Forms:
    """PyTorch on the CPU, eager."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(threads)
    call, tensor = torch_align(*thetas(keypoints)), torch.from_numpy(maps)

    def run() -> object:
        with torch.inference_mode():
            return call(tensor)

    yield "PyTorch eager", 4, run


def warp_frames(maps: NDArray[Any], keypoints: NDArray[Any]) -> NDArray[Any]:
    """The same with OpenCV, one map at a time (its interpolation is coarser)."""
    import cv2

    clipped = maps.clip(0, 1)
    parts = np.empty((len(maps), 3, 64, 48), np.float32)
    for frame, (channels, joints) in enumerate(zip(clipped, keypoints, strict=True)):
        neck, hip = joints[5:7, :2].mean(0), joints[11:13, :2].mean(0)
        angle = np.degrees(np.arctan2(*(hip - neck)[::-1])) - 90
        if abs(angle) > 5:
            rotation = cv2.getRotationMatrix2D(tuple(map(float, (neck + hip) / 2)), angle, 1)
            moved = rotation @ np.append(neck, 1)
            shift = np.array([[1, 0, 24 - moved[0]], [0, 1, 16 - moved[1]]])
            turned = [
                cv2.warpAffine(
                    cv2.warpAffine(one, rotation, (48, 64), borderMode=cv2.BORDER_REPLICATE),
                    shift,
                    (48, 64),
                    borderMode=cv2.BORDER_REPLICATE,
                )
                for one in channels
            ]
            channels = np.stack(turned)
        parts[frame] = [channels.max(0), *(channels[list(group)].max(0) for group in GROUPS)]
    return parts


def to_row(name: str, n: int, times_ms: list[float], moved: int, gbps: float) -> Row:
    """What calls on n frames took, beside moving `moved` bytes at `gbps`."""
    return Row(
        contender=name,
        setting={"frames": n},
        figures={
            "per frame": figure([1e3 * ms / n for ms in times_ms], "us"),
            "rate": figure([moved / ms / 1e6 for ms in times_ms], "GB/s", "higher"),
        },
        floor={"per frame": moved / n / gbps / 1e3},
    )


def run_cpu(sizes: list[int], repeats: int, say: Callable[[str], None]) -> Suite:
    """The CPU forms."""
    threads = default_threads()
    one_core = memory_bandwidth_gbps()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in sizes:
            for name, value_bytes, call in cpu_forms(n, threads, Path(folder)):
                say(f"{name}, n = {n}")
                times = time_ms(call, repeats=repeats, warmup=2)
                rows.append(to_row(name, n, times, least_bytes(n, value_bytes), one_core))
    notes = [
        "No GPU in this machine: these are the CPU forms.",
        f"{threads} threads; the floor is bytes over one core's copy rate, {one_core:.1f} GB/s measured. "
        "Work that stays in the caches, or two cores, can be faster than that. What the rest is: two "
        "bilinear samplings of "
        "every map, and for the other forms the maps between them, written and read again.",
    ]
    return Suite(name="pgha", title="Heatmap alignment on the CPU", rows=rows, notes=notes)


def rotation(set_bytes: int, cache_bytes: int) -> int:
    """Sets of buffers to go through, so that none is in the cache any more when its turn comes again."""
    return max(2, -(-CACHE_TIMES * cache_bytes // set_bytes))


def gpu_time_ms(calls: Sequence[Call], repeats: int) -> list[float]:
    """Device time of one call, from many in a row.

    The calls are captured once and replayed as a graph, so that what is timed is the device's work and not
    the host's launching; each works on buffers of its own, so that no call finds its input in the cache.

    Args:
        calls: the same work on different buffers, queued on torch's current stream.
        repeats: replays to time.
    """
    import torch

    for call in calls:
        call()
    rounds = -(-LAUNCHES // len(calls))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(rounds):
            for call in calls:
                call()
    graph.replay()
    times = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / (rounds * len(calls)))
    return times


def gpu_forms(n: int, cache_bytes: int) -> Iterator[tuple[str, int, list[Call]]]:
    """Our kernel and PyTorch, eager and compiled, in both precisions; each on a rotation of buffers."""
    import torch

    maps, keypoints = (torch.from_numpy(array).cuda() for array in frames(n))
    call = torch_align(*(theta.cuda() for theta in thetas(keypoints.cpu().numpy())))
    compiled = torch.compile(call)
    for name, source in (("float32", maps), ("float16", maps.half())):
        value_bytes = source.element_size()
        turns = rotation(least_bytes(n, value_bytes), cache_bytes)
        values = [source.clone() for _ in range(turns)]
        outputs = [_gpu_outputs(n) for _ in range(turns)]
        for form, given in (("", keypoints), (", joints from the maps", None)):
            ours = [_launch(*buffers, given) for buffers in zip(values, outputs, strict=True)]
            yield f"gaitstream kernel, {name}{form}", value_bytes, ours
        yield f"PyTorch eager, {name}", value_bytes, [functools.partial(call, one) for one in values]
        if name == "float32":
            yield "torch.compile, float32", 4, [functools.partial(compiled, one) for one in values]


def _gpu_outputs(n: int) -> Outputs:
    import torch

    empty: dict[str, Any] = {"device": "cuda"}
    return Outputs(
        parts=torch.empty(n, 3, 64, 48, **empty),
        angle_deg=torch.empty(n, **empty),
        aligned=torch.empty(n, dtype=torch.uint8, **empty),
        neck_xy=torch.empty(n, 2, **empty),
        hip_xy=torch.empty(n, 2, **empty),
        score=torch.empty(n, **empty),
    )


def _launch(values: Any, outputs: Outputs, keypoints: Any) -> Call:
    """Our kernel on torch's current stream, which is another one while a graph is captured."""
    import torch

    options = AlignmentOptions(GROUPS)

    def call() -> None:
        stream = torch.cuda.current_stream().cuda_stream
        launcher().align(values, outputs, options, keypoints=keypoints, stream=stream)

    return call


def copy_gbps() -> float:
    """Device-to-device copy rate, bytes read plus written."""
    import torch

    source = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return float(2 * source.numel() / min(gpu_time_ms([lambda: target.copy_(source)], 20)) / 1e6)


def run_gpu(sizes: list[int], repeats: int, say: Callable[[str], None]) -> Suite:
    """The GPU forms; torch brings memory, streams and the contenders."""
    import torch

    bandwidth, rows = copy_gbps(), []
    cache_bytes = torch.cuda.get_device_properties(0).L2_cache_size
    with torch.inference_mode():
        for n in sizes:
            for name, value_bytes, calls in gpu_forms(n, cache_bytes):
                say(f"{name}, n = {n}")
                times = gpu_time_ms(calls, repeats)
                row = to_row(name, n, times, least_bytes(n, value_bytes), bandwidth)
                rows.append(msgspec.structs.replace(row, floor=row.floor | {"rate": bandwidth}))
    notes = [
        f"On {torch.cuda.get_device_name()}. Device copy, measured: {bandwidth:.0f} GB/s (bytes read plus "
        f"written).",
        f"Each figure is one call of {LAUNCHES} or more, replayed as a graph on buffers that together are "
        f"{CACHE_TIMES} times the cache of {cache_bytes >> 20} MiB. What the rest is: the start of a "
        "kernel, which "
        "small batches cannot hide, and the bilinear arithmetic.",
    ]
    return Suite(name="pgha", title="Heatmap alignment on the GPU", rows=rows, notes=notes)


def has_gpu() -> bool:
    """Whether a GPU, its driver and a torch that sees them are here."""
    try:
        open_driver()
        import torch
    except (GaitstreamError, ImportError):
        return False
    return torch.cuda.is_available()


def run(settings: Settings) -> Suite:
    """Measure what this machine can run."""
    quick = settings.quick
    gpu = settings.device != "cpu" and has_gpu()
    if settings.device == "cuda" and not gpu:
        raise EngineError(
            "--device cuda needs an NVIDIA GPU and a PyTorch that sees it: see 'gaitstream doctor', or use "
            "--device cpu"
        )
    sizes = [16, 64, 256, 1024, 4096] if gpu else [16, 64, 256]
    measure = run_gpu if gpu else run_cpu
    suite = measure(sizes[:2] if quick else sizes, 5 if quick else 20, settings.say)
    return msgspec.structs.replace(suite, charts=[_chart(suite.rows)])


def _chart(rows: list[Row]) -> Chart:
    series: dict[str, list[tuple[str | float, float]]] = {}
    for row in rows:
        point = (float(row.setting["frames"]), row.figures["per frame"].median)
        series.setdefault(row.contender, []).append(point)
    return Chart(
        name="pgha-cost",
        title="Heatmap alignment: cost of a frame",
        kind="line",
        x_label="frames in a call",
        y_label="us a frame",
        series=series,
        log_x=True,
        log_y=True,
    )
