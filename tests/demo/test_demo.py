"""The whole demo, as a user runs it, on a machine without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gaitstream import zoo
from gaitstream.demo.record import Record
from gaitstream.demo.score import score

SECONDS = 24
RANK1_TARGET = 95.0
MEASURED = msgspec.json.decode((Path(zoo.__file__).parent / "demo" / "metrics.json").read_bytes())
RANK1 = float(MEASURED["gaitheat"]["rank1"])
needs_accuracy = pytest.mark.skipif(
    RANK1 < RANK1_TARGET,
    reason=f"the packaged gait model reaches rank-1 {RANK1:.0f}%, {RANK1_TARGET:.0f}% is its target",
)
"""For what only a gait model can meet that meets its own target; `scripts/evaluate_demo.py` measures it."""

Demo = tuple[Path, str, Record]
"""The folder it wrote to, what it said and what it recorded."""

UNPLUGGED = """
import fcntl, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lo:
    fcntl.ioctl(lo, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS: up, running
interfaces = [name for _, name in socket.if_nameindex()]
assert interfaces == ["lo"], interfaces
from gaitstream.cli import main
raise SystemExit(main(sys.argv[1:]))
"""
"""Runs a command in a network namespace that has nothing but the loopback interface."""


def may_unshare() -> bool:
    done = subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    if not may_unshare():
        pytest.skip("this machine allows no network namespace (unshare -rn)")
    out = tmp_path_factory.mktemp("demo")
    # Cameras that wait give the same run on a busy machine.
    arguments = ["demo", "--wait", "--seconds", str(SECONDS), "--seed", "7", "--out", str(out)]
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", UNPLUGGED, *arguments],
        capture_output=True, text=True, check=False, timeout=600, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout, msgspec.json.decode((out / "record.json").read_bytes(), type=Record)


@pytest.mark.slow
def test_it_needs_no_network_and_writes_a_report(demo: Demo) -> None:
    out, said, _ = demo
    assert re.search(r"[1-9]\d* tracks with evidence", said)
    page = Path(out / "report.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert len(page) < 12_000_000


@needs_accuracy
@pytest.mark.slow
def test_everybody_who_walked_long_enough_is_recognised_on_another_camera(demo: Demo) -> None:
    _, _, record = demo
    result = score(record)
    assert sum(bool(set(cameras) - {"cam1"}) for cameras in result.completed_on.values()) >= 4
    enrolled = [person.name for person in record.people if person.enrolled]
    assert len(enrolled) == 5
    for name in enrolled:
        others = set(result.completed_on[name]) - {"cam1"}
        if others:
            assert set(result.identified_on[name]) - {"cam1"}, f"{name} was never recognised on {others}"


@needs_accuracy
@pytest.mark.slow
def test_no_stranger_is_given_a_name(demo: Demo) -> None:
    _, _, record = demo
    assert score(record).strangers_named == {}


@pytest.mark.slow
def test_all_events_were_received(demo: Demo) -> None:
    _, _, record = demo
    assert record.events_received == record.events_sent > 20


@pytest.mark.slow
def test_every_track_without_a_name_says_why(demo: Demo) -> None:
    _, _, record = demo
    assert all(track.reason for track in record.tracks if track.person is None)
