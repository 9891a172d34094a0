"""What a console with many browsers costs the pipeline, and how soon its pages answer.

python -m benchmarks.console_load [--seconds 30] [--cameras 32] [--rate 200] [--browsers 20]

A publisher of this process gives out events at a steady rate: first alone, then as long with a console beside
it, in its own process as `gaitstream run --console` has it, and browsers on it in another: each watches the
stream, and asks for a page of events every two seconds. The publisher must lose nothing and be as punctual as
alone; every event must reach every browser; 95 of 100 pages must be answered in a second.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import httpx

from gaitstream.console.accounts import Accounts
from gaitstream.console.permissions import Role
from gaitstream.events import IdentityFinal, Journal, Publisher

PASSWORD = "a password of the benchmark"
PAGE_EVERY_S = 2.0
PATIENCE_S = 30.0
SETTLE_S = 6.0
"""Until all browsers watch."""
PAGE_S = 1.0


@dataclass
class Pace:
    """What a publisher measured: seconds that each call of `publish` took."""

    taken_s: list[float] = field(default_factory=list)
    late: int = 0
    """Events that could not be published in their turn."""

    def __str__(self) -> str:
        ordered = sorted(self.taken_s)
        at = [1e3 * ordered[int(len(ordered) * share)] for share in (0.5, 0.95, 0.99)]
        return (
            f"{len(ordered)} events, publish median {at[0]:.2f} ms, p95 {at[1]:.2f} ms, p99 {at[2]:.2f} ms, "
            f"late {self.late}"
        )


@dataclass
class Seen:
    """What one browser saw."""

    events: set[str] = field(default_factory=set)
    delays_s: list[float] = field(default_factory=list)
    pages_s: list[float] = field(default_factory=list)
    dropped: int = 0


def main() -> int:
    """Measure and print; 1 when something was lost or took too long."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console_load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--cameras", type=int, default=32)
    parser.add_argument("--rate", type=float, default=200.0, help="events a second")
    parser.add_argument("--browsers", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), args)


def measure(folder: Path, args: argparse.Namespace) -> int:
    """Once without a console, once with."""
    journal = Journal(folder / "journal")
    port = _free_port()
    events = int(args.seconds * args.rate)
    with (
        Publisher(journal, f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}") as publisher,
        ProcessPoolExecutor(1, get_context("spawn")) as others,
    ):
        print(f"alone: {pace(publisher, args)}", flush=True)
        console = start_console(folder, port)
        try:
            base = wait_for_console(console)
            browsing = others.submit(browse, base, args.browsers, events)
            time.sleep(SETTLE_S)
            print(f"with {args.browsers} browsers: {pace(publisher, args)}", flush=True)
            seen = browsing.result()
        finally:
            console.terminate()
            console.wait(PATIENCE_S)
    journal.close()
    return report(events, seen, publisher.unwritten)


def pace(publisher: Publisher, args: argparse.Namespace) -> Pace:
    """Publish at a steady rate."""
    measured = Pace()
    begin_s = time.monotonic()
    for number in range(int(args.seconds * args.rate)):
        due_s = begin_s + number / args.rate
        time.sleep(max(0.0, due_s - time.monotonic()))
        measured.late += time.monotonic() - due_s > 0.1
        event = _event(number, args.cameras)
        called_s = time.perf_counter()
        publisher.publish(event)
        measured.taken_s.append(time.perf_counter() - called_s)
    return measured


def browse(base: str, browsers: int, events: int) -> list[Seen]:
    """What some browsers see of the next events, in a process of their own."""
    return asyncio.run(_browse_all(base, browsers, events))


async def _browse_all(base: str, browsers: int, events: int) -> list[Seen]:
    over = asyncio.Event()
    seen = [Seen() for _ in range(browsers)]
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=base, timeout=PATIENCE_S, limits=limits) as client:
        await _log_in(client)
        tasks = [asyncio.create_task(_browse(client, one, over)) for one in seen]
        last, quiet_s = -1, time.monotonic()
        while min(len(one.events) for one in seen) < events and time.monotonic() - quiet_s < PATIENCE_S:
            await asyncio.sleep(0.2)
            heard = sum(len(one.events) for one in seen)
            if heard != last:
                last, quiet_s = heard, time.monotonic()
        over.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return seen


async def _browse(client: httpx.AsyncClient, seen: Seen, over: asyncio.Event) -> None:
    """Watch, and ask for pages meanwhile."""
    await asyncio.gather(_watch(client, seen), _turn_pages(client, seen, over))


async def _watch(client: httpx.AsyncClient, seen: Seen) -> None:
    async with client.stream("GET", "/stream", timeout=None) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("id: "):
                seen.events.add(line[4:])
            elif line.startswith("data: ") and (match := re.search(r'"time_ns":(\d+)', line)):
                seen.delays_s.append((time.time_ns() - int(match[1])) / 1e9)
            elif line.startswith("event: dropped"):
                seen.dropped += 1


async def _turn_pages(client: httpx.AsyncClient, seen: Seen, over: asyncio.Event) -> None:
    while not over.is_set():
        asked_s = time.perf_counter()
        answer = await client.get("/events")
        answer.raise_for_status()
        seen.pages_s.append(time.perf_counter() - asked_s)
        await asyncio.sleep(PAGE_EVERY_S)


async def _log_in(client: httpx.AsyncClient) -> None:
    page = (await client.get("/login")).text
    match = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    if match is None:
        raise RuntimeError("the login form has no token")
    answer = await client.post("/login", data={"csrf": match[1], "name": "watcher", "password": PASSWORD})
    if answer.status_code != 303:
        raise RuntimeError(f"the login failed: {answer.status_code}")


def start_console(folder: Path, port: int) -> subprocess.Popen[str]:
    """A console in its own process."""
    state = folder / "state"
    accounts = Accounts(state)
    accounts.ensure_administrator()
    accounts.add("watcher", PASSWORD, Role.VIEWER)
    accounts.close()
    words = [
        "console",
        "--events",
        f"tcp://127.0.0.1:{port}",
        "--state",
        str(state),
        "--port",
        str(_free_port()),
    ]
    command = [sys.executable, "-m", "gaitstream", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for_console(console: subprocess.Popen[str]) -> str:
    """Its address, once it answers."""
    for line in console.stdout or ():
        if match := re.search(r"http://\S+", line):
            base = match[0]
            break
    else:
        raise RuntimeError("the console did not start")
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        try:
            httpx.get(f"{base}login")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return base
    raise RuntimeError(f"the console does not answer at {base}")


def report(events: int, seen: list[Seen], unwritten: int) -> int:
    """Print what browsers saw; 1 when it falls short."""
    missed = [events - len(one.events) for one in seen]
    delays = sorted(delay for one in seen for delay in one.delays_s)
    pages = sorted(page for one in seen for page in one.pages_s)
    print(f"journal: {unwritten} events not written; browsers missed {max(missed)} at most, dropped "
          f"{sum(one.dropped for one in seen)}")  # fmt: skip
    print(f"from publish to browser: median {statistics.median(delays):.3f} s, "
          f"p95 {delays[int(len(delays) * 0.95)]:.3f} s, longest {delays[-1]:.3f} s")  # fmt: skip
    print(f"page of events: {len(pages)} times, median {statistics.median(pages):.3f} s, "
          f"p95 {pages[int(len(pages) * 0.95)]:.3f} s, longest {pages[-1]:.3f} s")  # fmt: skip
    return int(bool(unwritten) or max(missed) > 0 or pages[int(len(pages) * 0.95)] > PAGE_S)


def _event(number: int, cameras: int) -> IdentityFinal:
    return IdentityFinal(
        time_ns=time.time_ns(), camera=f"camera-{number % cameras:02d}", track=number, status="unknown",
        reason="below_threshold", distance=0.97, threshold=0.9, run="run-1", frames=41, windows=2,
        rejections={"truncated": 4}, candidates=tuple((f"p{n}", 0.97 + n / 10) for n in range(5)),
        candidate_ids=tuple(f"{n:020x}" for n in range(5)),
        latency_ms={"decide": 240.0, "detect": 12.0, "track": 1.0, "encode": 30.0, "embed": 3.0},
    )  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    raise SystemExit(main())
