"""TensorRT 10 and 11, and what TensorRT-RTX shares with it.

Both have the same Python API, so everything here takes the module as an argument. Networks are strongly
typed: precision comes from the graph alone, in every version. TensorRT 11 knows no other way, and a builder
flag that is silently absent is how an engine asked for in fp16 comes out in fp32.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from gaitstream.engines import cuda
from gaitstream.engines.base import BuildRequest, Built, Engine, Probe, Progress, no_progress
from gaitstream.errors import EngineError, MissingExtraError


@dataclass(frozen=True, slots=True)
class Flavour:
    """What differs between the two libraries.

    Attributes:
        name: the runtime's name.
        module: what to import.
        extra: the extra of this package that installs it.
        targets: capabilities it compiles for without the device at hand.
    """

    name: str
    module: str
    extra: str
    targets: tuple[str, ...] = ()


TENSORRT = Flavour("tensorrt", "tensorrt", "gpu")


def tensorrt() -> TensorRt:
    """The runtime `tensorrt`."""
    return TensorRt(TENSORRT)


class TensorRt:
    """A runtime over one of the two libraries."""

    def __init__(self, flavour: Flavour) -> None:
        self.flavour = flavour
        self.name = flavour.name

    def probe(self, device: str | None = None) -> Probe:
        """Version and GPU, or the target to compile for."""
        trt = self._module()
        if device is not None and device.startswith("sm_"):
            return self._target(trt, device)
        if device not in (None, "cuda", "cuda:0"):
            raise EngineError(
                f"{self.name} compiles for 'cuda' or a capability such as 'sm_89', not {device!r}"
            )
        present = cuda.devices()
        if not present:
            where = f"; it can compile for {', '.join(self.flavour.targets)}" if self.flavour.targets else ""
            raise EngineError(
                f"{self.name} {trt.__version__} is installed, but there is no CUDA device{where}"
            )
        gpu = present[0]
        return Probe(
            str(trt.__version__), f"{gpu.capability}:{gpu.name}", gpu.name, True, ("fp32", "fp16", "bf16")
        )

    def build(self, request: BuildRequest, progress: Progress = no_progress) -> Built:
        """Compile for this machine's GPU or for `request.device`."""
        from gaitstream.engines.tensorrt_build import build

        self.probe(request.device)
        return build(self._module(), request, progress)

    def load(self, request: BuildRequest, built: Built) -> Engine:
        """Deserialise on the GPU."""
        from gaitstream.engines.tensorrt_run import TensorRtEngine

        return TensorRtEngine(self._module(), self.name, request, built)

    def _module(self) -> Any:
        try:
            module = importlib.import_module(self.flavour.module)
        except ImportError as error:
            raise MissingExtraError(
                self.flavour.module, self.flavour.extra, f"The runtime {self.name!r}"
            ) from error
        if not hasattr(module, "Builder"):
            raise EngineError(
                f"the {self.flavour.module} package holds no libraries; install NVIDIA's TensorRT, "
                "or use an image that has it"
            )
        return module

    def _target(self, trt: Any, device: str) -> Probe:
        present = cuda.devices()
        here = bool(present) and present[0].capability == device
        if not here and device not in self.flavour.targets:
            known = ", ".join(self.flavour.targets) or "the GPU it runs on alone"
            raise EngineError(f"{self.name} cannot compile for {device!r} here: it compiles for {known}")
        return Probe(str(trt.__version__), device, f"target {device}", True, ("fp32", "fp16", "bf16"))
