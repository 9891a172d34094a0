"""TensorRT 10 and 11, and what TensorRT-RTX shares with it.

Both have the same Python API, so everything here takes the module as an argument. Networks are strongly
typed: precision comes from the graph alone, in every version. TensorRT 11 knows no other way, and a builder
flag that is silently absent is how an engine asked for in fp16 comes out in fp32.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from gaitstream.engines import cuda, timing
from gaitstream.engines.base import PRECISIONS, BuildRequest, Built, Engine, Probe, Progress, no_progress
from gaitstream.engines.device import number_of
from gaitstream.engines.libraries import import_working
from gaitstream.engines.pycuda_device import import_pycuda
from gaitstream.engines.tensorrt_build import build
from gaitstream.engines.tensorrt_run import TensorRtEngine
from gaitstream.errors import EngineError, KernelError, MissingExtraError
from gaitstream.kernels import plugin_library


@dataclass(frozen=True, slots=True)
class Flavour:
    """What differs between the two libraries.

    Attributes:
        name: the runtime's name.
        module: what to import.
        extra: the extra of this package that installs it.
        bindings: what to import where that is not there: NVIDIA's bindings come as a distribution of their
            own, which finds the libraries of the system and lacks only the name.
        targets: capabilities it compiles for without the device at hand, and what it runs on with them: it
            takes no other GPU but newer ones. Empty where it compiles on the GPU alone, and runs on any.
        plugins: it takes operators that are not its own.
        times: its builder measures tactics on the device, and can be told what was measured before.
    """

    name: str
    module: str
    extra: str
    bindings: str = ""
    targets: tuple[str, ...] = ()
    plugins: bool = False
    times: bool = False


TENSORRT = Flavour("tensorrt", "tensorrt", "gpu", bindings="tensorrt_bindings", plugins=True, times=True)


FP8_FROM = 89
"""The first capability that multiplies in FP8."""


def _capability(device: str) -> int:
    """Of a device's key, `sm_89` or `sm_89:its name`."""
    return int(device.partition(":")[0].removeprefix("sm_"))


def import_library(flavour: Flavour) -> Any:
    """The Python module of a library that works.

    Raises:
        MissingExtraError: it is not installed.
        EngineError: it does not load, or only its bindings are there, without the libraries.
    """
    reasons = []
    for name in filter(None, (flavour.module, flavour.bindings)):
        try:
            return import_working(name, "Builder")
        except ImportError as error:
            reasons.append(error)
    if all(isinstance(reason, ModuleNotFoundError) for reason in reasons):
        raise MissingExtraError(flavour.module, flavour.extra, f"The runtime {flavour.name!r}") from reasons[
            0
        ]
    advice = (
        "install NVIDIA's TensorRT of the bindings' version, or use an image that has it"
        if flavour.bindings
        else f"install it again (pip install --force-reinstall {flavour.name})"
    )
    raise EngineError(
        f"{flavour.module} does not load ({'; '.join(map(str, reasons))}): {advice}"
    ) from reasons[-1]


def tensorrt() -> TensorRt:
    """The runtime `tensorrt`."""
    return TensorRt(TENSORRT)


class TensorRt:
    """A runtime over one of the two libraries."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.name = flavour.name

    def probe(self, device: str | None = None, *, to_run: bool = True) -> Probe:
        """Version and GPU, or the target to compile for."""
        trt = self.module()
        if device is not None and device.startswith("sm_"):
            return self._target(trt, device)
        if device is not None and not device.startswith("cuda"):
            raise EngineError(
                f"{self.name} compiles for 'cuda' or a capability such as 'sm_89', not {device!r}"
            )
        number, present = number_of(device), cuda.devices()
        if not present:
            where = f"; it can compile for {', '.join(self.flavour.targets)}" if self.flavour.targets else ""
            raise EngineError(
                f"{self.name} {trt.__version__} is installed, but there is no CUDA device{where}"
            )
        if number >= len(present):
            raise EngineError(f"there is no GPU {number}: this machine has {len(present)}, counted from 0")
        gpu = present[number]
        self._check_runs_on(gpu)
        if to_run:  # before minutes of compiling, not after
            import_pycuda(f"Running a {self.name} engine")
        return Probe(str(trt.__version__), f"{gpu.capability}:{gpu.name}", gpu.name, True, PRECISIONS)

    def build(self, request: BuildRequest, progress: Progress = no_progress) -> Built:
        """Compile for this machine's GPU or for `request.device`."""
        probe, trt = self.probe(request.device, to_run=False), self.module()
        if request.precision == "fp8" and _capability(probe.device) < FP8_FROM:
            raise EngineError(
                f"{request.graph} cannot be built in fp8 for {probe.description}: GPUs compute it from "
                f"sm_{FP8_FROM} on; use int8 or fp16"
            )
        key = f"{self.name}-{probe.version}-{probe.device}"
        targeted = request.device is not None and request.device.startswith("sm_")
        # The builder measures on whichever GPU is current, and the engine is for that one.
        place = nullcontext() if targeted else cuda.current(number_of(request.device))
        with place, timing.kept(key) as timings:
            return build(trt, request, progress, timings=timings if self.flavour.times else None)

    def load(self, request: BuildRequest, built: Built) -> Engine:
        """Deserialise on the GPU."""
        return TensorRtEngine(self.module(), self.name, request, built)

    def module(self) -> Any:
        """The library, with our operators registered in it where they are compiled and it takes any.

        Raises:
            MissingExtraError: it is not installed.
            EngineError: only its bindings are, without the libraries.
        """
        trt = import_library(self.flavour)
        # TensorRT-RTX has no plugins: a graph that holds one ends the process inside its parser.
        if self.flavour.plugins:
            try:
                plugin_library.load_if_there()
            except KernelError as error:
                raise EngineError(f"{self.name} cannot load its plugins: {error}") from error
        return trt

    def _target(self, trt: Any, device: str) -> Probe:
        present = cuda.devices()
        here = bool(present) and present[0].capability == device
        if device not in self.flavour.targets and not (here and self._runs_on(device)):
            known = ", ".join(self.flavour.targets) or "the GPU it runs on alone"
            raise EngineError(f"{self.name} cannot compile for {device!r} here: it compiles for {known}")
        return Probe(str(trt.__version__), device, f"target {device}", True, PRECISIONS)

    def _runs_on(self, capability: str) -> bool:
        targets = self.flavour.targets
        return (
            not targets or capability in targets or _capability(capability) > max(map(_capability, targets))
        )

    def _check_runs_on(self, gpu: cuda.CudaDeviceInfo) -> None:
        """Its engines compile for a GPU that it does not take, and are refused only when they are loaded."""
        if not self._runs_on(gpu.capability):
            raise EngineError(
                f"{self.name} does not run on {gpu.name} ({gpu.capability}): it takes "
                f"{', '.join(self.flavour.targets)} and newer; use tensorrt or onnxruntime"
            )
