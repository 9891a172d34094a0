"""Draws the charts of a report as PNG and SVG; needs matplotlib, the extra `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaitstream.bench.result import Chart, Report
from gaitstream.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D31", "#000000")
"""Told apart by colour-blind readers: after Okabe and Ito, their yellow made a brown that shows on white."""
LINES = ("-", "--", ":", "-.")
HATCHES = ("", "///", "...", "xx")
MARKERS = "osD^"
DUE = "due"
"""Name of a series that is drawn as a reference."""


def draw_report(report: Report, out: Path) -> list[Path]:
    """Draw every chart of every suite into `out`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise MissingExtraError("matplotlib", "bench", "drawing the plots") from error
    mpl.use("Agg")
    out.mkdir(parents=True, exist_ok=True)
    return [path for suite in report.suites for chart in suite.charts for path in draw_chart(chart, out)]


def draw_chart(chart: Chart, out: Path) -> list[Path]:
    """Draw one chart; returns the paths of the PNG and the SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    {"line": _line, "bar": _bar, "stacked": _stacked}[chart.kind](axes, chart)
    axes.set_title(chart.title, loc="left", fontsize=11)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    if chart.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        # Zero belongs to the picture, and air above a line that never moves.
        axes.margins(y=0.08)
        axes.update_datalim([(axes.get_xlim()[0], 0)], updatex=False)
        axes.autoscale_view()
        axes.set_ylim(bottom=0)
    if len(chart.series) > 1:
        # Beside the picture: inside it a legend of many series hides what it explains.
        figure.legend(frameon=False, fontsize=8, loc="outside right upper", reverse=chart.kind == "stacked")
    paths = [out / f"{chart.name}.{suffix}" for suffix in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths


def styles(names: list[str]) -> dict[str, dict[str, Any]]:
    """Colour and line of each series.

    Names such as `4 people, p95` that are pairs of two lists get a colour by the first part and a line by the
    second; others a colour each, and another line when colours run out.
    """
    pairs = [name.rpartition(", ") for name in names if name != DUE]
    firsts = list(dict.fromkeys(first for first, _, _ in pairs))
    seconds = list(dict.fromkeys(second for _, _, second in pairs))
    paired = len(firsts) > 1 and len(firsts) * len(seconds) == len(pairs) and len(seconds) <= len(LINES)
    found = {}
    for index, (first, comma, second) in enumerate(pairs):
        colour, line = divmod(index, len(COLOURS))[::-1]
        if paired:
            colour, line = firsts.index(first), seconds.index(second)
        style = {"color": COLOURS[colour % len(COLOURS)], "linestyle": LINES[line % len(LINES)]}
        found[first + comma + second] = style | {"marker": MARKERS[line % len(MARKERS)]}
    return found | {DUE: {"color": "grey", "linestyle": "-", "linewidth": 1}}


def _line(axes: Axes, chart: Chart) -> None:
    how = styles(list(chart.series))
    longest = max((len(points) for points in chart.series.values()), default=0)
    for name, points in chart.series.items():
        style = {"markersize": 4} | how[name] | ({"marker": ""} if longest > 40 else {})
        axes.plot([float(x) for x, _ in points], [y for _, y in points], label=name, **style)
    if chart.log_x:
        axes.set_xscale("log", base=2)
        ticks = sorted({float(x) for points in chart.series.values() for x, _ in points})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _labels(chart: Chart) -> list[str]:
    return list(dict.fromkeys(str(x) for points in chart.series.values() for x, _ in points))


def _bar(axes: Axes, chart: Chart) -> None:
    labels = _labels(chart)
    width = 0.8 / len(chart.series)
    for index, (name, points) in enumerate(chart.series.items()):
        offset = (index - (len(chart.series) - 1) / 2) * width
        places = [labels.index(str(x)) + offset for x, _ in points]
        bars = axes.bar(places, [y for _, y in points], width, label=name, color=COLOURS[index])
        axes.bar_label(bars, fmt="{:.3g}", fontsize=8, padding=2)
    axes.set_xticks(range(len(labels)), labels)


def _stacked(axes: Axes, chart: Chart) -> None:
    labels = _labels(chart)
    base = [0.0] * len(labels)
    for index, (name, points) in enumerate(chart.series.items()):
        heights = [0.0] * len(labels)
        for x, y in points:
            heights[labels.index(str(x))] += y
        turn, colour = divmod(index, len(COLOURS))
        axes.bar(
            range(len(labels)), heights, 0.6, bottom=base, label=name, color=COLOURS[colour],
            hatch=HATCHES[turn % len(HATCHES)], edgecolor="white", linewidth=0.5,
        )  # fmt: skip
        base = [low + height for low, height in zip(base, heights, strict=True)]
    axes.set_xticks(range(len(labels)), labels, fontsize=8 if len(labels) > 6 else 10)
    if len(labels) == 1:
        axes.set_xlim(-1, 1)
