"""The console beside a run gives way to it."""

from __future__ import annotations

import os
import subprocess
import sys

from gaitstream.console.embedded import NICENESS, start_behind

TELL = "import os; input(); print(os.getpriority(os.PRIO_PROCESS, 0))"


def test_a_process_that_is_started_behind_this_one_has_a_lower_priority() -> None:
    process = start_behind(
        [sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    told, _ = process.communicate("\n", timeout=30)
    assert int(told) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)
