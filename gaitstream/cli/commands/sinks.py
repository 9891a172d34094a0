"""`gaitstream sink`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
from pathlib import Path

from gaitstream.cli.commands.events import read_since
from gaitstream.cli.commands.journals import journal_of
from gaitstream.errors import ConfigError
from gaitstream.events.documents import kinds
from gaitstream.events.follower import Follower
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
    return _run(args, Mqtt(args.broker, topics, user=args.user, password=password, tls=args.tls))


def webhook(args: argparse.Namespace) -> int:
    """To an address."""
    return _run(args, Webhook(args.url, _secret(args.secret_file), args.timeout))


def kafka(args: argparse.Namespace) -> int:
    """To a topic."""
    settings = {}
    for setting in args.set:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set: {setting!r} is no KEY=VALUE")
        settings[name] = value
    return _run(args, Kafka(args.bootstrap, args.kafka_topic, settings), batch=1000)


def _run(args: argparse.Namespace, sink: Sink, batch: int = 100) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    journal = journal_of(args)
    cursor = args.cursor or journal.with_name(f"{journal.name}.{args.kind}.cursor")
    topics = args.topic or [f"{kind.family}" for kind in kinds() if kind is not PipelineStats]
    pump = Pump(
        Follower(journal, topics=topics, since=read_since(args.since), cursor=cursor), sink, batch=batch
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: pump.stop())
    try:
        pump.run(once=args.once)
    finally:
        sink.close()
    logging.info("%d events passed on, %d refused, %d lost", pump.passed, pump.refused, pump.lost)
    return 0


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
