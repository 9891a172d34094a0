"""Two reports side by side: what got slower, beyond the noise of either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gaitstream.bench.result import Figure, Report
from gaitstream.bench.table import format_number

Verdict = Literal["better", "worse", "same"]


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in two reports."""

    suite: str
    row: str
    figure: str
    before: Figure
    after: Figure
    verdict: Verdict

    @property
    def ratio(self) -> float:
        """After over before."""
        return self.after.median / self.before.median if self.before.median else float("inf")


def compare_figures(before: Figure, after: Figure, tolerance: float = 0.05) -> Verdict:
    """Judge a figure: it changed when the medians differ by more than `tolerance` and the quartiles part.

    Figures with one repetition have no spread of their own; for them the tolerance is three times as wide.
    """
    if after.better == "neither" or before.median == after.median:
        return "same"
    alone = before.repeats < 2 or after.repeats < 2
    limit = tolerance * (3 if alone else 1) * abs(before.median)
    if abs(after.median - before.median) <= limit:
        return "same"
    if not alone and before.low <= after.high and after.low <= before.high:
        return "same"
    lower = after.median < before.median
    return "better" if lower == (after.better == "lower") else "worse"


def compare_reports(before: Report, after: Report, tolerance: float = 0.05) -> list[Change]:
    """Every figure that both reports have, in the order of the second."""
    old = {
        (suite.name, row.key, name): figure
        for suite in before.suites
        for row in suite.rows
        for name, figure in row.figures.items()
    }
    changes = []
    for suite in after.suites:
        for row in suite.rows:
            for name, figure in row.figures.items():
                reference = old.get((suite.name, row.key, name))
                if reference is not None and reference.unit == figure.unit:
                    verdict = compare_figures(reference, figure, tolerance)
                    changes.append(Change(suite.name, row.key, name, reference, figure, verdict))
    return changes


def changes_markdown(changes: list[Change]) -> str:
    """A table of what changed, and a line that counts the rest."""
    moved = [change for change in changes if change.verdict != "same"]
    lines = [
        "| suite | row | figure | before | after | ratio | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {c.suite} | {c.row} | {c.figure} [{c.after.unit}] | {format_number(c.before.median)} | "
        f"{format_number(c.after.median)} | {c.ratio:.2f} | {c.verdict} |"
        for c in moved
    ]
    same = f"{len(changes) - len(moved)} of {len(changes)} figures the same within noise\n"
    return ("\n".join(lines) + "\n\n" if moved else "") + same
