"""Events for `benchmarks.console_history`: a large site's, as rows, put into a history all at once.

As at a real site hardly anything is even: a camera sees little, a person is seen all the time, and there are
kinds, statuses and reasons that hardly ever come.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterator

import msgspec

from gaitstream.console.history import sql
from gaitstream.console.history.postgresql import PostgresHistory
from gaitstream.console.history.rows import COLUMNS
from gaitstream.console.history.sqlite import SqliteHistory

CAMERAS = [f"camera-{number:02d}" for number in range(32)]
CAMERA_WEIGHTS = [10] * 31 + [0.005]
PEOPLE = [f"{number:020x}" for number in range(2000)]
PEOPLE_WEIGHTS = [100, *[1] * 1999]
"""The first of them works there."""
REASONS = ("too_short", "truncated", "standing", "below_threshold", "occluded", "ambiguous", "too_dark")
REASON_WEIGHTS = (40, 20, 15, 15, 6, 3, 0.001)
STATUS_OF = {"below_threshold": "unknown", "ambiguous": "ambiguous"}
"""Other reasons are those of insufficient evidence."""
KINDS = ("track.started", "identity.decided", "identity.revised", "identity.final", "track.ended")
RARE_KIND, RARE_SHARE = "identity.confirmed", 1e-5
"""In the place of the third of a track's kinds."""
KNOWN_SHARE = 0.3
DAY_NS = 86_400 * 10**9
DAYS = 100
BATCH = 100_000


def fill(history: SqliteHistory | PostgresHistory, events: int) -> None:
    """Put rows in without their indexes, then make those."""
    for name in sql.INDEXES:
        history._rows(f"DROP INDEX IF EXISTS {name}", ())  # the benchmark fills what the console would
    rows = make_rows(_number_texts(history), events)
    if isinstance(history, SqliteHistory):
        _insert(history, rows)
    else:
        _copy(history, rows)


def make_rows(number: dict[tuple[str, str], int], events: int) -> Iterator[tuple[object, ...]]:
    """Rows in the order of `COLUMNS`: tracks of five events each, evenly over the time.

    Args:
        number: of spaces and texts.
        events: how many.
    """
    chance = random.Random(1)
    people = [number["person", uid] for uid in PEOPLE]
    payload = msgspec.msgpack.encode(_details(people[:5]))
    camera_sums, people_sums = _sums(CAMERA_WEIGHTS), _sums(PEOPLE_WEIGHTS)
    for at in range(events):
        track, step = divmod(at, len(KINDS))
        if step == 0:
            [camera] = chance.choices(CAMERAS, cum_weights=camera_sums)
            [person] = chance.choices(people, cum_weights=people_sums)
            answer = _answer(chance, person, number)
        kind = RARE_KIND if step == 2 and chance.random() < RARE_SHARE else KINDS[step]
        decided = answer if kind != "track.started" else (None, None, None)
        yield (
            uuid.UUID(int=at).bytes, at * DAYS * DAY_NS // events, number["kind", kind],
            number["camera", camera], *decided, number["run", "run-1"], track,
            int(kind == "identity.final" and answer[0] is not None), payload,
        )  # fmt: skip


def _number_texts(history: SqliteHistory | PostgresHistory) -> dict[tuple[str, str], int]:
    texts = {
        "camera": CAMERAS, "person": PEOPLE, "reason": REASONS, "kind": (*KINDS, RARE_KIND),
        "status": ("known", "insufficient_evidence", *STATUS_OF.values()), "run": ("run-1",),
    }  # fmt: skip
    with history._writing():
        return {(space, text): history._labels.make(space, text) for space in texts for text in texts[space]}


def _answer(
    chance: random.Random, person: int, number: dict[tuple[str, str], int]
) -> tuple[int | None, int, int | None]:
    """Person, status and reason of a track."""
    if chance.random() < KNOWN_SHARE:
        return person, number["status", "known"], None
    reason = chance.choices(REASONS, REASON_WEIGHTS)[0]
    return None, number["status", STATUS_OF.get(reason, "insufficient_evidence")], number["reason", reason]


def _sums(weights: list[float] | list[int]) -> list[float]:
    return list(itertools.accumulate(map(float, weights)))


def _details(candidates: list[int]) -> dict[str, object]:
    return {
        "distance": 0.81, "margin": 0.12, "threshold": 0.95, "first_ns": 1, "frames": 41, "windows": 2,
        "box": (1.0, 2.0, 3.0, 4.0), "rejections": {"truncated": 4}, "provisional": False,
        "latency_ms": {"decide": 240.0, "detect": 12.0, "track": 1.0, "encode": 30.0, "embed": 3.0},
        "models": {"gait": "f" * 64}, "publisher": "p" * 16, "epoch": "e" * 8,
        "candidates": [(candidate, 0.8 + index / 10) for index, candidate in enumerate(candidates)],
    }  # fmt: skip


def _insert(history: SqliteHistory, rows: Iterator[tuple[object, ...]]) -> None:
    insert = f"INSERT INTO event ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    while batch := list(itertools.islice(rows, BATCH)):
        with history.database.writing() as writing:
            writing.executemany(insert, batch)
    for statement in sql.index_statements(""):
        history._rows(statement, ())
    history._rows("PRAGMA wal_checkpoint(TRUNCATE)", ())


def _copy(history: PostgresHistory, rows: Iterator[tuple[object, ...]]) -> None:
    statement = f"COPY event ({', '.join(COLUMNS)}) FROM STDIN"
    with history._pool.borrow() as connection, connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
    for statement in sql.index_statements(", id"):
        history._rows(statement, ())
    history._rows("VACUUM ANALYZE event", ())  # as the server does by itself, some time later
