"""How long a page of the console's history takes among many events.

python -m benchmarks.console_history [--postgresql [URL]] [--events 10000000] [--out DIR]

Events of 32 cameras and 2,000 people over 100 days are put into a history, rows and indexes as the console
makes them: into a SQLite file, or into PostgreSQL, by default a server that is started for it as the tests'
are. Then pages of 50 are read at random places of it, with every filter that pages and programs set, alone
and in all combinations, also for people who may see 8 of the cameras, and tracks are counted in parts of a
day, a week and a month, as for timelines. Exit code 1 when a page takes longer than 100 ms.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from benchmarks.console_history_rows import CAMERAS, DAY_NS, DAYS, PEOPLE, RARE_KIND, fill
from gaitstream.console.history import EventFilter
from gaitstream.console.history.base import HistoryPlace
from gaitstream.console.history.postgresql import PostgresHistory
from gaitstream.console.history.sqlite import SqliteHistory
from gaitstream.console.pages.lines import IDENTITY
from gaitstream.fleet.local_server import PostgresServer

LIMIT_S = 0.1
PAGE = 50
PLACES, PLACES_OF_EACH = 40, 5
"""Random places at which pages are read: with filters one by one, and with each combination."""
TIMELINES = {1: 48, 7: 84, 30: 30, DAYS: 100}
"""Days that are drawn, and parts of them that are counted."""
COUNTS = 10
SLOWEST = 8
"""Combinations that are printed."""
OWN, ONE, QUIET = frozenset(CAMERAS[:8]), frozenset(CAMERAS[3:4]), frozenset(CAMERAS[-1:])
EVERY_CAMERA = (None, OWN, ONE, QUIET)
EVERY_PERSON = (None, PEOPLE[17], PEOPLE[0])
EVERY_STATUS = (None, "known", "unknown", "ambiguous", "insufficient_evidence")
EVERY_REASON = (None, "truncated", "too_dark")
EVERY_KIND: tuple[tuple[str, ...], ...] = (IDENTITY, (), ("identity.final",), (RARE_KIND,))
EVERY_TIME = ((None, None), (40 * DAY_NS, 41 * DAY_NS))

AnyHistory = SqliteHistory | PostgresHistory


def main() -> int:
    """Fill, page, print; 1 when a page took too long."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console_history", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--postgresql", nargs="?", const="", metavar="URL", help="in place of SQLite")
    parser.add_argument("--out", type=Path, help="where SQLite's file lies; kept (default: a temporary one)")
    args = parser.parse_args()
    with opened(args.postgresql, args.out) as history:
        return measure(history, args.events)


@contextmanager
def opened(url: str | None, folder: Path | None) -> Iterator[AnyHistory]:
    """The history that is measured."""
    if url is None:
        with tempfile.TemporaryDirectory() as temporary:
            history = SqliteHistory((folder or Path(temporary)) / "history.db")
            yield history
            history.close()
        return
    server = None if url else PostgresServer()
    try:
        found = PostgresHistory(url or (server.new_database() if server else ""))
        yield found
        found.close()
    finally:
        if server is not None:
            server.close()


def measure(history: AnyHistory, events: int) -> int:
    """Print one line for each kind of question, and for the slowest combinations."""
    began_s = time.monotonic()
    if not history.page(EventFilter(), 1).events:
        fill(history, events)
    filled_s = time.monotonic() - began_s
    print(f"{events} events, {size_gib(history):.2f} GiB, filled in {filled_s:.0f} s", flush=True)
    slowest_s = max(tell(name, ask(history, wanted, PLACES)) for name, wanted in named().items())
    slowest_s = max(slowest_s, measure_combinations(history))
    for days, parts in TIMELINES.items():
        tell(f"timeline of {days} days in {parts} parts", count(history, days, parts))
    return int(slowest_s > LIMIT_S)


def measure_combinations(history: AnyHistory) -> float:
    """Ask with every combination of filters; the longest that a page took, seconds."""
    asked = combined()
    taken = [(sorted(ask(history, wanted, PLACES_OF_EACH)), wanted) for wanted in asked]
    tell(f"all {len(asked)} combinations of filters", (one_s for times_s, _ in taken for one_s in times_s))
    taken.sort(key=lambda one: one[0][-1], reverse=True)
    for times_s, wanted in taken[:SLOWEST]:
        median_ms = statistics.median(times_s) * 1e3
        print(f"    {times_s[-1] * 1e3:7.2f} ms, median {median_ms:.2f}: {shown(wanted)}")
    return taken[0][0][-1]


def tell(name: str, times_s: Iterator[float]) -> float:
    """Print how long something took, seconds; the longest."""
    taken_s = sorted(times_s)
    p95_s = taken_s[int(len(taken_s) * 0.95)]
    print(
        f"{name:44} median {statistics.median(taken_s) * 1e3:7.2f} ms, p95 {p95_s * 1e3:7.2f} ms, "
        f"longest {taken_s[-1] * 1e3:7.2f} ms",
        flush=True,
    )
    return taken_s[-1]


def shown(wanted: EventFilter) -> str:
    """What a filter asks for, in short."""
    asked = {name: value for name, value in vars(wanted).items() if value not in (None, (), False)}
    if wanted.cameras is not None:
        asked["cameras"] = len(wanted.cameras)
    return ", ".join(f"{name} {value}" for name, value in asked.items())


def size_gib(history: AnyHistory) -> float:
    """Room that rows and indexes take."""
    if isinstance(history, SqliteHistory):
        return history.database.path.stat().st_size / 2**30
    [(size,)] = history._rows("SELECT pg_total_relation_size('event')", ())
    return float(size) / 2**30


def named() -> dict[str, EventFilter]:
    """Filters one by one, for the table."""
    return {
        "everything": EventFilter(),
        "who somebody is": EventFilter(kinds=IDENTITY),
        "the same, for who may see 8 cameras": EventFilter(kinds=IDENTITY, cameras=OWN),
        "one camera": EventFilter(kinds=IDENTITY, cameras=ONE),
        "a person": EventFilter(kinds=IDENTITY, person=PEOPLE[17]),
        "a person, on one camera": EventFilter(kinds=IDENTITY, person=PEOPLE[17], cameras=ONE),
        "status known": EventFilter(kinds=IDENTITY, status="known"),
        "a reason": EventFilter(kinds=IDENTITY, reason="truncated"),
        "a rare reason": EventFilter(kinds=IDENTITY, reason="too_dark"),
        "a rare reason, on one camera": EventFilter(kinds=IDENTITY, reason="too_dark", cameras=ONE),
        "what waits for people": EventFilter(waits=True),
        "what waits, for who may see 8 cameras": EventFilter(waits=True, cameras=OWN),
        "what waits, on a quiet camera": EventFilter(waits=True, cameras=QUIET),
    }


def combined() -> list[EventFilter]:
    """All combinations of filters, those that nothing fits among them."""
    return [
        EventFilter(cameras, person, status, reason, kinds, since_ns, until_ns)
        for cameras, person, status, reason, kinds, (since_ns, until_ns) in product(
            EVERY_CAMERA, EVERY_PERSON, EVERY_STATUS, EVERY_REASON, EVERY_KIND, EVERY_TIME
        )
    ]


def ask(history: AnyHistory, wanted: EventFilter, places: int) -> Iterator[float]:
    """Seconds that pages at random places take, and the pages after them."""
    chance = random.Random(5)
    for _ in range(places):
        place_ns = chance.randrange(wanted.since_ns or 0, wanted.until_ns or DAYS * DAY_NS)
        before: HistoryPlace | None = HistoryPlace(place_ns, 1 << 62)
        for _ in range(2):
            began_s = time.perf_counter()
            before = history.page(wanted, PAGE, before).next
            yield time.perf_counter() - began_s
            if before is None:
                break


def count(history: AnyHistory, days: int, parts: int) -> Iterator[float]:
    """Seconds that it takes to count the tracks of all cameras in the parts of some days."""
    chance = random.Random(6)
    for _ in range(COUNTS):
        first_ns, step_ns = chance.randrange(DAYS - days + 1) * DAY_NS, days * DAY_NS // parts
        began_s = time.perf_counter()
        for since_ns in range(first_ns, first_ns + days * DAY_NS, step_ns):
            history.count(EventFilter(since_ns=since_ns, until_ns=since_ns + step_ns), "identity.final")
        yield time.perf_counter() - began_s


if __name__ == "__main__":
    raise SystemExit(main())
