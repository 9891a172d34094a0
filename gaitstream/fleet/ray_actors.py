"""The fleet's workers on Ray: one detached, named actor for each worker process, started again for ever.

Ray places, starts and restarts; it carries no frame and no event, and nothing lies in its object store. An
actor starts `gaitstream worker` as a process of its own, so that neither can take the other's memory along,
and ends with it; the worker ends when its actor does.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaitstream.config.fleet import Fleet
from gaitstream.errors import FleetError
from gaitstream.fleet.ray_ports import describe_exposed
from gaitstream.gallery.ray_loading import TOKEN_HELP, load_ray, refuse_open_nodes

if TYPE_CHECKING:
    from ray.actor import ActorHandle

NAMESPACE = "gaitstream"
START_S = 60.0
"""How long Ray may take to start an actor on a node that is there."""
STOP_S = 20.0
PAUSES_S = {2: 30.0, 3: 30.0}
"""How long an actor waits before it ends after a worker, by exit code: a wrong configuration stays wrong."""
PAUSE_S = 1.0


@dataclass(frozen=True)
class WorkerOptions:
    """What all workers of a cluster are told.

    Attributes:
        url: of the fleet's database.
        key: where the fleet's key comes from, on every node.
        listen: interface on which they publish.
        state: folder of the journals on every node; None: in the user's data folder.
        insecure: publish to other machines without keys.
    """

    url: str
    key: str
    listen: str
    state: Path | None = None
    insecure: bool = False


@dataclass(frozen=True)
class RayNode:
    """A node as Ray has it.

    Attributes:
        name: as it was started, or its address.
        pin: resource that only this node has, also when it comes back.
    """

    name: str
    pin: str


class WorkerActor:
    """Runs one worker process; lives on the worker's node."""

    def __init__(self, words: list[str], url: str) -> None:
        environment = {**os.environ, "GAITSTREAM_FLEET": url}
        environment.pop("OMP_NUM_THREADS", None)  # Ray's guess, not the user's wish
        self._process = subprocess.Popen([sys.executable, "-m", "gaitstream", *words], env=environment)
        self._stopping = False
        threading.Thread(target=self._end_with_it, daemon=True).start()

    def pid(self) -> int:
        """Of the worker."""
        return self._process.pid

    def exposed(self, node: str) -> str | None:
        """What to tell the user of Ray's ports on this machine; see `describe_exposed`."""
        import ray

        ray_util: Any = ray.util
        return describe_exposed(node, ray_util.get_node_ip_address())

    def stop(self) -> None:
        """End the worker in order; its cameras are free when this returns."""
        self._stopping = True
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _end_with_it(self) -> None:
        """A worker that ended takes its actor along, and Ray starts both again."""
        code = self._process.wait()
        if not self._stopping:
            time.sleep(PAUSES_S.get(code, PAUSE_S))
            os._exit(1)


class RayCluster:
    """The workers of one Ray cluster.

    Args:
        address: `auto`, `HOST:PORT` or `ray://HOST:PORT`.

    Raises:
        MissingExtraError: Ray is not installed.
        FleetError: the cluster cannot be reached, or there is no token.
    """

    def __init__(self, address: str) -> None:
        self._ray = ray = load_ray("a fleet on Ray", FleetError)
        if not _has_token():
            raise FleetError(TOKEN_HELP)
        try:
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise FleetError(
                f"no Ray cluster takes this token at {address} ({str(error).splitlines()[0]}); start it with "
                f"'ray start --head', and see docs/fleet.md. {TOKEN_HELP}"
            ) from error

    def nodes(self) -> list[RayNode]:
        """The nodes that are there, by name."""
        found = [node for node in self._ray.nodes() if node["Alive"]]
        return sorted(
            (RayNode(str(node["NodeName"]), f"node:{node['NodeManagerAddress']}") for node in found),
            key=lambda node: node.name,
        )

    def start(self, fleet: Fleet, options: WorkerOptions) -> Iterator[str]:
        """Start what is missing on every node that is there; yields the workers' names as they run.

        Raises:
            FleetError: a worker cannot be started.
        """
        refuse_open_nodes(self._ray, FleetError)
        asked = [
            (worker_name(node, slot), self._create(node, slot, fleet, options))
            for node in self.nodes()
            for slot in range(fleet.worker_count(node.name))
        ]
        for name, actor in asked:
            self._await(name, actor)
            yield name

    def exposed(self) -> Iterator[str]:
        """What to tell the user of nodes on which other networks reach Ray, too."""
        for node in self.nodes():
            # Nodes without a worker tell nothing, nor do workers of an older release.
            with suppress(ValueError, AttributeError, self._ray.exceptions.RayError):
                actor = self._ray.get_actor(worker_name(node, 0), namespace=NAMESPACE)
                if told := self._ray.get(actor.exposed.remote(node.name), timeout=STOP_S):
                    yield told

    def stop(self) -> Iterator[str]:
        """End all workers in order; yields their names."""
        for entry in self._ray.util.list_named_actors(all_namespaces=True):
            if entry["namespace"] != NAMESPACE or not entry["name"].startswith("worker-"):
                continue
            actor = self._ray.get_actor(entry["name"], namespace=NAMESPACE)
            with suppress(self._ray.exceptions.RayError):  # its node may be gone, and it with it
                self._ray.get(actor.stop.remote(), timeout=STOP_S + 5)
            self._ray.kill(actor, no_restart=True)
            yield entry["name"]

    def _create(self, node: RayNode, slot: int, fleet: Fleet, options: WorkerOptions) -> ActorHandle[Any]:
        remote = self._ray.remote(WorkerActor)
        actor: ActorHandle[Any] = remote.options(
            name=worker_name(node, slot),
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            num_cpus=0,
            num_gpus=fleet.node(node.name).gpus or 0,
            resources={node.pin: 0.001},
        ).remote(worker_words(node.name, slot, options), options.url)
        return actor

    def _await(self, name: str, actor: ActorHandle[Any]) -> None:
        try:
            self._ray.get(actor.pid.remote(), timeout=START_S)
        except self._ray.exceptions.RayError as error:
            raise FleetError(
                f"Ray does not start {name} ({str(error).splitlines()[0]}); see 'ray status', and fleet.gpus"
            ) from error


def worker_name(node: RayNode, slot: int) -> str:
    """Name of a worker's actor."""
    return f"worker-{node.name}-{slot}"


def worker_words(node: str, slot: int, options: WorkerOptions) -> list[str]:
    """The command line of a worker; what is secret goes by the environment."""
    words = ["worker", "--node", node, "--slot", str(slot), "--key", options.key, "--with-parent"]
    words += ["--endpoint", f"tcp://{options.listen}:0"]
    if options.state is not None:
        words += ["--journal", str(options.state / f"{node}-{slot}")]
    return [*words, "--insecure"] if options.insecure else words


def _has_token() -> bool:
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path("~/.ray/auth_token").expanduser()
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or path.is_file()
