"""A bundle's graphs run on one runtime, from frames to embeddings, as every comparison needs them.

Engines are opened for one call and closed after it: an export runs each graph a few times only, and two of
them at once may not fit a small GPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from gaitstream.engines import open_engine
from gaitstream.engines.base import Batch, Engine, Precision
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.proof import Proof
from gaitstream.models.bundle import Bundle, Role
from gaitstream.models.manifest import FeatureContract
from gaitstream.models.trained import EMBEDDING, FEATURES, POOLED, Array

CHUNK = 16
"""Frames or windows per inference."""
SIZES = Batch(1, 12, CHUNK)


@dataclass(frozen=True)
class Embedded:
    """What a bundle makes of frames.

    Attributes:
        features: the frame graph's outputs by name; none of a clip model.
        embedding: `[sequences, parts, dim]`.
        device: where it ran.
        proof: what the layers of the frame or clip graph really ran in.
    """

    features: dict[str, Array]
    embedding: Array
    device: str
    proof: Proof


class BundleRunner:
    """A bundle on one runtime in one precision; a `trained.GraphRunner`.

    Args:
        bundle: which.
        runtime: where.
        precision: in what.
        cache: where its engines are kept.
        for_once: see `open_engine`.
    """

    def __init__(
        self,
        bundle: Bundle,
        runtime: str,
        precision: Precision,
        cache: EngineCache,
        *,
        for_once: bool = False,
    ) -> None:
        self.bundle = bundle
        self.runtime = runtime
        self.precision = precision
        self.cache = cache
        self._for_once = for_once

    def open(self, graph: Path, precision: Precision | None = None) -> Engine:
        """A graph, ready to run."""
        return self.open_from(self.cache, graph, precision)

    def open_from(self, cache: EngineCache, graph: Path, precision: Precision | None = None) -> Engine:
        """Likewise, its engine kept somewhere else."""
        wanted = precision or self.precision
        once = self._for_once
        return open_engine(graph, self.runtime, wanted, batch=SIZES, cache=cache, for_once=once)

    def run(self, role: Role, feeds: dict[str, Array], *, precise: bool = False) -> dict[str, Array]:
        """Run the graph of a role on one batch, in float32 where that is asked for."""
        precision = "fp32" if precise else self._computed_in(role)
        with self.open(self.bundle.graph(role, precision), precision) as engine:
            return engine.infer(feeds)

    def graph(self, role: Role) -> Path:
        """The file of a role's graph."""
        return self.bundle.graph(role, self.precision)

    def run_part(self, role: Role, feeds: dict[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Run what lies between some values of a role's graph on one batch."""
        model = onnx.load(self.graph(role))
        part = onnx.utils.Extractor(model).extract_model(list(feeds), list(outputs))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{role}.onnx"
            onnx.save(part, path)
            with self.open(path) as engine:
                return engine.infer(feeds)

    def embed(
        self, feeds: dict[str, Array], sequences: NDArray[np.int64], *, keep_features: bool = False
    ) -> Embedded:
        """Embed sequences.

        Args:
            feeds: the model's inputs, `[frames, ...]` each.
            sequences: index of each frame's sequence `[frames]`: 0, 1, 2, ...
            keep_features: return every frame's features as well, which may be much.
        """
        if self.bundle.manifest.shape == "clip":
            return self._clip(feeds, sequences)
        pools = SequencePools(self.bundle.manifest.features)
        kept: list[dict[str, Array]] = []
        with self._open_role("frame") as engine:
            for start, part in _infer(engine, feeds, len(sequences)):
                pools.add(part, sequences[start : start + CHUNK])
                kept += [part] if keep_features else []
            device, proof = engine.device, engine.proof()
        with self._open_role("head") as engine:
            embedding = np.concatenate([_embedding(engine, group) for group in pools.groups()])
        features = {name: np.concatenate([part[name] for part in kept]) for name in (kept[0] if kept else {})}
        return Embedded(features, embedding, device, proof)

    def _clip(self, feeds: dict[str, Array], sequences: NDArray[np.int64]) -> Embedded:
        with self._open_role("clip") as engine:
            found = [_embedding(engine, group) for group in windows(feeds, sequences)]
            return Embedded({}, np.concatenate(found), engine.device, engine.proof())

    def _open_role(self, role: Role) -> Engine:
        return self.open(self.bundle.graph(role, self.precision), self._computed_in(role))

    def _computed_in(self, role: Role) -> Precision:
        return self.bundle.computed_in(role, self.precision)


class SequencePools:
    """The head graph's inputs, gathered from frames that come in any batches."""

    def __init__(self, contracts: dict[str, FeatureContract]) -> None:
        """Start with no frame.

        Args:
            contracts: how each output of the frame graph is pooled.
        """
        self._contracts = contracts
        self._found: dict[int, dict[str, list[Array]]] = {}

    def add(self, features: dict[str, Array], sequences: NDArray[np.int64]) -> None:
        """Take in frames: features `[n, ...]` by output, and the index of each one's sequence."""
        for row, index in enumerate(sequences.tolist()):
            mine = self._found.setdefault(index, {})
            for name, contract in self._contracts.items():
                rows = mine.setdefault(name, [])
                rows.append(features[name][row])
                if contract.pooling == "max":
                    rows[:] = [np.maximum.reduce(rows)]

    def groups(self) -> Iterator[dict[str, Array]]:
        """Inputs of the head graph `[sequences, ...]`, for neighbours of one length at once."""
        for group in _alike([self._length(index) for index in range(len(self._found))]):
            yield {
                _head_input(name): np.stack([self._pooled(index, name) for index in group])
                for name in self._contracts
            }

    def _length(self, index: int) -> int:
        return max(len(rows) for rows in self._found[index].values())

    def _pooled(self, index: int, name: str) -> Array:
        rows = self._found[index][name]
        return rows[0] if self._contracts[name].pooling == "max" else np.stack(rows)


def windows(feeds: dict[str, Array], sequences: NDArray[np.int64]) -> Iterator[dict[str, Array]]:
    """A clip graph's inputs `[n, channels, frames, ...]`, for neighbouring sequences of one length at once.

    Args:
        feeds: `[frames, channels, ...]` each.
        sequences: index of each frame's sequence.
    """
    for group in _alike(np.bincount(sequences).tolist()):
        yield {
            name: np.stack([np.moveaxis(array[sequences == index], 0, 1) for index in group])
            for name, array in feeds.items()
        }


def _head_input(output: str) -> str:
    return POOLED if output == FEATURES else f"{POOLED}_{output}"


def _alike(lengths: list[int]) -> Iterator[list[int]]:
    """Indices in order, those of one length that follow each other together."""
    for _, group in groupby(range(len(lengths)), key=lengths.__getitem__):
        yield list(group)


def _infer(engine: Engine, feeds: dict[str, Array], count: int) -> Iterator[tuple[int, dict[str, Array]]]:
    """Results chunk by chunk, with the index of the chunk's first row."""
    for start in range(0, count, CHUNK):
        yield start, engine.infer({name: array[start : start + CHUNK] for name, array in feeds.items()})


def _embedding(engine: Engine, feeds: dict[str, Array]) -> Array:
    count = len(next(iter(feeds.values())))
    return np.concatenate([part[EMBEDDING] for _, part in _infer(engine, feeds, count)])
