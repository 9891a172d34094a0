"""Two releases of gaitstream in one fleet: workers of both side by side on one database, while it goes on.

python -m benchmarks.two_releases --old REVISION [--minutes 60] [--seed 1]

A wheel of an older revision of this repository and one of this checkout go into environments of their own.
Two workers of each, with real pipelines, share the cameras of `gaitstream fleet demo`. Workers are killed and
started again, nodes are drained and the site is put in anew by the command line of either release, and the
database is killed; meanwhile this checkout's subscriber and the older release's `fleet collect` follow all of
them. In the end a third release with a newer schema joins: who runs must go on, also when the database was
away, and an older worker that starts must be refused with the name of the release it needs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from benchmarks.fleet_chaos import MOST_ORPHANED_S, Listener, Outage, Outcome, judge, read_journal
from benchmarks.fleet_watch import LOOK_S, FleetWatch, read_leases, taken_anew
from benchmarks.releases import LATER, Release, install_releases
from gaitstream.errors import FleetError
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.demo import CAMERAS, DemoNode, demo_site
from gaitstream.fleet.leases import BEAT_S
from gaitstream.fleet.local_server import PostgresServer
from gaitstream.fleet.site import SiteStore
from gaitstream.fleet.status import FleetStatus, read_status
from gaitstream.fleet.tables import SCHEMA
from gaitstream.gallery.keys import make_key_file

START_S = 180.0
"""How long four workers may take to load their networks on a busy machine."""
OUTAGE_S = 6.0


@dataclass
class Report:
    """What came of it.

    Attributes:
        minutes: that both releases ran side by side.
        outcome: of the journals and of this checkout's subscriber.
        waited_s: see `FleetWatch`.
        moves: see `FleetWatch`.
        collected_missing: events that the older release's collector did not write.
        collected_doubled: events that it wrote again.
        went_on: workers of both releases kept their cameras under the newer schema.
        refusal: what an older worker says that starts under the newer schema.
        refused: whether it ended, and named schema and release.
    """

    minutes: float
    outcome: Outcome = field(default_factory=Outcome)
    waited_s: float = 0.0
    moves: dict[str, int] = field(default_factory=dict)
    collected_missing: int = 0
    collected_doubled: int = 0
    went_on: bool = False
    refusal: str = ""
    refused: bool = False

    @property
    def flawless(self) -> bool:
        """Whether all promises were kept."""
        outcome = self.outcome
        faults = outcome.twice or outcome.missing or outcome.doubled
        collected = self.collected_missing or self.collected_doubled
        in_time = max(outcome.orphaned_s, self.waited_s) <= MOST_ORPHANED_S
        kept = in_time and self.went_on and self.refused
        return bool(outcome.events) and kept and not faults and not collected


class SideBySide:
    """One run.

    Args:
        folder: for keys, journals and logs.
        releases: older, present, later.
        seed: of what happens when.
    """

    def __init__(self, folder: Path, releases: Sequence[Release], seed: int) -> None:
        self._folder = folder
        self._old, self._new, self._later = releases
        self._random = random.Random(seed)
        self._server = PostgresServer(connections=60)
        self._url = os.environ["GAITSTREAM_FLEET"] = self._server.new_database()
        self._key = folder / "fleet.key"
        make_key_file(self._key)
        self._sites = 0
        self._put_site(self._old)
        self._database = FleetDatabase(self._url)
        self._nodes = [self._node(release, number) for release in releases[:2] for number in (1, 2)]
        self._away: list[Outage] = []
        self._watch: FleetWatch | None = None
        self._collector: subprocess.Popen[bytes] | None = None
        self._killed: DemoNode | None = None
        self._orphaned_s = 0.0
        self.actions: Counter[str] = Counter()

    def run(self, minutes: float) -> Report:
        """Join the newer workers, let both run for so long, then join the newer schema."""
        report = Report(minutes)
        for node in self._nodes[:2]:
            node.start()
        self._await(self._complete(2))
        listener, watch = Listener(self._url), FleetWatch(self._url, release_of)
        self._watch = watch
        self._collector = self._start_collector()
        for node in self._nodes[2:]:
            node.start()
        self._await(self._complete(4))
        self._attack(60 * minutes)
        self._meet_newer_schema(report)
        SiteStore(self._database, "none").stop()  # workers stay and serve what they said
        time.sleep(4 * BEAT_S)
        listener.close()
        self._end_collector()
        watch.close()
        for node in self._nodes:
            node.stop()
        self._judge(report, listener, watch)
        return report

    def close(self) -> None:
        """End everything."""
        self._end_collector()
        for node in self._nodes:
            node.kill()
        self._database.close()
        self._server.close()

    def _attack(self, seconds: float) -> None:
        actions = [self._kill_worker, self._drain_node, self._change_site, self._kill_database]
        end_s = time.monotonic() + seconds
        while True:
            for action in self._random.sample(actions, len(actions)):
                time.sleep(max(0.0, min(self._random.uniform(2, 12), end_s - time.monotonic())))
                if time.monotonic() >= end_s:
                    return
                self.actions[action.__name__.strip("_")] += 1
                action()
                self._await(self._complete(4))

    def _kill_worker(self) -> None:
        """It is started again when the others have its cameras."""
        node = self._random.choice(self._nodes)
        held = read_leases(self._database, node.name)
        self._killed = node
        node.kill()
        self._await_anew(held)
        self._killed = None

    def _drain_node(self) -> None:
        """By the other release's command line."""
        node = self._random.choice(self._nodes)
        release = self._new if release_of(node.name) == self._old.name else self._old
        self._told(release, "fleet", "drain", node.name)
        self._await(lambda status: not status.waiting and node.name not in holders(status))
        self._told(release, "fleet", "drain", node.name, "--undo")

    def _change_site(self) -> None:
        """A new version of it, by either release."""
        self._put_site(self._random.choice([self._old, self._new]))

    def _kill_database(self) -> None:
        held, began = read_leases(self._database), time.time()
        self._server.kill()
        time.sleep(OUTAGE_S)
        self._server.start()
        self._away.append((began, time.time()))
        if self._watch is not None:
            self._watch.possible_s = time.monotonic()
        self._await_anew(held)

    def _meet_newer_schema(self, report: Report) -> None:
        self._told(self._later, "fleet", "status", "--json")  # brings the tables up to date
        self._kill_database()
        self._await(self._complete(4))
        report.went_on = {release_of(name) for name in holders(read_status(self._database))} == {"old", "new"}
        words = ("worker", "--node", "old-3", "--key", f"file:{self._key}")
        refused = self._old.run(*words, "--journal", str(self._folder / "old-3.journal"))
        report.refusal = refused.stderr.strip().splitlines()[-1].replace(self._database.url, "URL")
        report.refused = refused.returncode != 0 and all(
            word in report.refusal for word in (f"schema {SCHEMA + 1}", LATER)
        )

    def _await_anew(self, held: dict[str, int]) -> None:
        """Wait until somebody has taken each of these cameras since, and note how long that takes."""
        began_s = time.monotonic()
        self._await(lambda _: taken_anew(self._database, held))
        self._orphaned_s = max(self._orphaned_s, time.monotonic() - began_s)

    def _judge(self, report: Report, listener: Listener, watch: FleetWatch) -> None:
        journals = [self._folder / f"{node.name}.journal" for node in self._nodes]
        report.outcome = judge(journals, listener.received, self._away)
        report.outcome.actions = dict(self.actions)
        report.outcome.orphaned_s = round(self._orphaned_s, 2)  # these cameras are often silent for longer
        report.waited_s, report.moves = round(watch.waited_s, 2), dict(watch.moves)
        said = {event.event_id for one in journals for event in read_journal(one) if event.lease}
        written = Counter(event.event_id for event in read_journal(self._folder / "collected"))
        report.collected_missing = len(said - written.keys())
        report.collected_doubled = sum(count - 1 for count in written.values())

    def _node(self, release: Release, number: int) -> DemoNode:
        name = f"{release.name}-{number}"
        return DemoNode(name, self._folder, self._url, self._key, str(release.python))

    def _put_site(self, release: Release) -> None:
        self._sites += 1
        site = demo_site(self._key)
        site["quality"] = {"min_height_px": 24 + self._sites % 2, "min_sharpness": 0}
        path = self._folder / "cams.yaml"
        path.write_text(yaml.safe_dump(site))
        self._told(release, "fleet", "up", "--cameras", str(path))

    def _start_collector(self) -> subprocess.Popen[bytes]:
        words = self._old.command("fleet", "collect", "--journal", str(self._folder / "collected"))
        with (self._folder / "collect.log").open("ab") as log:
            return subprocess.Popen(words, stdout=log, stderr=log)

    def _end_collector(self) -> None:
        if self._collector is not None:
            self._collector.terminate()
            self._collector.wait()

    def _told(self, release: Release, *words: str) -> None:
        done = release.run(*words)
        if done.returncode:
            raise RuntimeError(f"{release.name}: gaitstream {' '.join(words)}: {done.stderr}")

    def _complete(self, workers: int) -> Callable[[FleetStatus], bool]:
        return lambda status: (
            sum(len(one.cameras) for one in status.workers) == CAMERAS
            and sum(one.state == "alive" for one in status.workers) == workers
        )

    def _await(self, reached: Callable[[FleetStatus], bool]) -> None:
        deadline_s = time.monotonic() + START_S
        while True:
            for node in self._nodes:
                if node.ended and node is not self._killed:
                    node.start()  # as systemd would: a worker that starts while the database is away ends
            with contextlib.suppress(FleetError):
                if reached(status := read_status(self._database)):
                    return
                if time.monotonic() > deadline_s:
                    raise TimeoutError(f"the fleet does not come to rest: {status}")
            time.sleep(LOOK_S)


def release_of(node: str) -> str:
    """Which release a node runs."""
    return node.partition("-")[0]


def holders(status: FleetStatus) -> set[str]:
    """Nodes that have cameras."""
    return {worker.node for worker in status.workers if worker.cameras}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--old", required=True, metavar="REVISION", help="of this repository")
    parser.add_argument("--minutes", type=float, default=60.0, help="that both run side by side")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep what it writes (default: a temporary one)")
    args = parser.parse_args()
    os.environ.pop("PYTHONPATH", None)  # each release finds its own package, and not that of this folder
    os.environ["PYTHONSAFEPATH"] = "1"
    with tempfile.TemporaryDirectory(prefix="gaitstream-releases-") as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        both = SideBySide(folder, install_releases(args.old, folder), args.seed)
        try:
            report = both.run(args.minutes)
        finally:
            both.close()
    print(json.dumps({**asdict(report), "flawless": report.flawless}, indent=2))
    return 0 if report.flawless else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
