"""What opens a journal's folder: `gaitstream events export`, and what publishes from one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gaitstream.cli.commands.events import read_since, read_time
from gaitstream.config.places import journal_folder
from gaitstream.config.reading import load_config
from gaitstream.errors import ConfigError
from gaitstream.events.apart import PublisherProcess
from gaitstream.events.exporting import Form, export_events
from gaitstream.events.publishing import PublisherSettings
from gaitstream.events.wire import next_endpoint

_FORMS: dict[str, Form] = {"": "jsonl", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def export(args: argparse.Namespace) -> int:
    """Write a journal's events to a file."""
    count, lost = export_events(
        journal_of(args),
        args.out,
        form=args.format or _form_of(args.out),
        topics=args.topic or ("",),
        since=read_since(args.since),
        until_ns=read_time(args.until) if args.until else None,
    )
    note = f"; {lost} could not be read any more" if lost else ""
    print(f"{count} events to {args.out}{note}", file=sys.stderr)
    return 0


def _form_of(out: Path) -> Form:
    """By the file's ending.

    Raises:
        ConfigError: it is another one.
    """
    form = _FORMS.get(out.suffix.lower())
    if form is None:
        raise ConfigError(
            f"--out: {out} ends in {out.suffix!r}, which is no format; give .jsonl, .csv or .parquet, or "
            "say it with --format"
        )
    return form


def journal_of(args: argparse.Namespace) -> Path:
    """The folder that `--journal`, or the configuration of `--cameras`, names."""
    if args.journal is not None:
        return Path(args.journal)
    return journal_folder(load_config(args.cameras), args.cameras)


def publish_from(args: argparse.Namespace, endpoint: str) -> PublisherProcess:
    """A publisher at an address, with the journal, keys and openness that the command line gives."""
    return PublisherProcess(
        PublisherSettings(
            directory=str(args.journal),
            endpoint=endpoint,
            replay=next_endpoint(endpoint),
            keys=None if args.keys is None else str(args.keys),
            insecure=args.insecure,
        )
    )
