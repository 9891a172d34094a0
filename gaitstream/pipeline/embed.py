"""Windows of many tracks through the head graph, one batch per recognizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gaitstream.data import Embedding, Tracklet
from gaitstream.pipeline.pool import Emitted, HeatmapWindow, MapWindow, Window, WindowRule

if TYPE_CHECKING:
    from gaitstream.models.recognizer import Recognizer


@dataclass(frozen=True, slots=True)
class Filled:
    """A window of a track that is worth embedding."""

    model: str
    camera: str
    track: int
    window: Emitted


class Embedder:
    """Makes windows and embeds what they emit.

    Args:
        recognizers: by kind.
        rule: when windows are emitted.
    """

    def __init__(self, recognizers: Mapping[str, Recognizer], rule: WindowRule) -> None:
        self.rule = rule
        self._recognizers = recognizers
        self._buffered = {
            kind
            for kind, recognizer in recognizers.items()
            if (alignment := recognizer.manifest.alignment) is not None
            and alignment.normalization == "tracklet"
        }

    def window(self, model: str) -> Window:
        """An empty window of the kind a recognizer needs."""
        return HeatmapWindow(self.rule) if model in self._buffered else MapWindow(self.rule)

    def embed(self, filled: Sequence[Filled]) -> list[Embedding]:
        """Embed windows of any tracks, in their order within each model."""
        out: list[Embedding] = []
        for model, recognizer in self._recognizers.items():
            mine = [item for item in filled if item.model == model]
            if not mine:
                continue
            if model in self._buffered:
                pooled = [recognizer.pool(recognizer.encode(item.window.data)) for item in mine]
            else:
                pooled = [item.window.data for item in mine]
            parts = recognizer.embed_pooled(np.stack(pooled))
            for item, maps, embedding in zip(mine, pooled, parts, strict=True):
                window = item.window
                tracklet = Tracklet(
                    model, item.camera, item.track, window.first_ns, window.last_ns, window.frames, maps,
                    window.provisional,
                )  # fmt: skip
                out.append(Embedding(tracklet, embedding, recognizer.fingerprint))
        return out
