"""Cameras that say what a test tells them to."""

from __future__ import annotations

from typing import Any

from gaitstream.events import Event, IdentityDecided, IdentityFinal, TrackEnded, TrackStarted
from gaitstream.events.schema import Identity

S = 1_000_000_000


class Cameras:
    """Says what cameras say, with times in seconds.

    Args:
        lost_s: how long a track waits for its person before it ends.
    """

    def __init__(self, lost_s: float) -> None:
        self.lost_s = lost_s
        self.track = 0

    def tell(self, event: Event, at_s: float) -> list[Event]:
        """Send an event; what follows from it, where that is known at once."""
        raise NotImplementedError

    def begin(self, camera: str, at_s: float, run: str = "run") -> dict[str, Any]:
        self.track += 1
        base: dict[str, Any] = {"run": run, "camera": camera, "track": self.track}
        self.tell(TrackStarted(time_ns=round(at_s * S), **base), at_s)
        return base | {"first_ns": round(at_s * S)}

    def say(
        self, track: dict[str, Any], at_s: float, kind: type[Identity] = IdentityDecided, **distances: Any
    ) -> list[Event]:
        """What a camera says by itself, given the distances of some people; the threshold is 1."""
        ranked = sorted(distances.items(), key=lambda entry: entry[1])
        (nearest, distance), margin = ranked[0], ranked[1][1] - ranked[0][1] if len(ranked) > 1 else None
        known = distance <= 1 and (margin is None or margin >= 0.03)
        status = "known" if known else "ambiguous" if distance <= 1 else "unknown"
        event = kind(
            time_ns=round(at_s * S), **track, status=status, threshold=1.0, windows=1,
            person=nearest.title() if known else None, person_id=nearest if known else None,
            distance=distance, margin=margin,
            candidates=tuple((name.title(), far) for name, far in ranked),
            candidate_ids=tuple(name for name, _ in ranked),
        )  # fmt: skip
        return self.tell(event, at_s)

    def end(self, track: dict[str, Any], at_s: float) -> None:
        ended = TrackEnded(
            time_ns=round(at_s * S), **track, cause="lost", seen=9, accepted=9, outcome="known"
        )
        self.tell(ended, at_s + self.lost_s)

    def walk(self, camera: str, at_s: float, for_s: float = 4.0, **distances: Any) -> list[Event]:
        """A whole track."""
        track = self.begin(camera, at_s)
        said = self.say(track, at_s + 2, **distances)
        said += self.say(track, at_s + for_s, IdentityFinal, **distances)
        self.end(track, at_s + for_s)
        return said

    def teach(self, way_s: float = 20.0, times: int = 20) -> float:
        """Ada and Ben go from the gate to the hall often enough; the time after that, in seconds."""
        at_s = 0.0
        for number in range(times):
            pace = 1 + 0.1 * (number % 5 - 2) / 2
            self.walk("gate", at_s, ada=0.6, ben=1.3)
            self.walk("hall", at_s + 4 + way_s * pace, ada=0.6, ben=1.3)
            self.walk("gate", at_s + 300, ben=0.6, ada=1.3)
            self.walk("hall", at_s + 304 + way_s * pace, ben=0.6, ada=1.3)
            at_s += 1000.0
        return at_s
