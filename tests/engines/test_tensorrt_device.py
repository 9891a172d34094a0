"""TensorRT and TensorRT-RTX on a real GPU: engines, device arrays and the plugin; skipped without one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitstream.engines import cuda, open_engine
from gaitstream.engines.base import Pixels
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import GaitstreamError
from gaitstream.kernels import align, onnx_op
from gaitstream.kernels.contract import AlignmentOptions
from tests.engines.small_graphs import onnx, small_graph, small_reference
from tests.kernels.kernel_cases import LOWER, UPPER, blobs, spine_keypoints


@pytest.fixture(scope="module", autouse=True)
def _device() -> None:
    if not cuda.devices():
        pytest.skip("no GPU")


MODULES = {"tensorrt": ("tensorrt", "tensorrt_bindings"), "tensorrt-rtx": ("tensorrt_rtx",)}
INSTALLED = [name for name, modules in MODULES.items() if any(map(find_spec, modules))] or ["tensorrt"]


@pytest.fixture(params=INSTALLED)
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 1e-2)])
def test_engines_compute_what_the_graph_says(
    precision: str, tolerance: float, runtime: str, tmp_path: Path, cache: EngineCache
) -> None:
    graph = small_graph(tmp_path / "g.onnx", half=precision == "fp16")
    with open_engine(graph, runtime, precision, cache=cache) as engine:
        pending = [engine.submit({"images": pictures(1 + seed % 7, seed)}) for seed in range(20)]
        for seed, one in enumerate(pending):
            expected = small_reference(pictures(1 + seed % 7, seed))
            np.testing.assert_allclose(one.result()["features"], expected, rtol=tolerance, atol=tolerance)


def test_device_arrays_go_in_and_come_out(runtime: str, tmp_path: Path, cache: EngineCache) -> None:
    torch = pytest.importorskip("torch")
    with open_engine(small_graph(tmp_path / "g.onnx"), runtime, "fp32", cache=cache) as engine:
        given = torch.from_numpy(pictures(5)).cuda()
        found = engine.infer_on_device({"images": given})["features"]
        np.testing.assert_allclose(found.to_host(), small_reference(pictures(5)), atol=1e-5)
        assert found.ready is not None
        found.ready.synchronize()
        shared = torch.from_dlpack(found)
        np.testing.assert_allclose(shared.cpu().numpy(), small_reference(pictures(5)), atol=1e-5)


def test_pictures_as_bytes_equal_pictures_as_floats(runtime: str, tmp_path: Path, cache: EngineCache) -> None:
    from onnx.reference import ReferenceEvaluator

    value = onnx.helper.make_tensor_value_info
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        "conv",
        [value("x", onnx.TensorProto.FLOAT, [1, 3, 16, 16])],
        [value("y", onnx.TensorProto.FLOAT, [1, 8, 16, 16])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "c.onnx")
    pixels = Pixels(255.0, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    feed = pictures(4)
    floats = (feed / 255 - np.reshape(pixels.mean, (3, 1, 1))) / np.reshape(pixels.std, (3, 1, 1))
    options = {"pixels": pixels, "free_batch": True, "cache": cache}
    with open_engine(tmp_path / "c.onnx", runtime, "fp32", **options) as engine:  # type: ignore[arg-type]
        found = engine.infer({"x": feed})["y"]
    reference: Any = ReferenceEvaluator(model)
    (expected,) = reference.run(None, {"x": floats.astype(np.float32)})
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.skipif("tensorrt" not in INSTALLED, reason="TensorRT-RTX takes no plugins")
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_the_plugin_aligns_as_the_kernel_does(
    half: bool, given: bool, tmp_path: Path, cache: EngineCache
) -> None:
    keypoints = spine_keypoints(np.linspace(-90, 90, 11))
    maps = blobs(keypoints).astype(np.float16 if half else np.float32)
    options = AlignmentOptions((UPPER, LOWER))
    model = onnx_op.write_operator(options, keypoints=given, half=half)
    (tmp_path / "p.onnx").write_bytes(model.SerializeToString())
    feeds = {"heatmaps": maps} | ({"keypoints": keypoints} if given else {})
    with open_engine(tmp_path / "p.onnx", "tensorrt", "fp16" if half else "fp32", cache=cache) as engine:
        found = engine.infer(feeds)
    # Again from the cache: the library has to be there before an engine is read, too.
    with open_engine(tmp_path / "p.onnx", "tensorrt", "fp16" if half else "fp32", cache=cache) as engine:
        again = engine.infer(feeds)
    expected = align(maps, keypoints if given else None, groups=options.groups)
    tolerance = 2e-3 if half else 2e-5
    np.testing.assert_allclose(found["parts"].astype(np.float32), expected.parts, atol=tolerance)
    np.testing.assert_array_equal(found["aligned"] != 0, expected.aligned)
    np.testing.assert_array_equal(found["parts"], again["parts"])


def test_a_second_gpu_that_is_not_there_is_named(runtime: str, tmp_path: Path, cache: EngineCache) -> None:
    missing = len(cuda.devices())
    with pytest.raises(GaitstreamError, match=f"there is no GPU {missing}"):
        open_engine(small_graph(tmp_path / "g.onnx"), runtime, device=f"cuda:{missing}", cache=cache)
