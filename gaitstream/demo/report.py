"""`report.html`: one file without outside resources, for light and dark; a pure function of the record."""

from __future__ import annotations

import base64
from functools import partial
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gaitstream.demo import charts
from gaitstream.demo.record import DemoRecord, TrackRecord
from gaitstream.demo.score import FUSED, MEANINGS, Roc, TrackOutcome, curves, score, verdict


def render(record: DemoRecord) -> str:
    """The whole page, from `templates/report.html`."""
    look = files("gaitstream.console").joinpath("static/look.css").read_text(encoding="utf-8")
    style = files("gaitstream.demo").joinpath("templates/report.css").read_text(encoding="utf-8")
    page = _environment().get_template("report.html")
    return page.render(style=Markup(look + style), **figures(record))


def figures(record: DemoRecord) -> dict[str, Any]:
    """What the figures are drawn from, by the names that templates have for it."""
    result, each = score(record), curves(record)
    curve = next(reversed(each.values()), None)
    limits = {**record.units, FUSED: record.threshold}
    return {
        "record": record,
        "result": result,
        "enrolled": [person for person in record.people if person.enrolled],
        "strangers": [person for person in record.people if not person.enrolled],
        "recognised": sum(bool(cameras) for cameras in result.identified_on.values()),
        "slowest_p95_ms": max((camera.p95_ms or 0.0 for camera in record.cameras), default=None),
        "verdict": partial(verdict, record),
        "Verdict": TrackOutcome,
        "meanings": MEANINGS,
        "tones": charts.TONES,
        "timeline": charts.timeline(record),
        "distances": charts.distances(record),
        "roc": curve,
        "accepted": None if curve is None else _accepted(curve, record.threshold),
        "each": [(name, one, _accepted(one, limits.get(name))) for name, one in each.items()],
        "histogram": None if curve is None else charts.histogram(curve, record.threshold),
        "roc_curve": None if curve is None else charts.roc_curve(curve),
    }


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gaitstream.demo"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {
        "jpeg": lambda data: f"data:image/jpeg;base64,{base64.b64encode(data).decode()}",
        "looks": _looks,
        "px": lambda value: f"{value:.1f}",
        "words": lambda text: text.replace("_", " "),
    }
    return environment


def _looks(track: TrackRecord) -> list[tuple[bytes, ...]]:
    """A track's pictures, each with what the recognizers looked at."""
    seen = (track.pictures, track.heatmaps, track.silhouettes)
    return list(zip(*(pictures for pictures in seen if pictures), strict=False))


def _accepted(curve: Roc, threshold: float | None) -> tuple[float, float] | None:
    """Percent of genuine and of impostor pairs that the threshold accepts."""
    if threshold is None:
        return None
    genuine, impostor = (
        100 * float((pairs <= threshold).mean()) for pairs in (curve.genuine, curve.impostor)
    )
    return genuine, impostor
