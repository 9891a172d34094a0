"""Workers as Ray actors, on a real cluster of two nodes on this machine."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gaitstream.errors import FleetError
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.ray_actors import RayNode, WorkerOptions, worker_name, worker_words
from gaitstream.fleet.status import read_status
from gaitstream.gallery.keys import make_key_file
from tests.pipeline.walkers import free_port

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-this-test-alone-0123456789"
START_S = 120.0


class Cluster:
    """`ray start` for each node, with tokens; and `gaitstream` as its users run it."""

    def __init__(self, url: str, folder: Path) -> None:
        self.port = free_port()
        self.environment = {
            **os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "PYTHONPATH": str(ROOT),
            "GAITSTREAM_FLEET": url, "RAY_TMPDIR": str(folder),
        }  # fmt: skip
        self._start("--head", f"--port={self.port}", "--node-name=one", "--include-dashboard=false")
        self._start(f"--address=127.0.0.1:{self.port}", "--node-name=two", "--node-ip-address=127.0.0.2")

    def gaitstream(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gaitstream", *words], env=self.environment,
            capture_output=True, text=True, check=False, timeout=200,
        )  # fmt: skip

    def stop(self) -> None:
        subprocess.run([self._ray, "stop", "--force"], env=self.environment, capture_output=True, check=False)

    @property
    def _ray(self) -> str:
        return str(Path(sys.executable).with_name("ray"))

    def _start(self, *words: str) -> None:
        subprocess.run(
            [self._ray, "start", *words, "--num-cpus=2", "--disable-usage-stats",
             "--object-store-memory=80000000"],
            env=self.environment, capture_output=True, check=True,
        )  # fmt: skip


@pytest.fixture
def cluster(fleet_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    pytest.importorskip("ray", reason="a fleet on Ray needs the extra [cluster]")
    cluster = Cluster(fleet_url, Path("/tmp") / f"gs{os.getpid()}")  # its sockets' paths must be short
    try:
        yield cluster
    finally:
        cluster.stop()


def write_site(folder: Path) -> Path:
    make_key_file(folder / "fleet.key")
    world = "synth://plaza?people=2&fps=1&width=160&height=96&live=1"
    site = {
        "cameras": [{"id": f"cam-{n}", "url": f"{world}&seed={n}", "fps": 1} for n in range(4)],
        "models": {"detector": "demo"},
        "runtime": {"threads": 1},
        "fleet": {"key": f"file:{folder}/fleet.key", "capacity": 4, "max_lag_ms": 60_000},
    }
    path = folder / "cams.yaml"
    path.write_text(yaml.safe_dump(site))
    return path


def wait_for(
    database: FleetDatabase, alive: set[str], held: int, begun: tuple[str, float] | None = None
) -> None:
    """Wait for who is alive, for how many cameras they have, and for a worker that began after a time."""
    deadline = time.monotonic() + START_S
    while True:
        asked_s = time.monotonic()
        status = read_status(database)
        there = [worker for worker in status.workers if worker.state == "alive"]
        full = sum(len(worker.cameras) for worker in there) == held
        ages = {worker.name: worker.since_s for worker in there}
        again = begun is None or ages.get(begun[0], math.inf) < asked_s - begun[1]
        if ages.keys() == alive and full and again:
            return
        assert asked_s < deadline, status
        time.sleep(0.2)


@pytest.mark.slow
def test_workers_run_on_every_node_come_back_when_killed_and_end_in_order(
    cluster: Cluster, fleet_url: str, tmp_path: Path
) -> None:
    site = write_site(tmp_path)
    address = f"127.0.0.1:{cluster.port}"
    up = ("fleet", "up", "--cameras", str(site), "--address", address, "--state", str(tmp_path))
    done = cluster.gaitstream(*up)
    assert done.stdout.splitlines()[-2:] == ["worker worker-one-0", "worker worker-two-0"], done.stderr
    with_both = {"one-0", "two-0"}
    database = FleetDatabase(fleet_url)
    wait_for(database, with_both, 4)
    killed_s = time.monotonic()
    killed = subprocess.run(
        ["pkill", "-KILL", "-f", f"gaitstream worker --node two .*{tmp_path}"], check=False
    )
    assert killed.returncode == 0
    wait_for(database, with_both, 4, begun=("two-0", killed_s))  # Ray started it again
    stopped = cluster.gaitstream("fleet", "down", "--address", address)
    both = ["stopped worker-one-0", "stopped worker-two-0"]
    assert sorted(stopped.stdout.splitlines()) == both, stopped.stderr
    wait_for(database, set(), 0)
    database.close()


def test_without_a_token_nothing_is_connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="a fleet on Ray needs the extra [cluster]")
    from gaitstream.fleet.ray_actors import RayCluster

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(FleetError, match="without tokens lets everybody"):
        RayCluster("auto")


def test_secrets_are_not_on_the_command_line(tmp_path: Path) -> None:
    options = WorkerOptions("postgresql://u:hunter22@h/d", "env:KEY", "10.0.0.2", tmp_path)
    words = worker_words("gpu-1", 1, options)
    assert "hunter22" not in " ".join(words)
    assert str(tmp_path / "gpu-1-1") in words
    assert worker_name(RayNode("gpu-1", "node:10.0.0.2"), 1) == "worker-gpu-1-1"
