"""`gaitstream fleet demo`: four nodes on this machine, one of which dies.

Every node is a `gaitstream worker` as on a machine of its own, with a name, a journal and ports; the
cameras are synthetic, the database is a real PostgreSQL server. In the middle one node is killed and later
started again; the table shows its cameras move.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml
from rich.console import Console
from rich.live import Live

from gaitstream.addresses import FREE_ENDPOINT
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.local_server import PostgresServer
from gaitstream.fleet.site import SiteDocument, SiteStore
from gaitstream.fleet.status import FleetStatus, read_status, status_table
from gaitstream.gallery.keys import make_key_file
from gaitstream.zoo import demo_family

NODES = ("north", "east", "south", "west")
CAMERAS = 8
CAPACITY = 4
FPS = 2.0
VICTIM = "east"
START_S = 120.0
TURN_S = 0.5


def demo_site(key: Path) -> dict[str, object]:
    """A site that four workers on two cores carry."""
    world = f"synth://plaza?people=6&fps={FPS:g}&width=320&height=180&live=1"
    return {
        "cameras": [
            {"id": f"cam-{number}", "url": f"{world}&camera={1 + number % 4}&seed={number}", "fps": FPS}
            for number in range(1, CAMERAS + 1)
        ],
        "models": {"detector": "demo", demo_family(): "demo"},
        "quality": {"min_height_px": 24, "min_sharpness": 0},
        "runtime": {"threads": 1},
        # An eighth of a usual camera's frames: weights are measured, so four nodes carry eight easily.
        "fleet": {"key": f"file:{key}", "capacity": CAPACITY, "max_lag_ms": 60_000},
    }


class DemoNode:
    """One node: a worker process, to be killed and started again.

    Args:
        name: of the node.
        folder: for its journal and its log.
        url: of the fleet's database.
        key: where the fleet's key is.
        python: interpreter of the environment whose gaitstream runs.
    """

    def __init__(self, name: str, folder: Path, url: str, key: Path, python: str = sys.executable) -> None:
        self.name = name
        self._folder = folder
        self._words = [
            python, "-m", "gaitstream", "worker", "--node", name, "--key", f"file:{key}",
            "--with-parent", "--endpoint", FREE_ENDPOINT, "--journal", str(folder / f"{name}.journal"),
        ]  # fmt: skip
        self._environment = {**os.environ, "GAITSTREAM_FLEET": url}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the worker."""
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(self._words, env=self._environment, stdout=log, stderr=log)

    @property
    def ended(self) -> bool:
        """Whether its worker ended, by itself or killed."""
        return self._process is not None and self._process.poll() is not None

    def kill(self) -> None:
        """As a power failure would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In order."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()


def run_demo(url: str | None, folder: Path | None, seconds: float) -> int:
    """Show the fleet for so long; 0 when every camera was read again after the node died.

    Args:
        url: of an empty database; None starts a server.
        folder: for journals and logs; None takes a temporary one.
        seconds: how long the table is shown once everything runs.

    Raises:
        FleetError: there is no server, or the database cannot be used.
    """
    with ExitStack() as stack:
        folder = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gaitstream-fleet-")))
        folder.mkdir(parents=True, exist_ok=True)
        url = url or _own_server(stack)
        database = stack.enter_context(_opened(url))
        key = _put_site(database, folder)
        nodes = [DemoNode(name, folder, url, key) for name in NODES]
        for node in nodes:
            stack.callback(node.stop)
            node.start()
        with Live(console=Console(), auto_refresh=False) as live:
            return 0 if DemoShow(database, nodes, live).run(seconds) else 1


class DemoShow:
    """The table, and what happens meanwhile.

    Args:
        database: the fleet's.
        nodes: all of them.
        live: where the table is drawn.
    """

    def __init__(self, database: FleetDatabase, nodes: list[DemoNode], live: Live) -> None:
        self._database = database
        self._victim = next(node for node in nodes if node.name == VICTIM)
        self._live = live

    def run(self, seconds: float) -> bool:
        """Whether every camera was read by others after the node died, and how long that took is said."""
        if not self._until(self._complete, START_S):
            return False
        self._say(f"every camera is read; {VICTIM} is killed in {seconds / 4:.0f} s")
        self._until(lambda _: False, seconds / 4)
        self._victim.kill()
        killed_s = time.monotonic()
        self._say(f"{VICTIM} was killed (SIGKILL)")
        moved = self._until(self._moved, seconds)
        self._say(f"every camera is read by others after {time.monotonic() - killed_s:.1f} s")
        self._until(lambda _: False, seconds / 4)
        self._victim.start()
        self._say(f"{VICTIM} is started again")
        self._until(lambda _: False, seconds / 2)
        return moved

    def _complete(self, status: FleetStatus) -> bool:
        return len(_alive(status)) == len(NODES) and not status.waiting

    def _moved(self, status: FleetStatus) -> bool:
        return VICTIM not in _alive(status) and not status.waiting

    def _until(self, reached: Callable[[FleetStatus], bool], seconds: float) -> bool:
        """Draw the table until something holds, or for so long."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            status = read_status(self._database)
            self._live.update(status_table(status, self._live.console.width), refresh=True)
            if reached(status):
                return True
            time.sleep(TURN_S)
        return False

    def _say(self, text: str) -> None:
        self._live.console.print(text)


def _alive(status: FleetStatus) -> set[str]:
    return {worker.node for worker in status.workers if worker.state == "alive"}


def _own_server(stack: ExitStack) -> str:
    server = PostgresServer()
    stack.callback(server.close)
    return server.new_database()


@contextmanager
def _opened(url: str) -> Iterator[FleetDatabase]:
    database = FleetDatabase(url, create=True)
    try:
        yield database
    finally:
        database.close()


def _put_site(database: FleetDatabase, folder: Path) -> Path:
    key = folder / "fleet.key"
    if not key.exists():
        make_key_file(key)
    path = folder / "cams.yaml"
    path.write_text(yaml.safe_dump(demo_site(key), sort_keys=False))
    document, config = SiteDocument.read(path)
    SiteStore(database, config.fleet.key).put(document, config)
    return key
