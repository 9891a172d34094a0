"""The proof that a bundle's graphs compute what the checkpoint's module does.

The yardstick is the PyTorch module in float32, on inputs that the model's family chose (`trained.Case`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from gaitstream.engines.base import Precision
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.registry import ranked, survey
from gaitstream.errors import EngineError, ExportError, MissingExtraError
from gaitstream.export.calibration import LabelledCalibration, judge
from gaitstream.export.compare import Distance, measure
from gaitstream.export.masks import measure_masks
from gaitstream.export.running import BundleRunner, Embedded, windows
from gaitstream.export.sharing import measure_chunks
from gaitstream.export.verdicts import Judged, ParityReport, ParityRow, allow, judged_value, side_row
from gaitstream.models.bundle import Bundle, Role
from gaitstream.models.graphs.writer import taps_of, with_taps
from gaitstream.models.inputs import NAMES, WHITE, pack, row_shape
from gaitstream.models.manifest import InputKind, Manifest
from gaitstream.models.trained import Array, Case, FrontCase, Limits, MaskBranch, NvinferCase, TrainedModel

Say = Callable[[str], None]
ROUNDING = {"fp16": 3e-3, "bf16": 2e-2, "int8": 1e-1, "fp8": 1e-1}
"""Relative error that rounding alone brings to a value in lower precisions."""
LEAST_SPREAD = 1e-6
"""Share of embeddings that differs between people at least: less is rounding."""
TRACE_FACTOR = 5
"""A tap has diverged where its relative error is this many times what rounding brings."""


def prove(
    trained: TrainedModel,
    bundle: Bundle,
    labelled: LabelledCalibration | None = None,
    say: Say = lambda _: None,
    masks: MaskBranch | None = None,
) -> ParityReport:
    """Run a bundle's graphs on every runtime that works here and compare them with the module.

    Args:
        trained: the module the bundle was written from.
        bundle: the bundle.
        labelled: labelled inputs by which lower precisions are judged.
        say: told of every step, one line each.
        masks: the model's own segmentation model, whose graph lies beside the bundle's.

    Raises:
        ExportError: the module itself gives everybody one embedding, or is described with other shapes.
    """
    say("running the reference")
    case = trained.case()
    _check_tells(trained, case)
    _check_described(bundle.manifest, case)
    rows: list[ParityRow] = []
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="gaitstream-parity-") as folder:
        cache = EngineCache(Path(folder))
        for runtime, precision, limit in _plan(bundle, case.limits, skipped):
            say(f"comparing {runtime} {precision}")
            comparison = Comparison(BundleRunner(bundle, runtime, precision, cache), case, limit)
            try:
                rows += comparison.rows()
                rows += comparison.chunks()
                rows += _compare_nvinfer(trained, comparison.runner)
                rows += comparison.masks(masks) if masks is not None else []
            except (EngineError, MissingExtraError) as error:
                skipped[f"{runtime} {precision}"] = str(error)
        judgement = None
        if labelled is not None:
            say(f"judging {len(labelled.label)} labelled sequences")
            ran = {(row.runtime, row.precision) for row in rows}
            judgement = judge(labelled, bundle, sorted(ran), cache)
    return ParityReport(
        model=bundle.manifest.model,
        graphs=bundle.fingerprint,
        inputs=case.about,
        noise=case.noise,
        rows=tuple(rows),
        skipped=skipped,
        calibration=judgement,
        allowed_precisions=allow(rows, judgement),
    )


def _check_tells(trained: TrainedModel, case: Case) -> None:
    """See that the module tells the drawn people apart at all: a proof of graphs that give one value is none.

    Raises:
        ExportError: it does not.
    """
    spread = np.linalg.norm(case.embedding - case.embedding.mean(0))
    if spread > LEAST_SPREAD * np.linalg.norm(case.embedding) and np.isfinite(spread):
        return
    state = trained.module.state_dict().items()
    empty = [name for name, value in state if value.ndim > 1 and value.numel() and not value.any()]
    where = f": {', '.join(empty[:5])} hold nothing but zeros" if empty else ""
    raise ExportError(
        f"the checkpoint's module gives every drawn walker the same embedding{where}; is it trained?"
    )


def _check_described(manifest: Manifest, case: Case) -> None:
    """See that inputs, features and embedding have the shapes that the manifest says, by which a run goes.

    Raises:
        ExportError: they have others.
    """
    inputs = {NAMES[contract.kind]: row_shape(contract) for contract in manifest.inputs}
    features = {name: feature.shape for name, feature in manifest.features.items()}
    says = {**inputs, **features, "embedding": (manifest.embedding.parts, manifest.embedding.dim)}
    found = {**case.feeds, **case.features, "embedding": case.embedding}
    for name, shape in says.items():
        if name in found and found[name].shape[1:] != shape:
            raise ExportError(
                f"{manifest.model} describes its {name} as {list(shape)} each, and its module's are "
                f"{list(found[name].shape[1:])}: correct what `describe` says"
            )


@dataclass(frozen=True)
class Comparison:
    """A bundle on one runtime in one precision against the module.

    Attributes:
        runner: of the bundle.
        case: inputs and the module's results.
        limit: see `trained.Limits`; None where all is only recorded.
    """

    runner: BundleRunner
    case: Case
    limit: float | None

    def rows(self) -> list[ParityRow]:
        """Fronts and features are judged in float32 alone; the embedding always."""
        case, precise = self.case, self.runner.precision == "fp32"
        found = self.runner.embed(case.feeds, case.sequences, keep_features=True)
        rows = [self._front(front, found) for front in case.fronts] if precise else []
        features = {name: measure(found.features[name], case.features[name]) for name in case.features}
        embedding = measure(found.embedding, case.embedding, embedding=True)
        judged: Judged = "relative" if precise else "distances"
        holds = self.limit is None or judged_value(embedding, judged) <= self.limit
        right = all(one.relative <= self._rounding for one in features.values()) if features else holds
        # A head cannot be right behind a wrong frame graph; the taps are in the frame or clip graph.
        where = "" if right or (holds and not precise) else self.diverging_tap()
        for name, distance in features.items():
            rows.append(self._row(name, distance, found, "relative", self.limit if precise else None, where))
        rows.append(self._row("embedding", embedding, found, judged, self.limit, where or "the head graph"))
        return rows

    def chunks(self) -> list[ParityRow]:
        """Windows that share chunks, where the bundle has a graph for it; judged in float32 alone."""
        distance = measure_chunks(self.runner)
        if distance is None:
            return []
        limit = self.limit if self.runner.precision == "fp32" else None
        fault = "the chunk graph departs from the clip graph"
        return [side_row("chunks", distance, limit, self.runner, fault)]

    def masks(self, branch: MaskBranch) -> list[ParityRow]:
        """The model's own segmentation model, in float32 and bf16."""
        found = measure_masks(branch, self.runner)
        if found is None:
            return []
        distance, limit = found
        fault = "the graph of the masks departs from the module"
        return [side_row("masks", distance, limit or self.limit, self.runner, fault)]

    @property
    def _rounding(self) -> float:
        """Relative error that is nobody's fault."""
        return ROUNDING.get(self.runner.precision, self.limit or 0.0)

    def diverging_tap(self) -> str:
        """Where the graph parts from the module: the first tap that is off, and the last that is not."""
        role: Role = "clip" if self.runner.bundle.manifest.shape == "clip" else "frame"
        found = self._tapped(role)
        reference = self.case.trace()
        before = "the inputs"
        for name in found:
            error = measure(found[name], reference[name]).relative
            if not error <= TRACE_FACTOR * self._rounding:
                return (
                    f"the {role} graph: it diverges between {before} and {name!r} "
                    f"(relative error there {error:.1e})"
                )
            before = repr(name)
        return f"the {role} graph: it diverges after {before}"

    def _tapped(self, role: Role) -> dict[str, Array]:
        """Values at the taps of a graph, in order of computation."""
        model = onnx.load(self.runner.bundle.graph(role, self.runner.precision))
        names = taps_of(model)
        feeds = self.case.feeds
        if role == "clip":
            feeds = next(windows(feeds, self.case.sequences))
        with tempfile.TemporaryDirectory(prefix="gaitstream-trace-") as folder:
            path = Path(folder) / "tapped.onnx"
            onnx.save(with_taps(model), path)
            with self.runner.open(path) as engine:
                found = engine.infer(feeds)
        return {name: found[name] for name in names}

    def _front(self, front: FrontCase, ran: Embedded) -> ParityRow:
        found = self.runner.run(front.role, front.feeds, precise=True)[front.output]
        distance = measure(found, front.expected)
        limit = self.case.limits.front
        holds = distance.max_abs <= limit
        return ParityRow(
            output=front.output,
            precision="fp32",
            runtime=self.runner.runtime,
            device=ran.device,
            distance=distance,
            limit=limit,
            judged="absolute",
            verdict="pass" if holds else "fail",
            note="" if holds else f"the {front.role} graph",
        )

    def _row(
        self, output: str, distance: Distance, ran: Embedded, judged: Judged, limit: float | None, where: str
    ) -> ParityRow:
        holds = limit is None or judged_value(distance, judged) <= limit
        return ParityRow(
            output=output,
            precision=self.runner.precision,
            runtime=self.runner.runtime,
            device=ran.device,
            distance=distance,
            limit=limit,
            judged=judged,
            verdict="recorded" if limit is None else "pass" if holds else "fail",
            matrix_half_share=ran.proof.matrix_half_share,
            matrix_int8_share=ran.proof.matrix_int8_share,
            note="" if holds else where,
        )


def _plan(
    bundle: Bundle, limits: Limits, skipped: dict[str, str]
) -> Iterator[tuple[str, Precision, float | None]]:
    """Runtimes, precisions and limits to compare: all that work here."""
    findings = survey()
    skipped.update({finding.name: str(finding.error) for finding in findings if finding.error is not None})
    stored = bundle.manifest.graphs
    for name, probe in ranked(findings):
        yield name, "fp32", limits.gpu_fp32 if probe.accelerator else limits.fp32
        if "fp16" in stored and name != "openvino":
            yield name, "fp16", limits.half
        if "bf16" in probe.precisions:
            yield name, "bf16", limits.bfloat
        # What they cost is judged by labelled data alone: drawn walkers are not what calibrated them.
        if "int8" in stored:
            yield name, "int8", None
        if "fp8" in stored and name != "onnxruntime":  # its CPU kernels know no fp8
            yield name, "fp8", None


def _compare_nvinfer(trained: TrainedModel, runner: BundleRunner) -> list[ParityRow]:
    """The graph for nvinfer against the ordinary ones on the same pixels; bf16 is not for nvinfer.

    What it gives is what is kept of a frame: features, or the inputs of a model that waits for its window.
    """
    bundle, precision = runner.bundle, runner.precision
    if precision == "bf16" or bundle.manifest.graphs[precision].deepstream is None:
        return []
    case = trained.nvinfer_case()
    feeds = case.ordinary(runner)
    if bundle.manifest.keeps == "inputs":
        # Pictures are kept as bytes, whatever the graph behind them takes.
        expected = pack(bundle.manifest, feeds)
        if expected.dtype != "uint8" and InputKind.POSE not in bundle.manifest.needs:
            expected = expected * WHITE
    else:
        expected = runner.run("frame", feeds)["features"]
    found = {"deepstream": runner.run("deepstream", {"crops": case.crops})[case.output]}
    if case.by_plugin is not None:
        found["deepstream_plugin"] = case.by_plugin(runner)
    return [_nvinfer_row(name, features, expected, case, runner) for name, features in found.items()]


def _nvinfer_row(
    output: str, found: Array, expected: Array, case: NvinferCase, runner: BundleRunner
) -> ParityRow:
    distance, limit = measure(found, expected), case.limits.get(runner.precision)
    return side_row(output, distance, limit, runner, "the graph for nvinfer departs from the frame graph")
