"""Markdown tables of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gaitstream.bench.result import Figure, Machine, Report, Suite


def format_number(value: float) -> str:
    """Three significant digits, no exponent between 0.001 and a million."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def _cell(figure: Figure | None, floor: float | None) -> str:
    if figure is None:
        return ""
    text = format_number(figure.median)
    if figure.repeats > 1:
        text += f" ({format_number(figure.low)}..{format_number(figure.high)})"
    if floor:
        ratio = figure.median / floor if figure.better == "lower" else floor / figure.median
        text += f", {format_number(ratio)} x floor"
    return text


def suite_table(suite: Suite) -> str:
    """One suite: a row per contender and setting, medians with quartiles, and the ratio to the floor."""
    figures = suite.columns or _columns(row.figures for row in suite.rows)
    units = {name: row.figures[name].unit for row in suite.rows for name in row.figures}
    columns = {"contender": [row.contender for row in suite.rows]}
    for name in _columns(row.setting for row in suite.rows):
        columns[name] = [str(row.setting.get(name, "")) for row in suite.rows]
    for name in figures:
        header = f"{name} [{units[name]}]" if name in units else name
        columns[header] = [_cell(row.figures.get(name), row.floor.get(name)) for row in suite.rows]
    columns["note"] = [row.note for row in suite.rows]
    text = f"### {suite.title}\n" + ("\n" + _lines(columns) if suite.rows else "")
    notes = [*(f"FAILED: {failure}" for failure in suite.failures), *suite.notes]
    return text + "".join(f"\n- {note}" for note in notes) + ("\n" if notes else "")


def _lines(columns: dict[str, list[str]]) -> str:
    """Markdown of the columns that say something: empty ones and a contender without rivals are left out."""
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    if len(set(columns["contender"])) == 1 and len(shown) > 2:
        del shown["contender"]
    lines = ["| " + " | ".join(shown) + " |", "|" + " --- |" * len(shown)]
    lines += ["| " + " | ".join(cells) + " |" for cells in zip(*shown.values(), strict=True)]
    return "\n".join(lines) + "\n"


def _columns(parts: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part))


def machine_lines(machine: Machine) -> str:
    """The machine in a few lines."""
    sets = " ".join(machine.instruction_sets) or "none of note"
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    gpu = machine.gpu if machine.gpu == "none" else f"{machine.gpu} (driver {machine.driver})"
    return (
        f"- CPU: {machine.cpu}, {machine.cores} cores ({sets}), {machine.memory_gib} GiB\n"
        f"- GPU: {gpu}\n- {machine.system}\n- {versions}\n- load average at the start: {machine.load:g}\n"
    )


def report_markdown(report: Report) -> str:
    """The whole report."""
    head = f"# Benchmark, {report.started_utc}\n\n`{report.command}`\n\n{machine_lines(report.machine)}\n"
    legend = (
        "Medians, quartiles in brackets; `x floor` is the ratio to the least this machine could need.\n\n"
    )
    if report.machine.disturbed:
        legend += (
            f"**The load average was {report.machine.load:g} when it began: other work disturbed these "
            "figures. Measure again on an idle machine.**\n\n"
        )
    return head + legend + "\n".join(suite_table(suite) for suite in report.suites)
