"""Keeps a DeepStream process running: when one ends or goes silent, another follows after a growing pause."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from gaitstream.deepstream.process import ChildProcess
from gaitstream.deepstream.spec import Spec
from gaitstream.deepstream.watchdog import Action, Watchdog
from gaitstream.pipeline.source.backoff import Backoff

log = logging.getLogger(__name__)

START_S = 900.0
"""Silence allowed to a new process: it loads its engines."""
RESTART_S = 120.0
"""Silence of all cameras after which the process is started anew."""
REVIVE_S = 60.0
"""A camera that is silent for this much longer than `sources.stall_s` is removed and added again: DeepStream
connects it again itself before."""
HEALTHY_S = 60.0
"""A process that ran for this long starts the pauses between restarts afresh."""
PAUSES_S = (1.0, 60.0)
"""The first pause before another process, and the longest."""


class Supervisor:
    """One process after the other.

    Args:
        environ: added to the process's environment.
        stall_s: silence after which a camera is offline.

    Attributes:
        child: the process.
        watchdog: who of its cameras has gone silent.
        failed_starts: processes in a row that ended before they played.
    """

    def __init__(self, environ: Mapping[str, str] | None, stall_s: float) -> None:
        self.child = ChildProcess(environ)
        self.watchdog = Watchdog(stall_s, RESTART_S, START_S)
        self.failed_starts = 0
        self._backoff = Backoff(*PAUSES_S)
        self._started_s = 0.0
        self._due_s: float | None = None

    def start(self, spec: Spec, revivals_s: Mapping[str, float]) -> list[Action]:
        """Start a process.

        Args:
            spec: what it runs.
            revivals_s: as `Watchdog.start` takes them.

        Returns:
            What the watchdog says to that.
        """
        self.child.start(spec)
        self._started_s = time.monotonic()
        self._due_s = None
        log.info("DeepStream started as process %s", self.child.pid)
        return self.watchdog.start(revivals_s, self._started_s)

    @property
    def paused(self) -> bool:
        """The last process was ended, and the next has not been started."""
        return self._due_s is not None

    @property
    def is_due(self) -> bool:
        """The pause is over."""
        return self._due_s is not None and time.monotonic() >= self._due_s

    @property
    def died(self) -> bool:
        """The process has ended by itself."""
        return not self.paused and self.child.exit_code is not None

    def play(self) -> None:
        """The process plays."""
        self.failed_starts = 0
        self.watchdog.play(time.monotonic())

    def end(self, reason: str, revivals_s: Mapping[str, float], *, pause: bool = True) -> list[Action]:
        """End the process; another is due after the pause.

        Args:
            reason: for the log.
            revivals_s: of the cameras the next one will have, as `Watchdog.start` takes them.
            pause: False when nothing is wrong with it.

        Returns:
            What the watchdog says to that.
        """
        now_s = time.monotonic()
        if now_s - self._started_s > HEALTHY_S:
            self._backoff.reset()
        pause_s = self._backoff.next() if pause else 0.0
        log.log(logging.ERROR if pause else logging.INFO, "%s; starting another in %.1f s", reason, pause_s)
        self.failed_starts += not self.watchdog.plays
        self.child.end()
        self._due_s = now_s + pause_s
        return self.watchdog.start(revivals_s, now_s)
