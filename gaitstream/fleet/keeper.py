"""Keeps a worker's leases: renews, takes what it can carry, gives back what it cannot.

One thread speaks with the database, once a beat; another one sees to it that cameras are stopped in time
when the first hangs. Neither is ever waited for by the pipeline.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gaitstream.errors import FleetError
from gaitstream.fleet.balance import can_move, fewest, surplus
from gaitstream.fleet.clock import steady_s
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.leases import BEAT_S, STOP_S, Beat, Leases, WorkerIdentity
from gaitstream.fleet.load import Capacity, Load, LoadMeter
from gaitstream.fleet.roster import LeaseRoster
from gaitstream.telemetry.stats import Snapshot

log = logging.getLogger("gaitstream.fleet")

MEASURE_S = 5.0
"""Span of one measurement of the load."""
SETTLED_S = 10.0
"""Cameras move for evenness only when nothing changed for so long."""
DECLINE_S = 60.0
"""A camera that was given back is not taken again for so long."""
DRAIN_AT_ONCE = 4
"""Cameras given back in one beat when a node is drained, so that the others can open them."""
PAUSE_S = 0.25
HURRY_S = 0.5
"""How much sooner, at most, the next beat comes after a change."""
GUARD_S = 0.1


@dataclass
class Carrying:
    """What a worker carries, as it is measured.

    Attributes:
        capacity: learned while it runs.
        meter: makes loads of snapshots.
        snapshot: the pipeline's counters.
    """

    capacity: Capacity
    meter: LoadMeter
    snapshot: Callable[[], Snapshot]
    load: Load = field(default_factory=Load)


class LeaseKeeper:
    """Keeps one worker's leases.

    Args:
        open_database: connects; called again after it failed.
        worker: who it is.
        roster: what it has, for the pipeline.
        carrying: what it can carry.
        lease_s: how long a session lasts without being renewed.
        announce: called in every new session, with the database: registers where the worker's events are.
        follow: called in every beat, with the database: takes over a changed configuration.
        clock: seconds, steady.
    """

    def __init__(
        self,
        open_database: Callable[[], FleetDatabase],
        worker: WorkerIdentity,
        roster: LeaseRoster,
        carrying: Carrying,
        *,
        lease_s: float,
        announce: Callable[[FleetDatabase], None],
        follow: Callable[[FleetDatabase], None],
        clock: Callable[[], float] = steady_s,
    ) -> None:
        self._open = open_database
        self._worker = worker
        self._roster = roster
        self._carrying = carrying
        self._lease_s = lease_s
        self._announce = announce
        self._follow = follow
        self._clock = clock
        self._database: FleetDatabase | None = None
        self._in_session = False
        self._away = False
        self._called_s: float | None = None
        self._changed_s = self._measured_s = clock()
        self._looked_s = clock()
        self._declined: dict[str, float] = {}
        self._told_heavy: frozenset[str] = frozenset()

    def beat(self) -> None:
        """Everything that is due about once a second; what the database does not allow is left for later."""
        self._called_s = self._clock()
        try:
            self._beat()
        except FleetError as error:
            if not self._away:
                log.error("%s; cameras stop before their leases end, and come back with it", error)
            self._away = True
        else:
            if self._away:
                log.warning("the fleet's database is there again")
            self._away = False
        finally:
            self._called_s = None

    def pause(self, seconds: float) -> bool:
        """Wait for so long, or until the database tells of a change; whether it did."""
        try:
            if self._database is not None and not self._away:
                return self._database.wait(seconds)
        except FleetError:
            self._away = True
        time.sleep(seconds)
        return False

    def reconnect(self) -> None:
        """Let go of the database, however it is; the next beat connects anew."""
        database, self._database, self._away = self._database, None, True
        if database is not None:
            database.close()

    def break_off_late(self) -> None:
        """Let a beat fail that takes longer than a session lasts: its server hangs; from any thread."""
        called_s, database = self._called_s, self._database
        if called_s is not None and database is not None and self._clock() - called_s > self._lease_s:
            database.break_off()

    def end(self) -> None:
        """End the session in order: its cameras are free at once."""
        self._called_s = self._clock()
        try:
            if self._database is not None and self._in_session:
                Leases(self._database).end(self._worker)
        except FleetError as error:
            log.warning("%s; the leases end by themselves", error)
        finally:
            self._called_s = None
        self._roster.lose()
        if self._database is not None:
            self._database.close()

    def _beat(self) -> None:
        if self._database is None:
            self._database = self._open()
        leases = Leases(self._database, self._lease_s)
        self._measure()
        began_s = self._clock()
        if not self._in_session:
            self._begin(leases)
        beat = leases.renew(
            self._worker, self._carrying.capacity.now, self._carrying.meter.weights, self._carrying.load
        )
        if beat is None:
            self._lose()
            return
        self._roster.extend(began_s + self._lease_s - STOP_S, began_s + self._lease_s)
        self._roster.keep_only(beat.held)
        self._give(leases, beat)
        leases.bury()
        self._follow(self._database)
        if not beat.draining and leases.anything_free():
            self._take(leases)

    def _begin(self, leases: Leases) -> None:
        self._worker = leases.begin(self._worker, self._carrying.capacity.now)
        if self._database is not None:
            self._announce(self._database)
        self._in_session = True

    def _lose(self) -> None:
        """Somebody else may have the cameras by now."""
        log.warning("the session of %s is over; its cameras stop and are taken anew", self._worker.name)
        self._roster.lose()
        self._in_session = False

    def _measure(self) -> None:
        now_s = self._clock()
        if now_s - self._measured_s < MEASURE_S:
            return
        self._measured_s = now_s
        carrying, mine = self._carrying, self._roster.wanted
        carrying.load = carrying.meter.measure(carrying.snapshot(), mine)
        held = sum(carrying.meter.weights.get(camera, 1.0) for camera in mine)
        if carrying.capacity.learn(carrying.load, held):
            log.warning(
                "overloaded: %s carries %.1f, not %.1f", self._worker.name, carrying.capacity.now, held
            )

    def _give(self, leases: Leases, beat: Beat) -> None:
        """Give back what was stopped, and have what is too much stopped."""
        gone = self._roster.take_gone()
        if gone:
            leases.give_back(self._worker, gone)
            self._changed_s = self._clock()
        leaving = set(beat.unwanted)
        if beat.draining:
            leaving |= set(sorted(self._roster.wanted)[:DRAIN_AT_ONCE])
        elif self._looks_at_balance():
            leaving |= set(self._too_much(leases))
        if leaving & self._roster.wanted:
            log.info("giving back %s", ", ".join(sorted(leaving)))
        self._roster.leave(leaving)

    def _looks_at_balance(self) -> bool:
        now_s = self._clock()
        if now_s - self._looked_s < MEASURE_S:
            return False
        self._looked_s = now_s
        return True

    def _too_much(self, leases: Leases) -> list[str]:
        """The fewest cameras that bring this worker to what it should have, if others can take them."""
        capacity, totals, mine = self._carrying.capacity.now, leases.totals(), leases.wants(self._worker)
        held = sum(weight for weight, _ in mine.values())
        settled = self._clock() - self._changed_s > SETTLED_S and not totals.waiting
        excess = surplus(held, capacity, totals) if settled else max(0.0, held - capacity)
        if not excess:
            return []
        takers = leases.takers(self._worker)
        movable = {
            camera: weight
            for camera, (weight, labels) in mine.items()
            if camera in self._roster.wanted and can_move(weight, labels, takers, totals)
        }
        chosen = fewest(movable, excess)
        self._decline(chosen)
        return chosen

    def _take(self, leases: Leases) -> None:
        taken = leases.take(
            self._worker, self._carrying.capacity.now, leases.totals(), self._still_declined()
        )
        self._tell_heavy(leases.too_heavy())
        if taken:
            log.info("taking %s", ", ".join(sorted(taken)))
            self._changed_s = self._clock()
            self._roster.enter(taken)

    def _tell_heavy(self, waiting: Mapping[str, float]) -> None:
        """Say it once of every camera for which no worker is strong enough."""
        for camera, weight in waiting.items():
            if camera not in self._told_heavy:
                log.warning(
                    "camera %s weighs %.1f, more than any worker carries: it waits until one can spare "
                    "itself for it; lower its fps, or add a worker with more capacity",
                    *(camera, weight),
                )
        self._told_heavy = frozenset(waiting)

    def _decline(self, cameras: Iterable[str]) -> None:
        until_s = self._clock() + DECLINE_S
        self._declined.update(dict.fromkeys(cameras, until_s))

    def _still_declined(self) -> list[str]:
        now_s = self._clock()
        self._declined = {camera: until_s for camera, until_s in self._declined.items() if until_s > now_s}
        return list(self._declined)


class KeeperThreads:
    """Runs a keeper beside the pipeline.

    Args:
        keeper: what is run.
        roster: its roster.
        stop_reading: stops every camera at once.
    """

    def __init__(self, keeper: LeaseKeeper, roster: LeaseRoster, stop_reading: Callable[[], None]) -> None:
        self._keeper = keeper
        self._roster = roster
        self._stop_reading = stop_reading
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._keeping = threading.Thread(target=self._keep, name="gaitstream-leases", daemon=True)
        self._guarding = threading.Thread(target=self._watch, name="gaitstream-lease-guard", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._keeping.start()
        self._guarding.start()

    def close(self) -> None:
        """End, and with it the session; called when the pipeline has said its last word."""
        self._stopping.set()
        if self._keeping.ident is not None:
            self._keeping.join()
        self._keeper.end()
        self._ended.set()
        if self._guarding.ident is not None:
            self._guarding.join()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception:  # without this thread the worker would stand idle for ever
                log.exception("the leases were not kept; the database is connected to anew")
                self._keeper.reconnect()
                self._stopping.wait(BEAT_S)

    def _turn(self) -> None:
        due_s = steady_s() + BEAT_S
        self._keeper.beat()
        while not self._stopping.is_set() and (left_s := due_s - steady_s()) > 0:
            if self._keeper.pause(min(left_s, PAUSE_S)):
                due_s -= HURRY_S * random.random()  # not all workers at once

    def _watch(self) -> None:
        while not self._ended.wait(GUARD_S):
            if not self._stopping.is_set() and self._roster.expire():
                self._stop_reading()
            self._keeper.break_off_late()
