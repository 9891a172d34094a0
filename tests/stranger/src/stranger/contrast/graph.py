"""The model as a graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from gaitstream.models.graphs.writer import GraphWriter

EDGE = 3
"""Columns on either side that show the ground."""
LEAST = 24.0
"""Grey levels by which a pixel of the person differs from it."""


def write(out: Path, size: tuple[int, int] = (96, 72)) -> Path:
    """Write the model and its manifest; pixels are RGB 0..255, the output is a logit."""
    g = GraphWriter("contrast")
    crops = g.input("crops", ["n", 3, *size])
    g.output("mask", contrast(g, crops, size), ["n", 1, *size])
    onnx.save(g.model("stranger"), out)
    out.with_suffix(".yaml").write_text(
        f"graph: {out.name}\nlayout: logit\nscale: 1\nmean: [0, 0, 0]\nstd: [1, 1, 1]\n"
    )
    return out


def contrast(g: GraphWriter, crops: str, size: tuple[int, int]) -> str:
    """How far each pixel `[n, 1, height, width]` lies over the least difference from its row's edges."""
    width = size[1]
    columns = g.constant(np.asarray([*range(EDGE), *range(width - EDGE, width)], np.int64))
    edges = g.op("Gather", crops, columns, axis=3)
    ground = g.op("ReduceMean", edges, g.constant(np.asarray([3], np.int64)), keepdims=1)
    difference = g.op("Abs", g.op("Sub", crops, ground))
    most = g.op("ReduceMax", difference, g.constant(np.asarray([1], np.int64)), keepdims=1)
    return g.op("Sub", most, g.constant(np.float32(LEAST)))


def silhouettes(size: tuple[int, int], *, white: float = 1.0) -> onnx.ModelProto:
    """The model as the front of a graph for nvinfer: pixels `crops` to `silhouettes` of 0 and `white`."""
    g = GraphWriter("silhouettes")
    inside = g.op("Greater", contrast(g, g.input("crops", ["n", 3, *size]), size), g.constant(np.float32(0)))
    number = g.op("Cast", inside, to=onnx.TensorProto.FLOAT)
    g.output("silhouettes", g.op("Mul", number, g.constant(np.float32(white))), ["n", 1, *size])
    return g.model("stranger")


def silhouettes_of(crops: NDArray[np.float32]) -> NDArray[np.float32]:
    """What that front makes of pixels `[n, 3, height, width]`, with 1 for white."""
    edges = np.concatenate([crops[..., :EDGE], crops[..., -EDGE:]], axis=3)
    difference = np.abs(crops - edges.mean(axis=3, keepdims=True)).max(axis=1, keepdims=True)
    return np.asarray(difference > LEAST, np.float32)


def crops_of(silhouettes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pictures `[n, 3, height, width]` of bright people before a dark ground, for a proof."""
    return np.repeat(60.0 + 150.0 * silhouettes, 3, axis=1).astype(np.float32)
