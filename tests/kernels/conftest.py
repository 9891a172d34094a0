from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from gaitstream.kernels import Aligned
from gaitstream.kernels.build import SOURCES
from gaitstream.kernels.contract import Options
from gaitstream.kernels.cuda import Launcher, Outputs
from gaitstream.kernels.driver import Driver
from tests.kernels.kernel_cases import Emulated, as_device, padded_empty


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """A CUDA driver that runs the kernels on the host, fiber by fiber; see emulator.cpp."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to compile the kernel emulator with")
    library = tmp_path_factory.mktemp("emulator") / "emulator.so"
    subprocess.run(
        [
            compiler,
            "-std=c++17",
            "-O2",
            "-Wno-unknown-pragmas",
            "-shared",
            "-fPIC",
            f"-I{SOURCES}",
            "-o",
            str(library),
            str(Path(__file__).with_name("emulator.cpp")),
        ],
        check=True,
    )
    return Driver(str(library))


@pytest.fixture
def emulated(emulator: Driver) -> Emulated:
    """`align` by the CUDA kernels on the emulator, called through the product's launcher."""

    def run(
        heatmaps: NDArray[np.generic],
        keypoints: NDArray[np.float32] | None,
        options: Options,
        segments: NDArray[np.int32] | None = None,
        seed: int = 1,
        parts_dtype: DTypeLike = np.float32,
    ) -> Aligned:
        emulator.library.emulator_setup(seed, 1, 9)
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
        Launcher(emulator, b"emulated").align(
            as_device(maps),
            outputs,
            options,
            keypoints=None if keypoints is None else as_device(np.ascontiguousarray(keypoints)),
            segments=None if segments is None else as_device(segments),
            ranges=as_device(np.empty((tracklets, 2), np.uint32)),
        )
        return result

    return run
