"""One file of the journal: a header, then records that each carry their own checksum.

    header   "GSJ1", 16 bytes of journal id
    record   u32 length of the body, u32 CRC-32 of the body
             body: u64 sequence number, u16 length of the topic, topic (UTF-8), payload

All integers are big-endian. A record is written by one `write`, so a process that is killed leaves at
most one torn record, at the end of the last file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from gaitstream.errors import EventError

MAGIC = b"GSJ1"
HEADER_BYTES = len(MAGIC) + 16
_FRAME = struct.Struct(">II")
_BODY = struct.Struct(">QH")
MAX_BODY_BYTES = 16 * 1024 * 1024


class Record(NamedTuple):
    """One event as it is stored and sent."""

    topic: str
    seq: int
    payload: bytes


class Torn(Exception):  # noqa: N818 - not an error the caller sees: it marks where a file stops being readable
    """The bytes at `offset` are no record."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(offset)


def pack(record: Record) -> bytes:
    """A record's bytes.

    Raises:
        EventError: it is larger than 16 MiB.
    """
    topic = record.topic.encode()
    body = _BODY.pack(record.seq, len(topic)) + topic + record.payload
    if len(body) > MAX_BODY_BYTES:
        raise EventError(
            f"an event of {len(body)} bytes on {record.topic}: at most {MAX_BODY_BYTES} are allowed"
        )
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def unpack(data: bytes | memoryview, offset: int) -> tuple[Record, int]:
    """The record at `offset` and the offset behind it.

    Raises:
        Torn: there is no whole, undamaged record.
    """
    start = offset + _FRAME.size
    if start > len(data):
        raise Torn(offset)
    length, crc = _FRAME.unpack_from(data, offset)
    body = bytes(data[start : start + length])
    if not _BODY.size <= length <= MAX_BODY_BYTES or len(body) != length or zlib.crc32(body) != crc:
        raise Torn(offset)
    seq, topic_bytes = _BODY.unpack_from(body)
    split = _BODY.size + topic_bytes
    return Record(body[_BODY.size : split].decode(), seq, body[split:]), start + length


def scan(data: bytes) -> Iterator[tuple[int, Record]]:
    """Every record of a file with its offset.

    Raises:
        Torn: at the first offset that holds no record.
    """
    offset = HEADER_BYTES
    if len(data) < HEADER_BYTES:
        raise Torn(0)
    while offset < len(data):
        record, behind = unpack(data, offset)
        yield offset, record
        offset = behind
