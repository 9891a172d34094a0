"""Hooks into a running pipeline, for whoever wants more than events: pictures, tracklets, decisions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gaitstream.config.schema import Config
from gaitstream.data import Decision, Embedding, Frame, Person
from gaitstream.pipeline.basis import Basis
from gaitstream.pipeline.gather import Looks
from gaitstream.pipeline.identify import TrackState
from gaitstream.telemetry.stats import Stats

log = logging.getLogger("gaitstream.decisions")


class Observer:
    """Override what you need. Called in the pipeline's thread, in the order of the stages: be quick."""

    def on_begin(self, run: str, models: Mapping[str, str], config: Config, stats: Stats) -> None:
        """The run begins.

        Args:
            run: its id, as in events.
            models: fingerprint by recognizer, as in events.
            config: what it runs with.
            stats: its counters.
        """

    def on_config(self, config: Config) -> None:
        """The configuration was changed while running."""

    def on_looks(self, looks: Sequence[Looks]) -> None:
        """What the recognizers looked at beside pixels, before `on_frame` of the same frames."""

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        """A frame was analysed.

        Args:
            frame: with its image, which is shared: do not write into it.
            persons: everybody tracked in it; `rejected` says whose picture is no evidence.
            labels: the latest decision of each of these tracks that has one.
        """

    def on_embedding(self, embedding: Embedding) -> None:
        """A window was embedded; `embedding.tracklet` has camera, track, times and the pooled map."""

    def on_decision(self, decision: Decision) -> None:
        """A decision was published: first, revised or final."""

    def on_basis(self, basis: Basis) -> None:
        """What such a decision rests on, right after it; not for tracks of which nothing may be kept."""

    def on_track_ended(self, state: TrackState, decision: Decision, cause: str) -> None:
        """A track is over; its final decision was published."""

    def close(self) -> None:
        """The run is over."""


class Careful(Observer):
    """Hands on what is told at a track's end; an observer that fails is told nothing more."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._failed = False

    def on_decision(self, decision: Decision) -> None:
        """See `Observer`."""
        self._tell(lambda: self._observer.on_decision(decision))

    def on_basis(self, basis: Basis) -> None:
        """See `Observer`."""
        self._tell(lambda: self._observer.on_basis(basis))

    def on_track_ended(self, state: TrackState, decision: Decision, cause: str) -> None:
        """See `Observer`."""
        self._tell(lambda: self._observer.on_track_ended(state, decision, cause))

    def _tell(self, tell: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - the run ends because of an error already
            self._failed = True
            log.error("%s fails: %s: %s", type(self._observer).__name__, type(error).__name__, error)


class DecisionLog(Observer):
    """A log line for every decision and every ended track."""

    def on_decision(self, decision: Decision) -> None:
        """One line."""
        if not decision.final:
            log.info("%s", sentence(decision), extra={"decision": facts(decision)})

    def on_track_ended(self, state: TrackState, decision: Decision, cause: str) -> None:
        """One line."""
        seconds = (state.last_ns - state.first_ns) / 1e9
        extra = {"decision": facts(decision) | {"cause": cause, "seen": state.seen}}
        log.info(
            "%s; %s after %.1f s, %d frames", sentence(decision), cause, seconds, state.seen, extra=extra
        )


def sentence(decision: Decision) -> str:
    """A decision in one line."""
    said = decision.person or decision.status.value
    why = f" ({decision.reason.value})" if decision.reason else ""
    near = f", distance {decision.distance:.3f}" if decision.distance is not None else ""
    rest = "final" if decision.final else "provisional" if decision.provisional else "decided"
    return f"{decision.camera} #{decision.track}: {said}{why}{near}, {decision.frames} frames, {rest}"


def facts(decision: Decision) -> dict[str, Any]:
    """A decision as plain data."""
    return {
        "camera": decision.camera,
        "track": decision.track,
        "status": decision.status.value,
        "person": decision.person,
        "distance": decision.distance,
        "reason": decision.reason.value if decision.reason else None,
        "frames": decision.frames,
        "windows": decision.windows,
        "provisional": decision.provisional,
        "final": decision.final,
    }
