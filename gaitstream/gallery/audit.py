"""The audit log: who did what with the gallery, when; a line that is changed or missing is found.

Each line carries a link: a hash over the link before it and the line. In an encrypted gallery the hash takes
a key, so that only who has the gallery's key can write lines that fit. The number of lines and the last
link are kept apart, so that lines cut off the end are missed too. Lines name people by uid: whoever is
forgotten leaves none of the name behind.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec

from gaitstream.errors import GalleryError
from gaitstream.gallery.base import Reading, Writing
from gaitstream.gallery.sealing import Sealer

HEAD = "audit"
_START = b"\0" * 32


class AuditLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line.

    Attributes:
        time_ns: UTC nanoseconds.
        actor: who: user and machine, or what the program was told.
        action: such as `enrolled`, `renamed`, `erased`, `exported`, `searched`, `use.started`.
        person: uid of whom it was about.
        model: whose templates.
        count: how many templates, people or pictures.
        detail: one line for people, free of names and credentials.
    """

    time_ns: int
    actor: str
    action: str
    person: str = ""
    model: str = ""
    count: int = 0
    detail: str = ""


class _Kept(msgspec.Struct, frozen=True):
    line: bytes
    link: bytes


class _Head(msgspec.Struct, frozen=True, omit_defaults=True):
    number: int
    link: bytes
    tally: bytes = b""


_LINE = msgspec.json.Decoder(AuditLine)
_KEPT, _HEAD = msgspec.msgpack.Decoder(_Kept), msgspec.msgpack.Decoder(_Head)
_ACTING: ContextVar[str] = ContextVar("acting", default="")


@contextmanager
def acting(actor: str) -> Iterator[None]:
    """Within the block this thread works for somebody else: a user of the console, say."""
    token = _ACTING.set(actor)
    try:
        yield
    finally:
        _ACTING.reset(token)


def whoami(actor: str | None = None) -> str:
    """Who is worked for: the one named, else as `acting` says, else `$GAITSTREAM_ACTOR`, user and machine."""
    named = actor or _ACTING.get() or os.environ.get("GAITSTREAM_ACTOR")
    if not named:
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container without an entry for its user
            user = str(os.getuid())
        named = f"{user}@{socket.gethostname()}"
    return named.encode(errors="backslashreplace").decode()  # a command line holds any bytes


def note(
    writing: Writing,
    sealer: Sealer,
    action: str,
    *,
    person: str = "",
    model: str = "",
    count: int = 0,
    detail: str = "",
    actor: str | None = None,
) -> None:
    """Add a line, in the transaction of what it tells; fields as in `AuditLine`."""
    head = _read_head(writing, sealer) or _Head(0, _START)
    told = AuditLine(time.time_ns(), whoami(actor), action, person, model, count, detail)
    line = msgspec.json.encode(told)
    number = head.number + 1
    link = sealer.chain(head.link, line)
    writing.append_audit(number, sealer.seal(msgspec.msgpack.encode(_Kept(line, link)), f"audit/{number}"))
    writing.set(HEAD, sealer.seal(msgspec.msgpack.encode(_Head(number, link)), "audit/head"))


def copy_log(writing: Writing, old: Sealer, new: Sealer) -> list[str]:
    """Seal and chain the whole log anew; nothing is done when it has been tampered with.

    Returns:
        What is wrong with it, a line each.
    """
    problems = verify_audit(writing, old)
    if problems:
        return problems
    kept = [(number, _open(data, number, old)) for number, data in writing.audit()]
    writing.clear_audit()
    link, last = _START, 0
    for number, found in kept:
        if found is not None:
            link, last = new.chain(link, found.line), number
            sealed = new.seal(msgspec.msgpack.encode(_Kept(found.line, link)), f"audit/{number}")
            writing.append_audit(number, sealed)
    writing.set(HEAD, new.seal(msgspec.msgpack.encode(_Head(last, link)), "audit/head") if last else None)
    return []


def read_audit(reading: Reading, sealer: Sealer, after: int = 0) -> Iterator[tuple[int, AuditLine]]:
    """All lines above a number that can be read, by number."""
    for number, kept in reading.audit(after):
        found = _open(kept, number, sealer)
        if found is not None:
            yield number, _LINE.decode(found.line)


def count_audit(reading: Reading, sealer: Sealer) -> int:
    """How many lines were ever written: the number of the newest."""
    head = _read_head(reading, sealer)
    return head.number if head is not None else 0


def has_log(reading: Reading) -> bool:
    """Whether a log was begun, and with it what its head keeps."""
    return reading.setting(HEAD) is not None


def read_tally(reading: Reading, sealer: Sealer) -> int | None:
    """The sum over the gallery's rows that stands in the log's head; None without, or of a changed one."""
    try:
        head = _read_head(reading, sealer)
    except (GalleryError, ValueError):
        return None
    return int.from_bytes(head.tally, "big") if head is not None and head.tally else None


def write_tally(writing: Writing, sealer: Sealer, tally: int) -> None:
    """Keep the sum in the log's head; `gaitstream.gallery.tally` says what it is for."""
    head = _read_head(writing, sealer) or _Head(0, _START)
    head = msgspec.structs.replace(head, tally=tally.to_bytes(32, "big"))
    writing.set(HEAD, sealer.seal(msgspec.msgpack.encode(head), "audit/head"))


def verify_audit(reading: Reading, sealer: Sealer) -> list[str]:
    """What is wrong with the log, a line each."""
    found: list[str] = []
    expected, link = 1, _START
    for number, data in reading.audit():
        kept = _open(data, number, sealer)
        if number != expected:
            found.append(f"audit lines {expected} to {number - 1} are missing")
        elif kept is None or sealer.chain(link, kept.line) != kept.link:
            found.append(f"audit line {number} was changed")
        link = kept.link if kept is not None else b""
        expected = number + 1
    try:
        head = _read_head(reading, sealer) or _Head(0, _START)
    except (GalleryError, ValueError):
        return [*found, "the end of the audit log was changed"]
    if head.number >= expected:
        found.append(f"audit lines {expected} to {head.number} are missing")
    elif head.number != expected - 1 or (not found and head.link != link):
        found.append("the end of the audit log was changed")
    return found


def _open(data: bytes, number: int, sealer: Sealer) -> _Kept | None:
    try:
        return _KEPT.decode(sealer.open(data, f"audit/{number}"))
    except (GalleryError, ValueError):
        return None


def _read_head(reading: Reading, sealer: Sealer) -> _Head | None:
    kept = reading.setting(HEAD)
    return _HEAD.decode(sealer.open(kept, "audit/head")) if kept else None
