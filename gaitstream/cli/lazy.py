"""A command's parser that adds its options when the command is asked for: the list of all waits for none."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """A parser whose `fill` adds options and subcommands before it is used for the first time.

    Args:
        fill: is given this parser; None where everything is added at once.
        options: as for `ArgumentParser`.
    """

    def __init__(
        self, *options: Any, fill: Callable[[argparse.ArgumentParser], None] | None = None, **named: Any
    ) -> None:
        super().__init__(*options, **named)
        self._fill = fill

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As for `ArgumentParser`."""
        self.fill()
        return super().parse_known_args(args, namespace)

    def format_usage(self) -> str:
        """As for `ArgumentParser`."""
        self.fill()
        return super().format_usage()

    def format_help(self) -> str:
        """As for `ArgumentParser`."""
        self.fill()
        return super().format_help()

    def fill(self) -> None:
        """Add what is still missing."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)
