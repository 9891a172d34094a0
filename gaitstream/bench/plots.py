"""Draws the charts of a report as PNG and SVG; needs matplotlib, the extra `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.bench.result import Chart, Report
from gaitstream.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    if len(chart.series) > 10:
        # The usual ten colours would come round again.
        axes.set_prop_cycle(color=colormaps["tab20"].colors)  # type: ignore[attr-defined]
    {"line": _line, "bar": _bar, "stacked": _stacked}[chart.kind](axes, chart)
    axes.set_title(chart.title, loc="left", fontsize=11)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    if chart.log_y:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    if len(chart.series) > 1:
        # Beside the picture: inside it a legend of many series hides what it explains.
        figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    paths = [out / f"{chart.name}.{suffix}" for suffix in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=150)
    return paths


def _line(axes: Axes, chart: Chart) -> None:
    for name, points in chart.series.items():
        axes.plot([float(x) for x, _ in points], [y for _, y in points], marker="o", markersize=4, label=name)
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
        axes.bar(places, [y for _, y in points], width, label=name)
    axes.set_xticks(range(len(labels)), labels)


def _stacked(axes: Axes, chart: Chart) -> None:
    labels = _labels(chart)
    base = [0.0] * len(labels)
    for name, points in chart.series.items():
        heights = [0.0] * len(labels)
        for x, y in points:
            heights[labels.index(str(x))] += y
        axes.bar(range(len(labels)), heights, 0.6, bottom=base, label=name)
        base = [low + height for low, height in zip(base, heights, strict=True)]
    axes.set_xticks(range(len(labels)), labels)
