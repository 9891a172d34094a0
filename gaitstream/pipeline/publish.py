"""From decisions to events, and the publisher they go to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from gaitstream import __version__
from gaitstream.config.places import journal_folder
from gaitstream.config.schema import Config
from gaitstream.data import Decision, Person
from gaitstream.events import (
    CameraOffline,
    CameraOnline,
    Event,
    GalleryChanged,
    IdentityConfirmed,
    IdentityDecided,
    IdentityFinal,
    IdentityRevised,
    PipelineStats,
    Publisher,
    RunStarted,
    RunStopped,
    TrackEnded,
    TrackStarted,
    VisitorJoined,
    VisitorNamed,
    VisitorSeen,
)
from gaitstream.events.apart import PublisherProcess
from gaitstream.events.journal import DAY_S
from gaitstream.events.publishing import PublisherSettings
from gaitstream.events.schema import CameraStats
from gaitstream.events.wire import next_endpoint
from gaitstream.gallery.sightings import TrackRef
from gaitstream.gallery.visiting import Joined, Noted
from gaitstream.gallery.visitors import Promotion
from gaitstream.pipeline.backlog import EventBacklog
from gaitstream.pipeline.erased import forget_erased
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.source.reader import State, StateChange
from gaitstream.telemetry.stats import Stats

FIRST_STATS_S = 3.0
"""When a run first tells its counters, so that whoever looks need not wait long."""


class EventSink(Protocol):
    """Where events go: the publisher, or from a worker process to the one that publishes."""

    def publish(self, event: Event) -> object:
        """Take an event; on return it will not be lost."""


class EventMaker:
    """Makes the events of one run.

    Args:
        run: id of the run.
        models: fingerprint by recognizer.
    """

    def __init__(self, run: str, models: Mapping[str, str]) -> None:
        self.run = run
        self.models = dict(models)
        self._told: dict[tuple[str, int], tuple[str, str | None]] = {}

    def identity(self, decision: Decision, latency_ms: Mapping[str, float] | None = None) -> Event:
        """`identity.decided`, `.revised`, `.confirmed` or `.final`, by what was told of the track before.

        Args:
            decision: what to tell.
            latency_ms: how long it took, by stage.
        """
        kind = self._kind(decision)
        x1, y1, x2, y2 = (round(float(value), 1) for value in decision.box)
        return kind(
            time_ns=decision.time_ns,
            run=self.run,
            camera=decision.camera,
            track=decision.track,
            status=decision.status.value,
            person=decision.person,
            person_id=decision.person_id,
            distance=_short(decision.distance),
            margin=_short(decision.margin),
            threshold=_short(decision.threshold),
            first_ns=decision.first_ns,
            frames=decision.frames,
            windows=decision.windows,
            provisional=decision.provisional,
            reason=decision.reason.value if decision.reason else None,
            box=(x1, y1, x2, y2),
            rejections=decision.rejections,
            candidates=tuple((name, round(distance, 5)) for name, distance in decision.candidates),
            candidate_ids=decision.candidate_ids,
            latency_ms={stage: round(value, 3) for stage, value in (latency_ms or {}).items()},
            models=self.models,
        )

    def _kind(
        self, decision: Decision
    ) -> type[IdentityDecided | IdentityRevised | IdentityConfirmed | IdentityFinal]:
        key, says = (decision.camera, decision.track), (decision.status.value, decision.person)
        if decision.final:
            self._told.pop(key, None)
            return IdentityFinal
        before = self._told.get(key)
        self._told[key] = says
        if before is None:
            return IdentityDecided
        return IdentityConfirmed if before == says else IdentityRevised

    def track_started(self, camera: str, person: Person) -> TrackStarted:
        """`track.started`, at the first sighting."""
        x1, y1, x2, y2 = (round(float(value), 1) for value in person.box)
        return TrackStarted(
            time_ns=person.time_ns, run=self.run, camera=camera, track=person.track, box=(x1, y1, x2, y2)
        )

    def gallery_changed(
        self,
        people: int,
        added: Sequence[str],
        removed: Sequence[str],
        merged: Sequence[tuple[str, str]] = (),
    ) -> GalleryChanged:
        """`gallery.changed`, by ids."""
        return GalleryChanged(
            time_ns=time.time_ns(), run=self.run, people=people, added=tuple(added), removed=tuple(removed),
            merged=tuple(merged),
        )  # fmt: skip

    def visitor_seen(self, noted: Noted, person: tuple[str, str] | None) -> VisitorSeen:
        """`visitor.seen`, after the track's end; `person` is the name and uid of whom the visitor shows."""
        track = noted.sighting.track
        return VisitorSeen(
            time_ns=track.time_ns,
            run=track.run,
            camera=track.camera,
            track=track.track,
            visitor=noted.visitor,
            visitor_id=noted.visitor_id,
            first_ns=noted.sighting.first_ns,
            new=noted.new,
            walks=noted.walks,
            distance=_short(noted.distance),
            person=person[0] if person else None,
            person_id=person[1] if person else None,
            models=self.models,
        )

    def visitor_joined(self, joined: Joined) -> VisitorJoined:
        """`visitor.joined`."""
        return VisitorJoined(
            time_ns=time.time_ns(),
            run=self.run,
            visitor=joined.visitor,
            visitor_id=joined.visitor_id,
            into=joined.into,
            into_id=joined.into_id,
            tracks=_listed(joined.tracks),
            left=joined.left,
        )

    def started(self, cameras: Sequence[str]) -> RunStarted:
        """`run.started`, the first event."""
        return RunStarted(
            time_ns=time.time_ns(),
            run=self.run,
            version=__version__,
            cameras=tuple(cameras),
            models=self.models,
        )

    def stopped(self, cause: str, frames: int, tracks: int) -> RunStopped:
        """`run.stopped`, the last event."""
        return RunStopped(time_ns=time.time_ns(), run=self.run, cause=cause, frames=frames, tracks=tracks)

    def ended(self, state: TrackState, decision: Decision, cause: str) -> TrackEnded:
        """`track.ended`, after the track's `identity.final`."""
        return TrackEnded(
            time_ns=state.last_ns,
            run=self.run,
            camera=state.camera,
            track=state.track,
            cause=cause,
            first_ns=state.first_ns,
            seen=state.seen,
            accepted=state.accepted,
            outcome=decision.status.value,
            person=decision.person,
            person_id=decision.person_id,
            reason=decision.reason.value if decision.reason else None,
            rejections=dict(state.rejections),
        )

    def camera(
        self, change: StateChange, size: tuple[int, int] | None, fps: float | None, cause: str = ""
    ) -> Event | None:
        """`camera.online` or `camera.offline`; None while a camera connects."""
        if change.state is State.CONNECTING:
            return None
        if change.state is State.ONLINE:
            width, height = size or (0, 0)
            return CameraOnline(
                time_ns=change.time_ns,
                run=self.run,
                camera=change.camera,
                width=width,
                height=height,
                fps=fps or 0.0,
            )
        usual = "end_of_stream" if change.state is State.ENDED else "error"
        return CameraOffline(
            time_ns=change.time_ns,
            run=self.run,
            camera=change.camera,
            cause=cause or usual,
            detail=change.reason,
        )


class RunEvents:
    """The events of one run: made, counted, and handed to the sink, or held back while it takes none.

    Args:
        run: id of the run.
        models: fingerprint by recognizer.
        sink: where they go.
        stats: what is counted.
        mark: completes an event as it is decided, or refuses it by None.
    """

    def __init__(
        self,
        run: str,
        models: Mapping[str, str],
        sink: EventSink,
        stats: Stats,
        mark: Callable[[Event], Event | None] | None = None,
    ) -> None:
        self.make = EventMaker(run, models)
        self._mark = mark or (lambda event: event)
        self._stats = stats
        self._stats_due_s = 0.0
        self._analysed: dict[str, tuple[float, int]] = {}
        self._backlog: EventBacklog[Event] = EventBacklog(sink.publish)

    def emit(self, event: Event) -> None:
        """Count an event and send it, or hold it back until it can be sent."""
        marked = self._mark(event)
        if marked is None:
            return
        self._stats.now.events[str(type(event).__struct_config__.tag)] += 1
        self._backlog.put(marked)
        self._count()

    def retry(self) -> None:
        """Send what was held back, when that can be done now; call it about once a second."""
        self._backlog.retry()
        self._count()

    def tell_stats(self, every_s: float | None) -> None:
        """Publish `pipeline.stats` when it is due; the first one some seconds after the start."""
        now_s = time.monotonic()
        if every_s is None or now_s < self._stats_due_s:
            return
        first = self._stats_due_s == 0.0
        self._stats_due_s = now_s + (min(every_s, FIRST_STATS_S) if first else every_s)
        cameras = {name: self._camera_stats(name, now_s) for name in list(self._stats.now.cameras)}
        if not first:
            snapshot = self._stats.snapshot()
            self.emit(
                PipelineStats(
                    time_ns=time.time_ns(),
                    run=self.make.run,
                    uptime_s=round(snapshot.uptime_s, 1),
                    rss_bytes=snapshot.rss_bytes,
                    unwritten=snapshot.events_waiting + snapshot.events_lost,
                    cameras=cameras,
                    models=self.make.models,
                )
            )

    def _camera_stats(self, name: str, now_s: float) -> CameraStats:
        camera = self._stats.now.cameras[name]
        before_s, before = self._analysed.get(name, (now_s, camera.analysed))
        self._analysed[name] = now_s, camera.analysed
        spent_s = now_s - before_s
        return CameraStats(
            state=camera.state,
            fps=round((camera.analysed - before) / spent_s, 2) if spent_s > 0 else 0.0,
            people=camera.people,
            frames=camera.analysed,
            dropped={
                reason: count
                for reason, count in (("queue", camera.dropped), ("corrupt", camera.corrupt))
                if count
            },
        )

    def close(self) -> None:
        """Send what can be sent; the rest is lost."""
        self._backlog.close()
        self._count()

    def _count(self) -> None:
        self._stats.now.events_waiting = self._backlog.waiting
        self._stats.now.events_lost = self._backlog.lost


def open_publisher(config: Config, path: str | Path, *, insecure: bool = False) -> Publisher:
    """The publisher a configuration asks for; who was erased from the gallery meanwhile leaves its journal.

    Args:
        config: endpoints and journal.
        path: the configuration's file; without `events.journal` the journal lies beside it.
        insecure: listen for other machines without keys, as with `events.insecure`.

    Raises:
        EventError: an address is in use, or open to other machines without keys; another process writes the
            journal.
    """
    publisher = _settings(config, path, insecure=insecure).open()
    forget_erased(config.gallery, publisher)
    return publisher


def start_publisher(config: Config, path: str | Path, *, insecure: bool = False) -> PublisherProcess:
    """`open_publisher` in a process of its own, whose end is not the run's."""
    publisher = PublisherProcess(_settings(config, path, insecure=insecure))
    forget_erased(config.gallery, publisher)
    return publisher


def _settings(config: Config, path: str | Path, *, insecure: bool) -> PublisherSettings:
    events = config.events
    return PublisherSettings(
        directory=str(journal_folder(config, path)),
        sync=events.journal_fsync,
        keep_bytes=events.journal_max_mib * 2**20,
        keep_s=None if events.journal_max_days is None else events.journal_max_days * DAY_S,
        endpoint=events.endpoint,
        replay=events.replay or next_endpoint(events.endpoint),
        wire=events.wire,
        keys=None if events.keys is None else str(events.keys),
        names=events.names,
        insecure=insecure or events.insecure,
    )


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def visitor_named(promotion: Promotion, by: str, run: str = "") -> VisitorNamed:
    """`visitor.named`, by `promotion` or `fusion`."""
    return VisitorNamed(
        time_ns=time.time_ns(),
        run=run,
        visitor=promotion.visitor,
        visitor_id=promotion.visitor_id,
        person=promotion.person,
        person_id=promotion.person_id,
        by=by,
        tracks=_listed(promotion.tracks),
    )


def _listed(tracks: Sequence[TrackRef]) -> tuple[tuple[str, str, int, int], ...]:
    return tuple((one.run, one.camera, one.track, one.time_ns) for one in tracks)
