"""Where tables with names of people in them are printed."""

from __future__ import annotations

import sys

from rich.console import Console

PLAIN_WIDTH = 200
"""Characters of a table that no terminal bounds."""


def table_console() -> Console:
    """Standard output, where a name such as `:smile:` stays what it is, and a pipe cuts nothing short."""
    return Console(emoji=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
