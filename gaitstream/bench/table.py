"""Markdown tables of results."""

from __future__ import annotations

from gaitstream.bench.result import Figure, Machine, Report, Row, Suite


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
    settings = _columns(row.setting for row in suite.rows)
    figures = _columns(row.figures for row in suite.rows)
    units = {name: row.figures[name].unit for row in suite.rows for name in row.figures}
    header = ["contender", *settings, *(f"{name} [{units[name]}]" for name in figures), "note"]
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(_cells(row, settings, figures)) + " |" for row in suite.rows]
    text = f"### {suite.title}\n\n" + "\n".join(lines) + "\n"
    notes = [*(f"FAILED: {failure}" for failure in suite.failures), *suite.notes]
    return text + "".join(f"\n- {note}" for note in notes) + ("\n" if notes else "")


def _columns(parts: object) -> list[str]:
    names: dict[str, None] = {}
    for part in parts:  # type: ignore[attr-defined]
        names.update(dict.fromkeys(part))
    return list(names)


def _cells(row: Row, settings: list[str], figures: list[str]) -> list[str]:
    return [
        row.contender,
        *(str(row.setting.get(name, "")) for name in settings),
        *(_cell(row.figures.get(name), row.floor.get(name)) for name in figures),
        row.note,
    ]


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
    if report.machine.load > 0.25 * report.machine.cores:
        legend += (
            f"**The load average was {report.machine.load:g} when it began: other work disturbed these "
            "figures. Measure again on an idle machine.**\n\n"
        )
    return head + legend + "\n".join(suite_table(suite) for suite in report.suites)
