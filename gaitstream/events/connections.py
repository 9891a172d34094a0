"""ZeroMQ's connections by their descriptors: which one is meant, and how to end it without harm to ZeroMQ."""

from __future__ import annotations

import os
import socket

Connection = tuple[int, int]
"""Descriptor and inode: together they are never another connection's while this one is open."""


def connection_of(descriptor: int) -> Connection | None:
    """Which connection a descriptor is now; None for a closed one."""
    try:
        return descriptor, os.fstat(descriptor).st_ino
    except OSError:
        return None


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
