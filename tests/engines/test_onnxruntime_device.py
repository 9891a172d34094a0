"""ONNX Runtime's CUDA provider on a real GPU; skipped without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gaitstream.engines import cuda, open_engine
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.onnxruntime import CUDA
from gaitstream.errors import EngineError
from tests.engines.small_graphs import small_graph, small_reference


@pytest.fixture(scope="module", autouse=True)
def _device() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if not cuda.devices():
        pytest.skip("no GPU")
    if CUDA not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider: pip install 'gaitstream[gpu]' in its place")


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 1e-2)])
def test_engines_compute_what_the_graph_says(
    precision: str, tolerance: float, tmp_path: Path, cache: EngineCache, images: np.ndarray
) -> None:
    graph = small_graph(tmp_path / "g.onnx", half=precision == "fp16")
    with open_engine(graph, "onnxruntime", precision, device="cuda", cache=cache) as engine:
        assert engine.device == "cuda:0"
        assert (engine.proof().half_share > 0.5) == (precision == "fp16")
        for count in (1, 5, 3):
            found = engine.infer({"images": images[:count]})["features"]
            expected = small_reference(images[:count])
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_a_gpu_that_is_not_there_is_named(graph: Path, cache: EngineCache) -> None:
    with pytest.raises(EngineError, match="no CUDA provider that works here"):
        open_engine(graph, "onnxruntime", device=f"cuda:{len(cuda.devices())}", cache=cache)
