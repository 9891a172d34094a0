"""Outputs `[b, n, 5]`: the score, and left, top, right and bottom as shares of the input's size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.models.detector_layouts import DetectorContract, DetectorLayout, NvinferParser


def decode(
    outputs: Mapping[str, NDArray[Any]], item: int, _: DetectorContract, size: tuple[int, int], least: float
) -> tuple[Floats, Floats]:
    """Boxes xyxy in input pixels, and scores, of those that reach the least."""
    (raw,) = outputs.values()
    rows = raw[item].astype(np.float32, copy=False)
    rows = rows[rows[:, 0] >= least]
    height, width = size
    return rows[:, 1:] * np.array([width, height, width, height], np.float32), rows[:, 0]


CORNERS = DetectorLayout(
    decode=decode,
    usual={"fit": "top_left", "scale": 1.0},
    recognises=lambda shapes, _: [shape[-1] for shape in shapes.values()] == [5] and "corners" in shapes,
    nvinfer=NvinferParser(function="StrangerParseCorners", library=Path("/opt/stranger/libcorners.so")),
)
