"""Journals of version 1, turned into version 2 when they are opened.

    header   "GSJ1", 16 bytes of journal id
    record   u32 length, u32 CRC-32 of the body; body: u64 number within the topic, u16 length of the topic,
             topic, payload. A record without a topic, at the start of a file, holds the last number by topic.

Numbers counted by topic there and count through the whole journal here: an event's is the number of events
before it. Each file is converted by itself and replaced at once, so it may be interrupted anywhere.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gaitstream.errors import EventError
from gaitstream.events.segment import Header, Record, pack, pack_header

MAGIC = b"GSJ1"
_HEADER_BYTES = 20
_FRAME = struct.Struct(">II")
_BODY = struct.Struct(">QH")


class _Time(msgspec.Struct):
    time_ns: int = 0


def migrate(directory: Path) -> int:
    """Convert what is of version 1; returns the number of files.

    Raises:
        EventError: there is no room for it; nothing was changed that is not whole.
    """
    done = 0
    for path in sorted(directory.glob("*.journal")):
        try:
            with path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    continue
            _convert(path)
        except OSError as error:
            raise EventError(
                f"{path}: a journal of an earlier version cannot be converted ({error}); free space, or move "
                f"{directory} away to begin a new journal"
            ) from error
        done += 1
    return done


def _convert(path: Path) -> None:
    data = path.read_bytes()
    journal = data[len(MAGIC) : _HEADER_BYTES].ljust(16, b"\0")
    epoch = journal[:8].hex()
    head, out = 0, list[bytes]()
    first, first_ns = 1, 0
    for topic, payload in _records(data):
        if not topic:
            head = sum(msgspec.json.decode(payload, type=dict[str, int]).values())
            first = head + 1
            continue
        head += 1
        time_ns = _time(payload)
        first_ns = first_ns or time_ns
        out.append(pack(Record(topic, head, payload, time_ns, epoch)))
    epochs = msgspec.json.encode([(epoch, 1)])
    start = pack_header(Header(journal, first, first_ns)) + pack(Record("", first, epochs, first_ns, epoch))
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(start + b"".join(out))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _records(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Topic and payload of every undamaged record."""
    offset = _HEADER_BYTES
    while offset + _FRAME.size <= len(data):
        length, crc = _FRAME.unpack_from(data, offset)
        body = data[offset + _FRAME.size : offset + _FRAME.size + length]
        offset += _FRAME.size + length
        if len(body) != length or length < _BODY.size or zlib.crc32(body) != crc:
            continue
        _, topic_bytes = _BODY.unpack_from(body)
        split = _BODY.size + topic_bytes
        yield body[_BODY.size : split].decode(errors="replace"), body[split:]


def _time(payload: bytes) -> int:
    try:
        return max(0, msgspec.json.decode(payload, type=_Time).time_ns)
    except (ValueError, RecursionError):
        return 0
