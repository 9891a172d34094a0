"""The `gaitstream` command.

Each module of this package declares a group of commands; what they do is in `commands/`, which is imported
when one runs: `set_defaults(handler="bench:plan")` names the function `plan` of `commands/bench.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from gaitstream import __version__
from gaitstream.cli.lazy import CommandParser
from gaitstream.errors import GaitstreamError, MissingExtraError
from gaitstream.telemetry.logs import json_line

Handler = Callable[[argparse.Namespace], int]
GROUPS = (
    "run", "tuning", "people", "gallery", "visitors", "evidence", "events", "console", "models", "synth",
    "bench", "deepstream", "fleet",
)  # fmt: skip
"""Modules `gaitstream.cli.<name>` with a function `add(commands)`, in the order of the help text."""


def build_parser() -> CommandParser:
    """The whole command tree; imports argparse and the small command modules only."""
    parser = CommandParser(
        prog="gaitstream",
        description="Real-time, multi-camera gait identification: cameras in, identity events out.",
    )
    parser.add_argument("--version", action="version", version=f"gaitstream {__version__}")
    parser.add_argument("--debug", action="store_true", help="show a traceback for every error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for group in GROUPS:
        importlib.import_module(f"gaitstream.cli.{group}").add(commands)
    return parser


def find_handler(handler: str | Handler) -> Handler:
    """The function that a command's `handler` names, as `module:function` of `gaitstream.cli.commands`."""
    if not isinstance(handler, str):
        return handler
    module, _, name = handler.partition(":")
    found: Handler = getattr(importlib.import_module(f"gaitstream.cli.commands.{module}"), name)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 on success, 1 on a runtime error, 2 on a wrong argument or configuration, 3 on a missing extra,
        130 when interrupted.
    """
    write_anything()
    args = parse(argv)
    try:
        code = int(find_handler(args.handler)(args) or 0)
        sys.stdout.flush()
        return code
    except GaitstreamError as error:
        if args.debug:
            raise
        complain(args, str(error), error.exit_code)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        # An install without what it needs, as with --no-deps; a module of our own that is missing is a fault.
        if args.debug or error.name is None or error.name.partition(".")[0] == "gaitstream":
            raise
        complain(args, incomplete(error.name), MissingExtraError.exit_code)
        return MissingExtraError.exit_code
    except BrokenPipeError:
        # The reader, `head` say, has seen enough; without this Python complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        if args.debug or not getattr(args, "json", False):
            raise
        complain(args, traceback.format_exc(), 1)
        return 1


def write_anything() -> None:
    r"""Have what the encoding of the output lacks written as `\u2713`, in place of an error half way."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what is wrong with it is said as JSON where `--json` is in it."""
    words = sys.argv[1:] if argv is None else argv
    if "--json" not in words:
        return build_parser().parse_args(argv)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return build_parser().parse_args(argv)
    except SystemExit as stop:
        if stop.code:
            complain(argparse.Namespace(json=True), said.getvalue().strip().splitlines()[-1], int(stop.code))
        raise


def incomplete(module: str) -> str:
    """What to say where a module is missing that is no extra's, or one beside an extra's."""
    return (
        f"the Python module {module!r} is not installed: 'pip install gaitstream' brings what every command "
        "needs, and an extra what it needs beside that, such as 'gaitstream[export]'"
    )


def complain(args: argparse.Namespace, text: str, code: int) -> None:
    """Say on standard error why a command fails; as JSON where it was asked for."""
    if getattr(args, "json", False):
        text = json_line(text, level="critical", exit_code=code)
    print(text if getattr(args, "json", False) else f"gaitstream: {text}", file=sys.stderr)
