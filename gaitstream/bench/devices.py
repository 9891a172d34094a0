"""Datasheet peaks of some GPUs, for estimates where nothing was measured."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from gaitstream.errors import ConfigError

ACHIEVED = 0.25
"""Share of the peak that is assumed to be reached; networks of small crops seldom reach more."""


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU.

    Attributes:
        name: as sold.
        fp16_tflops: dense half precision with tensor cores, from the maker's datasheet (no sparsity).
        memory_gib: of the device.
        watts: board power.
    """

    name: str
    fp16_tflops: float
    memory_gib: int
    watts: int


DEVICES = {
    "t4": Device("NVIDIA T4", 65, 16, 70),
    "a2": Device("NVIDIA A2", 18, 16, 60),
    "a10": Device("NVIDIA A10", 125, 24, 150),
    "l4": Device("NVIDIA L4", 121, 24, 72),
    "l40s": Device("NVIDIA L40S", 362, 48, 350),
    "a100": Device("NVIDIA A100 SXM 80 GB", 312, 80, 400),
    "h100": Device("NVIDIA H100 SXM", 989, 80, 700),
    "h200": Device("NVIDIA H200 SXM", 989, 141, 700),
}
"""Datasheets of NVIDIA, dense figures: half of those printed with sparsity."""

GFLOP = {"biggait": 30.3, "gaitheat": 9.83, "demo": 0.155}
"""Of a frame graph, per person and frame: `gaitstream.bench.recognizer.graph_gflop`, checked by a test."""


def find_device(name: str) -> Device:
    """The device of that name.

    Raises:
        ConfigError: it is not in the table.
    """
    found = DEVICES.get(name.lower().removeprefix("nvidia ").replace(" ", "").replace("-", ""))
    if found is None:
        near = difflib.get_close_matches(name.lower(), DEVICES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"no datasheet figures for device {name!r}{hint}; there are {', '.join(DEVICES)}")
    return found
