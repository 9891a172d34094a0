"""What a lower precision costs in accuracy, on labelled data.

Rounding errors say little about accuracy: a model may lose nothing at 1e-2 and everything at 1e-3. So bf16
is allowed only after the same sequences were recognised at both precisions.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from gaitstream.engines.base import Precision
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import EngineError, ExportError
from gaitstream.evaluate.distances import PUBLISHED, Metric, pairwise
from gaitstream.evaluate.retrieval import retrieve
from gaitstream.evaluate.verification import pairs, verify
from gaitstream.export.compare import order_kept
from gaitstream.export.running import BundleRunner
from gaitstream.models.bundle import Bundle
from gaitstream.models.inputs import PICTURES, as_graph_input, check_masks
from gaitstream.models.manifest import ClipContract, InputKind

Array = NDArray[Any]
RANK1_DROP = 0.5
"""Rank-1 a precision may lose, percentage points."""
EER_RISE = 0.005
"""Equal error rate it may gain, as a fraction."""
CHANCE = 0.4
"""Equal error rate in fp32 from which on nothing can be lost any more: at 0.5 it is all by lot."""
SLACK = 1e-3
"""What resampling may bring heatmaps out of 0..1 by."""


class LabelledScore(msgspec.Struct, frozen=True, kw_only=True):
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
    """Scores at every precision, the first being the reference.

    Attributes:
        source: of the sequences.
        sequences: how many.
        people: whose.
        scores: see `LabelledScore`.
        tells: whether the model tells these people apart in fp32; if not, they show nothing of a precision.
    """

    source: str
    sequences: int
    people: int
    scores: tuple[LabelledScore, ...]
    tells: bool = True

    def keeps(self, precision: str) -> bool | None:
        """Whether a precision keeps accuracy on every runtime; None where it did not run or nothing tells."""
        if not self.tells:
            return None
        mine = [score.kept for score in self.scores if score.precision == precision]
        return all(mine) if mine else None

    def sentences(self) -> list[str]:
        """One line per score, and one where they mean nothing."""
        lines = [
            f"{score.precision} on {score.runtime}: rank-1 {score.rank1:.1f}% ({score.rank1_change:+.1f}), "
            f"EER {score.eer:.2%} ({score.eer_change:+.2%}), order kept {score.order_kept:.1%} over "
            f"{self.sequences} labelled sequences of {self.people} people: "
            f"{'accuracy kept' if score.kept else 'accuracy lost'}"
            for score in self.scores
        ]
        if not self.tells:
            lines.append(
                f"these people show nothing of lower precisions: fp32 itself hardly tells them apart (EER of "
                f"{CHANCE:.0%} or more); give --calibration of people whom the model was trained for"
            )
        return lines


@dataclass(frozen=True)
class LabelledCalibration:
    """Labelled inputs of a model.

    An `.npz` with `sequence` int `[n]` (which sequence each frame belongs to), `label` `[n]` (whose it is)
    and the inputs of the frame or clip graph by name, a row per frame: `crops` uint8 `[n, 3, 256, 128]` and
    `ratios` float32 `[n]`, say, or `silhouettes` `[n, 1, 64, 44]`, bytes or floats in 0..1.
    """

    source: str
    feeds: dict[str, Array]
    sequence: NDArray[np.int64]
    label: Array
    """Of each sequence."""

    @classmethod
    def read(cls, path: Path, bundle: Bundle) -> LabelledCalibration:
        """Read the file and check it against what the bundle's graph takes.

        Raises:
            ExportError: it is missing, damaged, or does not fit.
        """
        arrays = _read(path)
        wanted = frame_inputs(bundle)
        lacking = [name for name in (*wanted, "sequence", "label") if name not in arrays]
        if lacking:
            raise ExportError(
                f"the calibration set {path} lacks {', '.join(lacking)} "
                f"(it has {', '.join(arrays) or 'nothing'})"
            )
        for name, (_, shape) in wanted.items():
            if arrays[name].shape[1:] != shape:
                raise ExportError(
                    f"{name} in {path} are {arrays[name].shape[1:]} each, the model takes {shape}"
                )
        _check_rows(path, {name: arrays[name] for name in (*wanted, "sequence", "label")})
        _, first, sequence = np.unique(arrays["sequence"], return_index=True, return_inverse=True)
        if (arrays["label"] != arrays["label"][first][sequence]).any():
            raise ExportError(f"{path} has a sequence with frames of several labels: each is one person's")
        feeds = {name: _as_input(path, name, arrays[name], dtype) for name, (dtype, _) in wanted.items()}
        found = cls(path.name, feeds, sequence.astype(np.int64), arrays["label"][first])
        if bundle.manifest.clip is not None:
            found = found._fitting(bundle.manifest.clip, path)
        found.check(str(path))
        return found

    def check(self, where: str) -> None:
        """See that accuracy can be told by these sequences.

        Args:
            where: they come from, for the message.

        Raises:
            ExportError: it cannot: there is nobody to find again, or nobody else.
        """
        people, counts = np.unique(self.label, return_counts=True)
        if len(people) < 2 or counts.max() < 2:
            raise ExportError(
                f"{where} has {len(self.label)} sequences of {len(people)} people: it needs at least two "
                "people, one of them with two sequences"
            )

    def _fitting(self, clip: ClipContract, path: Path) -> LabelledCalibration:
        """Of each sequence as many of its last frames as a clip graph takes, short ones repeated as it does.

        Raises:
            ExportError: a sequence has too few.
        """
        order = np.argsort(self.sequence, kind="stable")
        rows = []
        for mine in np.split(order, np.cumsum(np.bincount(self.sequence))[:-1]):
            long = clip.lengthen(mine)
            count = clip.fit(len(long))
            if count is None:
                raise ExportError(f"{path} has a sequence of {len(mine)} frames, the model takes {clip}")
            rows.append(long[len(long) - count :])
        return self._of_rows(rows, self.label)

    def of_people(self, people: Array, frames: int | None = None) -> LabelledCalibration:
        """The sequences of some people.

        Args:
            people: their labels.
            frames: most frames of each sequence, evenly spread; None takes all.
        """
        chosen = np.flatnonzero(np.isin(self.label, people))
        rows = [spread(np.flatnonzero(self.sequence == index), frames) for index in chosen]
        return self._of_rows(rows, self.label[chosen])

    def _of_rows(self, rows: list[NDArray[np.int64]], label: Array) -> LabelledCalibration:
        """Sequences of some frames each."""
        sequence = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        flat = np.concatenate(rows) if rows else np.empty(0, np.int64)
        feeds = {name: array[flat] for name, array in self.feeds.items()}
        return LabelledCalibration(self.source, feeds, sequence, label)


def spread(rows: NDArray[np.int64], most: int | None) -> NDArray[np.int64]:
    """At most so many of some rows, evenly spread over them."""
    if most is None or len(rows) <= most:
        return rows
    chosen: NDArray[np.int64] = rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
    return chosen


def _read(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in names}
    except Exception as error:  # a damaged file: numpy raises whatever its own parsers do
        raise ExportError(f"cannot read the calibration set {path}: {error}") from error


def _check_rows(path: Path, arrays: Mapping[str, Array]) -> None:
    """See that there is one row of everything per frame, and whose it is.

    Raises:
        ExportError: there is not.
    """
    shapes = {name: array.shape for name, array in arrays.items()}
    if len({shape[:1] for shape in shapes.values()}) > 1 or {
        len(shapes["label"]),
        len(shapes["sequence"]),
    } != {1}:
        said = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ExportError(f"{path} does not have one row of each per frame, but {said}")


def _as_input(path: Path, name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """Rows as the graph takes them: pictures in 0..1, crops in bytes.

    Raises:
        ExportError: they are no numbers that the type can hold, or no pictures.
    """
    if array.dtype.kind not in "fiub":
        raise ExportError(f"{name} in {path} are {array.dtype}, the model takes {dtype}")
    if name in PICTURES:
        try:
            check_masks(name, array)
            array = as_graph_input(name, array, dtype.name)
        except EngineError as error:
            raise ExportError(f"{path}: {error}") from error
    if dtype == np.uint8 and array.dtype != np.uint8:
        raise ExportError(f"{name} in {path} are {array.dtype}: give uint8, 0..255")
    with np.errstate(over="ignore", invalid="ignore"):
        found: Array = np.ascontiguousarray(array, dtype)
    if dtype.kind == "f" and not np.isfinite(found).all():
        raise ExportError(f"{name} in {path} hold values that are no finite {dtype}: take these frames out")
    if name == InputKind.POSE and found.size and not -SLACK <= found.min() <= found.max() <= 1 + SLACK:
        raise ExportError(
            f"{name} in {path} are in {found.min():g}..{found.max():g}: aligned and merged heatmaps are "
            "in 0..1"
        )
    return found


def frame_inputs(bundle: Bundle) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Type and shape of one frame's inputs, from the graph; a clip graph's have frames as third axis."""
    clip = bundle.manifest.shape == "clip"
    graph = onnx.load(bundle.graph("clip" if clip else "frame", "fp32"), load_external_data=False).graph
    found = {}
    for info in graph.input:
        dims = info.type.tensor_type.shape.dim
        sizes = [dim.dim_value for index, dim in enumerate(dims) if index > 0 and not (clip and index == 2)]
        found[info.name] = (helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type), tuple(sizes))
    return found


def judge(
    data: LabelledCalibration, bundle: Bundle, ran: list[tuple[str, Precision]], cache: EngineCache
) -> Judgement:
    """Recognise the sequences at every precision and compare with fp32 of the same runtime.

    Distances are those of the model's published evaluation.

    Args:
        data: the labelled inputs.
        bundle: the bundle.
        ran: runtimes and precisions that work here.
        cache: where engines are kept.
    """
    metric = PUBLISHED[bundle.manifest.embedding.metric]
    reference_runtime = next(runtime for runtime, precision in ran if precision == "fp32")
    reference = embed(data, bundle, reference_runtime, "fp32", cache)
    scores = [_score(data, reference, reference, reference_runtime, "fp32", metric)]
    for runtime, precision in ran:
        if precision != "fp32":
            found = embed(data, bundle, runtime, precision, cache)
            scores.append(_score(data, found, reference, runtime, precision, metric))
    return Judgement(
        source=data.source,
        sequences=len(data.label),
        people=len(np.unique(data.label)),
        scores=tuple(scores),
        tells=scores[0].eer < CHANCE,
    )


def embed(
    data: LabelledCalibration, bundle: Bundle, runtime: str, precision: Precision, cache: EngineCache
) -> Array:
    """Embeddings of the labelled sequences, `[sequences, parts, dim]`."""
    return BundleRunner(bundle, runtime, precision, cache).embed(data.feeds, data.sequence).embedding


def _score(
    data: LabelledCalibration,
    found: Array,
    reference: Array,
    runtime: str,
    precision: str,
    metric: Metric,
) -> LabelledScore:
    rank1, eer = _accuracy(data, found, metric)
    base_rank1, base_eer = _accuracy(data, reference, metric)
    kept = rank1 >= base_rank1 - RANK1_DROP and eer <= base_eer + EER_RISE
    return LabelledScore(
        runtime=runtime,
        precision=precision,
        rank1=rank1,
        eer=eer,
        order_kept=order_kept(found, reference, metric),
        rank1_change=rank1 - base_rank1,
        eer_change=eer - base_eer,
        kept=kept,
    )


def _accuracy(data: LabelledCalibration, embeddings: Array, metric: Metric) -> tuple[float, float]:
    """Rank-1 (percent) of every sequence against all others, and the equal error rate (a fraction)."""
    if not np.isfinite(embeddings).all():
        return 0.0, 1.0
    distances = pairwise(embeddings, embeddings, metric)
    others = ~np.eye(len(distances), dtype=bool)
    genuine, impostor = pairs(distances, data.label, data.label, others)
    # The sequence itself is removed by giving each a view of its own.
    own = np.arange(len(distances))
    rank1 = retrieve(distances, data.label, data.label, own, own).rank1
    return rank1, verify(genuine, impostor).eer
