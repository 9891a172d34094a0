"""Whether a run is alive, and whether it does its work, for whoever starts it again or sends it traffic."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from gaitstream.telemetry.stats import Snapshot

STALLED_S = 60.0
"""A loop that turned last this long ago hangs; the longest honest call, an engine's first, takes seconds."""


@dataclass(frozen=True)
class Health:
    """An answer to a health check.

    Attributes:
        well: 200 or 503.
        facts: what it rests on, as plain data.
    """

    well: bool
    facts: dict[str, Any]


def liveness(snapshot: Snapshot, now_s: float | None = None) -> Health:
    """Whether every loop turns: not well means that only a restart helps.

    Args:
        snapshot: of the run.
        now_s: monotonic clock; now when None.
    """
    if not snapshot.turned_s:
        return Health(well=True, facts={"status": "starting", "uptime_s": round(snapshot.uptime_s, 1)})
    idle_s = (time.monotonic() if now_s is None else now_s) - snapshot.turned_s
    well = idle_s <= STALLED_S
    status = "ok" if well else "stalled"
    return Health(
        well,
        {"status": status, "idle_s": round(max(idle_s, 0.0), 1), "uptime_s": round(snapshot.uptime_s, 1)},
    )


def readiness(snapshot: Snapshot) -> Health:
    """Whether pictures come from at least one camera, and events get into the journal."""
    cameras = {name: camera.state for name, camera in snapshot.cameras.items() if not camera.removed}
    seeing = "online" in cameras.values()
    if not seeing:
        status = "no camera is online"
    elif snapshot.events_waiting:
        status = "events wait: the journal takes none"
    else:
        status = "ready"
    return Health(
        status == "ready",
        {"status": status, "cameras": cameras, "events_waiting": snapshot.events_waiting},
    )
