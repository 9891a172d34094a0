"""Bundles side by side: what they weigh, compute, take and reach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from gaitstream.bench.process import run_contender
from gaitstream.bench.recognizer import frame_gflop, measure_engine
from gaitstream.evaluate.evaluation import Result
from gaitstream.models.bundle import Bundle
from gaitstream.models.recognizer import Recognizer

COLUMNS = (
    "bundle", "model", "MiB", "GFLOP a frame", "ms a tracklet", "ms after the last frame", "on", "parity",
    "accuracy",
)  # fmt: skip
MIB = 2**20


class ComparedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle's row.

    Attributes:
        name: of its directory.
        model: its family.
        size_mib: of the graphs that run.
        gflop: multiply-adds of one frame, counted twice.
        tracklet_ms: 30 frames to an embedding.
        last_ms: from the last frame to the embedding, the others being encoded.
        runtime: that ran it.
        precision: it ran in.
        parity: largest relative error of the embedding in float32, by the bundle's report.
        accuracy: the first figure of an evaluation, percent.
        protocol: of that evaluation.
    """

    name: str
    model: str
    size_mib: float
    gflop: float
    tracklet_ms: float
    last_ms: float
    runtime: str
    precision: str
    parity: float | None
    accuracy: float | None
    protocol: str


def compare_bundles(
    bundles: Sequence[Path], runtime: str, precision: str, scores: Sequence[Result]
) -> list[ComparedModel]:
    """Measure each bundle in a process of its own, on the runtime and precision named or picked.

    Raises:
        BundleError: one is damaged.
        ContenderError: one cannot be run.
    """
    return [_measured(root, runtime, precision, scores) for root in bundles]


def _measured(root: Path, runtime: str, precision: str, scores: Sequence[Result]) -> ComparedModel:
    bundle = Bundle.open(root)
    model = Recognizer.load(bundle, runtime, precision)
    ran, computed = model.runtime, model.precision
    model.close()
    arguments = {"bundle": str(root), "repeats": 3, "runtime": ran, "precision": computed}
    (row,) = run_contender(measure_engine, arguments)
    score = next((one for one in scores if one.fingerprint == bundle.fingerprint), None)
    stored = "fp32" if computed == "bf16" else computed
    files = [name for name in msgspec.structs.astuple(bundle.manifest.graphs[stored]) if name is not None]
    return ComparedModel(
        name=root.name,
        model=bundle.manifest.model,
        size_mib=sum((root / name).stat().st_size for name in files) / MIB,
        gflop=frame_gflop(bundle),
        tracklet_ms=row.figures["tracklet"].median,
        last_ms=row.figures["last"].median,
        runtime=ran,
        precision=computed,
        parity=_parity(bundle),
        accuracy=None if score is None else next(iter(score.figures.values())),
        protocol="" if score is None else score.protocol,
    )


def _parity(bundle: Bundle) -> float | None:
    """Largest relative error of the embedding in float32 over all runtimes that were compared."""
    rows = bundle.parity().get("rows", [])
    errors = [
        row["distance"]["relative"]
        for row in rows
        if row["output"] == "embedding" and row["precision"] == "fp32"
    ]
    return max(errors, default=None)
