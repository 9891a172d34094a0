"""Where files lie that a configuration does not name."""

from __future__ import annotations

from pathlib import Path

from gaitstream.config.schema import Config


def journal_folder(config: Config, path: str | Path) -> Path:
    """Where the journal of a configuration lies: `events.journal`, else beside the file at `path`."""
    return config.events.journal or Path(path).resolve().parent / f"{Path(path).stem}.journal"


def evidence_folder(config: Config, path: str | Path) -> Path:
    """Where the evidence of a configuration lies: `evidence.folder`, else beside the file at `path`."""
    return config.evidence.folder or Path(path).resolve().parent / f"{Path(path).stem}.evidence"
