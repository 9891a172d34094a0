"""Ending with the process that started this one, which may be killed without a word."""

from __future__ import annotations

import ctypes
import os
import signal
from multiprocessing import parent_process

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def end_with_parent() -> None:
    """Get SIGTERM when the parent ends, or its thread that started this process; also when it already has."""
    started_by = parent_process()
    parent = os.getppid() if started_by is None else started_by.pid
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent or (started_by is None and parent == 1):
        os.kill(os.getpid(), signal.SIGTERM)
