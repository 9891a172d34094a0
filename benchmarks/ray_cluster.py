"""A Ray cluster on this machine: `ray start` for each node, with a token of its own."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.fleet_chaos import Wire

ROOT = Path(__file__).parents[1]
COMMAND_S = 300.0
START_S = 60.0
NODES = ("node-1", "node-2", "node-3", "node-4")
SMALL = ("--num-cpus=2", "--disable-usage-stats", "--object-store-memory=80000000")


class RayNodes:
    """The nodes of one cluster, each in a process group of its own that can be killed.

    Args:
        folder: of their logs.
        fleet: URL of the fleet's database, for the product's commands.

    Attributes:
        port: of the head.
        address: of the head, for clients.
        token: that every node and client needs.
        environment: of all processes.
    """

    def __init__(self, folder: Path, fleet: str) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.token = secrets.token_hex(32)
        self._folder = folder
        self._ray_folder = tempfile.mkdtemp(prefix="gsray", dir="/tmp")  # its sockets' paths must be short
        self._groups: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "PYTHONPATH": str(ROOT),
            "GAITSTREAM_FLEET": fleet, "RAY_TMPDIR": self._ray_folder,
        }  # fmt: skip

    def start_head(self, name: str, *words: str, environment: Mapping[str, str] = {}) -> None:
        """Start the node that keeps the cluster's books."""
        self._ray(name, ("--head", f"--port={self.port}", "--include-dashboard=false", *words), environment)

    def start_node(self, name: str, address: str, environment: Mapping[str, str] = {}) -> None:
        """Start another node at an address of this machine; also again."""
        self._ray(name, (f"--address={self.address}", f"--node-ip-address={address}"), environment)

    def await_start(self, name: str) -> None:
        """Wait until a node is part of the cluster.

        Raises:
            TimeoutError: it is not, or it gave up.
        """
        deadline_s = time.monotonic() + START_S
        while b"Ray runtime started" not in (self._folder / f"{name}.log").read_bytes():
            if time.monotonic() > deadline_s or not self.running(name):
                raise TimeoutError((self._folder / f"{name}.log").read_text())
            time.sleep(0.1)

    def running(self, name: str) -> bool:
        """Whether a node has not given up."""
        return self._groups[name].poll() is None

    def processes(self, name: str) -> list[int]:
        """Process ids of a node: what was started, and all that came of it."""
        return [self._groups[name].pid, *children_of(self._groups[name].pid)]

    def kill(self, name: str) -> None:
        """As a power failure would: the node's every process, workers too."""
        for pid in self.processes(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._groups[name].wait()

    def gaitstream(
        self, *words: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the product on this cluster."""
        return subprocess.run(
            [sys.executable, "-m", "gaitstream", *words], env=environment or self.environment,
            capture_output=True, text=True, check=False, timeout=COMMAND_S,
        )  # fmt: skip

    def close(self) -> None:
        """End everything."""
        for name in reversed(list(self._groups)):
            self.kill(name)
        shutil.rmtree(self._ray_folder, ignore_errors=True)

    def spawn(self, name: str, words: list[str], environment: Mapping[str, str] = {}) -> None:
        """Start a process of the cluster."""
        with (self._folder / f"{name}.log").open("wb") as log:
            self._groups[name] = subprocess.Popen(
                words, env={**self.environment, **environment}, stdout=log, stderr=log,
                start_new_session=True, cwd=self._folder,
            )  # fmt: skip

    def _ray(self, name: str, words: tuple[str, ...], environment: Mapping[str, str]) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        self.spawn(name, [ray, "start", "--block", f"--node-name={name}", *words, *SMALL], environment)


class WiredCluster(RayNodes):
    """A head with its books in Redis, so that it survives, and four nodes with a wire each to the database.

    Args:
        folder: of everything they write.
        url: of the fleet's database.
    """

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder, url)
        redis, password = free_port(), secrets.token_hex(8)
        self._head_environment = {"RAY_REDIS_ADDRESS": f"127.0.0.1:{redis}"}
        self._head_words = (f"--redis-password={password}",)
        port = urlsplit(url).port or 5432
        self.wires = {name: Wire(port, (f"127.0.1.{1 + at}", port)) for at, name in enumerate(NODES)}
        self.spawn(
            "redis", ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--requirepass", password]
        )
        time.sleep(1)

    def start(self) -> None:
        """Head and nodes, one after the other: side by side they take longer."""
        self.start_head("head", *self._head_words, environment=self._head_environment)
        for name in NODES:
            time.sleep(8)
            self.start_again(name)
        time.sleep(8)

    def start_again(self, name: str) -> None:
        """A node, at the same address; all that it starts reaches the database through its wire."""
        at = NODES.index(name)
        wire = {"PGHOSTADDR": f"127.0.1.{1 + at}"}  # libpq connects there, whatever host the URL names
        self.start_node(name, f"127.0.0.{2 + at}", wire)

    def kill_head(self, away_s: float) -> None:
        """End it, and bring its server back: `ray start` refuses to where nodes are on the same machine."""
        (server,) = [pid for pid in self.processes("head") if b"gcs_server" in read_words(pid)[0]]
        words = [word.decode() for word in read_words(server) if word]
        self.kill("head")
        time.sleep(away_s)
        self.spawn("head", words, self._head_environment)

    def start_missing(self) -> None:
        """Nodes that gave up: Ray does when a start takes half a minute, as on a busy machine."""
        for name in NODES:
            if not self.running(name):
                self.start_again(name)


def kill_worker(node: str, state: Path) -> bool:
    """SIGKILL to the worker process of a node with its journal in `state`; whether there was one."""
    killed = False
    for process in Path("/proc").glob("[0-9]*"):
        words = read_words(int(process.name))
        if node.encode() in words and b"worker" in words and str(state / f"{node}-0").encode() in words:
            os.kill(int(process.name), signal.SIGKILL)
            killed = True
    return killed


def read_words(pid: int) -> list[bytes]:
    """Command line of a process; one empty word when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def children_of(pid: int) -> list[int]:
    """Process ids of all descendants."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (line.split() for line in listed.splitlines())
    parents = {int(child): int(parent) for child, parent in pairs}
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        below = [child for child, above in parents.items() if above == parent]
        found += below
        waiting += below
    return found


def free_port() -> int:
    """A port that is free with the seven behind it.

    Of those that Ray does not give to its workers (10002 to 19999) and Linux not to connections (from 32768):
    one that is taken between this and Ray's start leaves Ray waiting for itself.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000, 8), 1_500):
        if all(is_free(port + further) for further in range(8)):
            return port
    raise OSError("no eight ports in a row between 20000 and 32000 are free")


def is_free(port: int) -> bool:
    """Whether nobody listens at a port."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
