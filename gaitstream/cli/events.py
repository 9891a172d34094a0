"""Commands of the event bus: listening, watching, exporting, passing on, hand-off, keys."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.addresses import DEFAULT_ENDPOINT, HANDOFF_ENDPOINT
from gaitstream.cli.numbers import counting, positive

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

SINCE = "TIME"
SINCE_HELP = "begin there: now, beginning, 2026-11-26T03:25 (UTC), or so long ago: 30s, 15m, 2h, 7d"


def add(commands: Commands) -> None:
    """Add this group's commands."""
    _add_watch(commands)
    _add_events(commands)
    _add_sink(commands)
    _add_handoff(commands)
    _add_keys(commands)


def _add_watch(commands: Commands) -> None:
    watch = commands.add_parser("watch", help="show who is seen where, one readable line each")
    _connection(watch)
    _wait(watch)
    watch.add_argument("--camera", action="append", metavar="ID", help="only this camera")
    watch.add_argument("--person", action="append", metavar="NAME", help="only this person, by name or id")
    watch.add_argument("--all", action="store_true", help="also provisional answers, tracks and statistics")
    watch.add_argument("--since", default="now", metavar=SINCE, help=f"{SINCE_HELP} (default: now)")
    watch.add_argument("--count", type=counting, metavar="N", help="stop after N lines")
    watch.set_defaults(handler="events:watch")


def _add_events(commands: Commands) -> None:
    events = commands.add_parser("events", help="listen to the event bus, export its journal")
    actions = events.add_subparsers(dest="action", metavar="ACTION", required=True)
    tail = actions.add_parser("tail", help="print events as they come, one JSON object per line")
    _connection(tail)
    _wait(tail)
    tail.add_argument("--topic", action="append", metavar="PREFIX", help="only these: identity/, camera/gate")
    tail.add_argument("--since", default="now", metavar=SINCE, help=f"{SINCE_HELP} (default: now)")
    tail.add_argument("--beginning", action="store_true", help="the same as --since beginning")
    tail.add_argument("--count", type=counting, metavar="N", help="stop after N events")
    tail.set_defaults(handler="events:tail")

    export = actions.add_parser(
        "export", help="write a journal's events to a file, also while a run writes it"
    )
    _journal(export)
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="- for standard output")
    export.add_argument(
        "--format", choices=("jsonl", "csv", "parquet"),
        help="default: by the file's ending; jsonl without one",
    )  # fmt: skip
    export.add_argument(
        "--topic", action="append", metavar="PREFIX", help="only these: identity/, camera/gate"
    )
    export.add_argument("--since", default="beginning", metavar=SINCE, help=f"{SINCE_HELP}")
    export.add_argument(
        "--until", metavar=SINCE, help="leave out what was published from then on: now, a time, or 2h"
    )
    export.set_defaults(handler="journals:export")

    schema = actions.add_parser("schema", help="print the events' JSON Schema")
    form = schema.add_mutually_exclusive_group()
    form.add_argument("--asyncapi", action="store_true", help="an AsyncAPI 3.0 document instead")
    form.add_argument("--table", action="store_true", help="a table of all fields in Markdown instead")
    schema.set_defaults(handler="events:schema")


def _add_sink(commands: Commands) -> None:
    sink = commands.add_parser(
        "sink",
        help="pass events on to MQTT, a webhook or Kafka",
        description="A process of its own that reads the journal with its own cursor: where the other side "
        "is away, it waits, and the run notices nothing. Events are passed on at least once; event_id tells "
        "repeated ones.",
    )
    kinds = sink.add_subparsers(dest="kind", metavar="KIND", required=True)
    mqtt = kinds.add_parser("mqtt", help="an MQTT broker, with Home Assistant discovery")
    _sink(mqtt)
    mqtt.add_argument(
        "--broker", default="127.0.0.1:1883", metavar="HOST:PORT", help="(default: %(default)s)"
    )
    mqtt.add_argument("--user", metavar="NAME", help="the password comes from GAITSTREAM_MQTT_PASSWORD")
    mqtt.add_argument("--tls", action="store_true", help="with the system's certificates")
    mqtt.add_argument("--prefix", default="gaitstream", metavar="TOPIC", help="(default: %(default)s)")
    mqtt.add_argument(
        "--discovery", default="homeassistant", metavar="TOPIC",
        help="Home Assistant's discovery prefix; an empty one announces nothing (default: %(default)s)",
    )  # fmt: skip
    mqtt.set_defaults(handler="sinks:mqtt")
    webhook = kinds.add_parser("webhook", help="one HTTP POST for each event")
    _sink(webhook)
    webhook.add_argument("--url", required=True, metavar="URL", help="http:// or https://")
    webhook.add_argument(
        "--secret-file", type=Path, metavar="FILE",
        help="sign with HMAC-SHA-256 (else GAITSTREAM_WEBHOOK_SECRET, else unsigned)",
    )  # fmt: skip
    webhook.add_argument("--timeout", type=positive, default=10.0, metavar="S", help="(default: %(default)s)")
    webhook.set_defaults(handler="sinks:webhook")
    kafka = kinds.add_parser("kafka", help="a Kafka topic, keyed by camera")
    _sink(kafka)
    kafka.add_argument("--bootstrap", required=True, metavar="HOST:PORT", help="brokers, separated by commas")
    kafka.add_argument("--kafka-topic", default="gaitstream", metavar="NAME", help="(default: %(default)s)")
    kafka.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of librdkafka"
    )
    kafka.set_defaults(handler="sinks:kafka")


def _add_handoff(commands: Commands) -> None:
    handoff = commands.add_parser(
        "handoff",
        help="follow people from camera to camera, and correct what cameras say alone",
        description="A process of its own that listens to all publishers of a site, learns how long people "
        "take between cameras, and publishes identity.corrected and camera.handoff. While it is away, "
        "cameras decide alone.",
    )
    _connection(handoff)
    option = handoff.add_argument
    option("--journal", type=Path, required=True, metavar="DIR", help="of what it publishes")
    option(
        "--publish", default=HANDOFF_ENDPOINT, metavar="ADDRESS",
        help="where it publishes; it answers for missed events on the next port (default: %(default)s)",
    )  # fmt: skip
    option("--keys", type=Path, metavar="DIR", help="its own key, and who may listen to it")
    option("--insecure", action="store_true", help="publish to other machines without keys")
    option(
        "--state", type=Path, metavar="FILE",
        help="keeps the learned transit times (default: beside the journal)",
    )  # fmt: skip
    option(
        "--horizon", type=positive, default=600.0, metavar="S",
        help="how long somebody's last place is remembered (default: 600)",
    )  # fmt: skip
    option(
        "--lost", type=positive, default=3.5, metavar="S",
        help="more than tracking.lost_s of every camera, and three times that where tracking.algorithm is "
        "appearance (default: 3.5)",
    )  # fmt: skip
    handoff.set_defaults(handler="handoff:handoff")


def _add_keys(commands: Commands) -> None:
    keys = commands.add_parser("keys", help="who may listen to the bus from other machines")
    actions = keys.add_subparsers(dest="action", metavar="ACTION", required=True)
    new = actions.add_parser("new", help="make a pair: NAME.key (secret) and NAME.pub; the run's is 'server'")
    new.add_argument("name", metavar="NAME")
    allow = actions.add_parser("allow", help="let a public key in from now on")
    allow.add_argument("public", metavar="KEY", help="a .pub file, or the 40 characters")
    allow.add_argument("--name", help="for the list (default: the file's name)")
    revoke = actions.add_parser("revoke", help="let a key in no more; its connections end within a second")
    revoke.add_argument("who", metavar="NAME", help="or the key itself")
    listed = actions.add_parser("list", help="who may listen")
    for action, handler in ((new, "new"), (allow, "allow"), (revoke, "revoke"), (listed, "show")):
        action.add_argument(
            "--folder", type=Path, default=Path("keys"), metavar="DIR", help="events.keys (default: keys)"
        )
        action.set_defaults(handler=f"keys:{handler}")


def _wait(command: argparse.ArgumentParser) -> None:
    command.add_argument("--wait", action="store_true", help="wait for a publisher that does not answer")


def _connection(command: argparse.ArgumentParser) -> None:
    option = command.add_argument
    option(
        "--endpoint", action="append", metavar="ADDRESS",
        help=f"of a publisher, may be repeated (default: {DEFAULT_ENDPOINT})",
    )  # fmt: skip
    option(
        "--replay", action="append", metavar="ADDRESS", help="of its replay socket (default: the next port)"
    )
    option("--fleet", metavar="URL", help="database of a fleet: all its workers, also those that come later")
    option("--key", type=Path, metavar="FILE", help="this listener's .key file, where keys are asked for")
    option("--server-key", action="append", metavar="KEY", help="the publisher's .pub file or key")


def _journal(command: argparse.ArgumentParser) -> None:
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--journal", type=Path, metavar="DIR", help="the journal's folder")
    where.add_argument("--cameras", type=Path, metavar="FILE", help="the cams.yaml that says where it is")


def _sink(command: argparse.ArgumentParser) -> None:
    _journal(command)
    command.add_argument(
        "--topic", action="append", metavar="PREFIX", help="only these (default: all but stats)"
    )
    command.add_argument(
        "--cursor",
        type=Path,
        metavar="FILE",
        help="how far it came (default: beside the journal, one for each target)",
    )
    command.add_argument(
        "--since", default="now", metavar=SINCE, help=f"the first time, {SINCE_HELP} (default: now)"
    )
    command.add_argument("--once", action="store_true", help="stop when all that is there was passed on")
