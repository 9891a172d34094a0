"""Commands of the console: serving it, and who may use it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.addresses import CONSOLE_PORT, DEFAULT_ENDPOINT
from gaitstream.cli.numbers import days

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    console = commands.add_parser(
        "console",
        help="the web page and the REST interface of a site",
        description="Serve the console: events as they come and as they were, people, health. It listens to "
        "the bus and works on the gallery; the run notices nothing of it. The first start makes an "
        "administrator and prints the password once.",
    )
    add_serving(console)
    console.set_defaults(handler="console:serve_console")
    actions = console.add_subparsers(dest="action", metavar="ACTION", required=False)
    _add_users(actions)
    _add_tokens(actions)


def add_serving(console: argparse.ArgumentParser) -> None:
    """What a console is told: where it listens, and what it knows."""
    option = console.add_argument
    option("--cameras", type=Path, metavar="FILE", help="the cams.yaml: cameras, models, gallery, bus")
    option(
        "--events", action="append", metavar="ADDRESS",
        help=f"of a publisher, may be repeated (default: as cams.yaml says, else {DEFAULT_ENDPOINT})",
    )  # fmt: skip
    option(
        "--replay", action="append", metavar="ADDRESS", help="of its replay socket (default: the next port)"
    )
    option(
        "--events-key", type=Path, metavar="FILE", help="the console's .key file, where keys are asked for"
    )
    option("--server-key", action="append", metavar="KEY", help="the publisher's .pub file or key")
    option("--gallery", metavar="FILE", help="the gallery's file or URL (default: as cams.yaml says)")
    option("--key", metavar="SOURCE", help="its key, as gallery.key in cams.yaml")
    option("--history", metavar="FILE", help="of the history: a file or postgresql:// (default: in --state)")
    option("--keep-days", type=days, metavar="N", help="older events leave the history (default: never)")
    option(
        "--journal", type=Path, action="append", default=[], metavar="DIR",
        help="an event journal from which the names of whoever is forgotten are erased",
    )  # fmt: skip
    option("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on (default: %(default)s)")
    option("--port", type=int, default=CONSOLE_PORT, metavar="PORT", help="(default: %(default)s)")
    option("--name", action="append", default=[], metavar="HOST", help="a host name it answers to")
    option(
        "--tls-certificate", type=Path, metavar="FILE", help="PEM; needed where other machines can reach it"
    )
    option("--tls-key", type=Path, metavar="FILE", help="its private key")
    option(
        "--behind-proxy", action="append", default=[], metavar="ADDRESS",
        help="of a proxy that does TLS: its X-Forwarded-For and X-Forwarded-Proto are believed",
    )  # fmt: skip
    _state(console)


def _add_users(actions: Commands) -> None:
    users = actions.add_parser("users", help="who may log in")
    verbs = users.add_subparsers(dest="verb", metavar="VERB", required=True)
    listed = verbs.add_parser("list", help="all of them")
    added = verbs.add_parser("add", help="add one; the password is read from the terminal, or printed once")
    added.add_argument("name", metavar="NAME")
    added.add_argument("--role", choices=("viewer", "operator", "administrator"), default="viewer")
    added.add_argument(
        "--camera", action="append", metavar="ID", help="sees only this camera; may be repeated"
    )
    changed = verbs.add_parser("change", help="give one another role, or other cameras")
    changed.add_argument("name", metavar="NAME")
    changed.add_argument("--role", choices=("viewer", "operator", "administrator"), required=True)
    changed.add_argument("--camera", action="append", metavar="ID", help="sees only this camera; else all")
    removed = verbs.add_parser("remove", help="remove one with sessions and tokens")
    removed.add_argument("name", metavar="NAME")
    password = verbs.add_parser("password", help="give one another password; all sessions and tokens end")
    password.add_argument("name", metavar="NAME")
    for verb, handler in (
        (listed, "list_users"), (added, "add_user"), (changed, "change_user"), (removed, "remove_user"),
        (password, "set_password"),
    ):  # fmt: skip
        _state(verb)
        verb.set_defaults(handler=f"console:{handler}")


def _add_tokens(actions: Commands) -> None:
    tokens = actions.add_parser("tokens", help="what programs show to the REST interface")
    verbs = tokens.add_subparsers(dest="verb", metavar="VERB", required=True)
    listed = verbs.add_parser("list", help="all of them")
    added = verbs.add_parser("add", help="make one; it is printed once")
    removed = verbs.add_parser("remove", help="revoke one")
    for verb in (added, removed):
        verb.add_argument("user", metavar="USER", help="whom it acts for")
        verb.add_argument("name", metavar="NAME", help="of the token")
    added.add_argument(
        "--scope", action="append", metavar="SCOPE", help="such as events:read (default: all of the role)"
    )
    for verb, handler in ((listed, "list_tokens"), (added, "add_token"), (removed, "remove_token")):
        _state(verb)
        verb.set_defaults(handler=f"console:{handler}")


def _state(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--state", type=Path, default=argparse.SUPPRESS, metavar="DIR",
        help="the console's folder: accounts, history (default: console, beside cams.yaml)",
    )  # fmt: skip
