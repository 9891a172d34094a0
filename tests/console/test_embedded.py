"""The console beside a run gives way to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gaitstream.console.embedded import NICENESS, Companion, start_behind
from gaitstream.console.serving import free_port

TELL = "import os; input(); print(os.getpriority(os.PRIO_PROCESS, 0))"


def test_a_process_that_is_started_behind_this_one_has_a_lower_priority() -> None:
    process = start_behind(
        [sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    told, _ = process.communicate("\n", timeout=30)
    assert int(told) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)


def test_a_console_that_ends_before_its_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cameras = tmp_path / "cams.yaml"
    cameras.write_text("cameras: []\n")
    why = "sys.stderr.write('no such thing\\n'); sys.exit(3)"
    monkeypatch.setattr(Companion, "command", lambda _: [sys.executable, "-c", f"import sys; {why}"])
    with Companion(cameras, tmp_path / "console", free_port()).beside():
        end_s = time.monotonic() + 30
        while not caplog.messages:
            assert time.monotonic() < end_s
            time.sleep(0.02)
    assert "ended with code 3; the run goes on without it: no such thing" in caplog.messages[0]
