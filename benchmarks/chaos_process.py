"""The two kinds of process that `chaos.py` starts and kills: a publisher and a subscriber.

python -m benchmarks.chaos_process publish CONFIG
python -m benchmarks.chaos_process subscribe CONFIG
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

import msgspec

from gaitstream.errors import JournalWriteError
from gaitstream.events import CameraOnline, Journal, Notice, Positions, Publisher, Subscriber

ACCEPTED_FD = 1
"""Standard output: the number of every event that `publish` returned for, as 8 bytes."""
COMMIT_EVENTS = 200


class PublisherConfig(msgspec.Struct):
    """What a publisher is told.

    Attributes:
        first: number of its first event; they rise by one.
        rate: events a second; 0 publishes none, and answers what subscribers ask.
        clock_file: holds how far its clock is off, seconds.
    """

    journal: str
    endpoint: str
    replay: str
    first: int
    rate: float
    clock_file: str
    sync: str = "never"
    keys: str | None = None


class SubscriberConfig(msgspec.Struct):
    """What a subscriber is told.

    Attributes:
        store: SQLite file: what it received, and how far it came, in one transaction.
        pause_s: after every hundred events.
    """

    endpoint: str
    replay: str
    store: str
    pause_s: float = 0.0
    key: str | None = None
    server_key: str | None = None


def publish(config: PublisherConfig) -> None:
    """Publish until killed; standard input that closes ends it in order."""
    offset = [0]
    real = time.time_ns
    time.time_ns = lambda: real() + offset[0]
    journal = Journal(config.journal, sync=config.sync, segment_bytes=512 * 1024)  # type: ignore[arg-type]
    publisher = Publisher(journal, config.endpoint, config.replay, keys=config.keys)
    stop = threading.Event()
    threading.Thread(target=_wait_for_end, args=(stop,), daemon=True).start()
    number, start_s = config.first, time.monotonic()
    while not stop.is_set():
        if config.rate <= 0:
            time.sleep(0.05)
            continue
        behind = start_s + (number - config.first) / config.rate - time.monotonic()
        if behind > 0:
            with contextlib.suppress(OSError, ValueError):
                offset[0] = int(float(Path(config.clock_file).read_text()) * 1e9)
            time.sleep(min(behind, 0.05))
            continue
        event = CameraOnline(time_ns=real(), camera=f"cam{number % 8}", width=number)
        try:
            publisher.publish(event)
            os.write(ACCEPTED_FD, number.to_bytes(8, "big"))
        except JournalWriteError:
            time.sleep(0.02)
        number += 1
    publisher.close()


def _wait_for_end(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def subscribe(config: SubscriberConfig) -> None:
    """Receive until killed, and keep it exactly once: events and positions go into one transaction."""
    store = sqlite3.connect(config.store, isolation_level=None)
    store.execute("pragma journal_mode=wal")
    store.execute("pragma synchronous=off")  # killed processes, not power failures
    store.execute("create table if not exists events (id integer primary key, number integer, event_id text)")
    store.execute("create table if not exists state (name text primary key, value text)")
    saved = store.execute("select value from state where name = 'positions'").fetchone()

    def note(notice: Notice) -> None:
        store.execute(
            "insert into state values (?, ?) on conflict (name) do update set value = value + excluded.value",
            (notice.kind, max(1, notice.events)),
        )

    with Subscriber(
        config.endpoint, config.replay, key=config.key, server_key=config.server_key, on_notice=note,
        since=Positions.from_json(saved[0]) if saved else "beginning",
    ) as subscriber:  # fmt: skip
        waiting: list[tuple[int, str]] = []
        while True:
            received = subscriber.receive(0.1)
            if received is not None:
                assert isinstance(received.event, CameraOnline)  # noqa: S101 - a benchmark's own check
                waiting.append((received.event.width, received.event.event_id))
                if len(waiting) % 100 == 0 and config.pause_s:
                    time.sleep(config.pause_s)
            if waiting and (received is None or len(waiting) >= COMMIT_EVENTS):
                store.execute("begin")
                store.executemany("insert into events (number, event_id) values (?, ?)", waiting)
                store.execute(
                    "insert or replace into state values ('positions', ?)", (subscriber.positions.to_json(),)
                )
                store.execute("commit")
                waiting.clear()


def main() -> None:
    kind, text = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if kind == "publish":
        publish(msgspec.json.decode(text, type=PublisherConfig))
    else:
        subscribe(msgspec.json.decode(text, type=SubscriberConfig))


if __name__ == "__main__":
    main()
