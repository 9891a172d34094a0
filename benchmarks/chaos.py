"""The event bus under attack: everything that may happen to it, at once, and what arrives in the end.

python -m benchmarks.chaos --minutes 5 [--events 200000] [--curve] [--seed 1]

A publisher and three subscribers, each a process: one slow, one killed at random, one that comes late.
Meanwhile the publisher is killed (SIGKILL), its disk is full (a limit on its files), its clock steps by an
hour, its journal is replaced by an older copy, and hostile clients send it rubbish, never read, and hang up.
In the end every event that `publish` returned for must be with every subscriber exactly once, in the
publisher's order.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import random
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import zmq

from benchmarks.chaos_process import PublisherConfig, SubscriberConfig
from gaitstream.events.keys import allow, new_pair, read_public

GENERATION = 1_000_000_000
"""Numbers of one life of the publisher."""
SUBSCRIBERS = ("slow", "killed", "late")
PATIENCE_S = 120.0
LACKING = 20
"""Events at least that a copy lacks before it takes the journal's place."""


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        accepted: events that `publish` returned for.
        delivered: by subscriber.
        missing, doubled, disordered: events, by subscriber; none of them may be.
        extra: delivered though `publish` had not returned when the publisher was killed; allowed, by
        subscriber.
        actions: how often each thing happened.
        notices: what the subscribers were told, by kind.
        rss_mib: most memory the publisher held.
        seconds: how long it took.
    """

    accepted: int = 0
    delivered: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    doubled: dict[str, int] = field(default_factory=dict)
    disordered: dict[str, int] = field(default_factory=dict)
    extra: dict[str, int] = field(default_factory=dict)
    actions: dict[str, int] = field(default_factory=dict)
    notices: dict[str, int] = field(default_factory=dict)
    rss_mib: float = 0.0
    seconds: float = 0.0

    @property
    def flawless(self) -> bool:
        """Whether everything arrived exactly once and in order."""
        faults = (self.missing, self.doubled, self.disordered)
        return bool(self.accepted) and not any(sum(fault.values()) for fault in faults)


class PublisherLife:
    """One life of the publisher, from its start to its death.

    Args:
        config: what it is told.
        accepted: where the numbers go that it says it published.
    """

    def __init__(self, config: PublisherConfig, accepted: list[int]) -> None:
        told = msgspec.json.encode(config).decode()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.chaos_process", "publish", told],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        self._accepted = accepted
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and read what it still said."""
        self._process.kill()
        self._end()

    def pause(self) -> None:
        """Let it stop publishing and end in order."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.close()
        self._end()

    def fill_disk(self, *, full: bool) -> None:
        """Let every write of it fail, or none."""
        limit = 0 if full else resource.RLIM_INFINITY
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def rss_mib(self) -> float:
        """Memory it holds."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0.0
        return pages * resource.getpagesize() / 2**20

    def _end(self) -> None:
        self._process.wait(30)
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        rest = b""
        while data := self._process.stdout.read(65536):
            rest += data
            whole = len(rest) // 8 * 8
            self._accepted += (int.from_bytes(rest[at : at + 8], "big") for at in range(0, whole, 8))
            rest = rest[whole:]


class Chaos:
    """One experiment.

    Args:
        folder: for journal, keys and what the subscribers keep.
        events: to be published at least.
        seconds: they are spread over.
        seed: of what happens when.
        curve: with keys.
    """

    def __init__(self, folder: Path, events: int, seconds: float, seed: int, *, curve: bool) -> None:
        self._folder = folder
        self._events = events
        self._seconds = seconds
        self._random = random.Random(seed)
        self._addresses = two_addresses()
        self._accepted: list[int] = []
        self._generation = 0
        self._actions: Counter[str] = Counter()
        self._subscribers: dict[str, subprocess.Popen[bytes]] = {}
        self._rss_mib = 0.0
        self._clock = folder / "clock"
        self._clock.write_text("0")
        self._journal = folder / "journal"
        self._backup = folder / "copy"
        self._copied = 0
        self._keys = folder / "keys" if curve else None
        if self._keys is not None:
            for name in ("server", *SUBSCRIBERS):
                new_pair(self._keys, name)
            for name in SUBSCRIBERS:
                allow(self._keys, read_public(self._keys / f"{name}.pub"), name)

    def run(self) -> Outcome:
        """Let it happen, wait until everything has arrived, and count."""
        start_s = time.monotonic()
        enemies = Enemies(self._addresses, self._random.randrange(1 << 30))
        self._publisher = self._start_publisher()
        for name in ("slow", "killed"):
            self._start_subscriber(name)
        try:
            self._happen(start_s)
            self._settle()
        finally:
            enemies.stop()
            if self._publisher.alive:
                self._publisher.kill()
            for process in self._subscribers.values():
                process.kill()
                process.wait()
        self._actions["hostile messages"] = enemies.sent
        return self._count(time.monotonic() - start_s)

    def _happen(self, start_s: float) -> None:
        gap_s = max(0.4, min(5.0, self._seconds / 40))
        plan = ["kill publisher", "kill subscriber", "full disk", "clock step", "copy", "restore"]
        while len(self._accepted) < self._events:
            if time.monotonic() - start_s > 3 * self._seconds + PATIENCE_S:
                raise TimeoutError(f"{len(self._accepted)} of {self._events} events were published in time")
            time.sleep(self._random.uniform(0.5, 1.5) * gap_s)
            self._rss_mib = max(self._rss_mib, self._publisher.rss_mib())
            if "late" not in self._subscribers and len(self._accepted) > self._events * 0.3:
                self._start_subscriber("late")
            # Everything once in turn, so that a short run has seen all of it; then at random.
            action = plan.pop(0) if plan else self._random.choice(ACTIONS)
            getattr(self, "_" + action.replace(" ", "_"))()
            self._actions[action] += 1

    def _kill_publisher(self) -> None:
        self._publisher.kill()
        self._publisher = self._start_publisher()

    def _kill_subscriber(self) -> None:
        self._subscribers["killed"].kill()
        self._subscribers["killed"].wait()
        self._start_subscriber("killed")

    def _full_disk(self) -> None:
        self._publisher.fill_disk(full=True)
        time.sleep(self._random.uniform(0.2, 1.0))
        if self._random.random() < 0.3:  # killed while it is full
            self._publisher.kill()
            self._publisher = self._start_publisher()
        self._publisher.fill_disk(full=False)

    def _clock_step(self) -> None:
        self._clock.write_text(str(self._random.choice([-3600, 3600, -10, 0])))

    def _copy_journal(self) -> None:
        if self._backup.exists():
            shutil.rmtree(self._backup)
        self._journal.mkdir(exist_ok=True)  # the publisher may have been killed before it made it
        self._copied = len(self._accepted)
        shutil.copytree(self._journal, self._backup)

    def _copy(self) -> None:
        self._publisher.kill()
        self._copy_journal()
        self._publisher = self._start_publisher()

    def _restore(self) -> None:
        """An older copy takes the journal's place; what it lacks must have been delivered before."""
        if "late" not in self._subscribers:
            self._start_subscriber("late")
        deadline_s = time.monotonic() + 10
        while len(self._accepted) < self._copied + LACKING and time.monotonic() < deadline_s:
            time.sleep(0.05)
        self._settle()
        self._publisher.kill()
        if not self._backup.exists():
            self._copy_journal()
        shutil.rmtree(self._journal)
        shutil.copytree(self._backup, self._journal)
        self._publisher = self._start_publisher()

    def _settle(self) -> None:
        """Stop publishing, and wait until every subscriber has everything."""
        if self._publisher.alive:
            self._publisher.pause()
        self._publisher = self._start_publisher(rate=0.0)
        for name in SUBSCRIBERS:
            if name not in self._subscribers:
                self._start_subscriber(name)
        wanted, deadline_s = set(self._accepted), time.monotonic() + PATIENCE_S
        for name in SUBSCRIBERS:
            while wanted - set(self._received(name)) and time.monotonic() < deadline_s:
                time.sleep(0.2)

    def _start_publisher(self, rate: float | None = None) -> PublisherLife:
        self._generation += 1
        endpoint, replay = self._addresses
        config = PublisherConfig(
            journal=str(self._journal), endpoint=endpoint, replay=replay,
            first=self._generation * GENERATION, rate=self._events / self._seconds if rate is None else rate,
            clock_file=str(self._clock), keys=str(self._keys) if self._keys is not None else None,
        )  # fmt: skip
        return PublisherLife(config, self._accepted)

    def _start_subscriber(self, name: str) -> None:
        endpoint, replay = self._addresses
        config = SubscriberConfig(
            endpoint=endpoint, replay=replay, store=str(self._folder / f"{name}.sqlite"),
            pause_s=0.02 if name == "slow" else 0.0,
            key=str(self._keys / f"{name}.key") if self._keys is not None else None,
            server_key=str(self._keys / "server.pub") if self._keys is not None else None,
        )  # fmt: skip
        self._subscribers[name] = subprocess.Popen(
            [
                sys.executable, "-m", "benchmarks.chaos_process", "subscribe",
                msgspec.json.encode(config).decode(),
            ],
            cwd=Path(__file__).parents[1],
        )  # fmt: skip

    def _received(self, name: str) -> list[int]:
        try:
            with contextlib.closing(sqlite3.connect(self._folder / f"{name}.sqlite", timeout=10)) as store:
                return [row[0] for row in store.execute("select number from events order by id")]
        except sqlite3.OperationalError:
            return []  # it has not made its tables yet

    def _notices(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for name in SUBSCRIBERS:
            with contextlib.closing(sqlite3.connect(self._folder / f"{name}.sqlite", timeout=10)) as store:
                rows = store.execute("select name, value from state where name != 'positions'")
                found.update({kind: int(count) for kind, count in rows})
        return dict(found)

    def _count(self, seconds: float) -> Outcome:
        outcome = Outcome(accepted=len(self._accepted), seconds=round(seconds, 1))
        wanted = set(self._accepted)
        for name in SUBSCRIBERS:
            received = self._received(name)
            outcome.delivered[name] = len(received)
            outcome.missing[name] = len(wanted - set(received))
            outcome.doubled[name] = len(received) - len(set(received))
            outcome.disordered[name] = sum(a >= b for a, b in itertools.pairwise(received))
            outcome.extra[name] = len(set(received) - wanted)
        outcome.actions = dict(self._actions)
        outcome.notices = self._notices()
        outcome.rss_mib = round(self._rss_mib, 1)
        return outcome


ACTIONS = (
    "kill publisher",
    "kill subscriber",
    "kill subscriber",
    "full disk",
    "clock step",
    "copy",
    "restore",
)


class Enemies:
    """Hostile clients in a thread: rubbish, requests without end that nobody reads, connections that hang up.

    Attributes:
        sent: messages.
    """

    def __init__(self, addresses: tuple[str, str], seed: int) -> None:
        self.sent = 0
        self._addresses = addresses
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End them."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with zmq.Context() as context:
            while not self._stop.is_set():
                with contextlib.suppress(OSError, zmq.ZMQError):
                    self._random.choice((self._rubbish, self._greedy, self._hang_up))(context)
                self._stop.wait(0.05)

    def _rubbish(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        with context.socket(zmq.DEALER) as dealer:
            dealer.linger = 200
            dealer.sndtimeo = 500  # where it is refused, nobody takes it
            dealer.connect(self._addresses[1])
            for _ in range(20):
                size = self._random.choice((1, 30, 3000))
                start = self._random.choice((b"", b"[" * 5000, b'{"after":', b'{"cursor":{"\xff":1}}'))
                dealer.send(start + self._random.randbytes(size))
                self.sent += 1

    def _greedy(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        with context.socket(zmq.DEALER) as dealer:
            dealer.linger = 0
            dealer.sndtimeo = 500
            dealer.rcvhwm = 1
            dealer.connect(self._addresses[1])
            for number in range(100):
                dealer.send(msgspec.json.encode({"id": number, "since": "beginning", "credit": 1000}))
                self.sent += 1
            self._stop.wait(0.2)

    def _hang_up(self, _: zmq.Context[zmq.Socket[bytes]]) -> None:
        host, port = self._random.choice(self._addresses).removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port)), 1) as connection:
            connection.sendall(self._random.randbytes(self._random.randrange(200)))
            self.sent += 1


def run(events: int, seconds: float, seed: int, *, curve: bool = False) -> Outcome:
    """One experiment in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        return Chaos(Path(folder), events, seconds, seed, curve=curve).run()


def two_addresses() -> tuple[str, str]:
    with socket.socket() as one, socket.socket() as two:
        for free in (one, two):
            free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1] for free in (one, two)]
    return f"tcp://127.0.0.1:{ports[0]}", f"tcp://127.0.0.1:{ports[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--curve", action="store_true", help="with keys")
    args = parser.parse_args()
    outcome = run(args.events, args.minutes * 60, args.seed, curve=args.curve)
    print(json.dumps(msgspec.to_builtins(outcome), indent=2))
    print("every event exactly once, in order" if outcome.flawless else "FAILED")
    return 0 if outcome.flawless else 1


if __name__ == "__main__":
    sys.exit(main())
