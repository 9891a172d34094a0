"""Names in the annotated pictures: the pipeline tells them, the DeepStream process keeps them."""

from __future__ import annotations

from collections.abc import Callable

from gaitstream.data import Decision
from gaitstream.deepstream.spec import Command
from gaitstream.pipeline.observe import Observer


class Labeller(Observer):
    """Tells the DeepStream process who each track is.

    Args:
        tell: sends a command.
    """

    def __init__(self, tell: Callable[[Command], None]) -> None:
        self._tell = tell

    def on_decision(self, decision: Decision) -> None:
        """Name the track in the picture."""
        text = f"{decision.track} {decision.person or decision.status.value}"
        self._tell(Command(do="label", camera=decision.camera, track=decision.track, text=text))


class TrackLabels:
    """What the overlay writes, by camera and track; the newest thousand. Kept by the process."""

    CAPACITY = 1000
    """Tracks."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, int], str] = {}

    def set(self, camera: str, track: int, text: str) -> None:
        """Remember a track's text."""
        self._texts.pop((camera, track), None)
        self._texts[camera, track] = text
        while len(self._texts) > self.CAPACITY:
            del self._texts[next(iter(self._texts))]

    def get(self, camera: str, track: int) -> str | None:
        """A track's text; None when nobody has said anything."""
        return self._texts.get((camera, track))
