"""The fleet on a real Ray cluster: four nodes with real pipelines, while one part after the other is killed.

python -m benchmarks.fleet_ray [--cameras 24] [--fps 0.5] [--outage 30] [--seed 1]

A head that only keeps Ray's books (in a Redis, so that it survives) and four nodes, each a `ray start` of
its own on this machine, with tokens; `gaitstream fleet up` starts their workers. Killed are a worker, a whole
node, the head, and the database for a while, and a node is cut off from the database; in between somebody is
added to the gallery. Afterwards all journals and what one subscriber received are held against each other, as
in `fleet_chaos.py`, whose checks these are.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import yaml

from benchmarks.fleet_chaos import Listener, Outage, judge
from benchmarks.fleet_watch import read_leases, taken_anew
from benchmarks.ray_cluster import NODES, ROOT, WiredCluster, kill_worker
from gaitstream.errors import FleetError
from gaitstream.events import GalleryChanged
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.leases import BEAT_S
from gaitstream.fleet.local_server import PostgresServer
from gaitstream.fleet.site import SiteStore
from gaitstream.fleet.status import FleetStatus, read_status
from gaitstream.gallery import Gallery
from gaitstream.gallery.keys import make_key_file
from gaitstream.models.bundle import Bundle

BUNDLE = ROOT / "gaitstream" / "zoo" / "demo" / "gaitheat"
ATTACKS = ("worker", "node", "head", "database", "partition")
START_S = 300.0
MOST_GALLERY_S = 2.0


class Scene:
    """The site, its database and its gallery."""

    def __init__(self, folder: Path, server: PostgresServer, cameras: int, fps: float) -> None:
        self.url = server.new_database()
        self.folder = folder
        self.path = folder / "cams.yaml"
        for name in ("fleet.key", "gallery.key"):
            make_key_file(folder / name)
        self._key = f"file:{folder}/gallery.key"
        self.database = FleetDatabase(self.url, create=True)
        self._people = 0
        self.add_person()
        world = f"synth://plaza?people=3&fps={fps}&width=192&height=108&live=1"
        site = {
            "cameras": [
                {"id": f"cam-{n:02}", "url": f"{world}&camera={1 + n % 4}&seed={n}", "fps": fps}
                for n in range(cameras)
            ],
            "models": {"detector": "demo", "gaitheat": "demo"},
            "gallery": {"url": self.url, "key": self._key},
            "quality": {"min_height_px": 16, "min_sharpness": 0},
            "tracking": {"lost_s": 4.0},
            "runtime": {"threads": 1},
            "fleet": {
                "key": f"file:{folder}/fleet.key", "capacity": -(-cameras // (len(NODES) - 1)),
                "max_lag_ms": 600_000, "nodes": {"head": {"workers": 0}},
            },
        }  # fmt: skip
        self.path.write_text(yaml.safe_dump(site))

    def add_person(self) -> float:
        """Somebody new; when that was done, by the wall clock."""
        manifest = Bundle.open(BUNDLE).manifest
        self._people += 1
        rng = np.random.default_rng(self._people)
        templates = rng.normal(size=(2, manifest.embedding.parts, manifest.embedding.dim)).astype(np.float32)
        gallery = Gallery(self.url, create=True, key=self._key)
        gallery.enroll(f"person {self._people}", "gaitheat", manifest.fingerprint, templates)
        return time.time()

    def wait(self, reached: Callable[[FleetStatus], bool], patience_s: float) -> float:
        """Seconds until the fleet is so.

        Raises:
            TimeoutError: it is not within this time.
        """
        began_s = time.monotonic()
        while time.monotonic() - began_s < patience_s:
            try:
                if reached(read_status(self.database)):
                    return time.monotonic() - began_s
            except FleetError:
                pass
            time.sleep(0.2)
        raise TimeoutError(f"not within {patience_s} s: {read_status(self.database)}")

    def lose_database(self, server: PostgresServer, seconds: float) -> Outage:
        """Kill the server and bring it back."""
        begin = time.time()
        server.kill()
        time.sleep(seconds)
        server.start()
        return begin, time.time()

    def holders(self) -> list[str]:
        """Nodes that have cameras."""
        return sorted(one.node for one in read_status(self.database).workers if one.cameras)

    def complete(self, workers: int = len(NODES)) -> Callable[[FleetStatus], bool]:
        """Every camera is read, and so many workers are there."""
        return lambda status: (
            not status.waiting and sum(one.state == "alive" for one in status.workers) >= workers
        )


class Attacks:
    """What is killed or cut off, and how long its cameras were without a worker.

    Attributes:
        orphaned_s: by attack, until all cameras that it concerned were taken anew.
        all_there_s: by attack, until every worker was there again, after that.
        outages: of the database.
    """

    def __init__(
        self,
        scene: Scene,
        cluster: WiredCluster,
        server: PostgresServer,
        outage_s: float,
        chance: random.Random,
    ) -> None:
        self.orphaned_s: dict[str, float] = {}
        self.all_there_s: dict[str, float] = {}
        self.outages: list[Outage] = []
        self._scene, self._cluster, self._server = scene, cluster, server
        self._outage_s = outage_s
        self._chance = chance

    def strike(self, attack: str) -> None:
        """Kill one thing, and wait until everything is well again."""
        print(f"killing: {attack}", file=sys.stderr)
        victim = self._chance.choice(self._scene.holders())
        if attack == "head":
            self._cluster.kill_head(10)
            time.sleep(15)
        held = read_leases(self._scene.database, None if attack == "database" else victim)
        began_s = time.monotonic()
        if attack == "node":
            self._cluster.kill(victim)
        elif attack == "partition":
            self._cluster.wires[victim].cut()
        elif attack == "database":
            self.outages.append(self._scene.lose_database(self._server, self._outage_s))
            began_s = time.monotonic()
        else:
            kill_worker(victim, self._scene.folder)  # after the head was away, Ray must still start it again
        self._scene.wait(lambda _: taken_anew(self._scene.database, held), 60)
        self.orphaned_s[attack] = round(time.monotonic() - began_s, 1)
        if attack == "node":
            self._cluster.start_again(victim)
            time.sleep(35)
        self._cluster.wires[victim].mend()
        self._cluster.start_missing()
        self.all_there_s[attack] = round(self._scene.wait(self._scene.complete(), START_S), 1)


def start_workers(cluster: WiredCluster, scene: Scene) -> None:
    """The head, the nodes, and `gaitstream fleet up` until every node has its worker."""
    cluster.start()
    where = ("--address", cluster.address, "--state", str(scene.folder))
    up = ("fleet", "up", "--cameras", str(scene.path), *where)
    while (told := cluster.gaitstream(*up)).stdout.count("worker-") < len(NODES):
        print(told.stderr, file=sys.stderr)
        cluster.start_missing()
        time.sleep(5)
    print(told.stdout, told.stderr, file=sys.stderr)
    scene.wait(scene.complete(), START_S)


def run(folder: Path, cameras: int, fps: float, outage_s: float, seed: int) -> dict[str, object]:
    """Set up, attack, judge."""
    chance = random.Random(seed)
    server = PostgresServer(connections=80)
    scene = Scene(folder, server, cameras, fps)
    cluster = WiredCluster(folder, scene.url)
    attacks = Attacks(scene, cluster, server, outage_s, chance)
    try:
        start_workers(cluster, scene)
        listener = Listener(scene.url)
        added = [scene.add_person()]
        time.sleep(5)
        for attack in chance.sample(ATTACKS, len(ATTACKS)):
            attacks.strike(attack)
        added.append(scene.add_person())
        time.sleep(5)
        SiteStore(scene.database, "none").stop()
        time.sleep(4 * BEAT_S)
        listener.close()
        outcome = judge([folder / f"{name}-0" for name in NODES], listener.received, attacks.outages)
        # These cameras are often silent for longer: the leases tell how long they were orphaned.
        outcome = replace(outcome, orphaned_s=max(attacks.orphaned_s.values()))
        cluster.gaitstream("fleet", "down", "--address", cluster.address)
        late = [gallery_s(listener, at) for at in added]
        heard = all(len(one) == len(NODES) and max(one) <= MOST_GALLERY_S for one in late)
        return {
            **asdict(outcome), "orphaned_by_s": attacks.orphaned_s,
            "all_workers_again_s": attacks.all_there_s, "gallery_s": late,
            "flawless": outcome.flawless and heard,
        }  # fmt: skip
    finally:
        cluster.close()
        scene.database.close()
        server.close()


def gallery_s(listener: Listener, added: float) -> list[float]:
    """By worker, seconds from a change of the gallery to the event that says it was taken over."""
    first: dict[str, float] = {}
    for one in listener.received:
        if isinstance(one.event, GalleryChanged):
            at = datetime.fromisoformat(one.event.published_at).timestamp()
            if added - 1 < at < added + 30:
                first.setdefault(one.publisher, round(at - added, 2))
    return sorted(first.values())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cameras", type=int, default=24)
    parser.add_argument("--fps", type=float, default=0.5)
    parser.add_argument("--outage", type=float, default=30.0, help="seconds the database is away")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gaitstream-fleet-ray-") as folder:
        outcome = run(Path(folder), args.cameras, args.fps, args.outage, args.seed)
    print(json.dumps(outcome, indent=2))
    return 0 if outcome["flawless"] else 1


if __name__ == "__main__":
    sys.exit(main())
