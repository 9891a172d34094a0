"""Names for the overlay of the annotated stream."""

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
