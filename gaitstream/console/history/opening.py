"""From a URL or a path to the history behind it."""

from __future__ import annotations

from pathlib import Path

from gaitstream.console.history.base import History
from gaitstream.console.history.postgresql import PostgresHistory
from gaitstream.console.history.sqlite import SqliteHistory
from gaitstream.errors import ConfigError


def open_history(where: str | Path) -> History:
    """Open a history, made when missing.

    Args:
        where: a file, or `postgresql://user@host/database` for one that several machines share.

    Raises:
        ConfigError: it is another kind of URL.
        ConsoleError: it cannot be opened.
    """
    text = str(where)
    if isinstance(where, Path) or "://" not in text:
        return SqliteHistory(Path(where))
    if text.startswith(("postgresql://", "postgres://")):
        return PostgresHistory(text)
    raise ConfigError(f"--history {text.partition('://')[0]}://...: give a file or postgresql://...")
