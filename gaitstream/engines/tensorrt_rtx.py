"""TensorRT-RTX: TensorRT for RTX GPUs, whose builder needs no GPU."""

from __future__ import annotations

from gaitstream.engines.tensorrt import Flavour, TensorRt

TARGETS = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_120", "sm_121")

TENSORRT_RTX = Flavour("tensorrt-rtx", "tensorrt_rtx", "rtx", targets=TARGETS)


def tensorrt_rtx() -> TensorRt:
    """The runtime `tensorrt-rtx`."""
    return TensorRt(TENSORRT_RTX)
