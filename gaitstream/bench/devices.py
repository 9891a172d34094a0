"""Datasheet peaks of some GPUs, for estimates where nothing was measured."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from gaitstream.errors import ConfigError
from gaitstream.models.spec import find_family

ACHIEVED = 0.25
"""Share of the peak that is assumed to be reached; networks of small crops seldom reach more."""


@dataclass(frozen=True, slots=True)
class DeviceDatasheet:
    """One GPU.

    Attributes:
        name: as sold.
        fp16_tflops: dense half precision with tensor cores (no sparsity; GeForce: FP32 accumulation).
        memory_gbps: bandwidth of its memory.
        nvdec: hardware video decoders.
        memory_gib: of the device.
        watts: board power, for Jetson the module's highest.
        source: where the figures are printed.
    """

    name: str
    fp16_tflops: float
    memory_gbps: float
    nvdec: int
    memory_gib: int
    watts: int
    source: str


DEVICES = {
    "t4": DeviceDatasheet("NVIDIA T4", 65, 320, 2, 16, 70, "NVIDIA T4 datasheet"),
    "a2": DeviceDatasheet("NVIDIA A2", 18, 200, 2, 16, 60, "NVIDIA A2 datasheet"),
    "a10": DeviceDatasheet("NVIDIA A10", 125, 600, 2, 24, 150, "NVIDIA A10 datasheet"),
    "l4": DeviceDatasheet("NVIDIA L4", 121, 300, 4, 24, 72, "NVIDIA L4 datasheet"),
    "l40s": DeviceDatasheet("NVIDIA L40S", 362, 864, 3, 48, 350, "NVIDIA L40S datasheet"),
    "a100": DeviceDatasheet("NVIDIA A100 SXM 80 GB", 312, 2039, 5, 80, 400, "NVIDIA A100 datasheet"),
    "h100": DeviceDatasheet("NVIDIA H100 SXM", 989, 3350, 7, 80, 700, "NVIDIA H100 datasheet"),
    "h200": DeviceDatasheet("NVIDIA H200 SXM", 989, 4800, 7, 141, 700, "NVIDIA H200 datasheet"),
    "rtx4090": DeviceDatasheet(
        "NVIDIA GeForce RTX 4090", 165, 1008, 1, 24, 450, "NVIDIA Ada GPU architecture whitepaper"
    ),
    "rtx5090": DeviceDatasheet(
        "NVIDIA GeForce RTX 5090", 210, 1792, 2, 32, 575, "NVIDIA RTX Blackwell GPU architecture whitepaper"
    ),
    "agxorin": DeviceDatasheet(
        "NVIDIA Jetson AGX Orin 64 GB", 42, 205, 1, 64, 60, "Jetson AGX Orin technical brief, GPU without DLA"
    ),
    "orinnx": DeviceDatasheet(
        "NVIDIA Jetson Orin NX 16 GB", 15, 102, 1, 16, 25, "Jetson Orin NX datasheet, GPU without DLA"
    ),
}
"""Dense figures: half of those printed with sparsity; Jetson: a quarter of the GPU's sparse INT8 figure."""

DEMO = "demo"
DEMO_GFLOP = 0.211
"""Of the demo's frame graph, per person and frame: `gaitstream.bench.flops.graph_gflop`, checked by a
test."""


def recognizer_gflop(model: str) -> float:
    """GFLOP of a frame graph, per person and frame.

    Args:
        model: `demo`, or a family, at its published size.

    Raises:
        ConfigError: there is no such family, or nobody has counted.
    """
    if model == DEMO:
        return DEMO_GFLOP
    found = find_family(model).gflop
    if not found:
        raise ConfigError(f"the size of {model} is not known: plan with --model {DEMO}, or another family")
    return found


def find_device(name: str) -> DeviceDatasheet:
    """The device of that name.

    Raises:
        ConfigError: it is not in the table.
    """
    found = DEVICES.get(
        name.lower()
        .removeprefix("nvidia ")
        .removeprefix("geforce ")
        .removeprefix("jetson ")
        .replace(" ", "")
        .replace("-", "")
    )
    if found is None:
        near = difflib.get_close_matches(name.lower(), DEVICES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"no datasheet figures for device {name!r}{hint}; there are {', '.join(DEVICES)}")
    return found
