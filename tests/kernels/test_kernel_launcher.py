"""The launcher's checks and DLPack, on the emulated driver."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gaitstream.engines.device import DeviceArray
from gaitstream.engines.simulated import SimulatedDevice
from gaitstream.errors import KernelError
from gaitstream.kernels import align, cpu
from gaitstream.kernels.arguments import CropParams, PghaParams, PghaRequest
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.kernels.cuda import (
    Launcher,
    Outputs,
    plan_launches,
    reading_order,
)
from gaitstream.kernels.dlpack import borrow
from gaitstream.kernels.driver import Driver
from tests.engines.fake_pycuda import FakePyCuda
from tests.kernels.kernel_cases import LOWER, UPPER, as_device, launches, padded_empty

OPTIONS = AlignmentOptions((UPPER, LOWER))


def outputs(n: int, parts: int = 3) -> Outputs:
    shapes = [(n,), (n,), (n, 2), (n, 2), (n,)]
    dtypes = [np.float32, np.uint8, np.float32, np.float32, np.float32]
    rest = [as_device(np.empty(shape, dtype)) for shape, dtype in zip(shapes, dtypes, strict=True)]
    return Outputs(as_device(padded_empty((n, parts, 64, 48), np.float32)), *rest)


@pytest.fixture
def launcher(emulator: ctypes.CDLL) -> Launcher:
    return Launcher(Driver(), b"emulated")


def test_structs_mirror_the_sources(emulator: ctypes.CDLL) -> None:
    assert ctypes.sizeof(PghaParams) == emulator.emulator_pgha_bytes()
    assert ctypes.sizeof(CropParams) == emulator.emulator_crop_bytes()
    assert ctypes.sizeof(PghaRequest) == cpu.library().gaitstream_pgha_request_bytes()


@pytest.mark.parametrize(
    ("options", "kernels"),
    [
        (OPTIONS, ["pgha_f32_fixed"]),
        (AlignmentOptions(((0,),), normalization="none"), ["pgha_f32_affine"]),
        (AlignmentOptions(((0,),), normalization="tracklet"), ["pgha_f32_affine"]),
        (AlignmentOptions(((0,),), sampling="half_io"), ["pgha_f32_general"]),
        (AlignmentOptions(((0,),) * 3), ["pgha_f32_general"]),
        (AlignmentOptions(((0,),) * 9), ["pgha_f32_general"] * 3),
    ],
)
def test_launches_by_options(options: AlignmentOptions, kernels: list[str]) -> None:
    planned = plan_launches(options, half=False)
    assert [launch.kernel for launch in planned] == kernels
    assert [mask for launch in planned for mask in launch.masks] == list(options.masks)
    # The smallest GPU allows 64 KiB a block, of which the kernels' own variables take a few hundred bytes.
    assert all(launch.shared_bytes <= 64 * 1024 - 1024 for launch in planned)


def test_one_launch_and_a_second_for_ranges(launcher: Launcher, emulator: ctypes.CDLL) -> None:
    maps = as_device(padded_empty((1, 17, 64, 48), np.float16))
    launcher.align(maps, outputs(1), OPTIONS)
    assert launches(emulator) == 1
    launcher.align(
        maps,
        outputs(1),
        AlignmentOptions((UPPER, LOWER), normalization="tracklet"),
        ranges=as_device(np.empty((1, 2), np.uint32)),
    )
    assert launches(emulator) == 3


def test_no_frames_launch_nothing(launcher: Launcher, emulator: ctypes.CDLL) -> None:
    launcher.align(as_device(padded_empty((0, 17, 64, 48), np.float32)), outputs(0), OPTIONS)
    assert launches(emulator) == 0


def test_spine_is_read_first_only_without_keypoints() -> None:
    assert reading_order(17, True)[:4] == [5, 6, 11, 12]
    assert sorted(reading_order(17, True)) == list(range(17))
    assert reading_order(3, False) == [0, 1, 2]


MAPS = padded_empty((2, 17, 64, 48), np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heatmaps": MAPS}, "heatmaps lie in host memory"),
        ({"heatmaps": as_device(MAPS.astype(np.float64))}, "heatmaps are float64"),
        (
            {
                "heatmaps": as_device(MAPS.ravel()[1:][: 17 * 64 * 48].reshape(1, 17, 64, 48)),
                "outputs": outputs(1),
            },
            "multiple of 16",
        ),
        ({"outputs": outputs(1)}, r"parts have shape \(1, 3, 64, 48\); give \(2, 3, 64, 48\)"),
        ({"outputs": outputs(2, parts=2)}, r"\(2, 2, 64, 48\); give \(2, 3, 64, 48\)"),
        ({"keypoints": as_device(np.zeros((2, 17, 3)))}, "keypoints are float64"),
        ({"segments": as_device(np.zeros(2, np.int64))}, "segments are int64"),
        (
            {"options": AlignmentOptions(((0,),), normalization="tracklet"), "outputs": outputs(2, 2)},
            "needs ranges",
        ),
        ({"heatmaps": "maps"}, "str shows no memory"),
    ],
)
def test_wrong_arrays_are_named(launcher: Launcher, changes: dict[str, Any], message: str) -> None:
    arguments = {"heatmaps": as_device(MAPS), "outputs": outputs(2), "options": OPTIONS, **changes}
    with pytest.raises(KernelError, match=message):
        launcher.align(**arguments)


def test_missing_context_is_told(emulator: ctypes.CDLL) -> None:
    emulator.emulator_setup(1, 0, 9)
    with pytest.raises(KernelError, match="no CUDA context is current"):
        Launcher(Driver())


def test_driver_errors_carry_their_text(emulator: ctypes.CDLL) -> None:
    driver = Driver()
    with pytest.raises(KernelError, match=r"cuModuleGetFunction failed: emulated failure \(500\)"):
        driver.function(driver.load(b"x"), "no_such_kernel")


def test_missing_driver_is_told() -> None:
    """In a process of its own: this one may have loaded the emulated driver."""
    program = "from gaitstream.kernels.driver import Driver; Driver()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        pytest.skip("this machine has a driver")
    assert "KernelError: no CUDA driver (libcuda.so.1 does not load): use backend='cpu'" in done.stderr


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.uint8, np.bool_])
def test_numpy_arrays_are_borrowed_through_dlpack(dtype: Any) -> None:
    array = np.ones((3, 4), dtype)
    borrowed = borrow(array)
    assert (borrowed.pointer, borrowed.shape, borrowed.on_device) == (array.ctypes.data, (3, 4), False)
    assert borrowed.dtype.itemsize == array.itemsize


def test_borrowed_memory_outlives_its_array() -> None:
    borrowed = borrow(np.arange(100_000, dtype=np.float32))
    gc.collect()
    values = np.ctypeslib.as_array((ctypes.c_float * 100_000).from_address(borrowed.pointer))
    np.testing.assert_array_equal(values, np.arange(100_000))


def test_torch_tensors_are_borrowed() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(2, 17, 64, 48, dtype=torch.float16)
    borrowed = borrow(tensor)
    assert borrowed.pointer == tensor.data_ptr()
    assert borrowed.dtype.name == "float16"
    with pytest.raises(KernelError, match="strides"):
        borrow(tensor.transpose(1, 2))


class Foreign:
    """Somebody else's array on the device."""

    def __init__(self, strides: tuple[int, ...] | None = None, stream: int | None = None) -> None:
        self.memory = np.zeros(6, np.float32)
        self.__cuda_array_interface__ = {
            "shape": (2, 3),
            "typestr": "<f4",
            "data": (self.memory.ctypes.data, False),
            "strides": strides,
            "version": 3,
            "stream": stream,
        }


def test_cuda_array_interface_is_borrowed(emulator: ctypes.CDLL) -> None:
    array = Foreign()
    assert borrow(array).pointer == array.memory.ctypes.data
    assert borrow(array).on_device
    assert borrow(Foreign((12, 4))).shape == (2, 3)
    with pytest.raises(KernelError, match="make it contiguous"):
        borrow(Foreign((4, 8)))


def test_the_borrowers_stream_waits_for_the_owners(emulator: ctypes.CDLL) -> None:
    """The interface's `stream`: the owner's work on it may still be writing."""
    borrow(Foreign(stream=7), stream=9)
    assert (emulator.emulator_recorded_on(), emulator.emulator_waited_on()) == (7, 9)
    emulator.emulator_setup(1, 1, 9)
    borrow(Foreign(stream=7))  # nothing to order
    assert (emulator.emulator_recorded_on(), emulator.emulator_waited_on()) == (0, 0)


def test_device_arrays_are_handed_over_as_dlpack(emulator: ctypes.CDLL) -> None:
    """And borrowed back: address, shape, type and device survive the capsule."""
    memory = np.zeros((2, 3), np.float16)
    array = DeviceArray(memory.ctypes.data, (2, 3), "float16", SimulatedDevice())
    assert "dltensor" in repr(array.__dlpack__())

    class Lender:
        def __dlpack__(self, **words: object) -> object:
            return array.__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return array.__dlpack_device__()

    lent = borrow(Lender())
    assert (lent.pointer, lent.shape) == (memory.ctypes.data, (2, 3))
    assert lent.dtype.name == "float16"
    assert lent.on_device


def test_host_arrays_are_aligned_from_any_thread(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyCUDA knows a context where it was pushed alone, and a thread that ends with one ends the process."""
    fake = FakePyCuda()
    for name, module in (("", fake.package), (".driver", fake.driver), (".gpuarray", fake.arrays)):
        monkeypatch.setitem(sys.modules, f"pycuda{name}", module)
    monkeypatch.setattr("gaitstream.kernels.cuda.launcher", lambda: launcher)
    maps = np.random.default_rng(0).random((2, 17, 64, 48), np.float32)
    expected = align(maps, groups=[UPPER, LOWER], backend="cpu")

    def aligned() -> int:
        found = align(maps, groups=[UPPER, LOWER], backend="cuda")
        np.testing.assert_allclose(found.parts, expected.parts, rtol=0, atol=2e-5)
        return fake.depth

    def refused(*_: object) -> None:
        raise fake.driver.Error("700")

    for _ in range(2):
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(aligned).result() == 0
        assert (aligned(), fake.allocated) == (0, 0)
    monkeypatch.setattr(fake.arrays, "empty", refused)
    with pytest.raises(KernelError, match="CUDA failed: 700"):
        aligned()
    assert (fake.depth, fake.allocated) == (0, 0)
