"""Write docs/cli.md from the command tree.

python scripts/write_cli_reference.py
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from gaitstream.cli import build_parser
from gaitstream.cli.lazy import CommandParser
from gaitstream.models.spec import FAMILIES

TARGET = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
HEAD = """# Commands

Generated from the command line itself by `python scripts/write_cli_reference.py`.

Exit codes: 0 success, 1 an error at run time, 2 a wrong argument or configuration, 3 a missing extra,
130 interrupted.
"""


def reference() -> str:
    """The page: every command with its help text, depth first; without what other packages add."""
    os.environ["COLUMNS"] = "100"
    with FAMILIES.own_only():
        parsers = list(commands())
    return HEAD + "".join(f"\n## `{parser.prog}`\n\n```\n{parser.format_help()}```\n" for parser in parsers)


def commands() -> Iterator[CommandParser]:
    """Every parser of the tree, parents before children."""
    waiting = [build_parser()]
    while waiting:
        parser = waiting.pop(0)
        parser.fill()
        yield parser
        children: list[CommandParser] = []
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                children.extend(action.choices.values())
        waiting = children + waiting


if __name__ == "__main__":
    TARGET.write_text(reference())
