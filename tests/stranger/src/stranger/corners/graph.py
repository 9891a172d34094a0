"""A detector of this layout: the demo's, its boxes written another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write(detector: Path, out: Path) -> Path:
    """Write a detector of the layout `toy-corners`.

    Args:
        detector: an ONNX file of YOLOv8's layout with one class.
        out: the file to write.
    """
    model = onnx.load(detector)
    (image,), (raw,) = model.graph.input, model.graph.output
    height, width = (dim.dim_value for dim in image.type.tensor_type.shape.dim[2:])
    cells = raw.type.tensor_type.shape.dim[2].dim_value
    # From centre and size in pixels to corners in shares, with the score in front.
    to_corners = np.zeros((5, 5), np.float32)
    to_corners[4, 0] = 1
    for corner, half in ((1, -0.5), (3, 0.5)):
        to_corners[[0, 2], corner] = 1 / width, half / width
        to_corners[[1, 3], corner + 1] = 1 / height, half / height
    model.graph.initializer.append(numpy_helper.from_array(to_corners, "to_corners"))
    model.graph.node.extend(
        [
            helper.make_node("Transpose", [raw.name], ["rows"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["rows", "to_corners"], ["corners"]),
        ]
    )
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("corners", TensorProto.FLOAT, ["n", cells, 5]))
    onnx.save(model, out)
    return out
