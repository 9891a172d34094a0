"""ZeroMQ's connections by their descriptors: which one is meant, and how to end it without harm to ZeroMQ."""

from __future__ import annotations

import os
import socket
import struct
import sys

import zmq

Connection = tuple[int, int]
"""Descriptor and inode: together they are never another connection's while this one is open."""
_EVENT = struct.Struct("=HI")
_RECEIVED = struct.Struct("=Q")
_RECEIVED_AT = 128
"""Of `tcpi_bytes_received` in Linux's `tcp_info`, since 4.1."""


def connection_of(descriptor: int) -> Connection | None:
    """Which connection a descriptor is now; None for a closed one."""
    try:
        return descriptor, os.fstat(descriptor).st_ino
    except OSError:
        return None


def source_of(part: zmq.Frame) -> int | None:
    """Descriptor of the connection that a part of a message came over; None where it has ended."""
    try:
        return int(part.get(zmq.SRCFD))
    except zmq.ZMQError:
        return None


def next_event(monitor: zmq.Socket[bytes], flags: int = 0) -> tuple[int, int]:
    """Kind and value, mostly a descriptor, of what a socket's monitor tells next.

    Raises:
        zmq.Again: nothing, and `flags` say not to wait.
    """
    kind, value = _EVENT.unpack(monitor.recv_multipart(flags)[0])
    return kind, value


def bytes_taken(connection: Connection) -> int | None:
    """Bytes that ZeroMQ has taken from a connection; None where it is closed, not TCP, or not on Linux."""
    descriptor, _ = connection
    if sys.platform != "linux" or connection_of(descriptor) != connection:
        return None
    import fcntl  # not everywhere, as subscribers are
    import termios

    try:
        borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
    except OSError:
        return None
    try:
        info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED_AT + _RECEIVED.size)
        waiting: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0\0\0\0"))[0]
    except OSError:
        return None
    finally:
        borrowed.detach()  # it is ZeroMQ's
    if len(info) < _RECEIVED_AT + _RECEIVED.size:
        return None
    received: int = _RECEIVED.unpack_from(info, _RECEIVED_AT)[0]
    return received - waiting


def hang_up(connection: Connection, endpoint: str) -> bool:
    """End a connection to an address as if the other side had; whether it was one.

    For reading alone: an error while ZeroMQ has stopped reading is one it does not get over. Whoever keeps
    sending has a window of some bytes, so that the end is seen.
    """
    try:
        with socket.socket(fileno=os.dup(connection[0])) as mine:
            if os.fstat(mine.fileno()).st_ino != connection[1] or not _is_of(mine.getsockname(), endpoint):
                return False
            if mine.family != socket.AF_UNIX:
                mine.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 1)
            mine.shutdown(socket.SHUT_RD)
    except (OSError, ValueError):
        return False
    return True


def _is_of(name: object, endpoint: str) -> bool:
    if isinstance(name, tuple):
        return endpoint.rpartition(":")[2] == str(name[1])
    text = os.fsdecode(name) if isinstance(name, bytes) else str(name)
    return endpoint.removeprefix("ipc://") == text.replace("\0", "@", 1)
