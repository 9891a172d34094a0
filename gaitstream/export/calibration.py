"""What a lower precision costs in accuracy, on labelled data.

Rounding errors say little about accuracy: a model may lose nothing at 1e-2 and everything at 1e-3. So bf16
is allowed only after the same sequences were recognised at both precisions.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.engines import open_engine
from gaitstream.engines.base import Batch
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import ExportError
from gaitstream.evaluate.distances import pairwise
from gaitstream.evaluate.retrieval import retrieve
from gaitstream.evaluate.verification import pairs, verify
from gaitstream.export.compare import order_kept
from gaitstream.models.bundle import Bundle
from gaitstream.models.manifest import Manifest

Array = NDArray[Any]
RANK1_DROP = 0.5
"""Rank-1 a precision may lose, percentage points."""
EER_RISE = 0.005
"""Equal error rate it may gain, as a fraction."""
BATCH = 16


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Recognition of the labelled sequences at one precision.

    Attributes:
        rank1: share of sequences whose nearest other sequence is of the same person, percent.
        eer: equal error rate over all pairs of sequences, a fraction.
        order_kept: share of gallery pairs in the order of the fp32 reference.
    """

    runtime: str
    precision: str
    rank1: float
    eer: float
    order_kept: float
    rank1_change: float
    eer_change: float
    kept: bool


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """Scores at every precision, the first being the reference."""

    source: str
    sequences: int
    people: int
    scores: tuple[Score, ...]

    def keeps(self, precision: str) -> bool | None:
        """Whether a precision keeps accuracy on every runtime; None where it did not run."""
        mine = [score.kept for score in self.scores if score.precision == precision]
        return all(mine) if mine else None

    def sentences(self) -> list[str]:
        """One line per score."""
        return [
            f"{score.precision} on {score.runtime}: rank-1 {score.rank1:.1f}% ({score.rank1_change:+.1f}), "
            f"EER {score.eer:.2%} ({score.eer_change:+.2%}), order kept {score.order_kept:.1%} over "
            f"{self.sequences} labelled sequences of {self.people} people: "
            f"{'accuracy kept' if score.kept else 'accuracy lost'}"
            for score in self.scores
        ]


@dataclass(frozen=True)
class Calibration:
    """Labelled inputs of the frame graph.

    An `.npz` with `sequence` int `[n]` (which sequence each frame belongs to), `label` `[n]` (whose it is)
    and the frame graph's inputs: `crops` uint8 `[n, 3, 256, 128]` and `ratios` float32 `[n]` for BigGait,
    `parts` float `[n, 1 + groups, 64, 48]` for GaitHeat.
    """

    source: str
    feeds: dict[str, Array]
    sequence: NDArray[np.int64]
    label: Array
    """Of each sequence."""

    @classmethod
    def read(cls, path: Path, manifest: Manifest) -> Calibration:
        """Read the file and check it against the bundle's contract.

        Raises:
            ExportError: it is missing, damaged, or does not fit.
        """
        need = ("crops", "ratios") if manifest.model == "biggait" else ("parts",)
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ExportError(f"cannot read the calibration set {path}: {error}") from error
        lacking = [name for name in (*need, "sequence", "label") if name not in arrays]
        if lacking:
            raise ExportError(
                f"the calibration set {path} lacks {', '.join(lacking)} "
                f"(it has {', '.join(arrays) or 'nothing'})"
            )
        contract = manifest.input
        shape = (contract.channels, contract.height, contract.width)
        if arrays[need[0]].shape[1:] != shape:
            raise ExportError(
                f"{need[0]} in {path} are {arrays[need[0]].shape[1:]} each, the model takes {shape}"
            )
        _, first, sequence = np.unique(arrays["sequence"], return_index=True, return_inverse=True)
        label = arrays["label"][first]
        people, counts = np.unique(label, return_counts=True)
        if len(people) < 2 or counts.max() < 2:
            raise ExportError(
                f"{path} has {len(label)} sequences of {len(people)} people: it needs at least two people, "
                "one of them with two sequences"
            )
        feeds = {name: arrays[name] for name in need}
        kinds = {"crops": np.uint8, "ratios": np.float32, "parts": np.float32}
        feeds = {name: np.ascontiguousarray(array, kinds[name]) for name, array in feeds.items()}
        return cls(path.name, feeds, sequence.astype(np.int64), label)


def judge(data: Calibration, bundle: Bundle, ran: list[tuple[str, str]], cache: EngineCache) -> Judgement:
    """Recognise the sequences at every precision and compare with fp32 of the same runtime.

    Args:
        data: the labelled inputs.
        bundle: the bundle.
        ran: runtimes and precisions that work here.
        cache: where engines are kept.
    """
    reference_runtime = next(runtime for runtime, precision in ran if precision == "fp32")
    reference = embed(data, bundle, reference_runtime, "fp32", cache)
    scores = [_score(data, reference, reference, reference_runtime, "fp32")]
    for runtime, precision in ran:
        if precision != "fp32":
            found = embed(data, bundle, runtime, precision, cache)
            scores.append(_score(data, found, reference, runtime, precision))
    return Judgement(
        source=data.source,
        sequences=len(data.label),
        people=len(np.unique(data.label)),
        scores=tuple(scores),
    )


def embed(data: Calibration, bundle: Bundle, runtime: str, precision: str, cache: EngineCache) -> Array:
    """Embeddings of the labelled sequences, `[sequences, parts, dim]`."""
    batch = Batch(1, BATCH, BATCH)
    pooled: dict[int, Array] = {}
    frame, head = (bundle.graph(role, precision) for role in ("frame", "head"))  # type: ignore[arg-type]
    with open_engine(frame, runtime, precision, batch=batch, cache=cache) as engine:
        for start in range(0, len(data.sequence), BATCH):
            part = slice(start, start + BATCH)
            features = engine.infer({name: array[part] for name, array in data.feeds.items()})["features"]
            for index, feature in zip(data.sequence[part].tolist(), features, strict=True):
                pooled[index] = np.maximum(pooled[index], feature) if index in pooled else feature
    stacked = np.stack([pooled[index] for index in range(len(data.label))])
    with open_engine(head, runtime, precision, batch=batch, cache=cache) as engine:
        chunks = [
            engine.infer({"pooled": stacked[start : start + BATCH]})["embedding"]
            for start in range(0, len(stacked), BATCH)
        ]
    return np.concatenate(chunks)


def _score(data: Calibration, found: Array, reference: Array, runtime: str, precision: str) -> Score:
    rank1, eer = _accuracy(data, found)
    base_rank1, base_eer = _accuracy(data, reference)
    kept = rank1 >= base_rank1 - RANK1_DROP and eer <= base_eer + EER_RISE
    return Score(
        runtime=runtime,
        precision=precision,
        rank1=rank1,
        eer=eer,
        order_kept=order_kept(found, reference),
        rank1_change=rank1 - base_rank1,
        eer_change=eer - base_eer,
        kept=kept,
    )


def _accuracy(data: Calibration, embeddings: Array) -> tuple[float, float]:
    """Rank-1 (percent) of every sequence against all others, and the equal error rate (a fraction)."""
    if not np.isfinite(embeddings).all():
        return 0.0, 1.0
    distances = pairwise(embeddings, embeddings)
    others = ~np.eye(len(distances), dtype=bool)
    genuine, impostor = pairs(distances, data.label, data.label, others)
    # The sequence itself is removed by giving each a view of its own.
    own = np.arange(len(distances))
    rank1 = retrieve(distances, data.label, data.label, own, own).rank1
    return rank1, verify(genuine, impostor).eer
