"""A journal's events as a file: JSON lines, CSV for spreadsheets, Parquet for analysis."""

from __future__ import annotations

import csv
import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from gaitstream.errors import EventError, MissingExtraError
from gaitstream.events.codec import MalformedError, plain, plain_json
from gaitstream.events.documents import kinds
from gaitstream.events.follower import Follower
from gaitstream.events.segment import Record

Form = Literal["jsonl", "csv", "parquet"]
ROWS = 10_000
"""Events in memory at once."""

Row = dict[str, Any]


def export_events(
    journal: Path,
    out: Path,
    *,
    form: Form = "jsonl",
    topics: Iterable[str] = ("",),
    since: str | int = "beginning",
    until_ns: int | None = None,
) -> tuple[int, int]:
    """Write the events of a journal's folder to a file; `-` is standard output.

    CSV and Parquet have one column for each field of any kind, lists and objects as JSON. In Parquet's
    columns of numbers what does not fit is left out. The file appears when it is whole, readable by its owner
    alone.

    Returns:
        Events written, and events that could not be read any more.

    Raises:
        EventError: the folder does not exist, or the file cannot be written.
        MissingExtraError: Parquet without pyarrow.
    """
    follower = Follower(journal, topics=tuple(topics), since=since)
    lost = 0

    def rows() -> Iterator[Row]:
        nonlocal lost
        while True:
            found = follower.read()
            lost += found.lost
            for record in found.records:
                if until_ns is None or record.time_ns < until_ns:
                    row = _row(record)
                    lost += row is None
                    if row is not None:
                        yield row
            if found.end:
                return

    return WRITERS[form](rows(), out), lost


def _row(record: Record) -> Row | None:
    try:
        data = plain(record.payload)
    except MalformedError:
        return None
    data.setdefault("seq", record.seq)
    return {"topic": record.topic, **data}


def _write_jsonl(rows: Iterator[Row], out: Path) -> int:
    count = 0
    with _whole(out, "wb") as file:
        for row in rows:
            file.write(plain_json(row) + b"\n")
            count += 1
    return count


def _write_csv(rows: Iterator[Row], out: Path) -> int:
    count = 0
    with _whole(out, "w") as file:
        writer = csv.DictWriter(file, columns(), extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _cell(value) for name, value in row.items()})
            count += 1
    return count


def _write_parquet(rows: Iterator[Row], out: Path) -> int:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet", "Parquet") from error
    kinds_of = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    types = _column_types()
    table_schema = pyarrow.schema([(name, kinds_of[types[name]]) for name in columns()])
    count = 0
    with _whole(out, "wb") as file, pyarrow.parquet.ParquetWriter(file, table_schema) as writer:
        for block in _blocks(rows):
            lists = {name: [_typed(row.get(name), types[name]) for row in block] for name in columns()}
            writer.write_table(pyarrow.table(lists, schema=table_schema))
            count += len(block)
    return count


WRITERS: dict[str, Callable[[Iterator[Row], Path], int]] = {
    "jsonl": _write_jsonl,
    "csv": _write_csv,
    "parquet": _write_parquet,
}


def columns() -> list[str]:
    """The columns of CSV and Parquet: every field of every kind, the envelope first."""
    return list(_column_types())


def _column_types() -> dict[str, type]:
    found: dict[str, type] = {"topic": str, "type": str}
    for kind in kinds():
        for field in msgspec.structs.fields(kind):
            text = str(field.type)
            plain_type = next(
                (one for one in (str, int, float, bool) if field.type in (one, one | None)), str
            )
            found.setdefault(field.name, str if "[" in text else plain_type)
    return found


def _cell(value: object) -> object:
    """A value for a spreadsheet: no formula, whatever somebody is called."""
    if value is None or isinstance(value, int | float):
        return value
    text = _text(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _text(value: object) -> str:
    """Text as it is, all else as in JSON."""
    return value if isinstance(value, str) else plain_json(value).decode().strip('"')


def _typed(value: object, wanted: type) -> object:
    """A value for a column; None where it does not fit a column of numbers."""
    if wanted is str and value is not None:
        return _text(value)
    if value is None or (type(value) is wanted and wanted is not int):
        return value
    if wanted is int and type(value) is int and -(1 << 63) <= value < 1 << 63:
        return value
    if wanted is float and type(value) is int and abs(value) < 1 << 63:
        return float(value)
    return None


def _blocks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    block: list[Row] = []
    for row in rows:
        block.append(row)
        if len(block) == ROWS:
            yield block
            block = []
    yield block


@contextmanager
def _whole(out: Path, mode: str) -> Iterator[IO[Any]]:
    """A file that takes its place when it is whole."""
    if str(out) == "-":
        sys.stdout.flush()
        if "b" in mode:
            yield sys.stdout.buffer
            return
        text = io.TextIOWrapper(sys.stdout.buffer, "utf-8", newline="")
        yield text
        text.detach()
        return
    if os.path.isdir(out):  # noqa: PTH112 - of a name that is too long it says no
        raise EventError(f"{out}: is a folder; give a file in it")
    encoding, newline = ("utf-8", "") if "b" not in mode else (None, None)
    beside = None
    try:
        if _is_special(out):
            with out.open(mode, encoding=encoding, newline=newline) as file:
                yield file
            return
        target = out.resolve()  # a link stays one
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        beside.unlink(missing_ok=True)
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, mode, encoding=encoding, newline=newline) as file:
            yield file
        beside.replace(target)
    except OSError as error:
        raise EventError(f"{out}: cannot be written ({error})") from error
    finally:
        if beside is not None:
            with suppress(OSError):  # a read-only file system refuses this too, file or none
                beside.unlink()


def _is_special(out: Path) -> bool:
    """Whether it is there and no file: a device such as `/dev/null`, or a pipe, which nothing replaces."""
    try:
        return not stat.S_ISREG(out.stat().st_mode)
    except OSError:
        return False
