"""What `gaitstream run` hangs on the pipeline for a configuration with `evidence`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from gaitstream.config.output_sections import Evidence
from gaitstream.config.places import evidence_folder
from gaitstream.config.schema import Config
from gaitstream.evidence.folder import EvidenceFolder, SealedFolder
from gaitstream.evidence.keeping import EvidenceKeeper, strip_lengths
from gaitstream.evidence.live import LiveFrames
from gaitstream.evidence.live_server import LiveServer, live_folder
from gaitstream.evidence.writer import SWEEP_S, EvidenceWriter, tell_swept
from gaitstream.gallery.retention import ClockWatch
from gaitstream.pipeline.base import RunOptions
from gaitstream.pipeline.known import open_configured
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.saving import make_folder
from gaitstream.telemetry.stats import Stats

log = logging.getLogger(__name__)


class EvidenceSweeper(Observer):
    """Where no evidence is kept any more, deletes what was kept before when its time is over.

    Args:
        folder: of the evidence.
        section: how long it is kept; of the last minutes nothing is.
    """

    def __init__(self, folder: EvidenceFolder, section: Evidence) -> None:
        self._folder, self._section = folder, section
        self._clock = ClockWatch()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)

    def on_begin(self, _run: str, _models: Mapping[str, str], _config: Config, _stats: Stats) -> None:
        """Start."""
        self._thread.start()

    def close(self) -> None:
        """End after the file that is being deleted."""
        self._stop.set()

    def _run(self) -> None:
        while True:
            try:
                if self._clock.trusted():
                    tell_swept(self._folder.sweep(self._section))
            except Exception:  # a fault here must not end what is being deleted
                log.exception("evidence that is past its time is not deleted")
            if self._stop.wait(SWEEP_S):
                return


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
    elif (folder := evidence_folder(config, options.config)).is_dir():
        observers.append(EvidenceSweeper(EvidenceFolder(folder), section))
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
