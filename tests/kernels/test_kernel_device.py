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
from gaitstream.kernels.cropping import crop, pad_windows, picture, pose_windows
from gaitstream.kernels.cuda import Outputs, launcher
from gaitstream.kernels.driver import open_driver
from gaitstream.kernels.peaks import peaks_numpy
from gaitstream.kernels.pooling import Merge, pool_numpy
from tests.kernels.kernel_cases import LOWER, UPPER, blobs, hard_maps, placed, spine_keypoints


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


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_joints_equal_numpys(dtype: Any) -> None:
    device = CudaDevice()
    for maps in (hard_maps(), blobs(spine_keypoints(np.linspace(-180, 90, 301)) + np.float32(0.3))):
        with np.errstate(over="ignore"):
            given = maps.astype(dtype)
        joints = placed(device, np.full((*given.shape[:2], 3), np.nan, np.float32))
        with device.active():
            device.kernels().peaks(placed(device, given), joints)
        np.testing.assert_array_equal(joints.to_host(), peaks_numpy(given))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("count", "slots", "size"), [(1, 1, 1), (150, 40, 700), (301, 3, 16 * 11 * 256)])
def test_running_maxima_equal_numpys(count: int, slots: int, size: int, half: bool) -> None:
    """Several rows into one slot, the first of some of them fresh; what is not a number stays one."""
    device, random = CudaDevice(), np.random.default_rng(count)
    rows = random.normal(size=(count, size)).astype(np.float16 if half else np.float32)
    rows[random.random(rows.shape) < 0.01] = np.nan
    into, fresh = random.integers(0, slots, count).tolist(), (random.random(count) < 0.3).tolist()
    expected = random.normal(size=(slots, size)).astype(np.float32)
    there, given = placed(device, expected), placed(device, rows)
    merges = [
        Merge(given.rows(index, index + 1).pointer, there.rows(slot, slot + 1).pointer, first)
        for index, (slot, first) in enumerate(zip(into, fresh, strict=True))
    ]
    with device.active():
        device.kernels().pool(merges, size, half_rows=half)
    pool_numpy(expected, rows, into, fresh)
    np.testing.assert_array_equal(there.to_host(), expected)


@pytest.mark.parametrize("pixel_format", ["bgr", "rgb", "nv12"])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("rule", ["pad", "pose"])
def test_crops_equal_the_cpus(rule: str, half: bool, pixel_format: Any) -> None:
    """Two pictures of noise, boxes inside, over the edges and outside, enlarged and reduced."""
    device, random, (height, width) = CudaDevice(), np.random.default_rng(3), (180, 320)
    shape = (height * 3 // 2, width) if pixel_format == "nv12" else (height, width, 3)
    images = [random.integers(0, 256, shape, dtype=np.uint8) for _ in range(2)]
    corners = random.uniform([-40, -40], [width, height], (64, 2))
    boxes = np.hstack([corners, corners + random.uniform(1, 200, (64, 2))]).astype(np.float32)
    of_picture = np.arange(64) % 2
    if rule == "pad":
        size = (256, 128)
        windows, _ = pad_windows(boxes, width=width, height=height, crop=size, picture=of_picture)
    else:
        size = (256, 192)
        windows = pose_windows(boxes, width=width, height=height, crop=size, picture=of_picture)
    colours: dict[str, Any] = {"gain": (0.01, 0.02, 0.03), "bias": (-1.0, 0.0, 1.0)}
    expected = crop([picture(one, pixel_format) for one in images], windows, size, half=half, **colours)
    on_device = [placed(device, one) for one in images]
    table = np.array([picture(one, pixel_format) for one in images])
    for index, one in enumerate(images):
        for name in ("data", "chroma"):
            host = int(table[index][name])
            if host:  # the same place in the copy
                table[name][index] = on_device[index].pointer + host - one.ctypes.data
    crops = placed(device, np.zeros(expected.shape, expected.dtype))
    with device.active():
        device.kernels().crop(
            placed(device, table.view(np.uint8)), placed(device, windows.view(np.uint8)), crops, **colours
        )
    # Two compilers may round differently: a converted colour by one level, times the gain, and a value of 8
    # to the next float16.
    tolerance = (0.04 if pixel_format == "nv12" else 8e-3) if half else 1
    difference = np.abs(crops.to_host().astype(np.float32) - expected.astype(np.float32))
    assert difference.max() <= tolerance


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
