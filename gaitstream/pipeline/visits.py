"""Where ended tracks are noted as walks of visitors and people, in a thread beside the pipeline.

One desk serves all processes of a machine, so that they have one mind about who is who; machines agree
through the gallery's store. A store that is away keeps walks waiting, and is tried again.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from gaitstream.config.schema import Config
from gaitstream.data import Decision, Status
from gaitstream.errors import GalleryError
from gaitstream.events import Event
from gaitstream.gallery import Gallery
from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.sightings import KeptWindows, Sighting, TrackRef
from gaitstream.gallery.site import drift, kept_calibration
from gaitstream.gallery.upstream import Upstream
from gaitstream.gallery.visiting import Noted, VisitorBook
from gaitstream.gallery.visitors import Promotion
from gaitstream.models.resolve import find_bundle
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.known import DecisionLimits, GalleryFollower
from gaitstream.pipeline.publish import EventMaker, visitor_named
from gaitstream.pipeline.ranking import ComparedWindow

log = logging.getLogger(__name__)
LINK = 1.0
"""The linking distance, in calibrated thresholds."""
AT_ONCE = 32
"""Walks noted in one transaction."""
HELD = 5_000
"""Walks that wait for a store that is away; beyond it the oldest are given up."""
PAUSE_S = 1.0
SETTLE_AFTER, SOONEST = 100, 10
"""Walks of strangers after which all visitors are looked at together: at most, and where there are few."""
LOOK_AFTER = 200
"""Strangers from one look at whether the site has drifted from its calibration to the next."""


class VisitSink(Protocol):
    """Where walks go: the desk, or from a worker process to the one that has it."""

    def put(self, sighting: Sighting) -> None:
        """Take a walk; returns at once."""

    def events(self) -> list[Event]:
        """What there is to publish about walks by now."""

    def close(self) -> list[Event]:
        """Note what still waits, for some seconds at most; the rest of the events."""


def sighting_of(
    run: str,
    state: TrackState,
    decision: Decision,
    models: Mapping[str, str],
    upstream: Mapping[str, Upstream],
) -> Sighting | None:
    """What is kept of an ended track; None of one that shows nobody for sure, or has no full window."""
    windows = {
        model: KeptWindows.of([one.parts for one in held.full], models[model], upstream.get(model, ()))
        for model, held in state.embeddings.items()
        if held.full
    }
    if not windows or decision.status not in (Status.KNOWN, Status.UNKNOWN):
        return None
    distances = [distance for _, distance in decision.candidates]
    return Sighting(
        track=TrackRef(run, state.camera, state.track, state.last_ns),
        first_ns=state.first_ns,
        windows=windows,
        known=decision.person_id or "",
        distance=distances[0] if distances else None,
        other=distances[1] if len(distances) > 1 else None,
    )


class VisitDesk:
    """Notes walks in a thread of its own; see `VisitSink`.

    Args:
        config: gallery and limits; `gallery.visitors` is enabled.
        models: fingerprints of those that run, by name.
        feed: of the keeper that has the gallery in memory; None where there is none yet.
        run: id of the run, for its events.
    """

    def __init__(self, config: Config, models: Mapping[str, str], feed: str | None, run: str) -> None:
        self._config = config
        self._models = dict(models)
        self._make = EventMaker(run, models)
        self._people = GalleryFollower(config, models, feed) if feed is not None else None
        self._waiting: deque[Sighting] = deque(maxlen=HELD)
        self._told: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._shown: dict[str, tuple[str, str]] = {}
        self._book: VisitorBook | None = None
        self._gallery: Gallery | None = None
        self._wake = threading.Event()
        self._closing = False
        self._problem = ""
        self._strangers: list[float] = []
        self._unsettled = 0
        self._thread = threading.Thread(target=self._work, name="visitors", daemon=True)
        self._thread.start()

    def put(self, sighting: Sighting) -> None:
        """See `VisitSink`; any thread may call it."""
        self._waiting.append(sighting)
        self._wake.set()

    def events(self) -> list[Event]:
        """See `VisitSink`."""
        found: list[Event] = []
        while not self._told.empty():
            found.append(self._told.get())
        return found

    def close(self, seconds: float = 10.0) -> list[Event]:
        """See `VisitSink`."""
        self._closing = True
        self._wake.set()
        self._thread.join(seconds)
        if self._waiting:
            log.error("%d walks could not be noted and are lost", len(self._waiting))
        return self.events()

    def _work(self) -> None:
        while True:
            self._wake.wait(PAUSE_S)
            self._wake.clear()
            closing = self._closing
            try:
                self._attend()
                self._complain("")
            except GalleryError as error:
                self._complain(str(error))
            except Exception as error:  # without this thread nobody would be noted any more
                self._complain(f"visitors are not noted ({type(error).__name__}: {error}); it is tried again")
                log.debug("visitors are not noted", exc_info=True)
                self._let_go()
            if self._problem and not closing:
                time.sleep(PAUSE_S)
            if closing:
                break
        self._let_go()

    def _attend(self) -> None:
        book = self._open()
        for promotion in book.follow():
            self._tell(visitor_named(promotion, "promotion", self._make.run))
        if self._people is not None:
            self._people.refresh()
        book.rule = site_rule(self._config, self._limits())
        if not book.rule.distances:
            self._waiting.clear()
            raise GalleryError(
                "visitors are not noted: there is no calibrated threshold yet; enrol two people, or set "
                "gallery.visitors.distance"
            )
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            noted = self._note(book, batch)
            for one in noted:
                self._tell(self._make.visitor_seen(one, self._whom(book, one)))
                self._watch_drift(one)
            self._unsettled += len(noted)
        if self._unsettled >= (1 if self._closing else settle_after(book.walks)):
            self._settle(book)

    def _note(self, book: VisitorBook, batch: list[Sighting]) -> list[Noted]:
        """Keep walks; what no gallery takes, for whatever reason, keeps no other one waiting."""
        try:
            return book.note(batch)
        except (GalleryError, OSError, MemoryError, sqlite3.Error):  # of the place, and may pass
            self._waiting.extendleft(reversed(batch))
            raise
        except Exception:
            if len(batch) > 1:
                return [noted for one in batch for noted in self._note(book, [one])]
            log.exception("the walk %s cannot be noted and is left out", batch[0].track)
            return []

    def _settle(self, book: VisitorBook) -> None:
        """Look at all walks together, and tell what changes by it."""
        for joined in book.settle():
            self._tell(self._make.visitor_joined(joined))
        self._unsettled = 0

    def _open(self) -> VisitorBook:
        if self._gallery is not None and not self._gallery.is_still_there():
            self._let_go()
        if self._book is None:
            section = self._config.gallery
            if section.where is None:
                raise GalleryError("visitors are not noted: set gallery.path")
            self._gallery = Gallery(section.where, create=True, key=section.key)
            self._book = VisitorBook(self._gallery, self._models, LinkRule({}))
        return self._book

    def _let_go(self) -> None:
        gallery, self._gallery, self._book = self._gallery, None, None
        if gallery is not None:
            gallery.close()

    def _limits(self) -> dict[str, float | None]:
        """Calibrated thresholds by model."""
        found = self._people.known.people.limits if self._people is not None else {}
        return {model: found.get(model, (None, None))[0] for model in self._models}

    def _whom(self, book: VisitorBook, noted: Noted) -> tuple[str, str] | None:
        """Name and uid of the person whom all walks of a visitor together show, told when it is new."""
        if self._people is None:
            return None
        found = self._rank(book, noted, self._people.limits(noted.sighting.track.camera))
        before = self._shown.get(noted.visitor_id)
        if found is None:
            self._shown.pop(noted.visitor_id, None)
        else:
            self._shown[noted.visitor_id] = found
            if before != found:
                tracks = [one.track for one in book.sightings(noted.visitor_id)]
                named = Promotion(noted.visitor, noted.visitor_id, *found, tracks)
                self._tell(visitor_named(named, "fusion", self._make.run))
        return found

    def _rank(self, book: VisitorBook, noted: Noted, limits: DecisionLimits) -> tuple[str, str] | None:
        if self._people is None or limits.threshold is None or noted.walks < 2:
            return None
        windows = {
            model: [ComparedWindow(parts) for parts in held]
            for model, held in book.windows(noted.visitor_id).items()
        }
        ranking = self._people.known.rank(windows, count=2)
        people = self._people.known.people
        if not ranking.persons or ranking.distances[0] > limits.threshold:
            return None
        lead = ranking.distances[1] - ranking.distances[0] if len(ranking.distances) > 1 else None
        best = ranking.persons[0]
        if best in people.visitors or (lead is not None and lead < limits.margin):
            return None
        return people.names[best], people.uids[best]

    def _watch_drift(self, noted: Noted) -> None:
        """Warn when strangers are no longer as far as when the site's threshold was chosen from them."""
        if noted.sighting.distance is None or len(self._models) != 1:
            return
        self._strangers.append(noted.sighting.distance)
        if self._gallery is None or len(self._strangers) < LOOK_AFTER:
            return
        strangers, self._strangers = self._strangers, []
        [model] = self._models
        with self._gallery.store.reading() as reading:
            found = kept_calibration(self._gallery, reading, model)
        people = self._people.named() if self._people is not None else {}
        said = drift(found, strangers, len(people)) if found is not None else ""
        if said:
            log.warning("%s", said)

    def _tell(self, event: Event) -> None:
        self._told.put(event)

    def _complain(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.error("%s", problem)
        self._problem = problem


def settle_after(walks: int) -> int:
    """After how many more walks of strangers all visitors are looked at together, by those there are."""
    return min(max(SOONEST, walks // 5), SETTLE_AFTER)


def site_rule(config: Config, thresholds: Mapping[str, float | None]) -> LinkRule:
    """The linking distance of each model: as configured, or from the threshold of decisions.

    Args:
        config: of the site.
        thresholds: the calibrated ones of the models that are compared; None where there is none.
    """
    recognizers = config.models.recognizers
    thresholds = config.models.thresholds(thresholds)
    weights = {model: recognizers[model].weight for model in thresholds if model in recognizers}
    section, single = config.gallery, len(thresholds) == 1
    if single and section.visitors.distance is not None:
        return LinkRule(dict.fromkeys(thresholds, section.visitors.distance), weights)
    if single and section.threshold is not None:
        thresholds = dict.fromkeys(thresholds, section.threshold)
    factor = LINK if section.visitors.distance is None else section.visitors.distance
    return LinkRule({one: factor * limit for one, limit in thresholds.items() if limit is not None}, weights)


def open_desk(
    config: Config, models: Mapping[str, str] | None, feed: str | None, run: str
) -> VisitDesk | None:
    """The desk of a run; None where a site keeps no visitors.

    Args:
        config: what runs.
        models: fingerprints by name; None reads them from the bundles.
        feed: of the keeper that has the gallery in memory.
        run: id of the run.
    """
    if not config.gallery.visitors.enabled:
        return None
    if models is None:
        models = {
            kind: find_bundle(
                model.model, family=config.models.family(kind), verify=False
            ).manifest.fingerprint
            for kind, model in config.models.recognizers.items()
        }
    return VisitDesk(config, models, feed, run)
