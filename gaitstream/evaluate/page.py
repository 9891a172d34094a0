"""`evaluation.html`: an evaluation's figures beside the published one, CMC and DET curves; one file."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from gaitstream.evaluate.evaluation import Result

WIDTH, HEIGHT, LEFT, BOTTOM = 440, 320, 56, 40
DECADES = 4
"""Of the DET curve's axis of false acceptance."""


def render(result: Result) -> str:
    """The page, for light and dark, without outside resources."""
    environment = Environment(
        loader=PackageLoader("gaitstream.evaluate"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("evaluation.html").render(
        result=result,
        cmc=_path([(_across(k, len(result.cmc)), _up(share / 100)) for k, share in enumerate(result.cmc)]),
        det=_path([(_along(far), _up(frr)) for far, frr in result.det]),
        ticks=[(_along(10.0**-power), f"{100 * 10.0**-power:g}%") for power in range(DECADES + 1)],
        shares=[(_up(share), f"{share:.0%}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)],
        size=(WIDTH, HEIGHT, LEFT, BOTTOM),
    )


def _across(index: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - 20) * index / max(count - 1, 1)


def _along(far: float) -> float:
    """Place of a false acceptance rate on the logarithmic axis."""
    share = 1 + math.log10(max(far, 10.0**-DECADES)) / DECADES
    return LEFT + (WIDTH - LEFT - 20) * share


def _up(share: float) -> float:
    return 14 + (HEIGHT - BOTTOM - 14) * (1 - share)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) if points else ""
