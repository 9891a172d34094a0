"""A runner that runs a site's cameras one after the other, for recordings on a machine with little memory.

It is composed of gaitstream's own pipeline, one at a time, and derives from nothing.
"""

from __future__ import annotations

from collections import Counter

from gaitstream.config.schema import Config
from gaitstream.events import Publishing
from gaitstream.pipeline.base import Outcome, RunnerSpec, RunOptions
from gaitstream.pipeline.runner import Pipeline
from gaitstream.telemetry.stats import Snapshot


class Relay:
    """One camera after the other.

    Args:
        options: of the command line.
        config: the site.
        publisher: where events go.
    """

    def __init__(self, options: RunOptions, config: Config, publisher: Publishing) -> None:
        self._options = options
        self._config = config
        self._publisher = publisher
        self._cause = ""
        self._running: Pipeline | None = None
        self._done = Snapshot()

    def run(self) -> Outcome:
        """Run every enabled camera to its end, or until `stop`."""
        outcomes = [
            self._run_one(camera.id) for camera in self._config.cameras if camera.enabled and not self._cause
        ]
        return Outcome(
            cause=self._cause or "end_of_stream",
            frames=sum(one.frames for one in outcomes),
            tracks=sum(one.tracks for one in outcomes),
            outcomes=sum((one.outcomes for one in outcomes), Counter()),
            failed={camera: why for one in outcomes for camera, why in one.failed.items()},
        )

    def stop(self, cause: str = "shutdown") -> None:
        """End the camera that runs, and begin no other."""
        self._cause = self._cause or cause
        if self._running is not None:
            self._running.stop(cause)

    def snapshot(self) -> Snapshot:
        """The counters of the cameras that were run, and of the one that runs."""
        whole = Snapshot()
        whole.merge(self._done)
        if self._running is not None:
            whole.merge(self._running.snapshot())
        return whole

    def close(self) -> None:
        """Nothing is open between cameras."""

    def _run_one(self, camera: str) -> Outcome:
        with Pipeline(
            self._config,
            sink=self._publisher,
            realtime=self._options.realtime,
            cameras=lambda name: name == camera,
        ) as pipeline:
            self._running = pipeline
            outcome = pipeline.run()
            self._running = None
            self._done.merge(pipeline.snapshot())
        return outcome


RELAY = RunnerSpec(suits=lambda _options, _config: False, open=Relay)
"""Taken when it is named."""
