"""An evaluation: embed a data set with a bundle, score it, keep all that made it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream import __version__
from gaitstream.evaluate.benchmarks import Scores, find_protocol, published
from gaitstream.evaluate.collecting import Progress, Videos, collect
from gaitstream.evaluate.dataset import read_partition, scan
from gaitstream.evaluate.distances import PUBLISHED, Metric, pairwise
from gaitstream.evaluate.options import EvaluationOptions
from gaitstream.evaluate.protocols import Sequences
from gaitstream.evaluate.verification import Verification, pairs, verify

MOST_SEQUENCES = 4000
"""Sequences whose pairs make the DET curve; of more, so many that their names' hashes choose."""


class Result(msgspec.Struct, kw_only=True):
    """`evaluation.json`: the figures, and everything that made them."""

    protocol: str
    title: str
    model: str
    figures: dict[str, float]
    published: float | None
    """The first figure as the model's authors or OpenGait give it, percent."""
    published_source: str
    eer: float | None
    """Over all pairs of different views, percent; of more than `MOST_SEQUENCES`, of so many of them."""
    fingerprint: str
    checkpoint: dict[str, str]
    runtime: str
    precision: str
    metric: str
    data: str
    sequences: int
    identities: int
    partition: str | None
    frames: int | None
    files: list[str] = []
    """Patterns of the names of the pickles that were read; all when there are none."""
    version: str
    finished_utc: str
    cmc: list[float] = []
    det: list[tuple[float, float]] = []
    """False acceptance and false rejection rates."""


def evaluate(
    options: EvaluationOptions,
    progress: Progress = lambda _done, _total: None,
    videos: Videos | None = None,
) -> Result:
    """Run an evaluation.

    Args:
        options: what is evaluated.
        progress: told how many of how many sequences are embedded.
        videos: embeds videos, for data sets that have some.

    Raises:
        ConfigError: there is no such protocol, or it lacks its list of probes or gallery.
        SourceError: the data set is not in the layout, or a file is damaged.
        BundleError: the bundle is damaged.
    """
    protocol = find_protocol(options.protocol)
    identities = read_partition(options.partition) if options.partition is not None else None
    found = scan(options.data, identities, options.files)
    names = ("identity", "condition", "view")
    labels = tuple(np.array([getattr(one, name) for one in found], np.str_) for name in names)
    protocol.check(labels, options.probes)
    collected = collect(options, found, progress, videos)
    manifest = collected.manifest
    data = Sequences.of(collected.embeddings, *labels)
    metric = options.metric or PUBLISHED[manifest.embedding.metric]
    scores = protocol.score(data, metric, options.probes)
    curve = _verification(data, metric)
    known = published(options.protocol)
    return Result(
        protocol=options.protocol,
        title=protocol.title,
        model=manifest.model,
        figures=scores.figures,
        published=known.figures.get(manifest.model),
        published_source=known.source,
        eer=None if curve is None else 100 * curve.eer,
        fingerprint=manifest.fingerprint,
        checkpoint=manifest.source,
        runtime=collected.runtime,
        precision=collected.precision,
        metric=metric,
        data=_text(options.data.name),
        sequences=len(found),
        identities=len({one.identity for one in found}),
        partition=None if options.partition is None else _text(options.partition.name),
        frames=options.frames,
        files=list(options.files),
        version=__version__,
        finished_utc=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        cmc=_cmc(scores),
        det=[] if curve is None else _thinned(curve),
    )


def _text(name: str) -> str:
    """A file's name, whose bytes may be no text."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _verification(data: Sequences, metric: Metric) -> Verification | None:
    """Every pair of sequences of different views; None without genuine pairs."""
    some = data.where(_chosen(data, MOST_SEQUENCES))
    distances = pairwise(some.embeddings, some.embeddings, metric)
    other: NDArray[np.bool_] = np.triu(np.ones_like(distances, bool), 1)
    other &= some.views[:, None] != some.views[None]
    genuine, impostor = pairs(distances, some.ids, some.ids, other)
    return verify(genuine, impostor) if len(genuine) and len(impostor) else None


def _chosen(data: Sequences, most: int) -> NDArray[np.bool_]:
    """Whether a sequence is one of at most so many, bool `[n]`: the same each time, whatever their order is.

    The order says which view a sequence is of: every k-th would be one of few views, or of one alone.
    """
    names = zip(data.ids.tolist(), data.types.tolist(), data.views.tolist(), strict=True)
    hashes = [hashlib.sha256("\0".join(name).encode(errors="surrogateescape")).digest() for name in names]
    chosen = np.zeros(len(hashes), np.bool_)
    chosen[sorted(range(len(hashes)), key=hashes.__getitem__)[:most]] = True
    return chosen


def _cmc(scores: Scores) -> list[float]:
    return [] if scores.cmc is None else [float(value) for value in scores.cmc]


def _thinned(curve: Verification, points: int = 200) -> list[tuple[float, float]]:
    """The curve at evenly spread false acceptance rates on a logarithmic axis."""
    return list(_at(curve, np.logspace(-4, 0, points)))


def _at(curve: Verification, rates: NDArray[np.float64]) -> Iterator[tuple[float, float]]:
    for rate in rates:
        yield float(rate), curve.frr_at_far(float(rate))[0]
