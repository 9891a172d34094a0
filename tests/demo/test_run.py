"""A demo that the user stops in the middle."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from gaitstream.demo.record import DemoRecord

SMALL = """
import sys, tempfile, threading
from pathlib import Path
from rich.console import Console
from gaitstream.demo.run import DemoOptions, run_demo
from gaitstream.demo.plan import DemoPlan
from gaitstream.demo.summary import summary
out = Path(sys.argv[1])
tempfile.tempdir = str(out.parent)
plan = DemoPlan(seconds=3600, people=3, enrolled=1, cameras=(1, 2))
record, result = run_demo(DemoOptions(plan, out), Console())
print(*summary(record, result), sep="\\n")
print(*(thread.name for thread in threading.enumerate() if not thread.name.startswith("ThreadPool")))
"""
"""One enrolled person and two cameras, so that the live run comes soon; it would last an hour. An engine
keeps its pool of idle threads until the process ends."""


def stop_when(said: str, folder: Path) -> tuple[int, list[str]]:
    """Start the small demo, send Ctrl-C three seconds after a line with these words: exit code, lines."""
    demo = subprocess.Popen(
        [sys.executable, "-u", "-c", SMALL, str(folder / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert demo.stdout is not None
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if said in line:
            threading.Timer(3.0, demo.send_signal, [signal.SIGINT]).start()
    return demo.wait(60), lines


@pytest.mark.slow
def test_ctrl_c_ends_the_live_run_with_a_report_of_what_was_seen(tmp_path: Path) -> None:
    code, said = stop_when("live cameras", tmp_path)
    assert code == 0, "".join(said)
    assert any(line.startswith("Stopped after") for line in said)
    assert said[-1].split() == ["MainThread"], "threads were left running"
    record = msgspec.json.decode((tmp_path / "out" / "record.json").read_bytes(), type=DemoRecord)
    assert record.stopped
    assert 0 < record.seconds < 3600
    assert record.events_received == record.events_sent
    assert "Stopped by the user" in (tmp_path / "out" / "report.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "the gallery was left behind"


@pytest.mark.slow
def test_ctrl_c_before_the_live_run_leaves_nothing(tmp_path: Path) -> None:
    code, said = stop_when("Loading the models", tmp_path)
    assert code != 0
    assert "KeyboardInterrupt" in said[-1]
    assert list((tmp_path / "out").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "the gallery was left behind"
