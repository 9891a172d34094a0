"""What ptxas says of every kernel on every target: registers, shared memory, spills."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ENTRY = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\d+)'")
_SPILL = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True, slots=True)
class Usage:
    """One kernel on one target."""

    kernel: str
    target: int
    registers: int
    static_shared_bytes: int
    spill_bytes: int


def parse_usage(text: str) -> list[Usage]:
    """Read the output of `nvcc -Xptxas -v`, sorted by kernel and target."""
    found: list[Usage] = []
    kernel, target, spill = "", 0, 0
    for line in text.splitlines():
        if entry := _ENTRY.search(line):
            kernel, target, spill = entry[1], int(entry[2]), 0
        elif spilled := _SPILL.search(line):
            spill = int(spilled[2]) + int(spilled[3])
        elif (used := _USED.search(line)) and kernel:
            shared = _SHARED.search(line)
            found.append(Usage(kernel, target, int(used[1]), int(shared[1]) if shared else 0, spill))
            kernel = ""
    return sorted(found, key=lambda usage: (usage.kernel, usage.target))


def as_table(usages: Sequence[Usage]) -> str:
    """Registers by kernel and target in Markdown; a spill is written after the registers."""
    targets = sorted({usage.target for usage in usages})
    cells = {(usage.kernel, usage.target): usage for usage in usages}
    lines = [
        "| kernel | static shared, bytes | " + " | ".join(f"sm_{target}" for target in targets) + " |",
        "|---|---|" + "---|" * len(targets),
    ]
    for kernel in dict.fromkeys(usage.kernel for usage in usages):
        row = [cells[kernel, target] for target in targets]
        shared = max(usage.static_shared_bytes for usage in row)
        registers = [
            f"{usage.registers}" + (f" (spills {usage.spill_bytes})" if usage.spill_bytes else "")
            for usage in row
        ]
        lines.append(f"| `{kernel}` | {shared} | " + " | ".join(registers) + " |")
    return "\n".join(lines) + "\n"
