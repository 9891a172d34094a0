"""What an evaluation is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gaitstream.evaluate.distances import Metric


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
        probes: the file that lists probes or gallery, for protocols that have one.
        frames: of a sequence at most, the first ones.
        processes: embed in so many.
        metric: of the published evaluation; the bundle's own when None.
        files: patterns of the names of the pickles that are read; all when there are none.
        site: a `cams.yaml` whose models find people in videos; the packaged ones when None.
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
    files: tuple[str, ...] = ()
    site: Path | None = None
