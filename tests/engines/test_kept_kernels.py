"""Kernels that are compiled where an engine runs: kept at its end, not compiled again at the next start."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitstream.engines.base import Batch, BuildRequest, Built, TensorSpec
from gaitstream.engines.proof import Proof
from gaitstream.engines.simulated import SimulatedDevice
from gaitstream.engines.simulated_tensorrt import (
    CudaEngine,
    ExecutionContext,
    ExecutionContextAllocationStrategy,
    Program,
    SimulatedTensorRt,
)
from gaitstream.engines.tensorrt_run import TensorRtEngine

PROOF = Proof(source="nothing", layers={}, matrix_layers={})
MAGIC = "kernels of "


class RuntimeCache:
    """As TensorRT-RTX's `IRuntimeCache`: what was compiled, by shape."""

    def __init__(self, compiled: list[str]) -> None:
        self.kernels: set[str] = set()
        self.compiled = compiled

    def use(self, shape: str) -> None:
        if shape not in self.kernels:
            self.compiled.append(shape)
        self.kernels.add(shape)

    def serialize(self) -> memoryview:
        return memoryview((MAGIC + json.dumps(sorted(self.kernels))).encode())

    def deserialize(self, blob: bytes) -> bool:
        text = blob.decode(errors="replace")
        if not text.startswith(MAGIC):
            return False
        self.kernels = set(json.loads(text.removeprefix(MAGIC)))
        return True


class RuntimeConfig:
    """As TensorRT-RTX's `IRuntimeConfig`."""

    def __init__(self, compiled: list[str]) -> None:
        self._compiled = compiled
        self.strategy: Any = None
        self.cache: RuntimeCache | None = None

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache(self._compiled)

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self.cache = cache
        return True

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy


class Context(ExecutionContext):
    """A context that compiles for every shape that is new to its cache."""

    def __init__(self, engine: CudaEngine, cache: RuntimeCache) -> None:
        super().__init__(engine)
        self._cache = cache

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._cache.use(f"{name} {shape}")
        return super().set_input_shape(name, shape)


class Engine(CudaEngine):
    """An engine whose contexts are made with a configuration."""

    compiled: list[str]

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig(self.compiled)

    def create_execution_context(self, config: Any = None) -> ExecutionContext:
        assert isinstance(config, RuntimeConfig)
        assert config.strategy is ExecutionContextAllocationStrategy.STATIC
        assert config.cache is not None
        return Context(self, config.cache)


class Library(SimulatedTensorRt):
    """TensorRT-RTX in this respect."""

    IRuntimeCache = RuntimeCache

    def __init__(self, device: SimulatedDevice, program: Program) -> None:
        super().__init__(device, {b"engine": program})
        self._program, self._where = program, device
        self.compiled: list[str] = []

    def deserialize_cuda_engine(self, blob: bytes) -> CudaEngine | None:
        engine = Engine(self._program, self._where, self._logger)
        engine.compiled = self.compiled
        return engine


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path))
    return tmp_path / "rtx_kernels"


def run(device: SimulatedDevice, rows: int = 3) -> list[str]:
    """Start, infer, end; the shapes that were compiled for."""
    spec = TensorSpec("x", (-1, 4), "float32"), TensorSpec("y", (-1, 4), "float32")
    program = Program({"x": spec[0]}, {"y": spec[1]}, lambda feeds: {"y": feeds["x"] * 2}, Batch(1, 8, 8))
    library = Library(device, program)
    request = BuildRequest(Path("graph.onnx"), "fp32", "cuda", Batch(1, 8, 8))
    with TensorRtEngine(library, "tensorrt-rtx", request, Built(b"engine", PROOF), device) as engine:
        given = np.arange(4 * rows, dtype=np.float32).reshape(rows, 4)
        np.testing.assert_array_equal(engine.infer({"x": given})["y"], given * 2)
    return library.compiled


def test_the_next_start_compiles_nothing_again(simulated: SimulatedDevice, folder: Path) -> None:
    assert run(simulated) == ["x (8, 4)", "x (3, 4)"]
    assert run(simulated) == []
    assert run(simulated, rows=5) == ["x (5, 4)"]
    assert run(simulated, rows=5) == []
    assert len(list(folder.iterdir())) == 1


def test_what_does_not_fit_is_compiled_anew_and_replaced(
    simulated: SimulatedDevice, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(simulated)
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(b"of another driver")
    caplog.set_level(logging.INFO)
    assert len(run(simulated)) == 2
    assert "kernels are compiled anew" in caplog.text
    assert kept.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_time_alone(
    simulated: SimulatedDevice, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("no folder")
    assert len(run(simulated)) == 2
    assert len(run(simulated)) == 2
    assert "cannot be kept" in caplog.text
