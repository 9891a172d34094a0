"""The subscribers under examples/ do what they say: in Python, in JavaScript and in C++."""

from __future__ import annotations

import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaitstream.events import IdentityDecided, Journal, Publisher
from tests.events.test_bus import two_free_ports

EXAMPLES = Path(__file__).parents[2] / "examples" / "subscribers"


class Program:
    """A subscriber's process and the lines it prints."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def names(self, count: int, timeout_s: float = 20.0) -> list[str]:
        """The people of the next lines; what is said of the stream itself is left out."""
        out: list[str] = []
        deadline = time.monotonic() + timeout_s
        while len(out) < count and (left := deadline - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if not line.startswith("#") and "identity" in line:
                out.append(line)
        return out

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())


@pytest.fixture
def start() -> Iterator[Callable[[list[str], Path], Program]]:
    started: list[Program] = []

    def go(command: list[str], folder: Path) -> Program:
        started.append(Program(command, folder))
        return started[-1]

    yield go
    for program in started:
        program.kill()


def known(number: int, *, provisional: bool = False) -> IdentityDecided:
    return IdentityDecided(
        time_ns=number, camera="gate", track=number, status="known", person=f"P{number}",
        provisional=provisional,
    )  # fmt: skip


def open_bus(folder: Path, port: int) -> Publisher:
    return Publisher(Journal(folder, sync="never"), f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}")


def people(lines: list[str]) -> list[str]:
    return [word for line in lines for word in line.split() if word.startswith("P")]


def resume(
    start: Callable[[list[str], Path], Program], command: list[str], tmp_path: Path, port: int
) -> None:
    """History, live events, a killed subscriber, a killed publisher: every person once and in order."""
    folder = tmp_path / "journal"
    with open_bus(folder, port) as publisher:
        for number in range(3):
            publisher.publish(known(number))
            publisher.publish(known(number + 100, provisional=True))
        program = start(command, tmp_path)
        assert people(program.names(3)) == ["P0", "P1", "P2"]
        publisher.publish(known(3))
        assert people(program.names(1)) == ["P3"]
        time.sleep(0.2)  # it keeps its place after it printed
        program.kill()
        publisher.publish(known(4))
        program = start(command, tmp_path)
        assert people(program.names(1)) == ["P4"]
    with open_bus(folder, port) as publisher:
        for number in range(5, 8):
            publisher.publish(known(number))
        assert people(program.names(3)) == ["P5", "P6", "P7"]


def addresses(port: int) -> list[str]:
    return [f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}"]


def test_python(start: Callable[[list[str], Path], Program], tmp_path: Path) -> None:
    port = two_free_ports()
    resume(start, [sys.executable, str(EXAMPLES / "python" / "alerts.py"), *addresses(port)], tmp_path, port)


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with its dependency installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js is not installed; scripts/setup.sh installs it")
    folder = tmp_path_factory.mktemp("nodejs")
    for name in ("package.json", "alerts.mjs"):
        shutil.copy(EXAMPLES / "nodejs" / name, folder)
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"npm cannot install zeromq: {done.stderr.strip()[-200:]}")
    return folder


def test_javascript(start: Callable[[list[str], Path], Program], javascript: Path, tmp_path: Path) -> None:
    port = two_free_ports()
    command = ["node", str(javascript / "alerts.mjs"), *addresses(port), str(tmp_path / "alerts.json")]
    resume(start, command, tmp_path, port)


def test_cpp(start: Callable[[list[str], Path], Program], tmp_path: Path) -> None:
    if shutil.which("g++") is None or not Path("/usr/include/zmq.hpp").exists():
        pytest.skip("g++ and cppzmq-dev are not installed; scripts/setup.sh installs them")
    for name in ("alerts.cpp", "Makefile"):
        shutil.copy(EXAMPLES / "cpp" / name, tmp_path)
    subprocess.run(["make", "--silent"], cwd=tmp_path, check=True, timeout=120)
    port = two_free_ports()
    with open_bus(tmp_path / "journal", port) as publisher:
        program = start([str(tmp_path / "alerts"), f"tcp://127.0.0.1:{port}"], tmp_path)
        lines: list[str] = []
        deadline = time.monotonic() + 10
        while not lines and time.monotonic() < deadline:  # until its subscription has arrived
            publisher.publish(known(1))
            lines = program.names(1, 0.2)
    assert lines[0].startswith('identity/gate {"type":"identity.decided"')
