"""The event bus: what the journal costs, how fast events pass, how long recovery takes."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from pathlib import Path

import msgspec

from gaitstream.addresses import FREE_ENDPOINT
from gaitstream.bench import bus
from gaitstream.bench.machine import memory_bandwidth_gbps
from gaitstream.bench.measure import figure
from gaitstream.bench.process import run_contender
from gaitstream.bench.result import Chart, Row, Suite
from gaitstream.bench.settings import Settings
from gaitstream.events import IdentityDecided, encode
from gaitstream.events.journal import Journal, Sync
from gaitstream.events.publisher import Publisher
from gaitstream.events.subscriber import Subscriber

BATCH = 2000
ONE_LISTENER = (
    "bare",
    "coded",
    "msgpack journal",
    "json journal",
    "msgpack journal many",
    "msgpack journal curve",
)
EIGHT_LISTENERS = ("bare", "coded", "msgpack journal", "json journal", "msgpack journal curve")


def run(settings: Settings) -> Suite:
    """Measure appending, delivery latency at a paced rate, throughput in a burst, and recovery."""
    quick, say = settings.quick, settings.say
    rows: list[Row] = []
    for sync in ("batch", "never"):
        say(f"events: journal, sync={sync}")
        rows += run_contender(journal, {"sync": sync, "repeats": 3 if quick else 7})
    say("events: delivery")
    rows += run_contender(delivery, {"seconds": 3 if quick else 10, "rate": 200})
    say("events: burst")
    rows += run_contender(burst, {"repeats": 3 if quick else 7})
    rows += _beside_bare(settings)
    return Suite(
        name="events",
        title="Event bus",
        rows=[_flat(row) for row in rows],
        notes=[
            "append: one identity event into the journal; floor: one write system call of the same bytes. "
            "What the "
            "rest is: the frame with its checksum, and Python around it.",
            "reopen: the journal is read and checked from its start; floor: its bytes over the copy "
            "bandwidth. What "
            "the rest is: opening and locking the file, checksums and Python record by record.",
            "delivery: from publish() to receive() in the same process, through the journal, its fsync and a "
            "TCP socket, at a steady 200 events/s; floor: one fsync of the same bytes and their way through "
            "a bare "
            "loopback socket. What the rest is: encoding, two hand-overs between threads, decoding; in p95 "
            "and "
            "p99 the scheduler and slow fsyncs.",
            "burst: all published at once, all must arrive; floor: the same bytes through a bare loopback "
            "socket. "
            "What the rest is: the journal, ZeroMQ's framing, encoding and decoding, all in one Python "
            "process.",
            "bare pyzmq: PUB and SUB with topic and payload, once with bytes made before and thrown away, "
            "once encoding and decoding the event with msgspec; no journal, no numbers, nothing fetched when "
            "it is lost. many: publish_many, fifty at once. Listeners are processes; with more of them than "
            "cores the figures say how the machine is shared.",
        ],
        charts=[_latency_chart(rows)],
    )


def _beside_bare(settings: Settings) -> list[Row]:
    """Throughput, latency and replay with the listeners in processes of their own."""
    quick, rows = settings.quick, list[Row]()
    events, repeats = (20_000, 3) if quick else (100_000, 5)
    for listeners, variants in ((1, ONE_LISTENER), (8, EIGHT_LISTENERS)):
        settings.say(f"events: throughput, {listeners} listeners, beside bare pyzmq")
        rows += run_contender(
            bus.throughput,
            {
                "subscribers": listeners,
                "events": events // listeners,
                "repeats": repeats,
                "variants": list(variants),
            },
        )
    for sync in ("never", "batch"):
        settings.say(f"events: latency at 1,000 events/s, fsync {sync}")
        rows += run_contender(bus.latency, {"seconds": 3 if quick else 20, "rate": 1000, "sync": sync})
    settings.say("events: replay")
    rows += run_contender(bus.replay, {"events": 2 * events, "repeats": repeats})
    return rows


def _flat(row: Row) -> Row:
    """The setting in the name: no two of these rows share one."""
    setting = ", ".join(f"{name} {value}" for name, value in row.setting.items())
    return msgspec.structs.replace(row, contender=f"{row.contender}, {setting}", setting={})


def _latency_chart(rows: list[Row]) -> Chart:
    delivery = next(row for row in rows if row.contender == "delivery")
    points: list[tuple[str | float, float]] = [
        (name, delivery.figures[name].median) for name in ("p50", "p95", "p99")
    ]
    return Chart(
        name="events-latency",
        title="Publish to receive, 200 events/s",
        kind="bar",
        x_label="percentile",
        y_label="ms",
        series={"latency": points},
    )


def _event(index: int) -> IdentityDecided:
    return IdentityDecided(
        time_ns=time.time_ns(), run="bench", camera=f"cam{index % 8}", track=index, status="known",
        person="someone", distance=0.61, margin=0.2, threshold=0.8, frames=30, windows=1,
        box=(1.0, 2.0, 3.0, 4.0),
        candidates=(("someone", 0.61), ("other", 0.81)), models={"gait": "0" * 64},
    )  # fmt: skip


def journal(sync: Sync, repeats: int) -> list[Row]:
    """Append `BATCH` events, then open the journal again."""
    payload, reopen = encode(_event(0)), f"reopen with {BATCH} events"
    append_us, open_ms, write_us = [], [], []
    size = 0
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            log = Journal(Path(folder) / "journal", sync=sync)
            start = time.perf_counter()
            for index in range(BATCH):
                log.append(f"identity/cam{index % 8}", payload)
            log.sync()
            append_us.append((time.perf_counter() - start) / BATCH * 1e6)
            log.close()
            size = sum(file.stat().st_size for file in Path(folder, "journal").iterdir() if file.is_file())
            start = time.perf_counter()
            Journal(Path(folder) / "journal").close()
            open_ms.append((time.perf_counter() - start) * 1e3)
            write_us.append(_raw_write_us(Path(folder) / "raw", payload))
    return [
        Row(
            contender="journal",
            setting={"sync": sync},
            figures={
                "append": figure(append_us, "us"),
                reopen: figure(open_ms, "ms"),
            },
            floor={"append": min(write_us), reopen: size / memory_bandwidth_gbps(64) / 1e6},
        )
    ]


def _raw_write_us(path: Path, payload: bytes) -> float:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    start = time.perf_counter()
    for _ in range(BATCH):
        os.write(fd, payload)
    elapsed_s = time.perf_counter() - start
    os.close(fd)
    return elapsed_s / BATCH * 1e6


def _fsync_ms(folder: Path, payload: bytes) -> float:
    fd = os.open(folder / "fsync", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    times = []
    for _ in range(30):
        os.write(fd, payload)
        start = time.perf_counter()
        os.fsync(fd)
        times.append((time.perf_counter() - start) * 1e3)
    os.close(fd)
    return sorted(times)[len(times) // 2]


def loopback_ms(size: int, rounds: int = 200) -> float:
    """Median time of so many bytes through a bare TCP connection on the loopback, one way."""
    there, back = _connect()
    with there, back:
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            there.sendall(bytes(size))
            _drain(back, size)
            times.append((time.perf_counter() - start) * 1e3)
    return sorted(times)[rounds // 2]


def loopback_rate(size: int) -> float:
    """Messages of so many bytes a second through such a connection, written in large pieces."""
    there, back = _connect()
    total = BATCH * 50 * size
    with there, back:
        start = time.perf_counter()
        sender = threading.Thread(target=there.sendall, args=(bytes(total),))
        sender.start()
        _drain(back, total)
        sender.join()
        return BATCH * 50 / (time.perf_counter() - start)


def _connect() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = socket.create_connection(server.getsockname())
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return there, server.accept()[0]


def _drain(connection: socket.socket, size: int) -> None:
    while size > 0:
        size -= len(connection.recv(min(size, 1 << 20)))


def delivery(seconds: float, rate: float) -> list[Row]:
    """Latency percentiles at a steady rate."""
    count = int(seconds * rate)
    with tempfile.TemporaryDirectory() as folder:
        payload = encode(_event(0))
        floor_ms = _fsync_ms(Path(folder), payload) + loopback_ms(len(payload))
        publisher = Publisher(Journal(Path(folder) / "journal"), FREE_ENDPOINT, FREE_ENDPOINT)
        latencies: list[float] = []
        with publisher, Subscriber(publisher.endpoint, publisher.replay) as subscriber:
            while not subscriber.connected:
                subscriber.receive(0.05)
            sender = threading.Thread(target=_send_paced, args=(publisher, count, rate))
            sender.start()
            while len(latencies) < count:
                received = subscriber.receive(5.0)
                if received is None:
                    break
                latencies.append((time.time_ns() - received.event.time_ns) / 1e6)
            sender.join()
    latencies.sort()
    figures = {
        name: figure([latencies[min(len(latencies) - 1, int(share * len(latencies)))]], "ms")
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    figures["lost"] = figure([count - len(latencies)], "events")
    return [
        Row(
            contender="delivery",
            setting={"rate": rate},
            figures=figures,
            floor=dict.fromkeys(("p50", "p95", "p99"), floor_ms),
        )
    ]


def _send_paced(publisher: Publisher, count: int, rate: float) -> None:
    start = time.perf_counter()
    for index in range(count):
        wait_s = start + index / rate - time.perf_counter()
        if wait_s > 0:
            time.sleep(wait_s)
        publisher.publish(_event(index))


def burst(repeats: int) -> list[Row]:
    """Events per second when `BATCH` are published at once and all must arrive."""
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        publisher = Publisher(Journal(Path(folder) / "journal"), FREE_ENDPOINT, FREE_ENDPOINT)
        with publisher, Subscriber(publisher.endpoint, publisher.replay) as subscriber:
            while not subscriber.connected:
                subscriber.receive(0.05)
            for _ in range(repeats):
                events = [_event(index) for index in range(BATCH)]
                start = time.perf_counter()
                for event in events:
                    publisher.publish(event)
                received = sum(subscriber.receive(5.0) is not None for _ in range(BATCH))
                rates.append(received / (time.perf_counter() - start))
    return [
        Row(
            contender="burst",
            setting={"events": BATCH},
            figures={"rate": figure(rates, "events/s", "higher")},
            floor={"rate": loopback_rate(len(encode(_event(0))))},
        )
    ]
