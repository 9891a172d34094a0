"""What a console with many browsers costs the pipeline beside it, and how soon its pages answer.

python -m benchmarks.console_load [--seconds 30] [--cameras 32] [--fps 0.5] [--rate 200] [--browsers 20]

A run analyses live synthetic cameras with the packaged models and publishes a large site's events: first
alone, then as long with a console beside it, in its own process as `gaitstream run --console` has it, and
browsers on it in further ones: each watches the stream and asks for a page of events every two seconds; one
is a real Chromium. The run must lose no frame more than alone, give or take one a camera; every event must
be written and reach every browser; 95 of 100 pages must be answered in a second, and interactive in a second.

The cameras are such that the machine carries them alone: two cores analyse some 30 frames a second.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import httpx

from benchmarks.console_browsers import LOOK_S, PASSWORD, PATIENCE_S, USER, Seen, browse, time_pages
from benchmarks.console_run import Load, Stretch, run
from gaitstream.console.accounts import Accounts
from gaitstream.console.embedded import start_behind
from gaitstream.console.permissions import Role
from gaitstream.console.serving import free_port

WARM_UP_S = 10.0
AFTER_S = 3.0
"""That browsers go on, for what is under way."""
PAGE_S = 1.0


def main() -> int:
    """Measure and print; 1 when something was lost or took too long."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.console_load", description=__doc__.partition("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="of each of the two stretches")
    parser.add_argument("--cameras", type=int, default=32)
    parser.add_argument("--fps", type=float, default=0.5, help="of each camera")
    parser.add_argument("--rate", type=float, default=200.0, help="events a second")
    parser.add_argument("--browsers", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), args)


def measure(folder: Path, args: argparse.Namespace) -> int:
    """Once without a console, once with."""
    load = Load(args.cameras, args.fps, args.rate, free_port())
    with running(folder, load) as run_:
        stretch(run_, WARM_UP_S)
        alone = stretch(run_, args.seconds)
        print(f"alone: {alone}", flush=True)
        with console(folder, load.port) as base, ProcessPoolExecutor(2, get_context("spawn")) as others:
            watching, over = folder / "watching", folder / "over"
            browsing = others.submit(browse, base, args.browsers, watching, over)
            timing = others.submit(time_pages, base, args.seconds)
            while not watching.exists() and not browsing.done():
                time.sleep(LOOK_S)
            beside = stretch(run_, args.seconds)
            print(f"with {args.browsers} browsers: {beside}", flush=True)
            time.sleep(AFTER_S)
            over.touch()
            seen, pages = browsing.result(), timing.result()
    return report(alone, beside, seen, pages, args.cameras)


@contextmanager
def running(folder: Path, load: Load) -> Iterator[Connection]:
    """The run in its own process; what asks it."""
    context = get_context("spawn")
    asked, there = context.Pipe()
    process = context.Process(target=run, args=(folder, load, there))
    process.start()
    there.close()
    try:
        yield asked
        asked.send(0)
        process.join(PATIENCE_S)
    finally:
        process.terminate()


def stretch(run_: Connection, seconds: float) -> Stretch:
    """What the run did in the next seconds."""
    run_.send(seconds)
    if not run_.poll(seconds + PATIENCE_S):
        raise RuntimeError("the run does not answer")
    found: Stretch = run_.recv()
    return found


@contextmanager
def console(folder: Path, port: int) -> Iterator[str]:
    """A console in its own process; its address."""
    state = folder / "state"
    accounts = Accounts(state)
    accounts.ensure_administrator()
    accounts.add(USER, PASSWORD, Role.VIEWER)
    accounts.close()
    command = [sys.executable, "-m", "gaitstream", "console", "--events", f"tcp://127.0.0.1:{port}"]
    command += ["--state", str(state), "--port", str(free_port())]
    process = start_behind(command, stdout=subprocess.PIPE, text=True)
    try:
        yield wait_for_console(process)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def wait_for_console(process: subprocess.Popen[str]) -> str:
    """Its address, once it answers."""
    base = next((match[0] for line in process.stdout or () if (match := re.search(r"http://\S+", line))), "")
    end_s = time.monotonic() + PATIENCE_S
    while base and time.monotonic() < end_s:
        try:
            httpx.get(f"{base}login")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return base
    raise RuntimeError(f"the console does not answer at {base or 'any address'}")


def report(
    alone: Stretch, beside: Stretch, seen: Sequence[Seen], interactive_s: Sequence[float], cameras: int
) -> int:
    """Print what was lost and what browsers saw; 1 when it falls short."""
    published = range(beside.first, beside.first + len(beside.taken_s))
    missed = max(sum(track not in one.delays_s for track in published) for one in seen)
    delays = [one.delays_s[track] for one in seen for track in published if track in one.delays_s]
    pages = [page for one in seen for page in one.pages_s]
    print(f"frames lost: {alone.lost:.0f} alone, {beside.lost:.0f} with the console")
    dropped = sum(one.dropped for one in seen)
    print(f"events: {beside.unwritten} not written; browsers missed {missed} at most, dropped {dropped}")
    print(f"from publish to browser: {_spread(delays)}")
    print(f"page of events: {len(pages)} times, {_spread(pages)}")
    print(f"interactive in Chromium: {len(interactive_s)} pages, {_spread(interactive_s)}" if interactive_s
          else "interactive in Chromium: not measured, there is none")  # fmt: skip
    kept = beside.lost <= alone.lost + cameras and not beside.unwritten and not missed
    soon = _p95(pages) <= PAGE_S and (not interactive_s or _p95(interactive_s) <= PAGE_S)
    return int(not (kept and soon))


def _spread(values_s: Sequence[float]) -> str:
    middle_s, longest_s = statistics.median(values_s), max(values_s)
    return f"median {middle_s:.3f} s, p95 {_p95(values_s):.3f} s, longest {longest_s:.3f} s"


def _p95(values_s: Sequence[float]) -> float:
    return sorted(values_s)[int(len(values_s) * 0.95)]


if __name__ == "__main__":
    raise SystemExit(main())
