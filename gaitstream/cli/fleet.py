"""Commands of the fleet: one site on many machines."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.addresses import DEFAULT_ENDPOINT, FREE_ENDPOINT
from gaitstream.cli.numbers import natural, positive
from gaitstream.config.names import NAME_PATTERN

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    _add_worker(commands)
    fleet = commands.add_parser("fleet", help="one site on many machines")
    actions = fleet.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_up(actions)
    _add_watching(actions)
    _add_events(actions)
    demo = actions.add_parser("demo", help="four nodes on this machine; one dies, its cameras move")
    demo.add_argument("--seconds", type=float, default=60.0, metavar="S", help="(default: %(default)s)")
    demo.add_argument(
        "--folder", type=Path, metavar="DIR", help="keep what it writes (default: a temporary one)"
    )
    _database(demo, "an empty database; without it a PostgreSQL server is started")
    demo.set_defaults(handler="fleet:demo")


def _add_worker(commands: Commands) -> None:
    worker = commands.add_parser(
        "worker",
        help="run cameras of a fleet on this machine",
        description="Takes as many cameras of the fleet as this machine carries, and gives them back when it "
        "ends. Start it under systemd or Kubernetes; 'gaitstream fleet up' starts it on Ray.",
        epilog="Exit codes as of 'gaitstream run'.",
    )
    _database(worker)
    option = worker.add_argument
    option("--key", metavar="SOURCE", default="env:GAITSTREAM_FLEET_KEY", help="as fleet.key in cams.yaml")
    option("--node", type=_node, metavar="NAME", help="this machine (default: its host name)")
    option("--slot", type=natural, default=0, metavar="N", help="number of the worker on it (default: 0)")
    option(
        "--capacity",
        type=positive,
        metavar="N",
        help="cameras it carries (default: fleet.nodes, or measured)",
    )
    option(
        "--label", type=_label, action="append", default=[], metavar="NAME", help="what cameras may ask for"
    )
    option(
        "--endpoint", default=DEFAULT_ENDPOINT, metavar="ADDRESS",
        help="where its events are published; other machines need keys (default: %(default)s)",
    )  # fmt: skip
    option(
        "--address",
        default="",
        metavar="HOST",
        help="of this machine for others (default: as the database sees it)",
    )
    option("--journal", type=Path, metavar="DIR", help="its journal (default: in the user's data folder)")
    option("--keys", type=Path, metavar="DIR", help="its keys, as events.keys")
    option("--metrics-port", type=int, metavar="PORT", help="metrics and health checks on this local port")
    option("--json", action="store_true", help="log as JSON, one object per line")
    option("--insecure", action="store_true", help="publish to other machines without keys")
    option("--verbose", action="store_true", help="log more")
    option("--with-parent", action="store_true", help="end in order when the process that started it ends")
    worker.set_defaults(handler="fleet:worker")


def _add_up(actions: Commands) -> None:
    up = actions.add_parser(
        "up",
        help="put a site into the fleet, and start workers on a Ray cluster",
        description="Seals the cams.yaml into the fleet's database, where every worker finds it; run it "
        "again after every change. With --address it also starts the workers of every Ray node, as detached "
        "actors.",
    )
    up.add_argument("--cameras", type=Path, required=True, metavar="FILE", help="the cams.yaml")
    up.add_argument(
        "--address", metavar="ADDRESS",
        help="of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT; without it workers are started by others",
    )  # fmt: skip
    up.add_argument(
        "--state", type=Path, metavar="DIR", help="where the nodes keep journals (default: user's data)"
    )
    up.add_argument(
        "--listen", default="127.0.0.1", metavar="HOST",
        help="interface the workers publish on; 0.0.0.0 needs events.keys or --insecure "
        "(default: %(default)s)",
    )  # fmt: skip
    up.add_argument("--insecure", action="store_true", help="publish to other machines without keys")
    up.add_argument(
        "--replace", action="store_true",
        help="also when the site at work in the database opens with another key, or has none of the cameras",
    )  # fmt: skip
    _database(up, "without it fleet.url counts")
    up.set_defaults(handler="fleet:up")
    down = actions.add_parser("down", help="stop every camera, and the workers on Ray")
    down.add_argument("--address", metavar="ADDRESS", help="of the Ray cluster")
    _database(down)
    down.set_defaults(handler="fleet:down")


def _add_watching(actions: Commands) -> None:
    status = actions.add_parser("status", help="cameras by worker, load, delay, since when")
    _database(status)
    status.add_argument("--json", action="store_true", help="as one JSON object")
    status.add_argument("--watch", action="store_true", help="again every second")
    status.set_defaults(handler="fleet:status")
    drain = actions.add_parser("drain", help="move all cameras of a node to others")
    drain.add_argument("node", metavar="NODE")
    drain.add_argument("--undo", action="store_true", help="let it take cameras again")
    _database(drain)
    drain.set_defaults(handler="fleet:drain")


def _add_events(actions: Commands) -> None:
    collect = actions.add_parser(
        "collect",
        help="write the events of all workers into one journal",
        description="Follows every worker, also those that come later, and writes each event once; sinks, "
        "exports and 'gaitstream sink' read that journal as any other.",
    )
    _database(collect)
    collect.add_argument("--journal", type=Path, required=True, metavar="DIR", help="where to")
    collect.add_argument("--topic", action="append", metavar="PREFIX", help="only these")
    collect.add_argument("--key", type=Path, metavar="FILE", help="this listener's .key file")
    collect.add_argument("--for", type=float, dest="seconds", metavar="S", help="stop after so long")
    collect.set_defaults(handler="fleet:collect")
    serve = actions.add_parser(
        "serve", help="serve the journal of a worker whose machine is gone, from its volume"
    )
    _database(serve)
    serve.add_argument("--journal", type=Path, required=True, metavar="DIR", help="the journal's folder")
    serve.add_argument("--endpoint", default=FREE_ENDPOINT, metavar="ADDRESS", help="(default: %(default)s)")
    serve.add_argument("--address", default="", metavar="HOST", help="of this machine for others")
    serve.add_argument("--keys", type=Path, metavar="DIR", help="as events.keys")
    serve.add_argument("--insecure", action="store_true", help="serve other machines without keys")
    serve.set_defaults(handler="fleet:serve")


def _database(command: argparse.ArgumentParser, note: str = "") -> None:
    help_ = "of the fleet's database, postgresql://... (default: $GAITSTREAM_FLEET)"
    command.add_argument("--fleet", metavar="URL", help=f"{help_}; {note}" if note else help_)


def _node(text: str) -> str:
    """A machine's name: it is part of the name of a folder."""
    if not re.fullmatch(r"[^\s/]{1,200}", text) or not text.isprintable() or text in (".", ".."):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name of a machine: 1 to 200 characters, and no space or '/' among them"
        )
    return text


def _label(text: str) -> str:
    """As cams.yaml has them; another one would be asked for by no camera."""
    if not re.fullmatch(NAME_PATTERN, text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no label: a letter or a digit, then up to 63 letters, digits, '_', '.' and '-'"
        )
    return text
