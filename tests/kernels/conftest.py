from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from gaitstream.kernels import Aligned
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.kernels.cuda import Launcher, Outputs
from gaitstream.kernels.driver import Driver
from gaitstream.kernels.recipe import SOURCES
from tests.kernels.kernel_cases import Emulated, as_device, padded_empty


@pytest.fixture(scope="session")
def emulator_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """A CUDA driver that runs the kernels on the host, fiber by fiber; see emulator.cpp.

    Loaded before anything asks for libcuda.so.1, whose name it has: NVIDIA's bindings then call it.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to compile the kernel emulator with")
    if driver_is_loaded():
        pytest.skip("a real CUDA driver is loaded")
    library = tmp_path_factory.mktemp("emulator") / "libcuda.so.1"
    flags = ["-std=c++17", "-O2", "-Wno-unknown-pragmas", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    source = Path(__file__).with_name("emulator.cpp")
    subprocess.run([compiler, *flags, f"-I{SOURCES}", "-o", library, source], check=True)
    loaded = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    loaded.emulator_launches.restype = ctypes.c_uint
    return loaded


def driver_is_loaded() -> bool:
    """Whether this process has a CUDA driver already, which the emulator cannot replace."""
    return "libcuda.so" in Path("/proc/self/maps").read_text()


@pytest.fixture
def emulator(emulator_library: ctypes.CDLL) -> Iterator[ctypes.CDLL]:
    """The emulated driver, present for this test: one GPU of capability 9.0, a context that is current."""
    emulator_library.emulator_setup(1, 1, 9)
    yield emulator_library
    emulator_library.emulator_remove()


@pytest.fixture
def emulated(emulator: ctypes.CDLL) -> Emulated:
    """`align` by the CUDA kernels on the emulator, called through the product's launcher."""

    def run(
        heatmaps: NDArray[np.generic],
        keypoints: NDArray[np.float32] | None,
        options: AlignmentOptions,
        segments: NDArray[np.int32] | None = None,
        seed: int = 1,
        parts_dtype: DTypeLike = np.float32,
    ) -> Aligned:
        emulator.emulator_setup(seed, 1, 9)
        n = len(heatmaps)
        maps = padded_empty(heatmaps.shape, heatmaps.dtype)
        maps[...] = heatmaps
        result = Aligned(
            padded_empty((n, 1 + len(options.groups), 64, 48), parts_dtype),
            np.empty(n, np.float32),
            np.empty(n, np.bool_),
            np.empty((n, 2), np.float32),
            np.empty((n, 2), np.float32),
            np.empty(n, np.float32),
        )
        names = ("parts", "angle_deg", "aligned", "neck_xy", "hip_xy", "score")
        outputs = Outputs(*(as_device(getattr(result, name)) for name in names))
        tracklets = 1 if segments is None else int(segments.max()) + 1
        Launcher(Driver(), b"emulated").align(
            as_device(maps),
            outputs,
            options,
            keypoints=None if keypoints is None else as_device(np.ascontiguousarray(keypoints)),
            segments=None if segments is None else as_device(segments),
            ranges=as_device(np.empty((tracklets, 2), np.uint32)),
        )
        return result

    return run
