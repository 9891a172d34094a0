"""Hooks into a running pipeline, for whoever wants more than events: pictures, tracklets, decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gaitstream.data import Decision, Embedding, Frame, Person
from gaitstream.pipeline.identify import TrackState


class Observer:
    """Override what you need. Called in the pipeline's thread, in the order of the stages: be quick."""

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

    def on_track_ended(self, state: TrackState, decision: Decision, cause: str) -> None:
        """A track is over; its final decision was published."""

    def close(self) -> None:
        """The run is over."""
