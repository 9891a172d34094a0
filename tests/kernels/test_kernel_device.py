"""The kernels on a real GPU; skipped without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gaitstream.engines.pycuda_device import CudaDevice
from gaitstream.errors import GaitstreamError
from gaitstream.gallery.quantise import Layout, Probes
from gaitstream.gallery.scan import coarse_distances
from gaitstream.gallery.table import TemplateTable
from gaitstream.gallery.table_mirror import AT_ONCE, TableMirror
from gaitstream.kernels import align
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.kernels.cuda import Outputs, launcher
from gaitstream.kernels.driver import open_driver
from tests.kernels.kernel_cases import LOWER, UPPER, blobs, spine_keypoints


@pytest.fixture(scope="module", autouse=True)
def _device() -> None:
    try:
        open_driver()
    except GaitstreamError as error:
        pytest.skip(f"no GPU: {error}")
    pytest.importorskip("pycuda.autoprimaryctx", reason="pycuda is not installed", exc_type=ImportError)


@pytest.mark.parametrize("n", [1, 7, 4096])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("normalization", ["fixed", "tracklet", "none"])
def test_device_equals_the_cpu(n: int, dtype: Any, normalization: Any) -> None:
    tilts = np.random.default_rng(n).uniform(-270, 90, n)
    keypoints = spine_keypoints(tilts)
    maps = (
        blobs(keypoints[:64]) + np.random.default_rng(0).random((min(n, 64), 17, 1, 1), np.float32) / 4
    ).astype(dtype)
    maps = np.resize(maps, (n, 17, 64, 48))
    segments = (np.arange(n) // 30).astype(np.int32)
    for given in (keypoints, None):
        options: dict[str, Any] = {
            "groups": [UPPER, LOWER],
            "normalization": normalization,
            "segments": segments,
        }
        got = align(maps, given, backend="cuda", **options)
        expected = align(maps, given, backend="cpu", **options)
        np.testing.assert_allclose(got.parts, expected.parts, rtol=0, atol=2e-5)
        np.testing.assert_array_equal(got.aligned, expected.aligned)
        np.testing.assert_allclose(got.score, expected.score, atol=1e-6)


@pytest.mark.parametrize("sampling", ["half_io", "one"])
@pytest.mark.parametrize("groups", [[UPPER, LOWER], [[i] for i in range(9)]])
def test_device_equals_the_cpu_in_other_forms(sampling: Any, groups: Any) -> None:
    keypoints = spine_keypoints(np.linspace(-270, 90, 33))
    maps = blobs(keypoints)
    options: dict[str, Any] = {"groups": groups, "sampling": sampling}
    got = align(maps, keypoints, backend="cuda", **options)
    expected = align(maps, keypoints, backend="cpu", **options)
    difference = np.abs(got.parts - expected.parts)
    assert difference.max() <= 4e-3
    assert (difference > 2e-5).mean() < 2e-3


@pytest.mark.parametrize("asked", [1, 4, 5, AT_ONCE + 3])
def test_the_gallerys_scan_equals_the_cpus(asked: int) -> None:
    """Two pieces of memory, templates equal to probes among them; what was erased is infinitely far."""
    layout, random, device = Layout(16, 256), np.random.default_rng(asked), CudaDevice()
    table = TemplateTable.create(layout)
    for start in range(0, 17_000, 1000):
        rows = random.normal(size=(1000, 16, 256)).astype(np.float32)
        table.add(range(start + 1, start + 1001), [start] * 1000, rows)
    table.drop([5, 16_990])
    mirror = TableMirror(table, device, device.kernels())
    mirror.sync()
    near = rows[0] + random.normal(size=(asked, 16, 256)) * 10.0 ** random.uniform(-9, 0, (asked, 1, 1))
    probes = Probes.of(layout, near.astype(np.float32))
    expected = coarse_distances(layout, table.rows[: table.count], probes)
    found = mirror.distances(table.count, probes)
    assert found is not None
    assert np.isposinf(found[:, [5, 16_990]]).all()
    # What is left between them are roundings, which the slack takes in twice over.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2.0**-10 * 2 * 16)
    table.drop([16_000])
    mirror.sync()
    found = mirror.distances(table.count, probes)
    assert found is not None
    assert np.isposinf(found[:, 16_000]).all()
    mirror.close()


def test_torch_tensors_on_torchs_stream() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    maps = torch.rand(64, 17, 64, 48, device="cuda")
    n = len(maps)
    outputs = Outputs(
        parts=torch.empty(n, 3, 64, 48, device="cuda"),
        angle_deg=torch.empty(n, device="cuda"),
        aligned=torch.empty(n, dtype=torch.uint8, device="cuda"),
        neck_xy=torch.empty(n, 2, device="cuda"),
        hip_xy=torch.empty(n, 2, device="cuda"),
        score=torch.empty(n, device="cuda"),
    )
    stream = torch.cuda.current_stream()
    launcher().align(maps, outputs, AlignmentOptions((UPPER, LOWER)), stream=stream.cuda_stream)
    stream.synchronize()
    expected = align(maps.cpu().numpy(), groups=[UPPER, LOWER])
    np.testing.assert_allclose(outputs.parts.cpu().numpy(), expected.parts, rtol=0, atol=2e-5)
