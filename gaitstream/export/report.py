"""The proof for people: a table and what follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gaitstream.models.bundle import PARITY

if TYPE_CHECKING:
    from gaitstream.export.verdicts import ParityReport, ParityRow

COLUMNS = (
    "output", "runtime", "run in", "max abs", "relative", "centred", "distances", "order", "verdict"
)  # fmt: skip


PROMOTED = (
    "{row.precision} on {row.runtime} ({row.device}) rounds weights and activations, and multiplies in fp32"
)


def _promoted(row: ParityRow) -> bool:
    share = row.matrix_int8_share if row.precision == "int8" else row.matrix_half_share
    return row.precision != "fp32" and share == 0


def cells(report: ParityReport) -> list[tuple[str, ...]]:
    """One row of text per comparison, in the order of `COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for row in report.rows:
        d = row.distance
        rows.append(
            (
                row.output,
                row.runtime,
                row.precision,
                f"{d.max_abs:.1e}",
                f"{d.relative:.1e}",
                "" if d.centred_relative is None else f"{d.centred_relative:.1e}",
                "" if d.distance_change is None else f"{d.distance_change:.1e}",
                "" if d.order_kept is None else f"{d.order_kept:.0%}",
                row.verdict,
            )
        )
    return rows


def conclusions(report: ParityReport) -> list[str]:
    """What the table means for a user of the bundle, one sentence each."""
    lines = [
        f"{name.upper()} IS LEFT OUT of the bundle, its graphs do not hold: {why}"
        for name, reasons in report.left_out.items()
        for why in reasons
    ]
    lines += [how.sentence() for how in report.quantised]
    lines.append(f"auto may pick: {', '.join(report.allowed_precisions)}")
    if report.calibration is None:
        lines.append(
            "bf16 is not allowed: its cost in accuracy was not measured "
            "(export with --calibration FILE.npz holding labelled inputs, or synth)"
        )
    else:
        lines += report.calibration.sentences()
    lines += sorted({PROMOTED.format(row=row) for row in report.rows if _promoted(row)})
    lines += [f"not compared: {name}: {why}" for name, why in report.skipped.items()]
    return lines


def write_report(report: ParityReport, root: Path) -> None:
    """Write `parity.json` and `report.md`."""
    text = msgspec.json.format(msgspec.json.encode(report), indent=2)
    (root / PARITY).write_bytes(text + b"\n")
    (root / "report.md").write_text(markdown(report))


def markdown(report: ParityReport) -> str:
    """`report.md`."""
    table = [COLUMNS, tuple("---" for _ in COLUMNS), *cells(report)]
    lines = [
        f"# Parity of {report.model}",
        "",
        f"Reference: {report.reference}. Inputs: {report.inputs}. Graphs: {report.graphs[:12]}.",
        "`relative` is the norm of the error over that of the reference, `centred` over that of the part",
        "of the embedding that differs between sequences. `distances` is the largest change of a distance",
        "between two sequences, as a share of the mean distance: lower precisions are judged by it.",
        "`order` is the share of gallery pairs that every probe puts in the same order as the reference.",
        *("| " + " | ".join(row) + " |" for row in table),
        "",
        *(f"- {line}" for line in conclusions(report)),
    ]
    return "\n".join(lines) + "\n"
