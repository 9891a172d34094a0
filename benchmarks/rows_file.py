"""Where a benchmark leaves its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec


def write_rows(rows: Sequence[object], out: Path | None) -> None:
    """Write rows as JSON, into a folder that is made where it is missing; None writes nothing."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(msgspec.json.encode(rows))
