"""Small graphs to compile, and a cache of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gaitstream.engines.cache import EngineCache
from gaitstream.engines.simulated import SimulatedDevice
from tests.engines.small_graphs import small_graph


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return small_graph(tmp_path / "small.onnx")


@pytest.fixture
def half_graph(tmp_path: Path) -> Path:
    return small_graph(tmp_path / "small.fp16.onnx", half=True)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "cache")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, 3, 16, 16), dtype=np.uint8)


@pytest.fixture
def simulated() -> Iterator[SimulatedDevice]:
    made = SimulatedDevice(seed=1, delay_s=0)
    yield made
    made.close()
