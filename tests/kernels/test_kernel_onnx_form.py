"""The alignment in standard ONNX operators equals the compiled one, on the runtimes that will run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.kernels import align
from tests.kernels.kernel_cases import LOWER, UPPER, blobs, spine_keypoints

Floats = NDArray[np.float32]
TILTS = np.array([0.0, 4.9, 5.1, -5.1, -30.0, 80.0, -90.0, -180.0, -260.0])


def run_onnxruntime(path: Path, feeds: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["parts"], feeds)[0])


def run_openvino(path: Path, feeds: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    runtime = pytest.importorskip("openvino")
    model = runtime.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(model(feeds)["parts"])


RUNTIMES = {"onnxruntime": run_onnxruntime, "openvino": run_openvino}


def compare(runtime: str, folder: Path, maps: Floats, keypoints: Floats, **options: Any) -> None:
    """The graph on a runtime against the kernel on the CPU."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("torch")
    from gaitstream.models.gaitheat.alignment import write_align

    path = folder / "align.onnx"
    onnx.save(write_align([UPPER, LOWER], gamma_deg=5.0, **options), path)
    expected = align(maps, keypoints, groups=[UPPER, LOWER], backend="cpu", **options)
    assert np.isfinite(expected.parts).all()
    got = RUNTIMES[runtime](path, {"heatmaps": maps, "keypoints": keypoints})
    np.testing.assert_allclose(got, expected.parts, rtol=0, atol=3e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("small_angle", ["identity", "align"])
@pytest.mark.parametrize("normalization", ["fixed", "none", "tracklet"])
def test_graph_equals_kernel(runtime: str, small_angle: Any, normalization: Any, tmp_path: Path) -> None:
    keypoints = spine_keypoints(TILTS)
    on_hip = spine_keypoints(np.array([30.0]))
    on_hip[0, 5:7] = on_hip[0, 11:13] = (20, 40, 0.5)
    corner = spine_keypoints(np.array([30.0]))
    corner[0, 5:7, :2] = (0, 63)
    keypoints = np.concatenate([keypoints, on_hip, corner])
    noise = np.random.default_rng(0).normal(0, 0.2, (len(keypoints), 17, 64, 48))
    maps = (1.5 * blobs(keypoints) + noise).astype(np.float32)
    compare(runtime, tmp_path, maps, keypoints, small_angle=small_angle, normalization=normalization)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("small_angle", ["identity", "align"])
@pytest.mark.parametrize("normalization", ["fixed", "none", "tracklet"])
def test_what_is_not_finite_is_met_as_by_the_kernel(
    runtime: str, small_angle: Any, normalization: Any, tmp_path: Path
) -> None:
    keypoints = spine_keypoints(np.array([0.0, 30.0, 30.0, 30.0, -60.0]))
    maps = (blobs(keypoints) + np.random.default_rng(1).normal(0, 0.1, (5, 17, 64, 48))).astype(np.float32)
    keypoints[1, 5, 0], keypoints[2, 11, 1], keypoints[3, 0, :2] = np.nan, np.inf, np.nan
    maps[0, 3, 20:24] = np.nan
    maps[1, 4, 5, 5], maps[2, 9, 30], maps[4, 12] = np.inf, -np.inf, np.nan
    compare(runtime, tmp_path, maps, keypoints, small_angle=small_angle, normalization=normalization)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("normalization", ["fixed", "none", "tracklet"])
def test_maps_without_a_finite_value_are_empty(runtime: str, normalization: Any, tmp_path: Path) -> None:
    maps = np.full((2, 17, 64, 48), np.nan, np.float32)
    compare(runtime, tmp_path, maps, spine_keypoints(np.array([0.0, 30.0])), normalization=normalization)
