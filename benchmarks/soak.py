"""A run for an hour at a restless site: what grows, and which events are missing.

python -m benchmarks.soak --minutes 60 [--seed 1]

`gaitstream run --workers 2` on live synthetic cameras. Every ten seconds `cams.yaml` is written anew, with
other cameras or broken; every minute a worker is killed (SIGKILL); every half minute the wall clock of all
its processes steps by up to an hour. In the end the run is asked to stop, and the journal is compared with
what a subscriber received on the way.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

from benchmarks.chaos import two_addresses
from gaitstream.bench.long_run import Sample, growth, trend
from gaitstream.events import (
    CameraOffline,
    Event,
    Journal,
    Publisher,
    Subscriber,
    TrackEnded,
    TrackStarted,
    decode,
)

STEPPED_CLOCK = Path(__file__).parent / "stepped_clock"
WORKERS = 2
CAMERAS = 6
WORLD = "synth://corridor?people=4&fps=6&width=480&height=270&live=1"
REWRITE_S, STEP_S, KILL_S, SAMPLE_S = 10.0, 30.0, 60.0, 2.0
STEPS_S = (-3600, -10, 0, 10, 3600)
END_S = 30.0
BROKEN = (
    "cameras: [",
    "cameras: 7\n",
    "cameras: [{id: gate, url: '!!int abc', fps: 2026-13-45}]\n",
    "<<: 3\n",
    "a: &a [*a]\n",
    "cameras: [{id: gate, url: /nowhere.mp4, colour: red}]\n",
    "\x00\x01",
    "",
)
"""What people and programs leave in a configuration while they change it."""


@dataclass
class SoakOutcome:
    """What came of it.

    Attributes:
        minutes: of the run.
        events: in the journal.
        missing, doubled, disordered: for the subscriber; none may be.
        gaps: numbers that the journal lacks.
        endless: tracks that never ended though their camera stayed; none may be.
        actions: how often each thing happened.
        grew: what grew by more than is allowed, in words; nothing may.
        levels: memory (MiB), threads and open files of the process that publishes, at the end.
        exit_code: of the run.
    """

    minutes: float = 0.0
    events: int = 0
    missing: int = 0
    doubled: int = 0
    disordered: int = 0
    gaps: int = 0
    endless: int = 0
    actions: dict[str, int] = field(default_factory=dict)
    grew: list[str] = field(default_factory=list)
    levels: dict[str, float] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def flawless(self) -> bool:
        """Whether nothing was lost and nothing grew."""
        faults = self.missing + self.doubled + self.disordered + self.gaps + self.endless
        return bool(self.events) and not faults and not self.grew and self.exit_code == 0


class RestlessSite:
    """The run, and everything that is done to it.

    Args:
        folder: for its configuration, journal and clock.
        seed: of what happens.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.journal = folder / "journal"
        self.endpoint, self.replay = two_addresses()
        self.actions: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._path, self._clock = folder / "cams.yaml", folder / "clock"
        self._clock.write_text("0")
        self._write(range(CAMERAS))
        self._process = self._start(folder)

    def change_file(self) -> None:
        """Other cameras, or something that is no configuration."""
        if self._random.random() < 0.5:
            self._path.write_text(self._random.choice(BROKEN))
            self.actions["file broken"] += 1
            return
        self._write(self._random.sample(range(CAMERAS), self._random.randint(2, CAMERAS)))
        self.actions["cameras changed"] += 1

    def step_clock(self) -> None:
        """By up to an hour, forward or back."""
        self._clock.write_text(str(self._random.choice(STEPS_S)))
        self.actions["clock stepped"] += 1

    def kill_worker(self) -> None:
        """One of them, without a word."""
        if workers := _children(self._process.pid):
            os.kill(self._random.choice(workers), signal.SIGKILL)
            self.actions["worker killed"] += 1

    def sample(self) -> Sample:
        """The process that publishes, now; it lives through all of it."""
        proc = Path(f"/proc/{self._process.pid}")
        pages = int((proc / "statm").read_text().split()[1])
        return {
            "memory": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
            "threads": len(list((proc / "task").iterdir())),
            "open files": len(list((proc / "fd").iterdir())),
        }

    def stop(self) -> int | None:
        """Ask it to end; its exit code, None where it had to be killed."""
        self._write(range(CAMERAS))
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None

    def _write(self, numbers: Sequence[int]) -> None:
        content = {
            "cameras": [{"id": f"cam{n}", "url": f"{WORLD}&seed={n}", "fps": 6} for n in sorted(numbers)],
            "models": {"detector": "demo"},
            "tracklets": {"length": 10, "stride": 5, "provisional_from": 5},
            "runtime": {"threads": 1},
            "events": {"endpoint": self.endpoint, "replay": self.replay, "journal": str(self.journal)},
        }
        new = self._path.with_suffix(".new")
        new.write_text(yaml.safe_dump(content))
        new.replace(self._path)

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        words = ["run", "--cameras", str(self._path), "--workers", str(WORKERS), "--no-table", "--realtime"]
        command = [sys.executable, "-m", "gaitstream", *words]
        path = os.pathsep.join([str(STEPPED_CLOCK), str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, "SOAK_CLOCK": str(self._clock)}
        with (folder / "run.log").open("wb") as out:
            return subprocess.Popen(command, env=environment, stdout=out, stderr=out)


class Listener:
    """Receives everything, in a thread.

    Args:
        site: whose events.
    """

    def __init__(self, site: RestlessSite) -> None:
        self.received: list[tuple[str, int]] = []
        self._subscriber = Subscriber(site.endpoint, site.replay, since="beginning")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def close(self) -> None:
        """Wait until nothing more comes, and end."""
        before = -1
        while len(self.received) != before:
            before = len(self.received)
            time.sleep(SAMPLE_S)
        self._over.set()
        self._thread.join()
        self._subscriber.close()

    def _listen(self) -> None:
        while not self._over.is_set():
            received = self._subscriber.receive(0.5)
            if received is not None:
                self.received.append((received.epoch, received.seq))


def soak(minutes: float, seed: int) -> SoakOutcome:
    """Let it happen, and count."""
    with tempfile.TemporaryDirectory(prefix="gaitstream-soak-") as folder:
        site = RestlessSite(Path(folder), seed)
        listener = Listener(site)
        samples = _let_happen(site, minutes * 60)
        code = site.stop()
        with Publisher(Journal(site.journal), site.endpoint, site.replay):  # serves what was said at the end
            listener.close()
        outcome = SoakOutcome(minutes=minutes, actions=dict(site.actions), exit_code=code)
        outcome.grew = growth(samples)
        outcome.levels = {
            name: round(sum(trend([one[name] for one in samples])[:2]), 1) for name in samples[0]
        }
        count_events(outcome, _read(site.journal), listener.received)
    return outcome


def count_events(
    outcome: SoakOutcome, kept: Sequence[tuple[str, int, Event]], received: Sequence[tuple[str, int]]
) -> None:
    """Compare the journal with what was received.

    Args:
        outcome: gets the counts.
        kept: epoch, number and event, as in the journal.
        received: epoch and number, as they came.
    """
    places = [(epoch, seq) for epoch, seq, _ in kept]
    outcome.events = len(kept)
    seen = set(received)
    outcome.missing = len(set(places) - seen)
    outcome.doubled = len(received) - len(seen)
    outcome.disordered = sum(after <= before for (_, before), (_, after) in itertools.pairwise(received))
    outcome.gaps = sum(after[1] != before[1] + 1 for before, after in itertools.pairwise(places))
    outcome.endless = len(_endless([event for *_, event in kept]))


def _endless(events: Sequence[Event]) -> set[tuple[str, int]]:
    """Tracks without an end; those of a camera that went away are over."""
    going: set[tuple[str, int]] = set()
    for event in events:
        if isinstance(event, TrackStarted):
            going.add((event.camera, event.track))
        elif isinstance(event, TrackEnded):
            going.discard((event.camera, event.track))
        elif isinstance(event, CameraOffline):
            going = {track for track in going if track[0] != event.camera}
    return going


def _let_happen(site: RestlessSite, seconds: float) -> list[Sample]:
    samples: list[Sample] = []
    plan = {site.change_file: REWRITE_S, site.step_clock: STEP_S, site.kill_worker: KILL_S}
    start_s = time.monotonic()
    due = {action: start_s + every_s for action, every_s in plan.items()}
    while (now_s := time.monotonic()) < start_s + seconds:
        for action, every_s in plan.items():
            if now_s >= due[action]:
                action()
                due[action] += every_s
        samples.append(site.sample())
        time.sleep(SAMPLE_S)
    return samples


def _read(folder: Path) -> list[tuple[str, int, Event]]:
    journal = Journal(folder)
    try:
        records = journal.read(limit=sys.maxsize)
    finally:
        journal.close()
    return [(record.epoch, record.seq, decode(record.payload)) for record in records]


def _children(pid: int) -> list[int]:
    """Worker processes of a run."""
    listed = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for path in listed for child in path.read_text().split()]
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    outcome = soak(args.minutes, args.seed)
    print(json.dumps(asdict(outcome), indent=2))
    return 0 if outcome.flawless else 1


if __name__ == "__main__":
    sys.exit(main())
