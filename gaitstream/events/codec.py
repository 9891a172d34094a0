"""Events to bytes and back: JSON, which every language reads, or msgpack, which is smaller and faster."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from gaitstream.errors import EventError
from gaitstream.events.identifiers import Clock, EventIds
from gaitstream.events.schema import SCHEMA, AnyEvent, Event, Unrecognised

Wire = Literal["json", "msgpack"]

_json_encoder = msgspec.json.Encoder()
_msgpack_encoder = msgspec.msgpack.Encoder()
_json: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_msgpack: msgspec.msgpack.Decoder[AnyEvent] = msgspec.msgpack.Decoder(AnyEvent)
_clock = Clock()
_replace = msgspec.structs.replace


def _without_json(value: object) -> object:
    """Something msgpack has and JSON does not: bytes become base64, all else text."""
    return value.data if isinstance(value, msgspec.msgpack.Ext) else str(value)


_plain_encoder = msgspec.json.Encoder(enc_hook=_without_json)


class MalformedError(EventError):
    """Bytes that are no event."""


def encode(event: Event, wire: Wire = "json") -> bytes:
    """One object: JSON in UTF-8, or msgpack.

    Raises:
        EventError: a field has what cannot be written.
    """
    try:
        return _json_encoder.encode(event) if wire == "json" else _msgpack_encoder.encode(event)
    except (UnicodeEncodeError, OverflowError) as error:
        raise _unwritable(event, error) from error


def decode(payload: bytes | memoryview) -> Event:
    """The event in a payload of either kind; `Unrecognised` for what this version does not know.

    An event of version 1 gets `captured_at`; what else the envelope lacked then stays empty.

    Raises:
        MalformedError: the bytes are no JSON and no msgpack object with text as keys.
    """
    text = payload[:1] == b"{"
    try:
        event: Event = _json.decode(payload) if text else _msgpack.decode(payload)
    except (msgspec.ValidationError, RecursionError):
        return _unrecognised(plain(payload))
    except (ValueError, TypeError, OverflowError) as error:
        raise MalformedError(f"{len(payload)} bytes are no event ({error})") from error
    if event.schema == SCHEMA:
        return event
    if event.schema > SCHEMA:  # its fields may mean something else now
        return _unrecognised(plain(payload))
    return _replace(event, captured_at=event.captured_at or _clock.text(event.time_ns))


def plain(payload: bytes | memoryview) -> dict[str, Any]:
    """A payload of either kind as plain data.

    Raises:
        MalformedError: as for `decode`.
    """
    try:
        data = msgspec.json.decode(payload) if payload[:1] == b"{" else msgspec.msgpack.decode(payload)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedError(f"{len(payload)} bytes are no event ({error})") from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise MalformedError(f"{len(payload)} bytes are no event (no object with text as keys)")
    return data


def plain_json(data: object) -> bytes:
    """What `plain` gave, or a part of it, as JSON; values that JSON does not have become text."""
    return _plain_encoder.encode(data)


def _unrecognised(data: dict[str, Any]) -> Unrecognised:
    texts = {name: data[name] for name in _TEXTS if isinstance(data.get(name), str)}
    numbers = {name: data[name] for name in ("schema", "seq", "time_ns") if type(data.get(name)) is int}
    return Unrecognised(**{"time_ns": 0, **texts, **numbers}, kind=str(data.get("type", "")), data=data)


_TEXTS = ("event_id", "publisher", "run", "epoch", "captured_at", "published_at")


class Stamp:
    """Fills the envelope of events on their way into one journal. Use it from one thread at a time.

    Args:
        publisher: id of the journal.
        epoch: of this opening.
        wire: how to encode.
    """

    def __init__(self, publisher: str, epoch: str, wire: Wire = "json") -> None:
        self.publisher = publisher
        self.epoch = epoch
        self._to_bytes = _json_encoder.encode if wire == "json" else _msgpack_encoder.encode
        self._next_id = EventIds().next
        self._captured = Clock().text
        self._published = Clock().text

    def encode(self, event: Event, seq: int, now_ns: int) -> bytes:
        """The bytes to keep and to send.

        Raises:
            EventError: a field has what cannot be written.
        """
        try:
            return self._to_bytes(
                _replace(
                    event,
                    schema=SCHEMA,
                    event_id=event.event_id or self._next_id(now_ns),
                    publisher=self.publisher,
                    epoch=self.epoch,
                    seq=seq,
                    captured_at=self._captured(event.time_ns),
                    published_at=self._published(now_ns),
                )
            )
        except (UnicodeEncodeError, OverflowError) as error:
            raise _unwritable(event, error) from error


def _unwritable(event: Event, error: Exception) -> EventError:
    """Names the field that msgspec could not write: text that is no Unicode, or a number beyond 64 bits."""
    for name in event.__struct_fields__:
        value = getattr(event, name)
        try:
            _msgpack_encoder.encode(value)
        except (UnicodeEncodeError, OverflowError):
            return EventError(
                f"{event.type}: {name} is {ascii(value)[:80]}, which cannot be written ({error}); give text "
                "without lone surrogates, and whole numbers of at most 64 bits"
            )
    return EventError(f"{event.type}: it cannot be written ({error})")
