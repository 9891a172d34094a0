"""Decisions as log lines, where no live table shows them."""

from __future__ import annotations

import logging
from typing import Any

from gaitstream.data import Decision
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.observe import Observer

log = logging.getLogger("gaitstream.decisions")


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
