"""What OpenVINO answers, in plain types; without OpenVINO, which is slow to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino as ov


def port_shape(port: ov.Output | ov.ConstOutput) -> tuple[int, ...]:
    """Shape of an input or output, -1 where dynamic."""
    return tuple(-1 if size.is_dynamic else int(size.get_length()) for size in port.get_partial_shape())


def last_line(error: Exception) -> str:
    """What went wrong: OpenVINO's messages end with it, after lines of its own source positions."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
