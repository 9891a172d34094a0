"""How long a page of the console's history takes among many events.

python -m benchmarks.console_history [--events 10000000] [--out DIR]

Events of 32 cameras and 2,000 people over 100 days are put into a history, rows and indexes as the console
makes them. Then pages of 50 are read at random places of it with every filter the page of events has, also
for people who may see 8 of the cameras, and tracks are counted in parts of a day, a week and a month, as for
timelines. Exit code 1 when a page takes longer than 100 ms.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gaitstream.console.history import EventFilter
from gaitstream.console.history.base import HistoryPlace
from gaitstream.console.history.rows import COLUMNS
from gaitstream.console.history.sqlite import SqliteHistory

CAMERAS = [f"camera-{number:02d}" for number in range(32)]
PEOPLE = [f"{number:020x}" for number in range(2000)]
REASONS = ("too_short", "truncated", "standing", "below_threshold", "occluded", "ambiguous", "too_dark")
REASON_WEIGHTS = (40, 20, 15, 15, 6, 3, 0.001)
KINDS = ("track.started", "identity.decided", "identity.revised", "identity.final", "track.ended")
DAY_NS = 86_400 * 10**9
DAYS = 100
STEP_NS = DAYS * DAY_NS
LIMIT_S = 0.1
PAGE = 50
REPEATS = 40
TIMELINES = {1: 48, 7: 84, 30: 30, DAYS: 100}
"""Days that are drawn, and parts of them that are counted."""
COUNTS = 10
BATCH = 100_000


def main() -> int:
    """Fill, page, print; 1 when a page took too long."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console_history", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, help="where the history lies; kept (default: a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measure(args.out or Path(folder), args.events)


def measure(folder: Path, events: int) -> int:
    """Print one line for each kind of question."""
    history = SqliteHistory(folder / "history.db")
    began_s = time.monotonic()
    if not history.page(EventFilter(), 1).events:
        fill(history, events)
    size_gib = history.database.path.stat().st_size / 2**30
    print(f"{events} events, {size_gib:.2f} GiB, filled in {time.monotonic() - began_s:.0f} s")
    slowest_s = 0.0
    for name, wanted in questions().items():
        slowest_s = max(slowest_s, tell(name, ask(history, wanted)))
    for days, parts in TIMELINES.items():
        tell(f"timeline of {days} days in {parts} parts", count(history, days, parts))
    history.close()
    return int(slowest_s > LIMIT_S)


def tell(name: str, times_s: Iterator[float]) -> float:
    """Print how long something took, seconds; the longest."""
    taken_s = sorted(times_s)
    p95_s = taken_s[int(len(taken_s) * 0.95)]
    print(
        f"{name:44} median {statistics.median(taken_s) * 1e3:7.2f} ms, p95 {p95_s * 1e3:7.2f} ms, "
        f"longest {taken_s[-1] * 1e3:7.2f} ms"
    )
    return taken_s[-1]


def questions() -> dict[str, EventFilter]:
    """Filters as people set them, rare ones among them."""
    own = frozenset(CAMERAS[:8])
    return {
        "everything": EventFilter(),
        "one camera": EventFilter(cameras=frozenset(CAMERAS[3:4])),
        "who may see 8 cameras": EventFilter(cameras=own),
        "a person": EventFilter(person=PEOPLE[17]),
        "a person, on one camera": EventFilter(person=PEOPLE[17], cameras=frozenset(CAMERAS[3:4])),
        "a person, for who may see 8 cameras": EventFilter(person=PEOPLE[17], cameras=own),
        "status known": EventFilter(status="known"),
        "status known, on one camera": EventFilter(status="known", cameras=frozenset(CAMERAS[3:4])),
        "a reason": EventFilter(reason="truncated"),
        "a rare reason": EventFilter(reason="too_dark"),
        "a rare reason, on one camera": EventFilter(reason="too_dark", cameras=frozenset(CAMERAS[3:4])),
        "final words": EventFilter(kinds=("identity.final",)),
        "two kinds, for who may see 8 cameras": EventFilter(
            kinds=("identity.final", "track.ended"), cameras=own
        ),
        "final words with a reason": EventFilter(kinds=("identity.final",), reason="standing"),
        "a person's final words": EventFilter(kinds=("identity.final",), person=PEOPLE[17]),
        "what waits for people": EventFilter(waits=True),
        "what waits, for who may see 8 cameras": EventFilter(waits=True, cameras=own),
    }


def ask(history: SqliteHistory, wanted: EventFilter) -> Iterator[float]:
    """Seconds that pages at random places take, and the pages after them."""
    chance = random.Random(5)
    for _ in range(REPEATS):
        before: HistoryPlace | None = HistoryPlace(chance.randrange(STEP_NS), 1 << 62)
        for _ in range(2):
            began_s = time.perf_counter()
            before = history.page(wanted, PAGE, before).next
            yield time.perf_counter() - began_s
            if before is None:
                break


def count(history: SqliteHistory, days: int, parts: int) -> Iterator[float]:
    """Seconds that it takes to count the tracks of all cameras in the parts of some days."""
    chance = random.Random(6)
    for _ in range(COUNTS):
        first_ns, step_ns = chance.randrange(DAYS - days + 1) * DAY_NS, days * DAY_NS // parts
        began_s = time.perf_counter()
        for since_ns in range(first_ns, first_ns + days * DAY_NS, step_ns):
            history.count(EventFilter(since_ns=since_ns, until_ns=since_ns + step_ns), "identity.final")
        yield time.perf_counter() - began_s


def fill(history: SqliteHistory, events: int) -> None:
    """Put rows in without their indexes, then make those."""
    from gaitstream.console.history import sql

    database = history.database.connection()
    for name in sql.INDEXES:
        database.execute(f"DROP INDEX IF EXISTS {name}")
    insert = f"INSERT INTO event ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    rows = make_rows(history, events)
    while batch := list(itertools.islice(rows, BATCH)):
        with history.database.writing() as writing:
            writing.executemany(insert, batch)
    for statement in sql.index_statements(""):
        database.execute(statement)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def make_rows(history: SqliteHistory, events: int) -> Iterator[tuple[object, ...]]:
    """Rows in the order of `COLUMNS`: tracks of five events each, evenly over the time."""
    chance = random.Random(1)
    with history.database.writing():
        number = {
            (space, text): history._labels.make(space, text)  # the benchmark fills what the console would
            for space, texts in {
                "camera": CAMERAS, "person": PEOPLE, "reason": REASONS, "kind": KINDS,
                "status": ("known", "unknown", "insufficient_evidence"), "run": ("run-1",),
            }.items()
            for text in texts
        }  # fmt: skip
    people = [number["person", uid] for uid in PEOPLE]
    payload = msgspec.msgpack.encode(_details(people[:5]))
    for at in range(events):
        track, step = divmod(at, len(KINDS))
        if step == 0:
            camera = number["camera", chance.choice(CAMERAS)]
            person, status, reason = _answer(chance, people, number)
        kind = KINDS[step]
        decided = kind != "track.started"
        yield (
            uuid.UUID(int=at).bytes, at * STEP_NS // events, number["kind", kind], camera,
            person if decided else None, status if decided else None, reason if decided else None,
            number["run", "run-1"], track, int(kind == "identity.final" and person is not None), payload,
        )  # fmt: skip


def _answer(
    chance: random.Random, people: list[int], number: dict[tuple[str, str], int]
) -> tuple[int | None, int, int | None]:
    """Person, status and reason of a track: 3 in 10 are known."""
    if chance.random() < 0.3:
        return chance.choice(people), number["status", "known"], None
    reason = chance.choices(REASONS, REASON_WEIGHTS)[0]
    status = "unknown" if reason == "below_threshold" else "insufficient_evidence"
    return None, number["status", status], number["reason", reason]


def _details(candidates: list[int]) -> dict[str, object]:
    return {
        "distance": 0.81, "margin": 0.12, "threshold": 0.95, "first_ns": 1, "frames": 41, "windows": 2,
        "box": (1.0, 2.0, 3.0, 4.0), "rejections": {"truncated": 4}, "provisional": False,
        "latency_ms": {"decide": 240.0, "detect": 12.0, "track": 1.0, "encode": 30.0, "embed": 3.0},
        "models": {"gait": "f" * 64}, "publisher": "p" * 16, "epoch": "e" * 8,
        "candidates": [(candidate, 0.8 + index / 10) for index, candidate in enumerate(candidates)],
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
