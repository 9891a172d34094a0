"""Commands of the group run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.addresses import CONSOLE_PORT

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    _add_run(commands)
    _add_config(commands)


def _add_run(commands: Commands) -> None:
    run = commands.add_parser(
        "run",
        help="run the pipeline: cameras in, identity events out",
        description="Run the pipeline until every file has ended, or until Ctrl-C. Changes of the file are "
        "taken over while running.",
        epilog="Exit codes: 0 every file ended, or SIGTERM, SIGHUP; 1 nothing could be read, or a model or "
        "port failed; 2 wrong configuration; 3 something to install is missing; 130 Ctrl-C "
        "(a second one forces).",
    )
    option = run.add_argument
    option("--cameras", type=Path, required=True, metavar="FILE", help="the cams.yaml")
    option("--realtime", action="store_true", help="play files at their own pace")
    option("--workers", type=_count, default=1, metavar="N", help="share the cameras out to N processes")
    option("--save-video", type=Path, metavar="DIR", help="write annotated video of every camera")
    option("--save-tracklets", type=Path, metavar="DIR", help="write every track's pictures and decision")
    option("--json", action="store_true", help="log as JSON, one object per line")
    option("--no-table", action="store_true", help="log lines instead of the live table")
    option("--metrics-port", type=int, metavar="PORT", help="metrics and health checks on this local port")
    option(
        "--frontend", choices=("auto", "native", "deepstream"), default="auto",
        help="what reads, detects and tracks; auto takes DeepStream where it is installed",
    )  # fmt: skip
    option(
        "--runner", default="auto", metavar="NAME",
        help="what runs the site: auto, or the name of one that another package brings",
    )  # fmt: skip
    option("--console", action="store_true", help="also serve the console, on loopback")
    option("--console-port", type=int, metavar="PORT", help=f"of the console (default: {CONSOLE_PORT})")
    option("--view", action="store_true", help="DeepStream: offer annotated pictures on loopback")
    option("--insecure", action="store_true", help="publish to other machines without keys")
    option("--verbose", action="store_true", help="log more")
    run.set_defaults(handler="run:run")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _add_config(commands: Commands) -> None:
    config = commands.add_parser("config", help="check and describe cams.yaml")
    actions = config.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="check a file; exit code 2 when it is wrong")
    check.add_argument("file", help="the cams.yaml")
    check.add_argument("--open", action="store_true", help="also read one picture of every camera")
    check.set_defaults(handler="config_check:check")
    schema = actions.add_parser("schema", help="print the JSON Schema, for editors")
    schema.set_defaults(handler="config:schema")
    reference = actions.add_parser("reference", help="print the configuration reference in Markdown")
    reference.set_defaults(handler="config:print_reference")
