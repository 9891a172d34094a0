"""The proof that a bundle's graphs compute what the checkpoint's module does.

The yardstick is the PyTorch module in float32. Masks inside BigGait are thresholds, which lower
precisions may flip, so precisions under float32 are judged by the embedding and the order it gives.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import onnx
from numpy.typing import NDArray

from gaitstream.engines import open_engine
from gaitstream.engines.base import Batch, Engine, Precision
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.registry import ranked, survey
from gaitstream.errors import EngineError, ExportError, MissingExtraError
from gaitstream.export import deepstream_parity
from gaitstream.export.biggait import BigGait
from gaitstream.export.calibration import Calibration, Judgement, judge
from gaitstream.export.cases import Case, biggait_case, gaitheat_case, pool
from gaitstream.export.compare import Distance, measure
from gaitstream.export.gaitheat import GaitHeat
from gaitstream.export.graph import taps_of, with_taps
from gaitstream.models.bundle import PARITY, Bundle

Array = NDArray[Any]
Say = Callable[[str], None]
SCHEMA = 1
LIMITS = {"fp32": 1e-5, "fp16": 3e-3, "bf16": 2e-2}
"""Largest relative error of the embedding."""
GPU_FP32_LIMIT = 1e-3
"""The same for float32 on a GPU, whose matrix units may round float32 inputs to ten bits (TF32)."""
ALIGN_LIMIT = 1e-5
"""Largest absolute error of aligned maps, whose values lie in 0..1."""
TRACE_FACTOR = 5
"""A tap has diverged where its relative error is this many times its precision's limit."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One output of one graph on one runtime.

    Attributes:
        output: `parts`, `features`, `embedding`; `deepstream` compares the features of the graph for
            nvinfer with those of the frame graph.
        precision: what it ran in.
        runtime: name of the runtime.
        limit: on the relative error (on the absolute one for `parts`); None where it is only recorded.
        verdict: `pass`, `fail`, or `recorded`.
        matrix_half_share: share of convolutions and matrix products that really ran in half precision.
        note: where a failing graph parts from the reference.
    """

    output: str
    precision: Precision
    runtime: str
    device: str
    distance: Distance
    limit: float | None
    verdict: str
    matrix_half_share: float | None = None
    note: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`parity.json`."""

    schema: int = SCHEMA
    model: str
    graphs: str
    """Fingerprint of the bundle that was measured."""
    reference: str = "PyTorch float32"
    inputs: str
    rows: tuple[Row, ...]
    skipped: dict[str, str]
    """Runtimes and precisions that did not run here, and why."""
    calibration: Judgement | None
    allowed_precisions: tuple[Precision, ...]

    def require(self) -> None:
        """Stop where a stored graph does not hold.

        Raises:
            ExportError: naming every output that failed, and where it diverges.
            ExportError: nothing ran in fp32.
        """
        if not any(row.precision == "fp32" and row.output == "embedding" for row in self.rows):
            reasons = "; ".join(f"{name}: {why}" for name, why in self.skipped.items())
            raise ExportError(f"no runtime could run the fp32 graphs ({reasons}): pip install openvino")
        failed = [row for row in self.rows if row.verdict == "fail" and row.precision != "bf16"]
        if failed:
            raise ExportError(
                "parity does not hold, so no bundle was written:\n" + "\n".join(map(_explain, failed))
            )

    def write(self, root: Path) -> None:
        """Write `parity.json` and `report.md`."""
        from gaitstream.export.report import markdown

        text = msgspec.json.format(msgspec.json.encode(self), indent=2)
        (root / PARITY).write_bytes(text + b"\n")
        (root / "report.md").write_text(markdown(self))


def prove(
    model: BigGait | GaitHeat,
    bundle: Bundle,
    calibration: Path | None = None,
    say: Say = lambda _: None,
    *,
    pose: Path | None = None,
) -> Report:
    """Run a bundle's graphs on every runtime that works here and compare them with the module.

    Args:
        model: the module the bundle was written from, in evaluation mode.
        bundle: the bundle.
        calibration: labelled inputs by which lower precisions are judged.
        say: told of every step, one line each.
        pose: the pose model inside GaitHeat's graph for DeepStream.

    Raises:
        ExportError: the calibration file does not fit the model.
    """
    labelled = Calibration.read(calibration, bundle.manifest) if calibration is not None else None
    say("running the reference")
    case = make_case(model, bundle)
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="gaitstream-parity-") as folder:
        cache = EngineCache(Path(folder))
        for runtime, precision, limit in _plan(bundle, skipped):
            say(f"comparing {runtime} {precision}")
            try:
                rows += _compare(bundle, case, runtime, precision, limit, cache)
                rows += _compare_deepstream(bundle, case, runtime, precision, cache, pose)
            except (EngineError, MissingExtraError) as error:
                skipped[f"{runtime} {precision}"] = str(error)
        judgement = None
        if labelled is not None:
            say(f"judging {len(set(labelled.sequence))} labelled sequences")
            ran = {(row.runtime, row.precision) for row in rows}
            judgement = judge(labelled, bundle, sorted(ran), cache)
    return Report(
        model=bundle.manifest.model,
        graphs=bundle.fingerprint,
        inputs=f"{len(case.sequences)} drawn frames in {case.sequences.max() + 1} sequences of 3 people",
        rows=tuple(rows),
        skipped=skipped,
        calibration=judgement,
        allowed_precisions=_allowed(rows, judgement),
    )


def make_case(model: BigGait | GaitHeat, bundle: Bundle) -> Case:
    """The fixed inputs for a bundle, and the module's results on them."""
    if isinstance(model, BigGait):
        return biggait_case(model)
    contract = bundle.manifest.alignment
    if contract is None:
        raise ExportError(f"{bundle.root}: the manifest of a GaitHeat bundle has no alignment contract")
    return gaitheat_case(model, contract)


def diverging_tap(graph: Path, case: Case, runtime: str, precision: str) -> str:
    """Where a frame graph parts from the module: the first tap that is off, and the last that is not."""
    model = onnx.load(graph)
    names = taps_of(model)
    with tempfile.TemporaryDirectory(prefix="gaitstream-trace-") as folder:
        path = Path(folder) / "tapped.onnx"
        onnx.save(with_taps(model), path)
        with _open(path, runtime, precision, EngineCache(Path(folder) / "cache")) as engine:
            found = engine.infer(case.feeds)
    reference = case.trace()
    before = "the inputs"
    for name in names:
        error = measure(found[name], reference[name]).relative
        if not error <= TRACE_FACTOR * LIMITS[precision]:
            return f"it diverges between {before} and {name!r} (relative error there {error:.1e})"
        before = repr(name)
    return f"it diverges after {before}"


def _plan(bundle: Bundle, skipped: dict[str, str]) -> Iterator[tuple[str, Precision, float]]:
    """Runtimes, precisions and limits to compare: all that work here."""
    findings = survey()
    skipped.update({finding.name: str(finding.error) for finding in findings if finding.error is not None})
    stored = bundle.manifest.graphs
    for name, probe in ranked(findings):
        yield name, "fp32", GPU_FP32_LIMIT if probe.accelerator else LIMITS["fp32"]
        if "fp16" in stored and name != "openvino":
            yield name, "fp16", LIMITS["fp16"]
        if "bf16" in probe.precisions:
            yield name, "bf16", LIMITS["bf16"]


def _open(graph: Path, runtime: str, precision: str, cache: EngineCache) -> Engine:
    return open_engine(graph, runtime, precision, batch=Batch(1, 12, 16), cache=cache)


def _compare(
    bundle: Bundle, case: Case, runtime: str, precision: Precision, limit: float, cache: EngineCache
) -> Iterator[Row]:
    graph = bundle.graph("frame", precision)
    with _open(graph, runtime, precision, cache) as engine:
        features = engine.infer(case.feeds)["features"]
        device, share = engine.device, engine.proof().matrix_half_share
    with _open(bundle.graph("head", precision), runtime, precision, cache) as engine:
        pooled = pool(features, case.sequences)
        embedding = engine.infer({"pooled": pooled})["embedding"]
    judged = precision == "fp32"

    def row(output: str, distance: Distance, limit: float | None, holds: bool, note: str = "") -> Row:
        verdict = "recorded" if limit is None else "pass" if holds else "fail"
        return Row(
            output=output,
            precision=precision,
            runtime=runtime,
            device=device,
            distance=distance,
            limit=limit,
            verdict=verdict,
            matrix_half_share=share,
            note="" if verdict != "fail" else note,
        )

    if case.align_feeds is not None and judged:
        yield _compare_align(bundle, case, runtime, cache, row)
    frame = measure(features, case.features)
    frame_holds = frame.relative <= limit
    where = ""
    if not frame_holds:
        where = f"the frame graph: {diverging_tap(graph, case, runtime, precision)}"
    yield row("features", frame, limit if judged else None, frame_holds, where)
    whole = measure(embedding, case.embedding, embedding=True)
    yield row("embedding", whole, limit, whole.relative <= limit, where or "the head graph")


def _compare_align(
    bundle: Bundle, case: Case, runtime: str, cache: EngineCache, row: Callable[..., Row]
) -> Row:
    assert case.align_feeds is not None  # noqa: S101 - narrows the type
    assert case.parts is not None  # noqa: S101
    with _open(bundle.graph("align", "fp32"), runtime, "fp32", cache) as engine:
        parts = engine.infer(case.align_feeds)["parts"]
    distance = measure(parts, case.parts)
    return row("parts", distance, ALIGN_LIMIT, distance.max_abs <= ALIGN_LIMIT, "the align graph")


def _compare_deepstream(
    bundle: Bundle, case: Case, runtime: str, precision: Precision, cache: EngineCache, pose: Path | None
) -> list[Row]:
    """The graph for nvinfer against the frame graph, where the bundle has one; bf16 is not for nvinfer."""
    if precision == "bf16" or bundle.manifest.graphs[precision].deepstream is None:
        return []
    distance = deepstream_parity.compare(bundle, case, runtime, precision, cache, pose)
    limit = deepstream_parity.limit(bundle.manifest.model, precision)
    holds = limit is None or distance.relative <= limit
    return [
        Row(
            output="deepstream",
            precision=precision,
            runtime=runtime,
            device="",
            distance=distance,
            limit=limit,
            verdict="recorded" if limit is None else "pass" if holds else "fail",
            note="" if holds else "the graph for nvinfer departs from the frame graph",
        )
    ]


def _allowed(rows: list[Row], judgement: Judgement | None) -> tuple[Precision, ...]:
    """What `auto` may pick: fp32; fp16 that holds here; bf16 that keeps accuracy on labelled data.

    With labelled data both lower precisions have to keep accuracy on it. fp16 was not necessarily run
    natively here (a CPU rounds weights and activations only), which is the same rounding a GPU makes.
    """
    allowed: list[Precision] = ["fp32"]
    for precision in ("fp16", "bf16"):
        mine = [row for row in rows if row.precision == precision and row.output == "embedding"]
        holds = bool(mine) and all(row.verdict == "pass" for row in mine)
        kept = judgement.keeps(precision) if judgement is not None else None
        if holds and (kept if kept is not None else precision == "fp16"):
            allowed.append(precision)
    return tuple(allowed)


def _explain(row: Row) -> str:
    value = row.distance.max_abs if row.output == "parts" else row.distance.relative
    kind = "absolute" if row.output == "parts" else "relative"
    return (
        f"  {row.output} on {row.runtime} in {row.precision}: {kind} error {value:.1e}, "
        f"allowed {row.limit:.0e}; {row.note}"
        + ("; leave it out with --precision fp32" if row.precision == "fp16" else "")
    )
