"""The `gaitstream` command.

Each module of this package adds a group of commands; nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from gaitstream import __version__
from gaitstream.errors import GaitstreamError

GROUPS = ("run", "people", "events", "models", "synth", "bench", "deepstream")
"""Modules `gaitstream.cli.<name>` with a function `add(commands)`, in the order of the help text."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command tree; imports argparse and the small command modules only."""
    parser = argparse.ArgumentParser(
        prog="gaitstream",
        description="Real-time, multi-camera gait identification: cameras in, identity events out.",
    )
    parser.add_argument("--version", action="version", version=f"gaitstream {__version__}")
    parser.add_argument("--debug", action="store_true", help="show a traceback for every error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for group in GROUPS:
        importlib.import_module(f"gaitstream.cli.{group}").add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 on success, 1 on a runtime error, 2 on a wrong argument or configuration, 3 on a missing extra,
        130 when interrupted.
    """
    args = build_parser().parse_args(argv)
    try:
        code = int(args.handler(args) or 0)
        sys.stdout.flush()
        return code
    except GaitstreamError as error:
        if args.debug:
            raise
        print(f"gaitstream: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader, `head` say, has seen enough; without this Python complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
