"""An evaluation: embed a data set with a bundle, resume where it stopped, score it, keep all that made it.

Every sequence's embedding is a file of its own under `OUT/embeddings`, by what computed it: a run that was
stopped goes on where it was, and one bundle's embeddings are never taken for another's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream import __version__
from gaitstream.errors import ConfigError
from gaitstream.evaluate.benchmarks import Scores, find_protocol, published
from gaitstream.evaluate.dataset import WalkingSequence, load, read_partition, scan
from gaitstream.evaluate.distances import Metric, pairwise
from gaitstream.evaluate.embedding import inputs_of
from gaitstream.evaluate.protocols import Sequences
from gaitstream.evaluate.verification import Verification, pairs, verify
from gaitstream.models.recognizer import Recognizer

Progress = Callable[[int, int], None]
CHUNK = 16
"""Sequences that a process is given at once."""
MOST_PAIRS = 4000
"""Sequences whose pairs make the DET curve; more are thinned out evenly."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """What is evaluated and how.

    Attributes:
        bundle: its directory.
        data: the data set's folder.
        protocol: its name.
        out: where embeddings and results go.
        runtime: see `Recognizer.load`.
        precision: likewise.
        partition: OpenGait's file with the identities of the test set; all are tested when None.
        probes: the file that lists the probes, for protocols that have one.
        frames: of a sequence at most, the first ones.
        processes: embed in so many.
        metric: of the published evaluation; the bundle's own when None.
    """

    bundle: Path
    data: Path
    protocol: str
    out: Path
    runtime: str = "auto"
    precision: str = "auto"
    partition: Path | None = None
    probes: Path | None = None
    frames: int | None = 720
    processes: int = 1
    metric: Metric | None = None


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
    """Over all pairs of different views, percent."""
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
    version: str
    finished_utc: str
    cmc: list[float] = []
    det: list[tuple[float, float]] = []
    """False acceptance and false rejection rates."""


def evaluate(options: EvaluationOptions, progress: Progress = lambda _done, _total: None) -> Result:
    """Run an evaluation.

    Raises:
        ConfigError: there is no such protocol, or it lacks its list of probes.
        SourceError: the data set is not in the layout, or a file is damaged.
        BundleError: the bundle is damaged.
    """
    protocol = find_protocol(options.protocol)
    identities = read_partition(options.partition) if options.partition is not None else None
    found = scan(options.data, identities)
    model = Recognizer.load(options.bundle, options.runtime, options.precision)
    manifest, runtime, precision = model.manifest, model.runtime, model.precision
    folder = options.out / "embeddings" / f"{manifest.fingerprint[:16]}-{runtime}-{precision}"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [one for one in found if not _path(folder, one).is_file()]
    if options.processes > 1 and len(missing) > CHUNK:
        model.close()
        _embed_in_processes(options, folder, missing, len(found), progress)
    else:
        _embed(
            model,
            folder,
            missing,
            options.frames,
            lambda done: progress(len(found) - len(missing) + done, len(found)),
        )
        model.close()
    progress(len(found), len(found))
    data = Sequences.of(
        np.stack([np.load(_path(folder, one)) for one in found]),
        [one.identity for one in found],
        [one.condition for one in found],
        [one.view for one in found],
    )
    metric = options.metric or _metric(manifest.embedding.metric)
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
        runtime=runtime,
        precision=precision,
        metric=metric,
        data=options.data.name,
        sequences=len(found),
        identities=len({one.identity for one in found}),
        partition=None if options.partition is None else options.partition.name,
        frames=options.frames,
        version=__version__,
        finished_utc=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        cmc=_cmc(scores),
        det=[] if curve is None else _thinned(curve),
    )


def _embed_in_processes(
    options: EvaluationOptions,
    folder: Path,
    missing: Sequence[WalkingSequence],
    total: int,
    progress: Progress,
) -> None:
    """Embed in several processes, each with its share of the cores."""
    threads = max(1, (os.cpu_count() or 1) // options.processes)
    chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
    done = total - len(missing)
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_embed_chunk, options, threads, folder, chunk) for chunk in chunks]
        for one in as_completed(waiting):
            done += one.result()
            progress(done, total)


def _embed_chunk(
    options: EvaluationOptions, threads: int, folder: Path, chunk: Sequence[WalkingSequence]
) -> int:
    model = Recognizer.load(options.bundle, options.runtime, options.precision, threads)
    _embed(model, folder, chunk, options.frames, lambda _: None)
    model.close()
    return len(chunk)


def _embed(
    model: Recognizer,
    folder: Path,
    sequences: Sequence[WalkingSequence],
    frames: int | None,
    progress: Callable[[int], None],
) -> None:
    for index, one in enumerate(sequences, 1):
        embedding = model.embed_inputs(inputs_of(model.manifest, load(one), frames))
        path = _path(folder, one)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.save(file, embedding)
        part.replace(path)
        progress(index)


def _path(folder: Path, sequence: WalkingSequence) -> Path:
    return folder / f"{sequence.name.replace('/', '__')}.npy"


def _metric(name: str) -> Metric:
    return "cos" if name == "mean_part_cosine" else "euc"


def _verification(data: Sequences, metric: Metric) -> Verification | None:
    """Every pair of sequences of different views; None without genuine pairs."""
    step = -(-len(data.ids) // MOST_PAIRS)
    some = data.where(np.arange(len(data.ids)) % step == 0)
    distances = pairwise(some.embeddings, some.embeddings, metric)
    other: NDArray[np.bool_] = np.triu(np.ones_like(distances, bool), 1)
    other &= some.views[:, None] != some.views[None]
    genuine, impostor = pairs(distances, some.ids, some.ids, other)
    return verify(genuine, impostor) if len(genuine) and len(impostor) else None


def _cmc(scores: Scores) -> list[float]:
    return [] if scores.cmc is None else [float(value) for value in scores.cmc]


def _thinned(curve: Verification, points: int = 200) -> list[tuple[float, float]]:
    """The curve at evenly spread false acceptance rates on a logarithmic axis."""
    return list(_at(curve, np.logspace(-4, 0, points)))


def _at(curve: Verification, rates: NDArray[np.float64]) -> Iterator[tuple[float, float]]:
    for rate in rates:
        yield float(rate), curve.frr_at_far(float(rate))[0]


def require_metric(name: str) -> Metric:
    """Read a metric's name.

    Raises:
        ConfigError: it is none.
    """
    if name not in ("euc", "cos"):
        raise ConfigError(f"there is no metric {name!r}: euc or cos")
    return "euc" if name == "euc" else "cos"
