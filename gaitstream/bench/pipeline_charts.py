"""Pictures of the pipeline's sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from gaitstream.bench.drive import PER_FRAME
from gaitstream.bench.result import Chart, Row

Points = dict[str, list[tuple[str | float, float]]]


def draw(rows: list[Row]) -> list[Chart]:
    """Scaling, latency, and where a frame's time goes."""
    paced = [row for row in rows if "due" in row.figures]
    return [_scaling(paced), _latency(paced), _stages([row for row in rows if "due" not in row.figures])]


def _by_cell(rows: Iterable[Row], value: Callable[[Row], float]) -> Points:
    points: Points = {}
    for row in rows:
        name = f"{row.setting['people']} people, {row.setting['size']}"
        points.setdefault(name, []).append((float(row.setting["cameras"]), value(row)))
    return points


def _scaling(rows: list[Row]) -> Chart:
    due: Points = {"due": sorted({(float(r.setting["cameras"]), r.figures["due"].median) for r in rows})}
    return Chart(
        name="pipeline-scaling",
        title="Frames analysed against cameras of 15 frames/s",
        kind="line",
        x_label="cameras",
        y_label="frames/s",
        series=_by_cell(rows, lambda row: row.figures["analysed"].median) | due,
        log_x=True,
    )


def _latency(rows: list[Row]) -> Chart:
    series: Points = {}
    for share in ("p50", "p95", "p99"):
        with_share = [row for row in rows if share in row.figures]
        for name, points in _by_cell(with_share, partial(_median, share)).items():
            series[f"{name}, {share}"] = points
    return Chart(
        name="pipeline-latency",
        title="Capture to decision against cameras",
        kind="line",
        x_label="cameras",
        y_label="ms",
        series=series,
        log_x=True,
        log_y=True,
    )


def _median(name: str, row: Row) -> float:
    return row.figures[name].median


def _stages(rows: list[Row]) -> Chart:
    """Every stage's share of a frame: costs per person times people."""
    series: Points = {}
    for row in rows:
        label = f"{row.setting['people']} people\n{row.setting['size']}"
        people = row.figures["people"].median
        for name, found in row.figures.items():
            if found.unit in ("ms/frame", "ms/person"):
                cost = found.median * (1 if name in (*PER_FRAME, "rest") else people)
                series.setdefault(name, []).append((label, cost))
    return Chart(
        name="pipeline-frame",
        title="Where a frame's time goes, as fast as it goes",
        kind="stacked",
        x_label="setting",
        y_label="ms a frame",
        series=series,
    )
