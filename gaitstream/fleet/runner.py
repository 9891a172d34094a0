"""The runner of a fleet's worker: the pipeline of this process, with the cameras that it holds leases of."""

from __future__ import annotations

import os

from gaitstream.config.places import WorkerPlace
from gaitstream.config.schema import Config
from gaitstream.errors import FleetError
from gaitstream.events.publishing import Publishing
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.directory import Served, register
from gaitstream.fleet.keeper import Carrying, KeeperThreads, LeaseKeeper
from gaitstream.fleet.leases import WorkerIdentity
from gaitstream.fleet.load import Capacity, LoadMeter
from gaitstream.fleet.roster import LeaseRoster
from gaitstream.fleet.site import SiteStore, SiteWatcher, at_place
from gaitstream.pipeline.base import Outcome, RunnerSpec, RunOptions
from gaitstream.pipeline.runner import Pipeline
from gaitstream.pipeline.saving import make_observers
from gaitstream.telemetry.stats import Snapshot

USUAL_PER_CORE = 4.0
"""Where finding out a worker's capacity begins; see docs/benchmarks.md for what cores carry."""


class FleetRunner:
    """Runs what its leases say, until it is stopped.

    Args:
        options: of the command line, with the worker's place.
        config: the site, as it is at this place.
        publisher: where events go.

    Raises:
        FleetError: the options have no place.
        GaitstreamError: what the pipeline cannot open.
    """

    def __init__(self, options: RunOptions, config: Config, publisher: Publishing) -> None:
        if options.fleet is None:
            raise FleetError("the runner 'fleet' is started by 'gaitstream worker --fleet URL'")
        self._place = options.fleet
        self._publisher = publisher
        self._roster = LeaseRoster()
        self._watcher = SiteWatcher(config)
        self._version = 0
        self._pipeline = Pipeline(
            config,
            sink=publisher,
            observers=make_observers(options, config),
            watch=self._watcher,
            realtime=True,
            linger=True,
            roster=self._roster,
        )
        self._threads = KeeperThreads(self._keeper(config), self._roster, self._pipeline.stop_reading)

    def run(self) -> Outcome:
        """See `Runner`."""
        self._threads.start()
        return self._pipeline.run()

    def stop(self, cause: str = "shutdown") -> None:
        """See `Runner`."""
        self._pipeline.stop(cause)

    def snapshot(self) -> Snapshot:
        """See `Runner`."""
        return self._pipeline.snapshot()

    def close(self) -> None:
        """See `Runner`; the cameras are free when it returns."""
        self._threads.close()
        self._pipeline.close()

    def _keeper(self, config: Config) -> LeaseKeeper:
        place, journal = self._place, self._publisher.journal.id.hex()
        first = USUAL_PER_CORE * len(os.sched_getaffinity(0))
        return LeaseKeeper(
            lambda: FleetDatabase(place.url),
            WorkerIdentity(place.name, place.node, journal, place.labels),
            self._roster,
            Carrying(
                Capacity(place.capacity, first, config.fleet.max_lag_ms),
                LoadMeter(self._wanted_fps),
                self._pipeline.snapshot,
            ),
            lease_s=place.lease_s,
            announce=self._announce,
            follow=self._follow_site,
        )

    def _wanted_fps(self, camera: str) -> float | None:
        return next((one.fps for one in self._watcher.config.cameras if one.id == camera), None)

    def _announce(self, database: FleetDatabase) -> None:
        """Register where this worker's events are."""
        place = self._place
        address = place.address or database.my_address() or ""
        register(database, Served.of(self._publisher, place.name, address, place.keys))

    def _follow_site(self, database: FleetDatabase) -> None:
        """Take over a configuration that was put in since."""
        store = SiteStore(database, self._place.key)
        version = store.version()
        if version != self._version:
            self._version, config = version, store.get()[1]
            self._watcher.offer(at_place(config, self._place))


def read_site(place: WorkerPlace) -> Config:
    """The fleet's site as it is for a worker at this place.

    Raises:
        FleetError: the database cannot be reached, has no site, or this key does not open it.
    """
    database = FleetDatabase(place.url)
    try:
        return at_place(SiteStore(database, place.key).get()[1], place)
    finally:
        database.close()


def open_fleet(options: RunOptions, config: Config, publisher: Publishing) -> FleetRunner:
    """See `RunnerSpec`."""
    return FleetRunner(options, config, publisher)


FLEET = RunnerSpec(suits=lambda options, _config: options.fleet is not None, open=open_fleet)
"""Runs the cameras that this worker holds leases of."""
