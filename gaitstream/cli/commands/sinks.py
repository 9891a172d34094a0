"""`gaitstream sink`."""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import signal
from pathlib import Path

from gaitstream.cli.commands.events import read_since
from gaitstream.cli.commands.journals import journal_of
from gaitstream.errors import ConfigError
from gaitstream.events.documents import kinds
from gaitstream.events.follower import Follower
from gaitstream.events.positions import Positions
from gaitstream.events.schema import PipelineStats
from gaitstream.events.sinks.base import Pump, Sink
from gaitstream.events.sinks.kafka import Kafka
from gaitstream.events.sinks.mqtt import Mqtt, Topics
from gaitstream.events.sinks.webhook import Webhook

MQTT_PASSWORD = "GAITSTREAM_MQTT_PASSWORD"
WEBHOOK_SECRET = "GAITSTREAM_WEBHOOK_SECRET"


def mqtt(args: argparse.Namespace) -> int:
    """To a broker."""
    topics = Topics(args.prefix, args.discovery)
    password = os.environ.get(MQTT_PASSWORD)
    sink = Mqtt(args.broker, topics, user=args.user, password=password, tls=args.tls)
    return _run(args, sink, f"{args.broker} {args.prefix}")


def webhook(args: argparse.Namespace) -> int:
    """To an address."""
    return _run(args, Webhook(args.url, _secret(args.secret_file), args.timeout), args.url, batch=10)


def kafka(args: argparse.Namespace) -> int:
    """To a topic."""
    settings = {}
    for setting in args.set:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set: {setting!r} is no KEY=VALUE")
        settings[name] = value
    sink = Kafka(args.bootstrap, args.kafka_topic, settings)
    return _run(args, sink, f"{args.bootstrap} {args.kafka_topic}", batch=1000)


def _run(args: argparse.Namespace, sink: Sink, target: str, batch: int = 100) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    journal = journal_of(args)
    cursor = args.cursor or _default_cursor(journal, args.kind, target)
    topics = args.topic or [f"{kind.family}" for kind in kinds() if kind is not PipelineStats]
    follower = Follower(journal, topics=topics, since=read_since(args.since), cursor=cursor, exclusive=True)
    pump = Pump(follower, sink, batch=batch)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: pump.stop())
    try:
        pump.run(once=args.once)
    finally:
        sink.close()
        follower.close()
    logging.info("%d events passed on, %d refused, %d lost", pump.passed, pump.refused, pump.lost)
    return 0


def _default_cursor(journal: Path, kind: str, target: str) -> Path:
    """Beside the journal, one for each target; it goes on from the one that all targets of a kind shared."""
    name = hashlib.sha256(target.encode()).hexdigest()[:8]
    cursor = journal.with_name(f"{journal.name}.{kind}.{name}.cursor")
    shared = journal.with_name(f"{journal.name}.{kind}.cursor")
    if not cursor.exists() and (place := Positions.load(shared)) is not None:
        place.save(cursor)
        logging.info("going on from %s; delete it when all sinks of this kind have been started", shared)
    return cursor


def _secret(path: Path | None) -> bytes:
    if path is None:
        return os.environ.get(WEBHOOK_SECRET, "").encode()
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"--secret-file: {path} cannot be read ({error})") from error
    if not secret:
        raise ConfigError(f"--secret-file: {path} is empty")
    return secret
