"""What the machine is, and what it can do at most: matrix rate and memory bandwidth, measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path

from gaitstream.bench.result import Machine

PACKAGES = (
    "gaitstream", "numpy", "openvino", "onnxruntime", "onnxruntime-gpu", "onnx", "torch", "tensorrt",
    "tensorrt-rtx", "opencv-python", "av", "trackers", "pyzmq",
)  # fmt: skip
INSTRUCTION_SETS = (
    "avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_fp16",
)  # fmt: skip


def describe() -> Machine:
    """Describe this machine; nothing is measured."""
    cpu, flags = _cpu()
    gpu, driver = _gpu()
    return Machine(
        cpu=cpu,
        cores=len(os.sched_getaffinity(0)),
        instruction_sets=[name for name in INSTRUCTION_SETS if name in flags],
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        gpu=gpu,
        driver=driver,
        versions=_versions(),
        load=round(os.getloadavg()[0], 2),
    )


def _cpu() -> tuple[str, set[str]]:
    name, flags = platform.processor() or "unknown", set[str]()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                return name, set(value.split())
    return name, flags


def _gpu() -> tuple[str, str]:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "none", ""
    name, _, driver = found.stdout.splitlines()[0].partition(",")
    return name.strip(), driver.strip()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def matrix_rate_gflops(precision: str, threads: int | None = None, size: int = 1536) -> float:
    """Best rate of a square matrix product on this CPU through OpenVINO.

    Args:
        precision: `fp32`, `bf16` or `int8`.
        threads: how many; all when None.
        size: edge of the square matrices.

    Returns:
        GFLOP/s, two per multiply-add, the best within a second: an upper bound for the graphs.
    """
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    left = ops.parameter([size, size], ov.Type.f32)
    weight = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    operands = [left.output(0), ops.constant(weight).output(0)]
    if precision == "int8":
        low, high = (ops.constant(np.float32(bound)) for bound in (-5.12, 5.08))
        operands = [ops.fake_quantize(one, low, high, low, high, 256).output(0) for one in operands]
    product = ops.matmul(*operands, False, False)
    hint = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}[precision]
    options: dict[str, object] = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    request = ov.Core().compile_model(ov.Model([product], [left]), "CPU", options).create_infer_request()
    feed = np.random.default_rng(1).standard_normal((size, size), dtype=np.float32)
    best_s, end_s = float("inf"), time.perf_counter() + 1.0
    while time.perf_counter() < end_s:
        start = time.perf_counter()
        request.infer([feed], share_inputs=True, share_outputs=True)
        best_s = min(best_s, time.perf_counter() - start)
    return 2 * size**3 / best_s / 1e9


def memory_bandwidth_gbps(size_mib: int = 256) -> float:
    """Best rate of a copy between two arrays larger than any cache, one core.

    Returns:
        GB/s, bytes read plus bytes written.
    """
    import numpy as np

    source = np.ones(size_mib << 18, np.float32)
    target = np.empty_like(source)
    best_s = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        np.copyto(target, source)
        best_s = min(best_s, time.perf_counter() - start)
    return 2 * source.nbytes / best_s / 1e9
