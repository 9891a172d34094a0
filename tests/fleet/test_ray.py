"""Workers as Ray actors, on a real cluster of two nodes on this machine, and whom its ports let in."""

from __future__ import annotations

import math
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.ray_cluster import RayNodes, kill_worker
from gaitstream.errors import FleetError
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.local_server import PostgresServer
from gaitstream.fleet.ray_actors import RayNode, WorkerOptions, worker_name, worker_words
from gaitstream.fleet.ray_ports import EVERYWHERE, RayPort, other_interfaces, ray_ports
from gaitstream.fleet.status import read_status
from gaitstream.gallery.keys import make_key_file

START_S = 120.0
PAGE = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text()
CALLS = {
    "gcs_server": ("NodeInfoGcsService/GetAllNodeInfo", "InternalKVGcsService/InternalKVKeys"),
    "raylet": ("NodeManagerService/GetNodeStats", "ObjectManagerService/Pull"),
    "ray::WorkerActor": ("CoreWorkerService/GetCoreWorkerStats", "CoreWorkerService/Exit"),
}
"""What can be asked of each kind of server; of a raylet's two, each knows one call."""
READING = [calls[0] for calls in CALLS.values()]
"""Those of them that change nothing where they are let in."""
OK, UNIMPLEMENTED, UNAUTHENTICATED = "0", "12", "16"


@dataclass
class Fleet:
    """Two nodes with their workers, and what `gaitstream fleet up` said."""

    nodes: RayNodes
    url: str
    state: Path
    up: subprocess.CompletedProcess[str]


def documented_ports(base: int) -> list[str]:
    """The ports that the documentation gives Ray, moved to where nobody else is."""
    (words,) = re.findall(r'^ports="(.*?)"', PAGE, re.DOTALL | re.MULTILINE)
    return re.sub(r"\d+", lambda port: str(int(port[0]) - 6379 + base), words.replace("\\\n", " ")).split()


@pytest.fixture(scope="module")
def fleet(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    pytest.importorskip("ray", reason="a fleet on Ray needs the extra [cluster]")
    folder, url = tmp_path_factory.mktemp("fleet"), postgres_server.new_database()
    nodes = RayNodes(folder, url)
    try:
        moved = {"AUTOSCALER_METRIC_PORT": str(nodes.port + 7)}
        nodes.start_head("one", *documented_ports(nodes.port), environment=moved)
        nodes.await_start("one")
        nodes.start_node("two", "127.0.0.2")
        nodes.await_start("two")
        up = ("fleet", "up", "--cameras", str(write_site(folder)), "--address", nodes.address)
        yield Fleet(nodes, url, folder, nodes.gaitstream(*up, "--state", str(folder)))
    finally:
        nodes.close()


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


def ports_of(fleet: Fleet, *nodes: str) -> list[RayPort]:
    """Where Ray's processes of these nodes listen."""
    psutil = pytest.importorskip("psutil")
    pids = {pid for node in nodes for pid in fleet.nodes.processes(node)}
    theirs = {one.laddr.port for one in psutil.net_connections("tcp") if one.pid in pids}
    return [port for port in ray_ports() if port.port in theirs]


def call(port: int, method: str, token: str | None) -> str:
    """gRPC status of an empty request to one of Ray's servers."""
    headers = {"content-type": "application/grpc", "te": "trailers"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    with httpx.Client(http1=False, http2=True, timeout=10) as client:
        answer = client.post(f"http://127.0.0.1:{port}/ray.rpc.{method}", content=bytes(5), headers=headers)
    return str(answer.headers.get("grpc-status", OK))  # else it is in the trailers, after an answer


@pytest.mark.slow
def test_a_worker_runs_on_every_node_and_open_ports_are_told(fleet: Fleet) -> None:
    assert fleet.up.stdout.splitlines()[-2:] == ["worker worker-one-0", "worker worker-two-0"], (
        fleet.up.stderr
    )
    database = FleetDatabase(fleet.url)
    wait_for(database, {"one-0", "two-0"}, 4)
    database.close()
    if other_interfaces("127.0.0.2"):
        assert "two: Ray listens on every interface (gcs_server" in fleet.up.stderr


@pytest.mark.slow
def test_ray_listens_where_the_documentation_says(fleet: Fleet) -> None:
    found = ports_of(fleet, "one")
    everywhere = {port.process for port in found if port.address in EVERYWHERE}
    assert everywhere - {"ray::IDLE"} == {*CALLS, "monitor.py"}
    assert {port.process for port in found if port.address not in EVERYWHERE} <= {"ray::RuntimeEnvAgent"}
    assert all(fleet.nodes.port <= port.port < fleet.nodes.port + 521 for port in found), found


@pytest.mark.slow
@pytest.mark.parametrize("token", [None, "somebody-elses-token-0123456789abcdef"])
def test_every_server_of_ray_turns_away_who_has_no_token(fleet: Fleet, token: str | None) -> None:
    servers = [port for port in ports_of(fleet, "one", "two") if port.process in CALLS]
    assert len(servers) == 7, "the head's, two raylets with two each, two actors"
    for server in servers:
        answers = {method: call(server.port, method, token) for method in CALLS[server.process]}
        assert set(answers.values()) <= {UNAUTHENTICATED, UNIMPLEMENTED}, server
        assert UNAUTHENTICATED in answers.values(), server
        known = [method for method in READING if answers.get(method) == UNAUTHENTICATED]
        assert [call(server.port, method, fleet.nodes.token) for method in known] == [OK] * len(known)


@pytest.mark.slow
def test_the_agent_asks_for_the_token_too_and_figures_are_open(fleet: Fleet) -> None:
    found = {port.process: port for port in ports_of(fleet, "one")}
    agent, figures = found["ray::RuntimeEnvAgent"], found["monitor.py"]
    asked = httpx.post(f"http://{agent.address}:{agent.port}/get_or_create_runtime_env", content=b"")
    assert asked.status_code in (401, 403)
    assert httpx.get(f"http://127.0.0.1:{figures.port}/metrics").status_code == 200


@pytest.mark.slow
def test_commands_with_another_token_reach_nothing(fleet: Fleet) -> None:
    strange = {
        **fleet.nodes.environment, "RAY_AUTH_TOKEN": "somebody-elses-token-0123456789abcdef",
        "RAY_NUM_REDIS_GET_RETRIES": "1",
    }  # fmt: skip
    done = fleet.nodes.gaitstream("fleet", "down", "--address", fleet.nodes.address, environment=strange)
    assert done.returncode == 1
    assert "no Ray cluster takes this token" in done.stderr
    database = FleetDatabase(fleet.url)
    wait_for(database, {"one-0", "two-0"}, 4)  # nothing was stopped
    database.close()


@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_all_end_in_order(fleet: Fleet) -> None:
    database = FleetDatabase(fleet.url)
    killed_s = time.monotonic()
    assert kill_worker("two", fleet.state)
    wait_for(database, {"one-0", "two-0"}, 4, begun=("two-0", killed_s))
    stopped = fleet.nodes.gaitstream("fleet", "down", "--address", fleet.nodes.address)
    both = ["stopped worker-one-0", "stopped worker-two-0"]
    assert sorted(stopped.stdout.splitlines()) == both, stopped.stderr
    wait_for(database, set(), 0)
    database.close()


@pytest.mark.slow
def test_a_cluster_without_tokens_is_given_nothing(fleet_url: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="a fleet on Ray needs the extra [cluster]")
    nodes = RayNodes(tmp_path, fleet_url)
    try:
        nodes.start_head("open", environment={"RAY_AUTH_MODE": "disabled"})
        nodes.await_start("open")
        done = nodes.gaitstream(
            "fleet", "up", "--cameras", str(write_site(tmp_path)), "--address", nodes.address
        )
    finally:
        nodes.close()
    assert (done.returncode, "worker" in done.stdout) == (1, False)
    assert "lets everybody who reaches its ports run programs" in done.stderr


def test_without_a_token_nothing_is_connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="a fleet on Ray needs the extra [cluster]")
    from gaitstream.fleet.ray_actors import RayCluster

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # as in tests before it, in which Ray was loaded
    with pytest.raises(FleetError, match="without tokens lets everybody"):
        RayCluster("auto")


def test_secrets_are_not_on_the_command_line(tmp_path: Path) -> None:
    options = WorkerOptions("postgresql://u:hunter22@h/d", "env:KEY", "10.0.0.2", tmp_path)
    words = worker_words("gpu-1", 1, options)
    assert "hunter22" not in " ".join(words)
    assert str(tmp_path / "gpu-1-1") in words
    assert worker_name(RayNode("gpu-1", "node:10.0.0.2"), 1) == "worker-gpu-1-1"
