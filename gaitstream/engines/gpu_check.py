"""What a GPU must do before it is believed: driver, TensorRT, kernels and plugin, each tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from gaitstream.engines import cuda
from gaitstream.engines.tensorrt import TENSORRT, TensorRt, import_library
from gaitstream.engines.tensorrt_rtx import TENSORRT_RTX
from gaitstream.engines.trial import try_runtime
from gaitstream.errors import EngineError, GaitstreamError
from gaitstream.kernels import align, onnx_op, plugin_library

LEAST_DRIVER = 595
"""Of DeepStream 9.1 with CUDA 13.2; the native front end runs on whatever the rest of the checks pass on."""
DEEPSTREAM = "pyservicemaker"


@dataclass(frozen=True, slots=True)
class GpuCheck:
    """One thing that was tried.

    Attributes:
        name: what.
        passed: whether it works.
        said: what was found, or why it does not.
    """

    name: str
    passed: bool
    said: str


def check_gpu() -> list[GpuCheck]:
    """Try everything; what fails says why, and the others are tried all the same."""
    tried: dict[str, Callable[[], str]] = {
        "driver": check_driver,
        "device": check_device,
        "tensorrt": check_tensorrt,
        "kernels": check_kernels,
        "plugin": check_plugin,
    }
    found = []
    for name, check in tried.items():
        try:
            found.append(GpuCheck(name, True, check()))
        except GaitstreamError as error:
            found.append(GpuCheck(name, False, str(error)))
    return found


def check_driver() -> str:
    """NVIDIA's driver is there, and new enough for DeepStream where that is installed."""
    version = cuda.driver_version()
    if version is None:
        raise EngineError("there is no NVIDIA driver (no /proc/driver/nvidia/version)")
    if int(version.partition(".")[0]) >= LEAST_DRIVER:
        return version
    if find_spec(DEEPSTREAM) is not None:
        raise EngineError(f"driver {version} is too old: DeepStream 9.1 needs {LEAST_DRIVER} or newer")
    return f"{version}, of which DeepStream 9.1 would need {LEAST_DRIVER} or newer"


def check_device() -> str:
    """The driver lists a GPU."""
    present = cuda.devices()
    if not present:
        raise EngineError("the driver lists no GPU: is the container started with --gpus all?")
    return ", ".join(f"{gpu.name} ({gpu.capability})" for gpu in present)


def has_rtx_alone() -> bool:
    """Whether TensorRT-RTX is what is installed of the two."""
    known = any(find_spec(name) is not None for name in (TENSORRT.module, TENSORRT.bindings))
    return not known and find_spec(TENSORRT_RTX.module) is not None


def check_tensorrt() -> str:
    """A small graph is compiled and computes the right numbers on the GPU, by TensorRT or TensorRT-RTX."""
    trial = try_runtime((TENSORRT_RTX if has_rtx_alone() else TENSORRT).name)
    if trial.error is not None or trial.probe is None:
        raise trial.error or EngineError("TensorRT was not probed")
    return f"{trial.name} {trial.probe.version} on {trial.probe.description}, right in {trial.seconds:.1f} s"


def check_kernels() -> str:
    """The alignment on the GPU equals the one on the CPU."""
    maps = np.random.default_rng(0).random((8, 17, 64, 48), np.float32)
    found, expected = (align(maps, groups=[range(11)], backend=backend) for backend in ("cuda", "cpu"))
    apart = float(np.abs(found.parts - expected.parts).max())
    if apart > 2e-5:
        raise EngineError(f"the GPU's alignment differs from the CPU's by up to {apart:.1e}")
    return f"aligned as on the CPU, {apart:.0e} apart"


def check_plugin() -> str:
    """The plugin's library loads and TensorRT finds the operator; TensorRT-RTX takes no plugins."""
    if has_rtx_alone():
        return "not needed: TensorRT-RTX takes none, and only graphs for DeepStream hold it"
    TensorRt(TENSORRT).module()
    path = plugin_library.load()
    registry = import_library(TENSORRT).get_plugin_registry()
    creator = registry.get_creator(onnx_op.OPERATOR, str(onnx_op.VERSION), onnx_op.DOMAIN)
    if creator is None:
        raise EngineError(f"{path} is loaded and TensorRT does not find the operator {onnx_op.OPERATOR}")
    return str(path)
