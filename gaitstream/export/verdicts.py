"""What a proof found: its rows, their verdicts, and what `auto` may pick for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from gaitstream.engines.base import Precision
from gaitstream.errors import ExportError
from gaitstream.export.calibration import Judgement
from gaitstream.export.compare import Distance
from gaitstream.export.running import BundleRunner
from gaitstream.export.sensitivity import Quantisation

SCHEMA = 1
Judged = Literal["relative", "absolute", "distances"]


class ParityRow(msgspec.Struct, frozen=True, kw_only=True):
    """One output of one graph on one runtime.

    Attributes:
        output: `features` and others of the frame graph, `embedding`, what a front gives (`parts`);
            `deepstream` compares the features of the graph for nvinfer with those of the frame graph, and
            `deepstream_plugin` those of the one that holds our plugin's operator; `chunks` compares windows
            that share what they have in common with whole ones; `masks` judges the model's own segmentation
            model.
        precision: what it ran in.
        runtime: name of the runtime.
        limit: what the judged measure may be at most; None where all is only recorded.
        judged: the measure: `relative` error in float32, `absolute` error of a front graph, and in lower
            precisions the largest change of `distances` between embeddings.
        verdict: `pass`, `fail`, or `recorded`.
        matrix_half_share: share of convolutions and matrix products that really ran in half precision.
        matrix_int8_share: the same in eight-bit integers.
        note: where a failing graph parts from the reference.
    """

    output: str
    precision: Precision
    runtime: str
    device: str
    distance: Distance
    limit: float | None
    judged: Judged = "relative"
    verdict: str
    matrix_half_share: float | None = None
    matrix_int8_share: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The judged measure."""
        return judged_value(self.distance, self.judged)


def judged_value(distance: Distance, judged: Judged) -> float:
    """The measure that a comparison is judged by."""
    if judged == "distances":
        return float("inf") if distance.distance_change is None else distance.distance_change
    return distance.max_abs if judged == "absolute" else distance.relative


class ParityReport(msgspec.Struct, frozen=True, kw_only=True):
    """`parity.json`."""

    schema: int = SCHEMA
    model: str
    graphs: str
    """Fingerprint of the bundle that was measured."""
    reference: str = "PyTorch float32"
    inputs: str
    noise: float | None = None
    """Relative error of the embedding that rounding alone brings within the reference; None where it was not
    measured. The limit of float32 is four times this, and 1e-5 at least."""
    rows: tuple[ParityRow, ...]
    skipped: dict[str, str]
    """Runtimes and precisions that did not run here, and why."""
    left_out: dict[str, list[str]] = {}
    """Precisions whose graphs are not in the bundle because they do not hold, and what does not."""
    quantised: tuple[Quantisation, ...] = ()
    """How the graphs in eight bits were made."""
    calibration: Judgement | None
    allowed_precisions: tuple[Precision, ...]

    def require(self, named: Sequence[str] = ()) -> None:
        """Stop where float32 or a precision that was asked for by name does not hold.

        Args:
            named: precisions that were asked for.

        Raises:
            ExportError: naming every output that failed, and where it diverges.
            ExportError: nothing ran in fp32.
        """
        if not any(row.precision == "fp32" and row.output == "embedding" for row in self.rows):
            reasons = "; ".join(f"{name}: {why}" for name, why in self.skipped.items())
            raise ExportError(f"no runtime could run the fp32 graphs ({reasons}): pip install openvino")
        failed = [row for precision in ("fp32", *named) for row in self.failed(precision)]
        if failed:
            hint = "" if self.failed("fp32") else "\nleave it out with --precision fp32"
            lines = "\n".join(f"  {explain(row)}" for row in failed)
            raise ExportError(f"parity does not hold, so no bundle was written:\n{lines}{hint}")

    def failed(self, precision: str) -> list[ParityRow]:
        """Comparisons in a precision that do not hold."""
        return [row for row in self.rows if row.precision == precision and row.verdict == "fail"]

    def holds_in(self, output: str) -> set[Precision]:
        """Precisions in which an output was compared and holds on every runtime."""
        rows = [row for row in self.rows if row.output == output]
        return {row.precision for row in rows} - {row.precision for row in rows if row.verdict == "fail"}

    def without(self, graphs: str, precisions: Iterable[str]) -> ParityReport:
        """The same proof of a bundle from which precisions were left out.

        Args:
            graphs: fingerprint of what is left.
            precisions: those that do not hold; why is kept with the report.
        """
        left_out = {one: [explain(row) for row in self.failed(one)] for one in precisions}
        allowed = tuple(one for one in self.allowed_precisions if one not in left_out)
        return msgspec.structs.replace(self, graphs=graphs, left_out=left_out, allowed_precisions=allowed)


def side_row(
    output: str, distance: Distance, limit: float | None, runner: BundleRunner, fault: str
) -> ParityRow:
    """A graph beside those that lead from inputs to embedding, judged by its relative error."""
    holds = limit is None or distance.relative <= limit
    return ParityRow(
        output=output,
        precision=runner.precision,
        runtime=runner.runtime,
        device="",
        distance=distance,
        limit=limit,
        verdict="recorded" if limit is None else "pass" if holds else "fail",
        note="" if holds else fault,
    )


def allow(rows: Sequence[ParityRow], judgement: Judgement | None) -> tuple[Precision, ...]:
    """What `auto` may pick: fp32; fp16 that holds here; bf16 and int8 that keep accuracy on labelled data.

    Labelled data, where there are any, have the last word on fp16 too. fp16 was not necessarily run natively
    here (a CPU rounds weights and activations only), which is the same rounding a GPU makes.
    """
    kept = {one: judgement.keeps(one) if judgement is not None else None for one in ("fp16", "bf16", "int8")}
    allowed: list[Precision] = ["fp32"]
    half = [row for row in rows if row.precision == "fp16" and row.output == "embedding"]
    if half and all(row.verdict == "pass" for row in half) and kept["fp16"] is not False:
        allowed.append("fp16")
    if kept["bf16"]:
        allowed.append("bf16")
    if kept["int8"]:
        allowed.append("int8")
    return tuple(allowed)


def explain(row: ParityRow) -> str:
    """What does not hold, and where."""
    kind = {"relative": "relative error", "absolute": "absolute error", "distances": "distances change by"}
    return (
        f"{row.output} on {row.runtime} in {row.precision}: {kind[row.judged]} {row.value:.1e}, "
        f"allowed {row.limit:.0e}; {row.note}"
    )
