"""`gaitstream watch` and `gaitstream events`."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from gaitstream.addresses import DEFAULT_ENDPOINT
from gaitstream.errors import ConfigError
from gaitstream.events import Notice, Received, Subscriber
from gaitstream.events.codec import plain, plain_json
from gaitstream.events.documents import asyncapi, field_table, json_schema
from gaitstream.events.identifiers import parse_time
from gaitstream.events.readable import ReadableFilter, readable

PATIENCE_S = 5.0
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What JSON need not escape, and a terminal obeys: control characters, and those that turn text around."""


def tail(args: argparse.Namespace) -> int:
    """Print events as JSON, each with its topic."""
    since = "beginning" if args.beginning else args.since
    with _subscribe(args, since, args.topic or ("",)) as subscriber:
        for number, received in enumerate(subscriber, 1):
            sys.stdout.buffer.write(_line(received))
            sys.stdout.flush()
            if number == args.count:
                break
    return 0


def watch(args: argparse.Namespace) -> int:
    """Print what people want to know of events."""
    choice = ReadableFilter(frozenset(args.camera or ()), frozenset(args.person or ()), everything=args.all)
    shown = 0
    with _subscribe(args, args.since, ("",)) as subscriber:
        for received in subscriber:
            if choice.takes(received.event):
                print(_writable(readable(received.event)), flush=True)
                shown += 1
                if shown == args.count:
                    break
    return 0


def schema(args: argparse.Namespace) -> int:
    """Print a document that describes the events."""
    if args.table:
        print(field_table(), end="")
        return 0
    document = asyncapi() if args.asyncapi else json_schema()
    print(msgspec.json.format(msgspec.json.encode(document)).decode())
    return 0


def read_since(text: str) -> str | int:
    """`now`, `beginning`, or UTC nanoseconds.

    Raises:
        ConfigError: it is no time.
    """
    return text if text in ("now", "beginning") else read_time(text)


def read_time(text: str) -> int:
    """UTC nanoseconds of a time, of so long ago, or of `now`.

    Raises:
        ConfigError: it is no time.
    """
    try:
        return time.time_ns() if text == "now" else parse_time(text)
    except ValueError as error:
        raise ConfigError(str(error)) from error


@contextmanager
def _subscribe(
    args: argparse.Namespace, since: str, topics: tuple[str, ...] | list[str]
) -> Iterator[Subscriber]:
    endpoints = args.endpoint or [DEFAULT_ENDPOINT]
    begin = read_since(since)
    check_keys(args)
    with Subscriber(
        endpoints, args.replay, topics=topics, since=begin, fleet=args.fleet,  # type: ignore[arg-type]
        key=args.key, server_key=one_or_all(args.server_key), on_notice=tell,
    ) as subscriber:  # fmt: skip
        if args.wait:
            where = "the fleet's workers" if args.fleet else ", ".join(endpoints)
            print(f"waiting for {where}", file=sys.stderr, flush=True)
        else:
            subscriber.wait_connected(PATIENCE_S)
        yield subscriber


def check_keys(args: argparse.Namespace) -> None:
    """Refuse one half of what a publisher with keys needs; a fleet knows its publishers' keys.

    Raises:
        ConfigError: one of both options is missing.
    """
    if args.fleet is None and (args.key is None) != (args.server_key is None):
        missing = "--server-key server.pub" if args.server_key is None else "--key NAME.key"
        raise ConfigError(f"a publisher with keys needs --key and --server-key; give {missing} as well")


def one_or_all(keys: list[str] | None) -> str | list[str] | None:
    """One public key for all publishers, or one for each."""
    return keys[0] if keys and len(keys) == 1 else keys


def tell(notice: Notice) -> None:
    """Say on standard error what happened to the stream."""
    count = f"{notice.events} " if notice.events else ""
    print(
        f"gaitstream: {notice.endpoint}: {notice.kind}: {count}{notice.detail}", file=sys.stderr, flush=True
    )


def _writable(text: str) -> str:
    """Letters that the terminal's encoding does not have are written out."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _line(received: Received) -> bytes:
    """One JSON object: the event with its topic and number, which events of version 1 lack."""
    data = {"topic": received.topic, **plain(received.payload)}
    data.setdefault("seq", received.seq)
    text = plain_json(data).decode()
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode() + b"\n"
