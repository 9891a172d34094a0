"""Engines and sources whose work is done: what is measured around them is the time outside of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.engines.base import Done, Engine, Feeds, Pending, TensorSpec
from gaitstream.engines.proof import Proof
from gaitstream.models.detector_layouts import STRIDES, Geometry

PICTURES = 8
"""In a batch of the instant detector at most."""
NET = (416, 416)
"""Input of the detector that is measured, a YOLOX nano."""


class Instant(Engine):
    """An engine whose outputs are ready: what is measured around it is the time outside engines.

    Args:
        source: the picture input.
        outputs: what every call gives, for the batch that comes.
    """

    runtime, precision, device = "instant", "fp32", "none"

    def __init__(self, source: TensorSpec, outputs: dict[str, NDArray[Any]]) -> None:
        self.inputs = {source.name: source}
        self.outputs = {
            name: TensorSpec(name, (-1, *array.shape[1:]), str(array.dtype))
            for name, array in outputs.items()
        }
        self._ready = outputs

    def submit(self, feeds: Feeds) -> Pending:
        """Give the outputs."""
        count = len(next(iter(self.check(feeds).values())))
        return Done({name: array[:count] for name, array in self._ready.items()})

    def proof(self) -> Proof:
        """Nothing is computed."""
        return Proof(source="nothing", layers={}, matrix_layers={})

    def close(self) -> None:
        """Nothing is open."""


def converter(width: int, height: int) -> Callable[[int], object]:
    """From a decoded picture to BGR, as the sources do it in their own threads."""
    import av
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    decoded = av.VideoFrame(width, height, "yuv420p")
    return lambda _: reformatter.reformat(decoded, format="bgr24", threads=1).to_ndarray()


def instant_detector(size: tuple[int, int], boxes: Floats) -> Instant:
    """A YOLOX head that sees each person in several cells, as trained ones do.

    Args:
        size: width and height of the pictures.
        boxes: xyxy pixels `[n, 4]`.
    """
    geometry = Geometry.of(size[::-1], NET, "top_left")
    scaled = boxes * geometry.scale_x
    cells = sum((NET[0] // stride) * (NET[1] // stride) for stride in STRIDES)
    raw = np.zeros((1, cells, 85), np.float32)
    raw[..., 4:] = np.random.default_rng(2).random((1, cells, 81), np.float32) * 0.1
    for x1, y1, x2, y2 in scaled:
        for shift in range(4):
            x, y = (x1 + x2) / 16, (y1 + y2) / 16
            row = int(y) * (NET[1] // 8) + int(x) + shift
            raw[0, row, :4] = x - int(x) - shift, y - int(y), np.log((x2 - x1) / 8), np.log((y2 - y1) / 8)
            raw[0, row, 4:6] = 0.95
    return Instant(TensorSpec("images", (-1, *NET, 3), "uint8"), {"output": np.repeat(raw, PICTURES, 0)})
