"""The custom ONNX operator that the TensorRT plugin implements: domain `gaitstream`, type `PGHA`.

It lets pose model, alignment and frame graph be one engine. TensorRT's parser finds the plugin by the
operator's type, `plugin_version` and `plugin_namespace`; the library registers it when it is opened
(`gaitstream.kernels.plugin_library.load`, `trtexec --staticPlugins=libgaitstream_plugins.so`, or
`custom-lib-path` of nvinfer). The portable form of the same arithmetic, in standard operators, is what
`gaitstream export` writes as `align.onnx`. Every output but `parts` is float32, `aligned` 1 or 0: TensorRT's
plugins cannot output booleans.
"""

from __future__ import annotations

from typing import Any

from gaitstream.errors import KernelError, MissingExtraError
from gaitstream.kernels.contract import (
    HEIGHT,
    NORMALIZATIONS,
    SAMPLINGS,
    WIDTH,
    AlignmentOptions,
    check_options,
)

DOMAIN = "gaitstream"
OPERATOR = "PGHA"
VERSION = 1
OUTPUTS = ("parts", "angle_deg", "aligned", "neck_xy", "hip_xy", "score")


def attributes(options: AlignmentOptions) -> dict[str, Any]:
    """The operator's attributes; names and numbers are those that plugin/pgha_plugin.cpp reads.

    Raises:
        KernelError: normalisation over tracklets, which one pass over a batch cannot do.
    """
    if options.normalization == "tracklet":
        raise KernelError("the PGHA operator offers normalization 'fixed' and 'none', not 'tracklet'")
    return {
        "groups": [channel for group in options.groups for channel in group],
        "group_sizes": [len(group) for group in options.groups],
        "gamma_deg": float(options.gamma_deg),
        "target_xy": [float(value) for value in options.target_xy],
        "align_small": int(options.small_angle == "align"),
        "normalization": NORMALIZATIONS[options.normalization],
        "sampling": SAMPLINGS[options.sampling],
        "plugin_version": str(VERSION),
        "plugin_namespace": DOMAIN,
    }


def write_operator(
    options: AlignmentOptions, *, channels: int = 17, keypoints: bool = True, half: bool = False
) -> Any:
    """An ONNX model of the one operator, to be merged behind a pose model with `onnx.compose`.

    Args:
        options: how frames are aligned.
        channels: heatmaps per frame.
        keypoints: whether joints are an input `[n, 17, 3]`; else they are found in the maps.
        half: heatmaps and parts in float16.

    Returns:
        An `onnx.ModelProto` with outputs `parts`, `angle_deg`, `aligned`, `neck_xy`, `hip_xy`, `score`.

    Raises:
        KernelError: an option is out of range.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError as error:
        raise MissingExtraError("onnx", "export", "Writing the PGHA operator") from error
    check_options(options, channels)
    maps_type = TensorProto.FLOAT16 if half else TensorProto.FLOAT

    def value(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    inputs = [value("heatmaps", maps_type, "n", channels, HEIGHT, WIDTH)]
    if keypoints:
        inputs.append(value("keypoints", TensorProto.FLOAT, "n", 17, 3))
    outputs = [
        value("parts", maps_type, "n", 1 + len(options.groups), HEIGHT, WIDTH),
        value("angle_deg", TensorProto.FLOAT, "n"),
        value("aligned", TensorProto.FLOAT, "n"),
        value("neck_xy", TensorProto.FLOAT, "n", 2),
        value("hip_xy", TensorProto.FLOAT, "n", 2),
        value("score", TensorProto.FLOAT, "n"),
    ]
    node = helper.make_node(
        OPERATOR, [one.name for one in inputs], list(OUTPUTS), domain=DOMAIN, **attributes(options)
    )
    graph = helper.make_graph([node], "pgha", inputs, outputs)
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, VERSION)],
        ir_version=9,
        producer_name="gaitstream",
    )
