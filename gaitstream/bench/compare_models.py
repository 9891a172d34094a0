"""Bundles side by side: what they weigh, compute, take and reach; also all families, with random weights."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from gaitstream.bench.process import run_contender
from gaitstream.bench.recognizer import frame_gflop, make_bundle, measure_engine, measure_module
from gaitstream.bench.result import Row
from gaitstream.errors import ConfigError
from gaitstream.evaluate.benchmarks import published_speed
from gaitstream.evaluate.evaluation import Result
from gaitstream.models.bundle import Bundle
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.spec import families, find_family

MIB = 2**20
TURNS = 3
"""How often a bundle and its PyTorch module are measured, one after the other; the best of each counts."""


class ComparedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle's row.

    Attributes:
        name: of its directory, with those above it that tell it from the others'.
        model: its family.
        size_mib: of the graphs that run.
        gflop: multiply-adds of one frame, counted twice.
        tracklet_ms: 30 frames to an embedding.
        next_ms: 15 frames more to the embedding of the next tracklet, which overlaps by half.
        last_ms: from the last frame to the embedding, the others being encoded.
        torch_ms: the same by the PyTorch module in float32 on all cores, measured by turns with the bundle;
            None where there is no module, and on a GPU.
        published_ms: the same by the published code, PyTorch in float32 on two threads of another machine.
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
    next_ms: float
    last_ms: float
    torch_ms: float | None
    published_ms: float | None
    runtime: str
    precision: str
    parity: float | None
    accuracy: float | None
    protocol: str


def compare_bundles(
    bundles: Sequence[Path], runtime: str, precision: str, scores: Sequence[Result]
) -> Iterator[ComparedModel]:
    """Measure each bundle in a process of its own, on the runtime and precision named or picked.

    Raises:
        BundleError: one is damaged.
        ConfigError: a score is of none of them, or two are of one.
        ContenderError: one cannot be run.
    """
    known = {Bundle.open(root).fingerprint for root in bundles}  # all, before minutes of measuring
    theirs = ", ".join(sorted(one[:12] for one in known)) or "none"
    seen: dict[str, Result] = {}
    for score in scores:
        if (other := seen.setdefault(score.fingerprint, score)) is not score:
            raise ConfigError(
                f"the evaluations of {other.model} on {other.title} and on {score.title} are of one bundle "
                f"(fingerprint {score.fingerprint[:12]}), which has one figure here: give one of them"
            )
        if score.fingerprint not in known:
            raise ConfigError(
                f"the evaluation of {score.model} on {score.title} is of none of these bundles (fingerprint "
                f"{score.fingerprint[:12]}, theirs: {theirs}); leave it out, or name its bundle"
            )
    for root, name in zip(bundles, names_of(bundles), strict=True):
        yield _measured(root, name, runtime, precision, scores)


def names_of(roots: Sequence[Path]) -> list[str]:
    """The name of each directory, with as many of those above it as tell it from the others."""
    parts = [root.resolve().parts for root in roots]

    def name(mine: tuple[str, ...]) -> str:
        others = {other for other in parts if other != mine}
        depths = range(1, len(mine))
        alone = (depth for depth in depths if not any(other[-depth:] == mine[-depth:] for other in others))
        return "/".join(mine[-next(alone, len(mine)) :])

    return [name(mine) for mine in parts]


def compare_random(names: Sequence[str], runtime: str, precision: str) -> Iterator[ComparedModel]:
    """Measure published sizes with random weights; on a CPU by turns with their PyTorch modules.

    Args:
        names: a family, or `family:variant`; all there are when empty.
        runtime: as for bundles.
        precision: likewise.

    Raises:
        ConfigError: there is no such family or variant.
        ContenderError: one cannot be run.
    """
    wanted = [(name, *name.partition(":")[::2]) for name in names or sizes()]
    for _, family, variant in wanted:  # all, before minutes of measuring
        find_family(family).check_random(variant)
    for name, family, variant in wanted:
        with tempfile.TemporaryDirectory(prefix="gaitstream-compare-") as folder:
            root = make_bundle(family, Path(folder) / "random", variant, eight_bits=precision == "int8")
            yield _measured(root, name, runtime, precision, (), has_module=True)


def sizes() -> list[str]:
    """All published sizes that random weights are made for: `family`, or `family:variant`."""
    return [
        f"{family.name}:{variant}" if variant else family.name
        for family in families()
        if family.randomizer
        for variant in (family.variants or ("",))
    ]


def _measured(
    root: Path,
    name: str,
    runtime: str,
    precision: str,
    scores: Sequence[Result],
    *,
    has_module: bool = False,
) -> ComparedModel:
    bundle = Bundle.open(root)
    model = Recognizer.load(bundle, runtime, precision)
    ran, computed = model.runtime, model.precision
    by_turns = has_module and model.engine.device == "cpu"
    model.close()
    arguments = {"bundle": str(root), "repeats": 3}
    rows: list[Row] = []
    modules: list[Row] = []
    for _ in range(TURNS if by_turns else 1):
        rows += run_contender(measure_engine, arguments | {"runtime": ran, "precision": computed})
        if by_turns:
            modules += run_contender(measure_module, arguments | {"name": name})
    score = next((one for one in scores if one.fingerprint == bundle.fingerprint), None)
    stored = "fp32" if computed == "bf16" else computed
    files = [name for name in msgspec.structs.astuple(bundle.manifest.graphs[stored]) if name is not None]
    return ComparedModel(
        name=name,
        model=bundle.manifest.model,
        size_mib=sum((root / name).stat().st_size for name in files) / MIB,
        gflop=frame_gflop(bundle),
        tracklet_ms=_best(rows, "tracklet"),
        next_ms=_best(rows, "window"),
        last_ms=_best(rows, "last"),
        torch_ms=_best(modules, "tracklet") if modules else None,
        published_ms=published_speed().get(name),
        runtime=ran,
        precision=computed,
        parity=_parity(bundle),
        accuracy=None if score is None else next(iter(score.figures.values())),
        protocol="" if score is None else score.protocol,
    )


def _best(turns: Sequence[Row], figure: str) -> float:
    """A figure of the turn that was disturbed least."""
    return min(row.figures[figure].median for row in turns)


def _parity(bundle: Bundle) -> float | None:
    """Largest relative error of the embedding in float32 over all runtimes that were compared."""
    rows = bundle.parity().get("rows", [])
    errors = [
        row["distance"]["relative"]
        for row in rows
        if row["output"] == "embedding" and row["precision"] == "fp32"
    ]
    return max(errors, default=None)
