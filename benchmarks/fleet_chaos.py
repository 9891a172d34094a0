"""A fleet under attack: workers killed and frozen, nodes cut off from the database, the database killed.

python -m benchmarks.fleet_chaos [--nodes 4] [--cameras 24] [--rounds 3] [--outage 30] [--seed 1]

Workers are processes with the product's leases, roster, journal and publisher (`fleet_process.py`); the
database is a real PostgreSQL server, reached by every node through a wire of its own that can be cut.
Afterwards all journals and what one `Subscriber(fleet=...)` received are held against each other: no camera
may have had two workers, none may have waited longer than `MOST_ORPHANED_S` once somebody could take it,
and no event may be missing or doubled.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from benchmarks.fleet_process import WorkerConfig
from gaitstream.errors import FleetError
from gaitstream.events import Event, Received, Subscriber
from gaitstream.events.codec import decode
from gaitstream.events.follower import Follower
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.leases import BEAT_S
from gaitstream.fleet.local_server import PostgresServer
from gaitstream.fleet.site import SiteStore
from gaitstream.fleet.status import read_status

MOST_ORPHANED_S = 10.0
START_S = 30.0
SETTLE_S = 12.0
"""After an attack, everything must have come to rest by then."""


Outage = tuple[float, float]
"""When nobody could take a camera: begin and end, by the wall clock."""


class Wire:
    """A TCP connection to the database that can be cut: what is sent then goes nowhere, silently.

    Args:
        port: of the database, on 127.0.0.1.
        address: where the wire begins; port 0 takes a free one.

    Attributes:
        port: where it begins.
    """

    def __init__(self, port: int, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._to = port
        self._whole = threading.Event()
        self._whole.set()
        self._server = socket.create_server(address)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """From now on nothing goes through."""
        self._whole.clear()

    def mend(self) -> None:
        """New connections go through again, and what waited in old ones."""
        self._whole.set()

    def _accept(self) -> None:
        while True:
            client, _ = self._server.accept()
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._whole.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self._to), 2)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._whole.wait()
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Node:
    """One worker process and its wire."""

    def __init__(self, name: str, folder: Path, url: str, capacity: float) -> None:
        self.name, self.journal = name, folder / f"{name}.journal"
        self.wire = Wire(urlsplit(url).port or 5432)
        through = url.replace(f":{urlsplit(url).port}/", f":{self.wire.port}/")
        self._config = WorkerConfig(through, name, str(self.journal), capacity)
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the worker."""
        words = [sys.executable, "-m", "benchmarks.fleet_process", msgspec.json.encode(self._config).decode()]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, cwd=Path(__file__).parents[1])

    def send(self, number: int) -> None:
        """A signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def end(self, number: int) -> None:
        """A signal that ends it, and wait for that."""
        if self._process is not None:
            self.send(number)
            self._process.wait()


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        events: in all journals.
        twice: cameras of which two workers spoke at a time.
        orphaned_s: longest time a camera waited although somebody could take it.
        missing: events of cameras that the subscriber did not receive.
        doubled: events that it received again.
        moves: leases, over and above the first of each camera.
        actions: how often each thing happened.
    """

    events: int = 0
    cameras: int = 0
    twice: list[str] = field(default_factory=list)
    orphaned_s: float = 0.0
    missing: int = 0
    doubled: int = 0
    moves: int = 0
    actions: dict[str, int] = field(default_factory=dict)

    @property
    def flawless(self) -> bool:
        """Whether all promises were kept."""
        faults = self.twice or self.missing or self.doubled or self.orphaned_s > MOST_ORPHANED_S
        return bool(self.events) and not faults


class Listener:
    """One subscriber of the whole fleet, in a thread of its own."""

    def __init__(self, url: str) -> None:
        self.received: list[Received] = []
        self._stop = threading.Event()
        self._subscriber = Subscriber(fleet=url, since="beginning")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take what is still under way, and stop."""
        self._stop.set()
        self._thread.join()
        self._subscriber.close()

    def _listen(self) -> None:
        quiet_s = time.monotonic()
        while not self._stop.is_set() or time.monotonic() - quiet_s < 2:
            received = self._subscriber.receive(0.2)
            if received is not None:
                self.received.append(received)
                quiet_s = time.monotonic()


class Chaos:
    """One run.

    Args:
        folder: for journals and logs.
        nodes: workers.
        cameras: in all.
        outage_s: how long the database is away when it is killed.
        seed: of what happens when.
    """

    def __init__(self, folder: Path, nodes: int, cameras: int, outage_s: float, seed: int) -> None:
        self._random = random.Random(seed)
        self._outage_s = outage_s
        self._server = PostgresServer(connections=20 + 3 * nodes)
        self._url = self._server.new_database()
        self._cameras = [f"cam-{number:02}" for number in range(cameras)]
        self._database = FleetDatabase(self._url, create=True)
        for camera in self._cameras:
            self._database.run("INSERT INTO fleet.camera (id) VALUES (%s)", (camera,))
        capacity = -(-cameras // (nodes - 1))  # one of them may be away
        self._nodes = [Node(f"node-{number}", folder, self._url, capacity) for number in range(nodes)]
        self._away: list[Outage] = []
        self.actions: Counter[str] = Counter()

    def run(self, rounds: int) -> Outcome:
        """Every attack so often, in a random order; then what came of it."""
        for node in self._nodes:
            node.start()
        self._await_all()
        listener = Listener(self._url)
        actions = [self.kill_worker, self.freeze_worker, self.partition_node, self.kill_database]
        for _ in range(rounds):
            for attack in self._random.sample(actions, len(actions)):
                attack()
                self._settle()
        SiteStore(self._database, "none").stop()  # workers stay and serve what they said
        time.sleep(2 * BEAT_S)
        listener.close()
        for node in self._nodes:
            node.end(signal.SIGTERM)
        outcome = judge([node.journal for node in self._nodes], listener.received, self._away)
        return replace(outcome, actions=dict(self.actions))

    def kill_worker(self) -> None:
        """SIGKILL, and a new start a moment later, as by systemd."""
        node = self._pick("killed")
        node.end(signal.SIGKILL)
        time.sleep(self._random.uniform(0.5, 8.0))
        node.start()

    def freeze_worker(self) -> None:
        """SIGSTOP beyond the end of its leases: awake again, it must not speak of what others have."""
        node = self._pick("frozen")
        node.send(signal.SIGSTOP)
        time.sleep(self._random.uniform(6.0, 8.0))
        node.send(signal.SIGCONT)

    def partition_node(self) -> None:
        """The node does not reach the database, and is not told."""
        node = self._pick("partitioned")
        node.wire.cut()
        time.sleep(self._random.uniform(6.0, 9.0))
        node.wire.mend()

    def kill_database(self) -> None:
        """Killed as by a power failure, and brought back."""
        self.actions["database killed"] += 1
        began = time.time()
        self._server.kill()
        time.sleep(self._outage_s)
        self._server.start()
        self._away.append((began, time.time()))

    def close(self) -> None:
        """End everything."""
        for node in self._nodes:
            node.send(signal.SIGCONT)
            node.end(signal.SIGKILL)
        self._database.close()
        self._server.close()

    def _pick(self, action: str) -> Node:
        """Some node that has cameras."""
        self.actions[action] += 1
        holders = {worker.node for worker in read_status(self._database).workers if worker.cameras}
        return self._random.choice([node for node in self._nodes if node.name in holders])

    def _settle(self) -> None:
        """Wait until every camera is read and every worker there, or for as long as that may take."""
        with contextlib.suppress(TimeoutError):
            self._await_all(SETTLE_S)
        time.sleep(self._random.uniform(1.0, 3.0))

    def _await_all(self, patience_s: float = START_S) -> None:
        deadline = time.monotonic() + patience_s
        while True:
            with contextlib.suppress(FleetError):
                status = read_status(self._database)
                alive = {worker.node for worker in status.workers if worker.state == "alive"}
                if not status.waiting and len(alive) == len(self._nodes):
                    return
            if time.monotonic() > deadline:
                raise TimeoutError("the cameras were not taken")
            time.sleep(0.2)


def judge(journals: Sequence[Path], received: Sequence[Received], outages: Sequence[Outage]) -> Outcome:
    """What the journals say, and what a subscriber received of it.

    Args:
        journals: folders of all workers' journals.
        received: by a subscriber of the whole fleet, from the beginning on.
        outages: when nobody could take a camera.
    """
    published = [event for journal in journals for event in read_journal(journal)]
    received_ids = Counter(one.event.event_id for one in received)
    by_camera: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(published, key=_published_s):
        if event.lease:
            by_camera[getattr(event, "camera", "")].append(event)
    return Outcome(
        events=len(published),
        cameras=len(by_camera),
        twice=[camera for camera, events in by_camera.items() if is_twice(events)],
        orphaned_s=round(max(longest_gap_s(events, outages) for events in by_camera.values()), 2),
        missing=len({event.event_id for event in published if event.lease} - received_ids.keys()),
        doubled=sum(count - 1 for count in received_ids.values()),
        moves=sum(len({event.lease for event in events}) - 1 for events in by_camera.values()),
    )


def longest_gap_s(events: Sequence[Event], outages: Sequence[Outage]) -> float:
    """Longest time from a holder's last event to the next one's first, from when that was possible."""
    gaps = [0.0]
    for before, after in pairwise(events):
        if before.lease != after.lease:
            begin, end = _published_s(before), _published_s(after)
            away = [until for since, until in outages if since < end and until > begin]
            gaps.append(end - max([begin, *away]))
    return max(gaps)


def _published_s(event: Event) -> float:
    return datetime.fromisoformat(event.published_at).timestamp()


def is_twice(events: Sequence[Event]) -> bool:
    """Whether an earlier holder still spoke after a later one had begun; events by time."""
    return any(after.lease < before.lease for before, after in pairwise(events))


def read_journal(folder: Path) -> Iterator[Event]:
    """All events of a journal's folder."""
    follower = Follower(folder)
    while True:
        found = follower.read()
        yield from (decode(record.payload) for record in found.records)
        if found.end:
            return


def run_chaos(nodes: int, cameras: int, rounds: int, outage_s: float, seed: int) -> Outcome:
    """Set up, run and judge."""
    with tempfile.TemporaryDirectory(prefix="gaitstream-fleet-chaos-") as folder:
        chaos = Chaos(Path(folder), nodes, cameras, outage_s, seed)
        try:
            return chaos.run(rounds)
        finally:
            chaos.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--cameras", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--outage", type=float, default=30.0, help="seconds the database is away")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    outcome = run_chaos(args.nodes, args.cameras, args.rounds, args.outage, args.seed)
    print(json.dumps(asdict(outcome), indent=2))
    return 0 if outcome.flawless else 1


if __name__ == "__main__":
    sys.exit(main())
