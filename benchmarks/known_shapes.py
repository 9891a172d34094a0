"""What it gains to compile a graph for the shape that comes: OpenVINO, beside a graph for any batch.

    python -m benchmarks.known_shapes pose.onnx --rows 1 4 16
    python -m benchmarks.known_shapes clip.onnx --rows 1 --other 30

Both run by turns in one process on random input; printed are medians in milliseconds for all rows.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.bench.measure import time_ms
from gaitstream.engines import Engine, openvino
from gaitstream.engines.base import BuildRequest, TensorSpec
from gaitstream.engines.openvino_engine import OpenVinoEngine

ROUNDS, CALLS = 5, 20


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphs", type=Path, nargs="+", help="ONNX files whose batch is open")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--other", type=int, default=30, help="size of other dimensions that are open")
    parser.add_argument("--precision", default="bf16")
    args = parser.parse_args()
    for graph in args.graphs:
        for rows in args.rows:
            request = BuildRequest(graph, args.precision)
            any_shape, known = open_both(request)
            feeds = {name: random_input(spec, rows, args.other) for name, spec in any_shape.inputs.items()}
            took = [[], []]  # type: list[list[float]]
            for _ in range(ROUNDS):
                for engine, times in zip((any_shape, known), took, strict=True):
                    times += time_ms(partial(engine.infer, feeds), repeats=CALLS, warmup=4)
            before, after = map(median, took)
            name = f"{graph.parent.name}/{graph.name} {rows}"
            print(f"{name}: {before:.2f} -> {after:.2f} ms, {before / after:.2f} x")


def open_both(request: BuildRequest) -> tuple[Engine, Engine]:
    """For any shape alone, and with graphs for shapes that come."""
    runtime = openvino.OpenVino()
    known = runtime.load(request, runtime.build(request))
    assert isinstance(known, OpenVinoEngine)  # noqa: S101 - narrows the type
    most, openvino.MOST_SHAPES = openvino.MOST_SHAPES, 0
    try:
        return runtime.load(request, runtime.build(request)), known
    finally:
        openvino.MOST_SHAPES = most


def random_input(spec: TensorSpec, rows: int, other: int) -> NDArray[Any]:
    """Bytes, or floats in 0..1."""
    shape = (rows, *(other if size == -1 else size for size in spec.shape[1:]))
    numbers = np.random.default_rng(0).random(shape, np.float32)
    return (255 * numbers).astype(np.uint8) if spec.dtype == "uint8" else numbers.astype(spec.dtype)


if __name__ == "__main__":
    main()
