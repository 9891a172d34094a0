"""What pose models' graphs end in, made into heatmaps of COCO's seventeen joints.

Two kinds of graphs are taken beside those that end in them. Some find more joints, of which COCO's are the
first, or stand where the manifest says. Others, SimCC's and RTMPose's, say for each axis how likely a joint
lies in each of its bins (Li Y and others, *SimCC: a Simple Coordinate Classification Perspective for Human
Pose Estimation*, 2022; Jiang T and others, *RTMPose*, 2023). What is appended to such a graph is part of a
graph again, so that every runtime, DeepStream and eight bits have it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.engines.cache import default_root
from gaitstream.engines.graph_files import graph_sha256, keep_graph, output_shapes
from gaitstream.errors import ConfigError, EngineError, MissingExtraError

if TYPE_CHECKING:
    import onnx

JOINTS = 17
CROP_HEIGHT, CROP_WIDTH = 256, 192
HEAT_HEIGHT, HEAT_WIDTH = 64, 48
STRIDE = CROP_WIDTH // HEAT_WIDTH
SIGMA = 2.0
"""Of a joint in the heatmaps that SimpleBaseline, HRNet and ViTPose are trained with, in their pixels."""
SUPERSETS = (26, 133, 136)
"""Joints of Halpe's body, COCO-WholeBody and Halpe: the first seventeen are COCO's in all of them."""
OLDEST_OPSET = 8
"""Since when operators broadcast over all axes."""
PREFIX = "gaitstream."
"""Of the values that are appended."""
_REVISION = 1
"""Of what is appended: graphs that are kept are made anew after a change."""


def as_heatmaps(graph: Path, joints: Sequence[int], beta: float) -> Path:
    """The graph itself where it ends in heatmaps of COCO's joints, else one that does, kept beside engines.

    Args:
        graph: an ONNX file.
        joints: which of its joints are COCO's, in COCO's order; where empty, the first.
        beta: what one value for each bin is multiplied with before the softmax.

    Raises:
        MissingExtraError: it has to be changed, and `onnx` is not installed.
        ConfigError: it does not have all of `joints`, or the changed graph cannot be written.
        EngineError: its bins are not those of a picture of 256 x 192.
    """
    outputs = list(output_shapes(graph).values())
    if not outputs or not (joints or _has_more(outputs[0]) or _may_be_bins(outputs[:2])):
        return graph
    settings = f"{_REVISION} {graph_sha256(graph)} {list(joints)} {beta}"
    digest = hashlib.sha256(settings.encode()).hexdigest()
    kept = default_root() / "pose" / f"{graph.stem}-{digest[:12]}.onnx"
    if kept.is_file():
        return kept
    model = _changed(graph, joints, beta)
    return (
        graph if model is None else keep_graph(kept, model.SerializeToString(), f"what {graph} is made into")
    )


def spread(bins: int, pixels: int) -> Floats:
    """What makes heatmap pixels of the bins along an axis, `[bins, pixels]` float32.

    A joint that surely lies in one bin becomes a bell as wide as in heatmaps, with a peak of 1.
    """
    size = bins / pixels
    # Bin 0 is the middle of the picture's first pixel; the first of a heatmap covers four of those.
    middles = (np.arange(pixels) + 0.5) * size - 0.5 * size / STRIDE
    return np.exp(-0.5 * ((np.arange(bins)[:, None] - middles) / (SIGMA * size)) ** 2).astype(np.float32)


def _changed(graph: Path, joints: Sequence[int], beta: float) -> onnx.ModelProto | None:
    """A graph that ends in heatmaps of COCO's joints; None where this one can only be left as it is."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "models", f"Taking the joints of {graph.name}") from error

    model = onnx.load(graph)
    ending = _Ending(graph.name, model)
    shapes = _inferred(model)
    names = list(shapes)[:2]
    if len(names) == 2 and all(len(shapes[name]) == 3 for name in names):
        across, down = _axes(graph.name, shapes, names)
        maps, found = ending.crossed(across, down, shapes, beta), shapes[across][1]
    else:
        maps, found = names[0], shapes[names[0]][1] if len(shapes[names[0]]) == 4 else -1
        if not joints and found not in SUPERSETS:
            return None
    chosen = list(joints) or (list(range(JOINTS)) if found in SUPERSETS else [])
    if chosen and found > 0 and max(chosen) >= found:
        raise ConfigError(
            f"{graph.name} finds {found} joints, and `joints` of its manifest names {max(chosen)}: "
            "they are counted from 0"
        )
    if chosen:
        maps = ending.add("Gather", maps, ending.constant("coco", np.array(chosen, np.int64)), axis=1)
    ending.close(maps, JOINTS if chosen else found)
    return model


def _has_more(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[1] in SUPERSETS


def _may_be_bins(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether two outputs have three axes, or do not say how many."""
    return len(shapes) == 2 and all(len(shape) in (0, 3) for shape in shapes)


def _inferred(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes of a graph's outputs for a crop, -1 where they stay open; in their order."""
    import onnx

    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    constants = {constant.name for constant in twin.graph.initializer}
    for info in twin.graph.input:
        dims = info.type.tensor_type.shape.dim
        if info.name not in constants and len(dims) == 4:
            for dim, size in zip(dims[2:], (CROP_HEIGHT, CROP_WIDTH), strict=True):
                if not dim.HasField("dim_value"):
                    dim.dim_value = size
    for info in twin.graph.output:
        info.type.tensor_type.ClearField("shape")
    del twin.graph.value_info[:]
    twin = onnx.shape_inference.infer_shapes(twin, data_prop=True)
    return {
        info.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else -1 for dim in info.type.tensor_type.shape.dim
        )
        for info in twin.graph.output
    }


def _axes(graph: str, shapes: dict[str, tuple[int, ...]], names: list[str]) -> tuple[str, str]:
    """Which output is of the bins across the picture, and which of those down."""
    for across, down in (names, names[::-1]):
        _, joints, columns = shapes[across]
        _, as_many, rows = shapes[down]
        fits = columns * CROP_HEIGHT == rows * CROP_WIDTH and columns >= CROP_WIDTH
        if fits and joints == as_many and (joints == -1 or joints >= JOINTS):
            return across, down
    found = " and ".join(f"{name} {list(shapes[name])}" for name in names)
    raise EngineError(
        f"{graph} makes {found}: one value for each bin of both axes is taken as [n, joints, 192 k] and "
        "[n, joints, 256 k] of at least 17 joints; take a model for pictures of 256 x 192, or export it with "
        "this shape fixed"
    )


class _Ending:
    """What is appended to a graph; its operators mean the same in all opsets from `OLDEST_OPSET` on."""

    def __init__(self, name: str, model: onnx.ModelProto) -> None:
        opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
        if opset < OLDEST_OPSET:
            raise EngineError(f"{name} is in opset {opset}: export it in {OLDEST_OPSET} or later")
        self._model = model

    def crossed(self, across: str, down: str, shapes: dict[str, tuple[int, ...]], beta: float) -> str:
        """Heatmaps of a distribution for each axis.

        A joint's peak is the lesser one of both axes': the likelihood of lying there, within a heatmap pixel
        or two. The softmax forgets a level that training leaves open, which a mere product would keep.
        """
        import onnx

        factor = self.constant("beta", np.array(beta, np.float32))
        sides, peaks = [], []
        for axis, name, pixels in (("x", across, HEAT_WIDTH), ("y", down, HEAT_HEIGHT)):
            bins = self.add("Cast", name, to=onnx.TensorProto.FLOAT)
            likely = self.add("Softmax", self.add("Mul", bins, factor), axis=2)
            bell = self.constant(f"spread_{axis}", spread(shapes[name][2], pixels))
            shape = [0, 0, 1, pixels] if axis == "x" else [0, 0, pixels, 1]
            side = self.add("MatMul", likely, bell)
            side = self.add("Reshape", side, self.constant(f"side_{axis}", np.array(shape, np.int64)))
            sides.append(side)
            peaks.append(self.add("GlobalMaxPool", side))
        return self.add("Div", self.add("Mul", *sides), self.add("Max", *peaks))

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append an operator and return the name of its value."""
        import onnx

        nodes = self._model.graph.node
        name = f"{PREFIX}{kind.lower()}_{len(nodes)}"
        nodes.append(onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Append a constant and return its name."""
        import onnx

        self._model.graph.initializer.append(onnx.numpy_helper.from_array(values, PREFIX + name))
        return PREFIX + name

    def close(self, maps: str, joints: int) -> None:
        """Let the graph end in heatmaps alone."""
        import onnx

        rows = self._model.graph.output[0].type.tensor_type.shape.dim[:1]
        first: int | str = rows[0].dim_value if rows and rows[0].HasField("dim_value") else "n"
        shape = [first, joints if joints > 0 else "joints", HEAT_HEIGHT, HEAT_WIDTH]
        made = self.add("Cast", maps, to=onnx.TensorProto.FLOAT)
        del self._model.graph.output[:]
        self._model.graph.output.append(
            onnx.helper.make_tensor_value_info(made, onnx.TensorProto.FLOAT, shape)
        )
