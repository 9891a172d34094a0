"""The event bus beside bare pyzmq: throughput, latency at a steady rate, replay; each listener is a process.

The publisher runs in the contender's process. Bare pyzmq sends topic and payload, encoded before, and its
listener
throws them away: no journal, no numbers, no encoding, no decoding, nothing fetched when it is lost.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import zmq

from gaitstream.addresses import FREE_ENDPOINT
from gaitstream.bench.measure import figure
from gaitstream.bench.result import Row
from gaitstream.events import IdentityDecided, Journal, Publisher, Subscriber, decode, encode
from gaitstream.events.codec import Wire
from gaitstream.events.journal import Sync
from gaitstream.events.keys import allow, new_pair, read_public

BARE = {
    "bare": "bare pyzmq, topic and payload as bytes",
    "coded": "bare pyzmq, encoding and decoding the event",
}


def example(index: int) -> IdentityDecided:
    """One event of one of eight cameras, as a pipeline decides it."""
    return IdentityDecided(
        time_ns=time.time_ns(), run="bench", camera=f"cam{index % 8}", track=index, status="known",
        person="someone", distance=0.61, margin=0.2, threshold=0.8, frames=30, windows=1,
        box=(1.0, 2.0, 3.0, 4.0), candidates=(("someone", 0.61), ("other", 0.81)),
        models={"recognizer": "0" * 64},
    )  # fmt: skip


def throughput(subscribers: int, events: int, repeats: int, variants: list[str]) -> list[Row]:
    """Events a second from the first `publish` until the last listener has the last event.

    Args:
        subscribers: how many listen.
        events: in each burst.
        repeats: of every contender, in turns.
        variants: `bare`, `coded` (bare, with encoding and decoding), and of the bus words of `json`,
            `msgpack`, `journal`, `curve`, `many` (`publish_many` with fifty at once).
    """
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name in variants:
            if name in BARE:
                rates[name].append(_bare(subscribers, events, coded=name == "coded"))
            else:
                rates[name].append(_bus(subscribers, events, name))
    medians = {name: statistics.median(rates[name]) for name in BARE if name in rates}
    rows = []
    for name, measured in rates.items():
        figures = {"rate": figure(measured, "events/s", "higher")}
        for other, median in medians.items():
            if name not in BARE:
                figures[f"of {other}"] = figure([100 * rate / median for rate in measured], "%", "higher")
        title = BARE.get(name, f"bus, {name}")
        rows.append(Row(contender=title, setting={"listeners": subscribers}, figures=figures))
    return rows


def _bare(subscribers: int, events: int, *, coded: bool) -> float:
    prepared = [example(index) for index in range(256)]
    payloads = [encode(example(index), "msgpack") for index in range(256)]
    topics = [f"identity/cam{index % 8}".encode() for index in range(256)]
    with zmq.Context() as context, context.socket(zmq.PUB) as socket, ExitStack() as stack:
        socket.sndhwm = 0
        socket.bind(FREE_ENDPOINT)
        address = socket.getsockopt_string(zmq.LAST_ENDPOINT)
        pipes = [
            stack.enter_context(_listener(_take_bare, address, events, coded)) for _ in range(subscribers)
        ]
        _wait(pipes)
        time.sleep(0.5)  # a subscription takes effect when the publisher has it
        start_s = time.perf_counter()
        for index in range(events):
            payload = encode(prepared[index & 255], "msgpack") if coded else payloads[index & 255]
            socket.send_multipart((topics[index & 255], payload))
        _wait(pipes)
        return events / (time.perf_counter() - start_s)


def _bus(subscribers: int, events: int, variant: str) -> float:
    words = variant.split()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        keys = _keys(Path(folder)) if "curve" in words else None
        publisher = stack.enter_context(
            _publisher(Path(folder), "never", "msgpack" if "msgpack" in words else "json", keys)
        )
        prepared = [example(index) for index in range(256)]
        pipes = [
            stack.enter_context(_listener(_take, publisher.endpoint, publisher.replay, events, keys))
            for _ in range(subscribers)
        ]
        _wait(pipes)
        start_s = time.perf_counter()
        if "many" in words:
            for _ in range(events // 50):
                publisher.publish_many(prepared[:50])
        else:
            for index in range(events):
                publisher.publish(prepared[index & 255])
        _wait(pipes)
        return events / (time.perf_counter() - start_s)


def latency(seconds: float, rate: float, sync: Sync, subscribers: int = 1) -> list[Row]:
    """From `publish` to the event in the listener's hands, at a steady rate."""
    events = int(seconds * rate)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        publisher = stack.enter_context(_publisher(Path(folder), sync, "msgpack"))
        pipes = [
            stack.enter_context(_listener(_take_times, publisher.endpoint, publisher.replay, events))
            for _ in range(subscribers)
        ]
        _wait(pipes)
        start_s = time.perf_counter()
        for index in range(events):
            wait_s = start_s + index / rate - time.perf_counter()
            if wait_s > 0:
                time.sleep(wait_s)
            publisher.publish(example(index))
        waits = sorted(value for pipe in pipes for value in pipe.recv())
    figures = {
        name: figure([waits[min(len(waits) - 1, int(share * len(waits)))]], "ms")
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return [
        Row(
            contender=f"bus, latency at {rate:g} events/s, fsync {sync}",
            setting={"listeners": subscribers},
            figures=figures,
        )
    ]


def replay(events: int, repeats: int) -> list[Row]:
    """Events a second that a listener gets which begins at the beginning of a journal."""
    rates = []
    with tempfile.TemporaryDirectory() as folder, _publisher(Path(folder), "never", "msgpack") as publisher:
        for index in range(events):
            publisher.publish(example(index))
        for _ in range(repeats):
            with _listener(_take, publisher.endpoint, publisher.replay, events, None, "beginning") as pipe:
                pipe.recv()
                rates.append(pipe.recv())
    return [Row(contender="bus, replay", figures={"rate": figure(rates, "events/s", "higher")})]


def _publisher(folder: Path, sync: Sync, wire: Wire, keys: Path | None = None) -> Publisher:
    journal = Journal(folder / "journal", sync=sync)
    return Publisher(journal, FREE_ENDPOINT, FREE_ENDPOINT, wire=wire, keys=keys)


def _keys(folder: Path) -> Path:
    keys = folder / "keys"
    for name in ("server", "listener"):
        new_pair(keys, name)
    allow(keys, read_public(keys / "listener.pub"), "listener")
    return keys


@contextmanager
def _listener(take: Callable[..., None], *args: object) -> Iterator[Connection]:
    """A process that listens; it sends something when it is connected, and again when it has everything."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=take, args=(theirs, *args), daemon=True)
    process.start()
    try:
        yield ours
    finally:
        process.join(10)
        process.kill()


def _wait(pipes: list[Connection]) -> None:
    for pipe in pipes:
        pipe.recv()


def _take_bare(pipe: Connection, address: str, events: int, coded: bool) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.rcvhwm = 0
        socket.linger = 0
        socket.connect(address)
        socket.subscribe(b"")
        pipe.send(None)
        for _ in range(events):
            _, payload = socket.recv_multipart()
            if coded:
                decode(payload)
        pipe.send(None)


def _subscriber(
    endpoint: str, replay: str, keys: Path | None, since: Literal["now", "beginning"] = "now"
) -> Subscriber:
    own = (keys / "listener.key", keys / "server.pub") if keys is not None else (None, None)
    subscriber = Subscriber(endpoint, replay, since=since, key=own[0], server_key=own[1])
    subscriber.wait_connected(20)
    return subscriber


def _take(
    pipe: Connection, endpoint: str, replay: str, events: int, keys: Path | None = None,
    since: Literal["now", "beginning"] = "now",
) -> None:  # fmt: skip
    start_s = time.perf_counter()
    with _subscriber(endpoint, replay, keys, since) as subscriber:
        pipe.send(None)
        for number in range(events):
            if subscriber.receive(20) is None:
                raise TimeoutError(f"{events - number} of {events} events did not come")
        pipe.send(events / (time.perf_counter() - start_s))


def _take_times(pipe: Connection, endpoint: str, replay: str, events: int) -> None:
    with _subscriber(endpoint, replay, None) as subscriber:
        pipe.send(None)
        waits = []
        for _ in range(events):
            received = subscriber.receive(20)
            if received is not None:
                waits.append((time.time_ns() - received.event.time_ns) / 1e6)
        pipe.send(waits)
