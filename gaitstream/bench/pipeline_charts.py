"""Pictures of the pipeline's sweep."""

from __future__ import annotations

from collections.abc import Iterable

from gaitstream.bench.result import Chart, Row

Points = dict[str, list[tuple[str | float, float]]]
PERCENTILES = ("p50", "p95", "p99")


def draw(rows: list[Row]) -> list[Chart]:
    """Frames a second against cameras, and latencies, a chart per size of the picture."""
    sizes = dict.fromkeys(str(row.setting["size"]) for row in rows)
    return [_scaling(rows), *(_latency(rows, size) for size in sizes)]


def _scaling(rows: list[Row]) -> Chart:
    series: Points = {"due": sorted({(float(r.setting["cameras"]), r.figures["due"].median) for r in rows})}
    for row in rows:
        name = f"{_people(row)}, {row.setting['size']}"
        series.setdefault(name, []).append((float(row.setting["cameras"]), row.figures["analysed"].median))
    return Chart(
        name="pipeline-scaling",
        title="Frames analysed against cameras of 15 frames/s",
        kind="line",
        x_label="cameras",
        y_label="frames/s",
        series=series,
        log_x=True,
    )


def _latency(rows: Iterable[Row], size: str) -> Chart:
    series: Points = {}
    for row in rows:
        for share in PERCENTILES:
            if row.setting["size"] == size and share in row.figures:
                points = series.setdefault(f"{_people(row)}, {share}", [])
                points.append((float(row.setting["cameras"]), row.figures[share].median))
    return Chart(
        name=f"pipeline-latency-{size}",
        title=f"Capture to decision against cameras, {size}",
        kind="line",
        x_label="cameras",
        y_label="ms",
        series=series,
        log_x=True,
        log_y=True,
    )


def _people(row: Row) -> str:
    count = row.setting["people"]
    return f"{count} {'person' if count == 1 else 'people'}"
