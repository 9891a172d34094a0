"""Loaded by Python where this folder is in PYTHONPATH: the wall clock is off by what a file says.

`SOAK_CLOCK` names the file; it holds seconds. Steady clocks are left alone, as when a system's clock is set.
(libfaketime 0.9.10 makes `time.sleep` fail in Python 3.11 and newer, which sleeps by the steady clock.)
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

LOOK_S = 0.2
"""How often the file is read."""

_real_ns, _file = time.time_ns, Path(os.environ["SOAK_CLOCK"])
_offset_ns = 0
_due_s = 0.0


def stepped_ns() -> int:
    """The wall clock, UTC nanoseconds, with the step."""
    global _offset_ns, _due_s
    if time.monotonic() >= _due_s:
        _due_s = time.monotonic() + LOOK_S
        with contextlib.suppress(OSError, ValueError):
            _offset_ns = int(float(_file.read_text()) * 1e9)
    return _real_ns() + _offset_ns


time.time_ns = stepped_ns
time.time = lambda: stepped_ns() / 1e9
