"""The three kinds of graphs of a recognizer: frame encoder, head and clip encoder.

A `frame` model has a `FrameEncoder`, which turns every frame alone into features, and a `Head`, which turns
what a window pooled of them into an embedding. A `clip` model has a `ClipEncoder`, which turns a window's
frames into an embedding at once. Whatever turns a window into an embedding is a `WindowEncoder`, and what it
is given is what the manifest says is kept of a frame (`Manifest.keeps`). All are safe to use from several
threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.engines import Engine
from gaitstream.errors import EngineError
from gaitstream.models.alignment import HeatmapAligner
from gaitstream.models.chunks import ChunkedWindows
from gaitstream.models.inputs import (
    NAMES,
    Inputs,
    as_graph_input,
    flat_rows,
    kept_shape,
    kept_type,
    largest,
    pick,
    split,
    unpack,
)
from gaitstream.models.manifest import ClipContract, InputKind, Manifest
from gaitstream.models.running import run_chunked

log = logging.getLogger(__name__)
FRAMES_AT_ONCE = 8
"""Frames per inference on a CPU: measured best for models on crops and heatmaps, and it bounds the memory."""
SMALL_FRAMES_AT_ONCE = 32
"""The same where they are silhouettes, which are small: a call costs as much as some frames."""
CLIPS_AT_ONCE = 2
"""Windows per inference of a clip graph, for the memory of its feature maps."""

FeatureShapes = dict[str, tuple[int, ...]]


class WindowEncoder(Protocol):
    """Turns what is kept of windows into embeddings."""

    @property
    def engine(self) -> Engine:
        """What runs its graph."""

    def embed_windows(self, windows: Sequence[NDArray[Any]]) -> Floats:
        """Embeddings `[n, parts, dim]` of windows of any tracks and lengths.

        Args:
            windows: per window what the manifest says is kept: one pooled row `[*kept_shape]`, or the rows of
                its frames `[frames, *kept_shape]`.
        """

    def prepare(self, most: int) -> None:
        """Have the engines ready for up to so many windows at once, so that none waits for a compiler."""

    def close(self) -> None:
        """Free the engines."""


class FrameEncoder:
    """The frame graph: what is seen of persons, each frame alone, to features.

    Args:
        manifest: of the bundle.
        engine: runs the frame graph.
        aligner: of a model that takes heatmaps as aligned parts.
        chunk: frames per inference; what suits the model's inputs when None.
    """

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        aligner: HeatmapAligner | None = None,
        *,
        chunk: int | None = None,
    ) -> None:
        self.manifest = manifest
        self.engine = engine
        self.aligner = aligner
        self._outputs = tuple(manifest.features)
        self._chunk = engine.rows_at_once(chunk or frames_at_once(manifest))

    def encode(self, inputs: Inputs, segments: NDArray[Any] | None = None) -> Floats:
        """Features of frames, float32 `[n, channels, height, width]`; flat rows where there are several.

        Args:
            inputs: what the manifest needs, by name; see `models.inputs`. In place of heatmaps and keypoints
                aligned `parts` may be given.
            segments: the tracklet of each frame `[n]`, for models normalised over the tracklet.

        Raises:
            EngineError: an input is missing, or of a wrong shape or dtype.
        """
        maps = run_chunked(self.engine, self._feeds(inputs, segments), self._outputs, self._chunk)
        return maps[0] if len(maps) == 1 else flat_rows(maps)

    def prepare(self, most: int) -> None:
        """Have the engine ready for up to so many frames at once."""
        self.engine.prepare(min(most, self._chunk))

    def close(self) -> None:
        """Free the engines."""
        self.engine.close()
        if self.aligner is not None:
            self.aligner.close()

    def _feeds(self, inputs: Inputs, segments: NDArray[Any] | None) -> dict[str, NDArray[Any]]:
        feeds = {}
        for contract in self.manifest.inputs:
            name = NAMES[contract.kind]
            if contract.kind is InputKind.POSE and self.aligner is not None:
                parts = inputs.get("parts")
                if parts is None:
                    heatmaps = pick(inputs, name, self.manifest)
                    parts = self.aligner.align(heatmaps, inputs.get("keypoints"), segments)
                feeds["parts"] = parts
            else:
                array = pick(inputs, name, self.manifest)
                feeds[name] = _as_input(self.engine, name, array)
        if "ratios" in self.engine.inputs:
            feeds["ratios"] = pick(inputs, "ratios", self.manifest)
        return feeds


def frames_at_once(manifest: Manifest) -> int:
    """Frames per inference that suit a model on a CPU."""
    small = {InputKind.SILHOUETTE, InputKind.SKELETON_MAP}
    return SMALL_FRAMES_AT_ONCE if set(manifest.needs) <= small else FRAMES_AT_ONCE


class Head:
    """The head graph: what a window pooled of its frames' features to an embedding.

    Args:
        manifest: of the bundle.
        engine: runs the head graph.
        chunk: windows per inference.
    """

    def __init__(self, manifest: Manifest, engine: Engine, *, chunk: int = FRAMES_AT_ONCE) -> None:
        self.manifest = manifest
        self.engine = engine
        self._chunk = engine.rows_at_once(chunk)
        self._shapes: FeatureShapes = {name: one.shape for name, one in manifest.features.items()}
        self._sequences = [name for name, one in manifest.features.items() if one.pooling == "sequence"]

    def embed_pooled(self, pooled: Floats) -> Floats:
        """Embeddings `[n, parts, dim]` of pooled features `[n, *kept_shape]`; for heads without sequences."""
        return self._run(self._split(pooled))

    def embed_windows(self, windows: Sequence[NDArray[Any]]) -> Floats:
        """Embeddings of windows: pooled rows, or the rows of all frames for heads with temporal layers."""
        if not self._sequences:
            return self.embed_pooled(np.stack(windows))
        return _by_length(windows, self.manifest, self._embed_frames)

    def prepare(self, most: int) -> None:
        """Have the engine ready for up to so many pooled windows at once."""
        self.engine.prepare(min(most, self._chunk))

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()

    def _embed_frames(self, rows: NDArray[Any]) -> Floats:
        """Windows of one length `[n, frames, *kept_shape]`."""
        maps = self._split(rows)
        return self._run(
            {name: one if name in self._sequences else one.max(axis=1) for name, one in maps.items()}
        )

    def _split(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return split(rows, self._shapes) if len(self._shapes) > 1 else dict.fromkeys(self._shapes, rows)

    def _run(self, maps: dict[str, NDArray[Any]]) -> Floats:
        feeds = {
            "pooled" if name == "features" else f"pooled_{name}": np.asarray(one, np.float32)
            for name, one in maps.items()
        }
        return run_chunked(self.engine, feeds, ["embedding"], self._chunk)[0]


class DelayedEncoder:
    """A frame model whose frames can be encoded only when their window closes.

    Its inputs are normalised over the window, so their rows are kept, encoded together and pooled at the end.

    Args:
        frames: its frame encoder.
        head: its head.
    """

    def __init__(self, frames: FrameEncoder, head: Head) -> None:
        self.frames = frames
        self.head = head

    @property
    def engine(self) -> Engine:
        """What runs the head graph."""
        return self.head.engine

    def embed_windows(self, windows: Sequence[NDArray[Any]]) -> Floats:
        """Embeddings of windows of inputs."""
        manifest = self.frames.manifest
        pooled = [
            largest(self.frames.encode(unpack(manifest, _decoded(manifest, window)))) for window in windows
        ]
        return self.head.embed_windows(pooled)

    def prepare(self, most: int) -> None:
        """Have the engines ready for up to so many frames and windows at once."""
        self.frames.prepare(most)
        self.head.prepare(most)

    def close(self) -> None:
        """Free the engines."""
        self.frames.close()
        self.head.close()


class ClipEncoder:
    """The clip graph: the inputs of a window's frames to an embedding.

    Args:
        manifest: of the bundle.
        engine: runs the clip graph.
        aligner: of a model that takes heatmaps as aligned parts.
        shared: embeds windows made of chunks, which overlapping ones share.
        chunk: windows per inference.
    """

    def __init__(
        self,
        manifest: Manifest,
        engine: Engine,
        aligner: HeatmapAligner | None = None,
        *,
        shared: ChunkedWindows | None = None,
        chunk: int = CLIPS_AT_ONCE,
    ) -> None:
        self.manifest = manifest
        self.engine = engine
        self.aligner = aligner
        self.shared = shared
        self._clip = manifest.clip or ClipContract()
        self._chunk = engine.rows_at_once(chunk)

    def embed_windows(self, windows: Sequence[NDArray[Any]]) -> Floats:
        """Embeddings of windows of inputs; of each as many of its last frames as the graph takes.

        Raises:
            EngineError: a window is shorter than the graph needs.
        """
        return _by_length([self._fit(window) for window in windows], self.manifest, self._embed)

    def prepare(self, most: int) -> None:
        """Have the engine ready for up to so many windows at once."""
        self.engine.prepare(min(most, self._chunk))

    def share(self, shared: ChunkedWindows) -> None:
        """Embed windows chunk by chunk where that is faster here."""
        row = np.zeros(kept_shape(self.manifest), kept_type(self.manifest))
        if shared.pays(self.engine, self._feeds, row):
            self.shared = shared
        else:
            log.info("%s is as fast with whole windows: chunks are not shared", self.manifest.model)
            shared.close()

    def close(self) -> None:
        """Free the engines."""
        self.engine.close()
        if self.aligner is not None:
            self.aligner.close()
        if self.shared is not None:
            self.shared.close()

    def _fit(self, window: NDArray[Any]) -> NDArray[Any]:
        window = self._clip.lengthen(window)
        frames = self._clip.fit(len(window))
        if frames is None:
            raise EngineError(
                f"{self.manifest.model} takes {self._clip}; a window has {len(window)}: give longer ones"
            )
        return window[len(window) - frames :]

    def _embed(self, rows: NDArray[Any]) -> Floats:
        """Windows of one length `[n, frames, *kept_shape]`."""
        if self.shared is not None and self.shared.takes(rows.shape[1]):
            return self.shared.embed(rows, self._feeds)
        return run_chunked(self.engine, self._feeds(rows), ["embedding"], self._chunk)[0]

    def _feeds(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        feeds = {}
        for name, array in unpack(self.manifest, _decoded(self.manifest, rows)).items():
            if name == "heatmaps" and self.aligner is not None:
                feeds["parts"] = np.moveaxis(_align_windows(self.aligner, array), 1, 2)
            else:
                feeds[name] = _as_input(self.engine, name, np.moveaxis(array, 1, 2))
        return feeds


def _as_input(engine: Engine, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """In the type the graph takes; what it has no input for is left to the engine's own complaint."""
    spec = engine.inputs.get(name)
    # Crops are bytes by contract: a float picture in 0..1 would be another convention.
    return array if spec is None or name == "crops" else as_graph_input(name, array, spec.dtype)


def _align_windows(aligner: HeatmapAligner, heatmaps: NDArray[Any]) -> Floats:
    """Parts `[n, frames, ...]` of heatmaps `[n, frames, 17, 64, 48]`, each window a tracklet of its own."""
    count, frames = heatmaps.shape[:2]
    flat = heatmaps.reshape(count * frames, *heatmaps.shape[2:])
    parts = aligner.align(flat, None, np.repeat(np.arange(count), frames))
    return parts.reshape(count, frames, *parts.shape[1:])


def _decoded(manifest: Manifest, rows: NDArray[Any]) -> NDArray[Any]:
    """Heatmaps are kept in half precision and computed with in single."""
    return rows.astype(np.float32) if InputKind.POSE in manifest.needs else rows


def _by_length(
    windows: Sequence[NDArray[Any]], manifest: Manifest, embed: Callable[[NDArray[Any]], Floats]
) -> Floats:
    """Embed windows of several lengths, those of one length together; results in their order."""
    contract = manifest.embedding
    embeddings = np.empty((len(windows), contract.parts, contract.dim), np.float32)
    lengths = [len(window) for window in windows]
    for length in dict.fromkeys(lengths):
        members = [index for index, one in enumerate(lengths) if one == length]
        embeddings[members] = embed(np.stack([windows[index] for index in members]))
    return embeddings
