"""Joining graphs: one's outputs into another's inputs, new names, other types of input and output.

What nvinfer runs is made this way: the ordinary graphs with something in front and a cast behind, so that
what was proved of those holds there.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, compose, helper, version_converter

from gaitstream.errors import ExportError
from gaitstream.models.graphs.writer import IR_VERSION, OPSET, PRODUCER


def modern(pose: onnx.ModelProto) -> onnx.ModelProto:
    """The pose graph in our opset, for any batch."""
    version = next(entry.version for entry in pose.opset_import if entry.domain in ("", "ai.onnx"))
    pose = copy(pose)
    for node in pose.graph.node:
        # Old exporters wrote this attribute wrongly beside per-channel statistics, which say it all.
        for attribute in [
            a for a in node.attribute if node.op_type == "BatchNormalization" and a.name == "spatial"
        ]:
            node.attribute.remove(attribute)
    try:
        pose = pose if version == OPSET else version_converter.convert_version(pose, OPSET)
    except (RuntimeError, ValueError) as error:
        raise ExportError(
            f"the pose model is in opset {version} and cannot be brought to {OPSET} ({error}); export it anew"
        ) from error
    constants = {constant.name for constant in pose.graph.initializer}
    for info in [*(i for i in pose.graph.input if i.name not in constants), *pose.graph.output]:
        info.type.tensor_type.shape.dim[0].dim_param = "n"
    # Constants listed as inputs, as old exporters do, would become inputs of the whole.
    for info in [i for i in pose.graph.input if i.name in constants]:
        pose.graph.input.remove(info)
    del pose.graph.value_info[:]
    return pose


def chain(
    first: onnx.ModelProto,
    first_prefix: str,
    second: onnx.ModelProto,
    second_prefix: str,
    pairs: list[tuple[str, str]],
    keep: list[str] | None = None,
) -> onnx.ModelProto:
    """Feed one graph's outputs into another's inputs; names in `pairs` and `keep` have their first prefix."""
    if first_prefix:
        first = compose.add_prefix(first, first_prefix)
        pairs = [(first_prefix + a, b) for a, b in pairs]
    second = compose.add_prefix(second, second_prefix)
    # Domains of their own, such as that of the PGHA operator, are kept; both graphs must name the same ones.
    own = {entry.domain: entry.version for model in (first, second) for entry in model.opset_import}
    domains = {"": OPSET} | {domain: own[domain] for domain in own if domain not in ("", "ai.onnx")}
    for model in (first, second):
        model.ir_version = IR_VERSION
        del model.opset_import[:]
        model.opset_import.extend(helper.make_opsetid(*entry) for entry in domains.items())
        del model.metadata_props[:]
    outputs = [o.name for o in second.graph.output] + (keep or [])
    return compose.merge_models(
        first, second, io_map=[(a, second_prefix + b) for a, b in pairs], outputs=outputs
    )


def of_pixels(frame: onnx.ModelProto, crops: str, features: str, feature: str) -> onnx.ModelProto:
    """A frame graph that looks at crops alone for nvinfer, which gives floats in 0..255 and no second input.

    Args:
        frame: of either precision, its crops uint8.
        crops: name of its input.
        features: name of its output.
        feature: name of the output in its place, in half precision.
    """
    body = copy(frame)
    take_floats(body, crops)
    return sealed(half_output(body, features, feature))


def take_floats(model: onnx.ModelProto, name: str) -> None:
    """Let an input be float32, without the casts to it that there were; to half precision they stay."""
    input_of(model, name).type.tensor_type.elem_type = TensorProto.FLOAT
    for node in [node for node in model.graph.node if node.op_type == "Cast" and list(node.input) == [name]]:
        if helper.get_node_attr_value(node, "to") == TensorProto.FLOAT:
            model.graph.node.remove(node)
            redirect(model, node.output[0], name)


def half_output(model: onnx.ModelProto, old: str, new: str) -> onnx.ModelProto:
    """Replace a float32 output by its half-precision cast."""
    output = next(o for o in model.graph.output if o.name == old)
    shape = [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim]
    model.graph.output.remove(output)
    model.graph.node.append(helper.make_node("Cast", [old], [new], to=TensorProto.FLOAT16))
    model.graph.output.insert(0, helper.make_tensor_value_info(new, TensorProto.FLOAT16, shape))
    return model


def sealed(model: onnx.ModelProto, known: Sequence[onnx.ValueInfoProto] = ()) -> onnx.ModelProto:
    """The joined graph, checked, with inferred shapes.

    Args:
        model: is changed.
        known: types of values that cannot be inferred: those of operators of our own.

    Raises:
        ExportError: the graphs do not fit together.
    """
    model.producer_name = PRODUCER
    model.ir_version = IR_VERSION
    del model.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise ExportError(f"the graphs do not fit together: {error}") from error
    return model


def rename_input(model: onnx.ModelProto, old: str, new: str) -> None:
    """Give a graph input a new name, everywhere."""
    input_of(model, old).name = new
    redirect(model, old, new)


def redirect(model: onnx.ModelProto, old: str, new: str) -> None:
    """Make all nodes that read one value read another."""
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


def input_of(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    """The declaration of an input."""
    found: onnx.ValueInfoProto = next(info for info in model.graph.input if info.name == name)
    return found


def copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph of its own with the same content."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    return twin
