"""Windows of many tracks through the head or clip graph, one batch per recognizer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Embedding, Floats, Tracklet
from gaitstream.errors import ConfigError, EngineError
from gaitstream.models.device_path import DeviceFeature
from gaitstream.models.inputs import kept_type
from gaitstream.models.manifest import EmbeddingContract, Manifest
from gaitstream.models.recognizer import Recognizer
from gaitstream.pipeline.pool import Emitted, FrameWindow, MapWindow, Window, WindowRule

log = logging.getLogger(__name__)

MOST_BROKEN = 20
"""Windows of a recognizer without an embedding made of numbers, before it had one that was."""


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
        recognizers: by the name in the configuration.
        rule: when windows are emitted.

    Raises:
        ConfigError: windows of this length do not fit a recognizer.
    """

    def __init__(self, recognizers: Mapping[str, Recognizer], rule: WindowRule) -> None:
        self._recognizers = recognizers
        self._rules = {
            name: fit_rule(name, recognizer.manifest, rule) for name, recognizer in recognizers.items()
        }
        self._broken = dict.fromkeys(recognizers, 0)
        self._sound: set[str] = set()

    def window(self, model: str, kept: object = None) -> Window:
        """An empty window of the kind a recognizer needs.

        Args:
            model: the recognizer.
            kept: what it keeps of the first frame: features on a device are pooled there.
        """
        manifest, rule = self._recognizers[model].manifest, self._rules[model]
        if manifest.keeps == "maximum":
            return MapWindow(rule, kept.pool if isinstance(kept, DeviceFeature) else None)
        return FrameWindow(rule, kept_type(manifest))

    def embed(self, filled: Sequence[Filled]) -> list[Embedding]:
        """Embed windows of any tracks, in their order within each model, without those that give no numbers.

        Raises:
            EngineError: a recognizer gives none at all.
        """
        out: list[Embedding] = []
        for model, recognizer in self._recognizers.items():
            mine = [item for item in filled if item.model == model]
            if not mine:
                continue
            windows = [np.asarray(item.window.data) for item in mine]
            parts = comparable(recognizer.manifest.embedding, recognizer.embed_windows(windows))
            sound = np.asarray(np.isfinite(parts).all(axis=(1, 2)))
            self._count(model, sound)
            for item, data, embedding, whole in zip(mine, windows, parts, sound, strict=True):
                if not whole:
                    continue
                window = item.window
                tracklet = Tracklet(
                    model, item.camera, item.track, window.first_ns, window.last_ns, window.frames,
                    data, window.provisional,
                )  # fmt: skip
                out.append(Embedding(tracklet, embedding, recognizer.fingerprint))
        return out

    def _count(self, model: str, sound: NDArray[np.bool_]) -> None:
        """Tell of embeddings that hold NaN or infinity: nobody is near to them, so everybody were unknown.

        Raises:
            EngineError: see `embed`.
        """
        if sound.any():
            self._sound.add(model)
        before, broken = self._broken[model], int((~sound).sum())
        self._broken[model] += broken
        recognizer = self._recognizers[model]
        said = (
            f"models.{model} gives embeddings that hold NaN or infinity ({recognizer.runtime}, "
            f"{recognizer.precision}): export the bundle again, or set runtime.precision to fp32"
        )
        if model not in self._sound and self._broken[model] >= MOST_BROKEN:
            raise EngineError(said)
        if broken and not before:
            log.error("%s; such windows are left out", said)


def comparable(contract: EmbeddingContract, embeddings: Floats) -> Floats:
    """Embeddings `[n, parts, dim]` as galleries compare them, which is by the distance of their parts.

    Where the model's metric is the cosine, parts are of unit length: the distance then grows as the cosine
    falls. With one part the nearest is whom the published evaluation finds. With several it takes the mean of
    the parts' cosines and a gallery that of their distances: two who are about as near may change places.
    """
    if not contract.by_cosine:
        return embeddings
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return np.asarray(embeddings / np.maximum(lengths, 1e-12), np.float32)


def fit_rule(name: str, manifest: Manifest, rule: WindowRule) -> WindowRule:
    """The rule for one recognizer: a clip model gives no answer before it has the frames it needs.

    Raises:
        ConfigError: a full window is too short or too long for the clip graph.
    """
    clip = manifest.clip
    if clip is None:
        return rule
    if clip.fit(rule.length) != rule.length:
        raise ConfigError(
            f"models.{name} takes {clip} in a window, and tracklets.length is {rule.length}: set it to a "
            "number that fits"
        )
    return replace(rule, provisional_from=max(rule.provisional_from, clip.min_frames))
