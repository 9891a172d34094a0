"""The whole demo, as a user runs it, on a machine without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gaitstream.demo.record import DemoRecord
from gaitstream.demo.score import score
from tests.sockets import STRACE, spoken_to, traced

SECONDS = 25
TIMEOUT_S = 1200
"""It takes less than a minute on two free cores."""
Demo = tuple[Path, str, DemoRecord]
"""The folder it wrote to, what it said and what it recorded."""

UNPLUGGED = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lo:
    fcntl.ioctl(lo, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS: up, running
interfaces = [name for _, name in socket.if_nameindex()]
assert interfaces == ["lo"], interfaces
def watch(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto") or (
        event == "socket.connect" and isinstance(args[1], tuple) and args[1][0] != "127.0.0.1"
    ):
        os.write(2, f"network: {event} {args[-1]}".encode())
        os._exit(97)
sys.addaudithook(watch)
"""
"""Begins a program in a network namespace that has nothing but the loopback interface. An attempt to look up
a name or to reach another address ends it, also where the failure would be caught; a forked process
that tries is heard on standard error."""
COMMAND = """
from gaitstream.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def unplugged(program: str, *arguments: str, trace: Path | None = None) -> subprocess.CompletedProcess[str]:
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no network namespace (unshare -rn)")
    command = ["unshare", "-rn", sys.executable, "-c", UNPLUGGED + program, *arguments]
    return subprocess.run(
        command if trace is None else traced(command, trace),
        capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env=os.environ | {"NO_COLOR": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    out = tmp_path_factory.mktemp("demo")
    # Cameras that wait give the same run on a busy machine.
    arguments = ["demo", "--wait", "--seconds", str(SECONDS), "--seed", "7", "--out", str(out)]
    trace = tmp_path_factory.mktemp("calls") / "trace" if STRACE else None
    done = unplugged(COMMAND, *arguments, trace=trace)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "network:" not in done.stderr
    assert trace is None or spoken_to(trace) == []
    return out, done.stdout, msgspec.json.decode((out / "record.json").read_bytes(), type=DemoRecord)


@pytest.mark.slow
def test_it_needs_no_network_and_writes_a_report(demo: Demo) -> None:
    out, said, record = demo
    assert re.search(r"^Tracks +[1-9]\d* with evidence", said, re.MULTILINE)
    assert "\x1b" not in said
    page = Path(out / "report.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert len(page) < 5_000_000
    assert page.count("data:image/jpeg") > 100
    assert not record.stopped


def test_looking_up_a_name_is_noticed_even_where_its_failure_is_caught() -> None:
    done = unplugged("""
try:
    socket.create_connection(("example.org", 80), timeout=1)
except OSError:
    pass
""")
    assert done.returncode == 97
    assert "socket.getaddrinfo" in done.stderr
    forked = unplugged("""
child = os.fork()
if not child:
    socket.getaddrinfo("example.org", 80)
os.waitpid(child, 0)
""")
    assert "network: socket.getaddrinfo" in forked.stderr
    assert unplugged("socket.create_server(('127.0.0.1', 0)).close()").returncode == 0


@pytest.mark.slow
def test_everybody_who_walked_long_enough_is_recognised_on_another_camera(demo: Demo) -> None:
    _, _, record = demo
    result = score(record)
    others = {name: set(result.completed_on[name]) - {"cam1"} for name in result.identified_on}
    assert len(others) == 5
    assert sum(map(bool, others.values())) >= 4
    missed = [name for name, where in others.items() if where and not where & set(result.identified_on[name])]
    assert missed == [], f"never recognised where they walked long enough: {others}"


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


def test_one_person_is_forgotten_and_nothing_is_left(demo: Demo) -> None:
    out, said, record = demo
    gone = record.forgotten
    assert gone is not None
    assert gone.encrypted
    assert gone.remains == []
    assert gone.templates == next(person.templates for person in record.people if person.name == gone.name)
    assert gone.files >= 3
    assert f"Forgot {gone.name}" in said
    assert "encrypted with AES-256-GCM" in (out / "report.html").read_text()


def test_strangers_become_visitors_and_one_gets_a_name(demo: Demo) -> None:
    out, said, record = demo
    met = record.visitors
    assert met is not None
    assert 0 < met.visitors <= met.walks
    assert met.pure_walks >= 0.9 * met.walks
    assert met.told_right == met.told > 0
    assert met.named_wrong == 0
    assert met.name not in {person.name for person in record.people if person.enrolled}
    assert f"{met.promoted} was promoted to {met.name}" in " ".join(said.split())  # lines are broken anywhere
    assert f"{met.promoted} was promoted to {met.name}" in (out / "report.html").read_text()
