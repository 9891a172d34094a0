"""A publisher on the loopback, and what its subscribers get."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

from gaitstream.events import CameraOnline, Journal, Publisher, Received, Subscriber

LOOPBACK = "tcp://127.0.0.1:0"


def bus(folder: Path, endpoint: str = LOOPBACK, replay: str = LOOPBACK, **journal: Any) -> Publisher:
    return Publisher(Journal(folder, **journal), endpoint, replay)


def online(number: int, camera: str = "a") -> CameraOnline:
    return CameraOnline(time_ns=number, camera=camera)


def collect(subscriber: Subscriber, count: int, timeout_s: float = 10.0) -> list[Received]:
    deadline = time.monotonic() + timeout_s
    out: list[Received] = []
    while len(out) < count and (left := deadline - time.monotonic()) > 0:
        received = subscriber.receive(left)
        if received is not None:
            out.append(received)
    return out


def zmtp(address: str, kind: bytes, wait_s: float = 0.1) -> socket.socket:
    """A connection that has shaken hands as ZeroMQ's peers do, to send what no library would."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    connection = socket.create_connection((host, int(port)))
    shake_hands(connection, kind)
    time.sleep(wait_s)
    return connection


def shake_hands(connection: socket.socket, kind: bytes) -> None:
    """Say what ZeroMQ's peers say first, either of them."""
    connection.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
    ready = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    connection.sendall(bytes([4, len(ready)]) + ready)
