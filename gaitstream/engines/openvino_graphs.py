"""What is done to a graph before OpenVINO compiles it: rewritings that leave its results as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gaitstream.engines.base import Pixels
from gaitstream.engines.fixed_shapes import Shapes

if TYPE_CHECKING:
    import openvino as ov

END = np.iinfo(np.int64).max
"""Past the end of every axis."""


def take_bytes(model: ov.Model, pixels: Pixels) -> ov.Model:
    """Put the making of floats from bytes into the graph, where its first layers absorb it."""
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    for port in model.inputs:
        shape = port.get_partial_shape()
        if len(shape) != 4 or not port.get_element_type().is_real():
            continue
        if shape[1].is_static and shape[1].get_length() != len(pixels.std):
            continue  # no picture as it is understood here: whoever opened it says what is wrong
        source = steps.input(port.get_any_name())
        source.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC" if pixels.interleaved else "NCHW"))
        source.model().set_layout(Layout("NCHW"))
        work = source.preprocess().convert_element_type(Type.f32)
        if pixels.swap:
            work = work.reverse_channels()
        if any(pixels.mean):
            work = work.mean([pixels.scale * mean for mean in pixels.mean])
        gains = [pixels.scale * std for std in pixels.std]
        if gains != [1.0, 1.0, 1.0]:
            work.scale(gains)
    return steps.build()


def compare_neighbours(model: ov.Model) -> None:
    """Write the maximum over groups of neighbouring rows as one of slices.

    `reshape([n * k, c, h, w], [n, k, c, h, w])` and a maximum over `k` make OpenVINO leave the layout that
    its convolutions work in and come back to it. The maximum of every k-th row from the first, the second,
    ... is the same and stays in it.
    """
    import openvino.opset13 as op

    for node in model.get_ordered_ops():
        grouping = (
            node.input(0).get_source_output().get_node() if node.get_type_name() == "ReduceMax" else None
        )
        if grouping is None or not _groups_rows(grouping) or not _over_groups(node):
            continue
        rows = grouping.input(0).get_source_output()
        count = grouping.output(0).get_partial_shape()[1].get_length()
        axis = np.array([0])
        slices = [op.slice(rows, [first], [END], [count], axis) for first in range(count)]
        largest = slices[0]
        for other in slices[1:]:
            largest = op.maximum(largest, other)
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(largest.output(0))


def fix_shapes(model: ov.Model, shapes: Shapes) -> bool:
    """Give the inputs these shapes; whether every output then has one shape as well."""
    model.reshape({port: list(shape) for port, shape in zip(model.inputs, shapes, strict=True)})
    return all(port.get_partial_shape().is_static for port in model.outputs)


def _groups_rows(node: ov.Node) -> bool:
    """Whether a node makes `[n, k, c, h, w]` of `[n * k, c, h, w]`."""
    if node.get_type_name() != "Reshape":
        return False
    rows, groups = node.input(0).get_partial_shape(), node.output(0).get_partial_shape()
    if len(rows) != 4 or len(groups) != 5 or groups[1].is_dynamic:
        return False
    inner = [*list(rows)[1:], *list(groups)[2:]]
    return all(one.is_static for one in inner) and list(rows)[1:] == list(groups)[2:]


def _over_groups(node: ov.Node) -> bool:
    """Whether a reduction is one over the second axis, which it leaves out."""
    axes = node.input(1).get_source_output().get_node()
    if axes.get_type_name() != "Constant" or node.get_attributes()["keep_dims"]:
        return False
    return [int(axis) for axis in np.ravel(axes.data)] == [1]
