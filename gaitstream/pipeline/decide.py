"""From features to decisions: pool, embed, identify, publish, for all cameras of a run.

It takes persons and features from any front end, touches no camera and no picture, and runs in one thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gaitstream.config.schema import Config
from gaitstream.data import Decision, Embedding, Feature, Person, Reason
from gaitstream.errors import GalleryError
from gaitstream.pipeline.closing import close_all
from gaitstream.pipeline.embed import Embedder, Filled
from gaitstream.pipeline.identify import Identifier, TrackState
from gaitstream.pipeline.known import GalleryFollower
from gaitstream.pipeline.observe import Careful, Observer
from gaitstream.pipeline.pool import Window, WindowRule
from gaitstream.pipeline.publish import RunEvents
from gaitstream.pipeline.upstream import upstream_of
from gaitstream.pipeline.verdict import is_far
from gaitstream.pipeline.visits import VisitSink, open_desk, sighting_of
from gaitstream.telemetry.stats import Stats

if TYPE_CHECKING:
    from gaitstream.models.recognizer import Recognizer

log = logging.getLogger(__name__)


class Decider:
    """Pools features into windows, embeds them, decides and publishes.

    Args:
        config: windows, gallery and thresholds.
        recognizers: by kind.
        events: where decisions are published.
        stats: what is counted.
        observers: hooks.
        gallery_feed: of the process that keeps the gallery in memory; None keeps it here.
        visits: where walks are noted; None makes it here, where the site keeps visitors.

    Raises:
        GalleryError: the gallery was filled by another model, or cannot be read.
    """

    def __init__(
        self,
        config: Config,
        recognizers: Mapping[str, Recognizer],
        events: RunEvents,
        stats: Stats,
        observers: Sequence[Observer] = (),
        gallery_feed: str | None = None,
        visits: VisitSink | None = None,
    ) -> None:
        rule = config.tracklets
        self._embedder = Embedder(
            recognizers, WindowRule(rule.length, rule.stride, rule.provisional_from, rule.max_gap_s)
        )
        self._fingerprints = {kind: model.fingerprint for kind, model in recognizers.items()}
        self._upstream = upstream_of(config)
        self._events = events
        self._stats = stats
        self._observers = observers
        self._windows: dict[tuple[str, int, str], Window] = {}
        self._identifiers: dict[str, Identifier] = {}
        self._labels: dict[str, dict[int, Decision]] = {}
        self._skew_ns: dict[str, int] = {}
        self._watchlist_only = config.gallery.watchlist_only
        self._matched: set[tuple[str, int]] = set()
        """Tracks that were known at any time; kept in watch-list mode alone."""
        # Templates lie where embeddings are made.
        devices = [model.on_device for model in recognizers.values() if model.on_device is not None]
        cosine = [kind for kind, model in recognizers.items() if model.manifest.embedding.by_cosine]
        self._gallery = GalleryFollower(
            config,
            self._fingerprints,
            gallery_feed,
            devices[0] if devices else None,
            cosine,
            self._upstream,
        )
        self._uids = self._gallery.named()
        self._visits = visits or open_desk(config, self._fingerprints, self._gallery.feed, events.make.run)

    def take(
        self,
        frames: Iterable[tuple[str, Sequence[Person]]],
        features: Sequence[Feature],
        ended: Sequence[tuple[str, int]] = (),
        *,
        joined: Sequence[tuple[str, int, int]] = (),
        cause: str = "lost",
    ) -> None:
        """Take a batch in.

        Args:
            frames: camera and judged persons, frame by frame in the order of time.
            features: one per accepted person and recognizer, in the same order.
            ended: camera and id of tracks that ended, after these frames.
            joined: camera and id of tracks that go on with an earlier one by what is worn, and that one's.
            cause: why they ended.
        """
        if self._gallery.known.people.has_news:
            self._follow_gallery()
        self._observe(frames)
        for camera, track, earlier in joined:
            self._identifiers[camera].join(track, earlier)
        with self._stats.stage("pool"):
            filled = self._pool(features)
        self._identify(filled)
        self._end(ended, cause)

    def labels(self, camera: str) -> Mapping[int, Decision]:
        """The latest decision by track."""
        return self._labels.get(camera, {})

    def end_camera(self, camera: str, cause: str) -> None:
        """End every track of a camera that left, and forget the camera."""
        identifier = self._identifiers.get(camera)
        if identifier is not None:
            self._end([(camera, track) for track in sorted(identifier.tracks)], cause)
            del self._identifiers[camera]
            self._labels.pop(camera, None)
            self._skew_ns.pop(camera, None)
            self._stats.camera(camera).people = 0

    def end_all(self, cause: str) -> None:
        """End every track of every camera."""
        for camera in list(self._identifiers):
            self.end_camera(camera, cause)

    def break_off(self, cause: str) -> None:
        """End every track after an exception: no window is embedded any more, and hooks may fail."""
        self._windows.clear()
        self._observers = [Careful(observer) for observer in self._observers]
        for camera, identifier in self._identifiers.items():
            for track in sorted(identifier.tracks):
                try:
                    self._end_track(camera, track, cause)
                except Exception:
                    log.exception("camera %s: track %d gets no last word", camera, track)

    def adjust(self, config: Config) -> None:
        """Take over new thresholds and margins."""
        self._gallery.adjust(config)
        for camera, identifier in self._identifiers.items():
            identifier.limits = self._gallery.limits(camera)

    def refresh(self) -> bool:
        """Read the gallery again when another process has changed it; True when it has."""
        before = self._gallery.known
        news = self._gallery.refresh()
        for camera, identifier in self._identifiers.items():
            if self._gallery.known is not before:
                identifier.use(self._gallery.known)
            elif news.persons:
                identifier.refresh(news.persons)
            identifier.limits = self._gallery.limits(camera)
        if news.persons:
            self._tell_gallery(news.persons)
            log.info("gallery read again")
        return bool(news.persons)

    def _follow_gallery(self) -> None:
        try:
            self.refresh()
        except GalleryError as error:  # what runs goes on
            log.error("%s", error)

    def _tell_gallery(self, persons: Iterable[int]) -> None:
        """Publish who came, who went and who was merged, by their ids."""
        now, before = self._gallery.named(), self._uids
        added = [now[person] for person in persons if person in now and person not in before]
        removed: set[str] = set()
        merged: list[tuple[str, str]] = []
        for person in (one for one in persons if one in before and one not in now):
            told = self._gallery.known.people.gone.get(person)
            if told is not None and told.into:
                merged.append((before[person], told.into))
            else:
                removed |= {before[person], *(told.parts if told is not None else ())}
        self._uids = now
        make = self._events.make.gallery_changed
        self._events.emit(make(len(now), sorted(added), sorted(removed), sorted(merged)))

    def tell_visits(self) -> None:
        """Publish which visitors were seen; call it about once a second."""
        if self._visits is not None:
            for event in self._visits.events():
                self._events.emit(event)

    def end_visits(self) -> None:
        """Note the last walks, and publish what is to be told of them."""
        visits, self._visits = self._visits, None
        for event in visits.close() if visits is not None else ():
            self._events.emit(event)

    def close(self) -> None:
        """Let go of the gallery."""
        visits = () if self._visits is None else (self._visits.close,)
        close_all(*visits, self._gallery.close)

    def set_skew(self, camera: str, skew_ns: int) -> None:
        """The clock minus the capture time of a frame that met no delay; 0 for live cameras."""
        self._skew_ns[camera] = skew_ns

    def _identifier(self, camera: str) -> Identifier:
        identifier = self._identifiers.get(camera)
        if identifier is None:
            limits, has_models = self._gallery.limits(camera), bool(self._fingerprints)
            identifier = Identifier(camera, self._gallery.known, limits, has_models=has_models)
            self._identifiers[camera] = identifier
        return identifier

    def _observe(self, frames: Iterable[tuple[str, Sequence[Person]]]) -> None:
        for camera, persons in frames:
            identifier = self._identifier(camera)
            counters = self._stats.camera(camera)
            for person in persons:
                if person.track not in identifier.tracks and not self._watchlist_only:
                    self._events.emit(self._events.make.track_started(camera, person))
            identifier.observe(persons)
            counters.people = len(persons)
            counters.person_frames += len(persons)
            counters.tracks = len(identifier.tracks)
            for person in persons:
                if person.rejected is not None:
                    counters.rejections[person.rejected.value] += 1
                    if person.rejected is Reason.ID_SWITCH_SUSPECTED:
                        self._suspect(camera, person.track)

    def _suspect(self, camera: str, track: int) -> None:
        """What was pooled so far may be somebody else's."""
        self._identifiers[camera].suspect(track)
        for kind in self._fingerprints:
            window = self._windows.get((camera, track, kind))
            if window is not None:
                window.reset()

    def _pool(self, features: Sequence[Feature]) -> list[Filled]:
        filled = []
        for feature in features:
            person = feature.person
            key = (person.camera, person.track, feature.model)
            window = self._windows.get(key)
            if window is None:
                window = self._windows[key] = self._embedder.window(feature.model, feature.map)
            emitted = window.add(person.time_ns, feature.map)
            self._stats.camera(person.camera).encoded += 1
            if emitted is not None:
                filled.append(Filled(feature.model, person.camera, person.track, emitted))
        return filled

    def _identify(self, filled: Sequence[Filled]) -> None:
        if not filled:
            return
        self._embed(filled)
        with self._stats.stage("identify"):
            decisions = []
            for camera in dict.fromkeys(item.camera for item in filled):
                identifier = self._identifiers[camera]
                for track, state in identifier.tracks.items():
                    if state.compared:
                        decision = identifier.decide(track)
                        self._labels.setdefault(camera, {})[track] = decision
                        if identifier.is_news(decision):
                            decisions.append((state, decision))
        with self._stats.stage("publish"):
            for state, decision in decisions:
                self._publish(decision)
                self._tell(decision)
                self._offer(state, decision)
        for item in filled:
            if not item.window.provisional:
                waited_ns = time.time_ns() - item.window.last_ns - self._skew_ns.get(item.camera, 0)
                self._stats.now.event_latency.observe(max(0.0, waited_ns / 1e6))

    def _embed(self, filled: Sequence[Filled]) -> list[Embedding]:
        """Embed windows and hand them to the identifiers."""
        with self._stats.stage("embed"):
            embeddings = self._embedder.embed(filled)
        self._stats.batch("embed", len(filled))
        windows = self._gallery.known.match(embeddings)
        for embedding, window in zip(embeddings, windows, strict=True):
            tracklet = embedding.tracklet
            self._identifiers[tracklet.camera].add(embedding, window)
            self._stats.camera(tracklet.camera).windows += not tracklet.provisional
            for observer in self._observers:
                observer.on_embedding(embedding)
        return embeddings

    def _end(self, ended: Sequence[tuple[str, int]], cause: str) -> None:
        """The last windows, final decisions and `track.ended` of tracks."""
        ended = [
            (camera, track)
            for camera, track in ended
            if camera in self._identifiers and track in self._identifiers[camera].tracks
        ]
        filled = []
        for camera, track in ended:
            for kind in self._fingerprints:
                window = self._windows.pop((camera, track, kind), None)
                emitted = window.finish() if window is not None else None
                if emitted is not None:
                    filled.append(Filled(kind, camera, track, emitted))
        if filled:
            self._embed(filled)
        for camera, track in ended:
            self._end_track(camera, track, cause)

    def _end_track(self, camera: str, track: int, cause: str) -> None:
        state, decision = self._identifiers[camera].end(track)
        self._labels.get(camera, {}).pop(track, None)
        counters = self._stats.camera(camera)
        counters.tracks = len(self._identifiers[camera].tracks)
        counters.tracks_ended += 1
        counters.outcomes[decision.status.value] += 1
        if decision.reason is not None:
            counters.unnamed[decision.reason.value] += 1
            far = is_far(decision.distance, decision.threshold)
            counters.far += far and decision.reason is Reason.BELOW_THRESHOLD
        self._publish(decision)
        if self._may_store(decision):
            self._events.emit(self._events.make.ended(state, decision, cause))
        self._note(state, decision)
        self._tell(decision)
        self._offer(state, decision)
        self._matched.discard((camera, track))
        for observer in self._observers:
            observer.on_track_ended(state, decision, cause)

    def _note(self, state: TrackState, decision: Decision) -> None:
        if self._visits is not None:
            sighting = sighting_of(self._events.make.run, state, decision, self._fingerprints, self._upstream)
            if sighting is not None:
                self._visits.put(sighting)

    def _publish(self, decision: Decision) -> None:
        if self._may_store(decision):
            waited_ns = time.time_ns() - decision.time_ns - self._skew_ns.get(decision.camera, 0)
            latency_ms = self._stats.latest_ms | {"decide": max(0.0, waited_ns / 1e6)}
            self._events.emit(self._events.make.identity(decision, latency_ms))
        self._stats.camera(decision.camera).last_identity = in_short(decision)

    def _tell(self, decision: Decision) -> None:
        for observer in self._observers:
            observer.on_decision(decision)

    def _offer(self, state: TrackState, decision: Decision) -> None:
        """Offer what a published decision rests on to whoever keeps it."""
        if self._observers and self._may_store(decision):
            basis = self._identifiers[decision.camera].basis(state, decision)
            for observer in self._observers:
                observer.on_basis(basis)

    def _may_store(self, decision: Decision) -> bool:
        """Whether events of a track may be published: in watch-list mode only of those that matched."""
        if not self._watchlist_only:
            return True
        key = (decision.camera, decision.track)
        if decision.person is not None:
            self._matched.add(key)
        return key in self._matched


def in_short(decision: Decision) -> str:
    """A decision for a narrow column: who, how near, and why not."""
    said = decision.person or decision.status.value.replace("insufficient_evidence", "no evidence")
    near = f" {decision.distance:.2f}" if decision.distance is not None else ""
    why = f" {decision.reason.value}" if decision.reason else ""
    return f"#{decision.track} {said}{near}{why}" + ("?" if decision.provisional and not why else "")
