"""What `gaitstream run` hangs on the pipeline for a configuration with `evidence`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gaitstream.config.places import evidence_folder
from gaitstream.config.schema import Config
from gaitstream.evidence.folder import SealedFolder
from gaitstream.evidence.keeping import EvidenceKeeper, strip_lengths
from gaitstream.evidence.live import LiveFrames
from gaitstream.evidence.live_server import LiveServer, live_folder
from gaitstream.evidence.writer import EvidenceWriter
from gaitstream.pipeline.base import RunOptions
from gaitstream.pipeline.known import open_configured
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.saving import make_folder


def open_observers(options: RunOptions, config: Config) -> list[Observer]:
    """The hooks of this process: what keeps evidence, and what shows live pictures, as far as asked for.

    Raises:
        ConfigError: a folder cannot be made.
    """
    observers: list[Observer] = []
    section = config.evidence
    if section.writes:
        folder = make_folder(evidence_folder(config, options.config))
        lengths = strip_lengths(section.pictures)
        observers.append(EvidenceKeeper(config, EvidenceWriter(_opener(config, folder), section, lengths)))
    if section.live:
        observers.append(LiveServer(LiveFrames(), live_folder(evidence_folder(config, options.config))))
    return observers


def _opener(config: Config, folder: Path) -> Callable[[], SealedFolder | None]:
    def open_folder() -> SealedFolder | None:
        gallery = open_configured(config)
        if gallery is None:
            return None
        with gallery:
            return SealedFolder.of(folder, gallery)

    return open_folder
