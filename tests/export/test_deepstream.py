"""The graphs for nvinfer against the ordinary frame graphs, and as engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gaitstream.deepstream.plan import feature_layer
from gaitstream.engines import open_engine
from gaitstream.engines.base import Batch, BuildRequest
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.opening import build_engine
from gaitstream.errors import EngineError, ExportError, MissingExtraError
from gaitstream.export.api import ExportOptions, export_bundle
from gaitstream.kernels import onnx_op
from gaitstream.kernels.alignment import align
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.models.biggait import nvinfer as biggait_nvinfer
from gaitstream.models.biggait.padding import find_ratios
from gaitstream.models.biggergait.module import BiggerGait
from gaitstream.models.biggergait.trained import wrap as wrap_biggergait
from gaitstream.models.bundle import Bundle
from gaitstream.models.gaitheat import nvinfer as gaitheat_nvinfer
from gaitstream.models.gaitheat.alignment import write_align
from gaitstream.models.graphs.halve import halve
from gaitstream.models.graphs.splice import chain, modern
from gaitstream.models.graphs.walkers import draw_crop
from gaitstream.models.graphs.weights import seeded
from gaitstream.models.graphs.writer import GraphWriter
from gaitstream.models.pose import PoseContract, keypoints
from gaitstream.models.resolve import resolve
from gaitstream.models.spec import find_family

Run = Callable[..., list[NDArray[Any]]]


def run(model: onnx.ModelProto | Path, **feeds: NDArray[Any]) -> list[NDArray[Any]]:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)  # type: ignore[no-any-return]


def relative(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b.astype(np.float64)))


def pose_model(opset: int = 13) -> onnx.ModelProto:
    """A small untrained top-down network with the shapes of a real one."""
    rng = np.random.default_rng(1)
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.15, (8, 3, 4, 4)).astype(np.float32), "w1"),
        numpy_helper.from_array(rng.normal(0, 0.4, (17, 8, 3, 3)).astype(np.float32), "w2"),
    ]
    nodes = [
        helper.make_node("Conv", ["data", "w1"], ["a"], strides=[4, 4], kernel_shape=[4, 4]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["heat"], pads=[1] * 4, kernel_shape=[3, 3]),
    ]
    shapes = [("data", [1, 3, 256, 192]), ("heat", [1, 17, 64, 48])]
    source, result = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes)
    graph = helper.make_graph(nodes, "pose", [source], [result], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("width", [1, 2, 40, 63, 64, 77, 99, 126, 127, 128])
def test_the_width_is_read_from_the_padding(width: int) -> None:
    g = GraphWriter("widths")
    g.output("ratios", find_ratios(g, g.input("crops", ["n", 3, 256, 128])), ["n"])
    crops = np.zeros((3, 3, 256, 128), np.float32)
    left = (128 - width) // 2
    crops[0, 1, 30:200, left : left + width] = 1.0
    # Dark columns at the right edge of the person: the left margin tells.
    crops[1] = crops[0]
    crops[1, :, :, left + width - max(width // 4, 0) : left + width] = 0
    [ratios] = run(g.model("test"), crops=crops)
    assert int(np.float32(256) * ratios[0]) == width
    assert int(np.float32(64) * ratios[0]) == int(64 * width / 256)
    if width >= 12:
        assert abs(int(np.float32(256) * ratios[1]) - width) <= 1
    assert 0 < ratios[2] < 1 / 64  # all black: nobody, and no NaN


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_biggait_equals_its_frame_graph(biggait_bundle: Bundle, precision: Any) -> None:
    rng = np.random.default_rng(3)
    ratios = np.array([0.31, 0.43, 0.501, 0.62], np.float32)
    crops = np.stack([draw_crop(i, 0.7 * i, float(r), rng) for i, r in enumerate(ratios)])
    frame = biggait_bundle.graph("frame", precision)
    graph = biggait_nvinfer.write(onnx.load(frame))
    [found] = run(graph, crops=crops.astype(np.float32))
    [expected] = run(frame, crops=crops, ratios=ratios)
    assert found.dtype == np.float16
    assert [i.name for i in graph.graph.input] == ["crops"]
    assert relative(found, expected) < 1e-3


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_gaitheat_equals_pose_alignment_and_frame_graph(gaitheat_bundle: Bundle, colour: Any) -> None:
    crops = np.random.default_rng(4).integers(0, 256, (3, 3, 256, 192), np.uint8)
    contract = PoseContract(graph="pose.onnx", colour=colour)
    ahead = gaitheat_bundle.graph("align", "fp32")
    frame = gaitheat_bundle.graph("frame", "fp32")
    graph = gaitheat_nvinfer.write(pose_model(), contract, onnx.load(ahead), onnx.load(frame))
    feature, points = run(graph, crops=crops.astype(np.float32))
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (contract.mean, contract.std))
    pixels = (crops[:, ::-1] if colour == "bgr" else crops) / np.float32(255)
    heat = np.concatenate(
        [run(pose_model(), data=((p - mean) / std)[None].astype(np.float32))[0] for p in pixels]
    )
    expected_points = keypoints(heat)
    [parts] = run(ahead, heatmaps=heat, keypoints=expected_points)
    [expected] = run(frame, parts=parts)
    np.testing.assert_allclose(points, expected_points, atol=1e-3)
    assert feature.dtype == np.float16
    assert relative(feature, expected) < 1e-3


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("small_angle", ["identity", "align"])
def test_the_plugins_operator_stands_for_the_standard_ones(
    gaitheat_bundle: Bundle, half: bool, small_angle: Any, tmp_path: Path
) -> None:
    """Both graphs give the same features; the operator is computed by its kernel's CPU build."""
    crops = np.random.default_rng(6).integers(0, 256, (4, 3, 256, 192), np.uint8).astype(np.float32)
    contract = PoseContract(graph="pose.onnx")
    frame = onnx.load(gaitheat_bundle.graph("frame", "fp16" if half else "fp32"))
    contract_of = gaitheat_bundle.manifest.alignment
    assert contract_of is not None
    options = AlignmentOptions(contract_of.groups, 5.0, small_angle)
    standard = write_align(contract_of.groups, gamma_deg=5.0, small_angle=small_angle, normalization="fixed")
    plain, by_plugin = (
        gaitheat_nvinfer.write(pose_model(), contract, align, frame, half=half)
        for align in (standard, onnx_op.write_operator(options))
    )
    for graph in (plain, by_plugin):
        assert [value.name for value in graph.graph.output] == ["gaitheat_feature", "gaitheat_keypoints"]
    assert [node.op_type for node in by_plugin.graph.node if node.domain == onnx_op.DOMAIN] == ["PGHA"]
    assert len(by_plugin.graph.node) < len(plain.graph.node) - 50
    path = tmp_path / "by_plugin.onnx"
    onnx.save(by_plugin, path)
    maps, joints = gaitheat_nvinfer.operator_inputs(path)
    front = onnx.utils.Extractor(by_plugin).extract_model(["crops"], [maps, joints])
    back = onnx.utils.Extractor(by_plugin).extract_model([gaitheat_nvinfer.PARTS], ["gaitheat_feature"])
    heat, points = run(front, crops=crops)
    aligned = align(heat, points, groups=contract_of.groups, small_angle=small_angle)
    [found] = run(back, **{gaitheat_nvinfer.PARTS: aligned.parts})
    expected, expected_points = run(plain, crops=crops)
    np.testing.assert_array_equal(points, expected_points)
    assert found.dtype == np.float16
    assert relative(found, expected) < 1e-3


@pytest.mark.slow
def test_an_export_for_deepstream_proves_both_graphs(gaitheat_checkpoint: Path, tmp_path: Path) -> None:
    pose = resolve("demo", "pose")
    options = ExportOptions(precisions=("fp32",), deepstream=True)
    done = export_bundle("gaitheat", gaitheat_checkpoint, tmp_path / "out", options=options, pose=pose)
    graphs = done.bundle.manifest.graphs["fp32"]
    assert (graphs.deepstream, graphs.deepstream_plugin) == ("deepstream.onnx", "deepstream_plugin.onnx")
    rows = {(row.output, row.runtime): row for row in done.report.rows if row.precision == "fp32"}
    for runtime in ("openvino", "onnxruntime"):
        for output in ("deepstream", "deepstream_plugin"):
            assert rows[output, runtime].verdict == "pass"


def test_a_traced_model_on_crops_alone_is_for_deepstream_too(tmp_path: Path) -> None:
    module = BiggerGait(64, 2, heads=2, hidden=16, channels=(8, 8, 16, 16), embedding=8)
    trained = wrap_biggergait(seeded(module, 3))
    case, features = trained.nvinfer_case(), trained.case().features["features"]
    assert case.output == feature_layer("biggergait")
    for half, limit in ((False, case.limits["fp32"]), (True, 5e-2)):
        graphs = trained.graphs(half=half)
        onnx.save(trained.for_nvinfer(graphs, half=half), tmp_path / "deepstream.onnx")
        [found] = run(tmp_path / "deepstream.onnx", crops=case.crops)
        assert found.dtype == np.float16
        assert relative(found, features) < limit
        if not half:
            with open_engine(tmp_path / "deepstream.onnx", "openvino", "fp32") as engine:
                assert relative(engine.infer({"crops": case.crops})[case.output], features) < limit
    with pytest.raises(ExportError, match="gaitset has no graph for DeepStream"):
        find_family("gaitset").random(1).for_nvinfer({}, half=False)


def test_keypoints_on_borders_and_plateaus() -> None:
    heat = np.random.default_rng(5).normal(0, 1, (4, 17, 64, 48)).astype(np.float32)
    heat[0, 0, 0, 0] = heat[0, 1, 63, 47] = heat[0, 2, 0, 47] = heat[0, 3, 30, 0] = 9
    heat[1] = 0.25
    [points] = run(gaitheat_nvinfer._joints(), heatmaps=heat)
    np.testing.assert_array_equal(points, keypoints(heat))


def test_half_precision_keeps_what_must_be_precise() -> None:
    g = GraphWriter("small")
    x = g.input("x", ["n", 8])
    g.output("y", g.op("Softmax", g.linear(x, np.eye(8) * 300), axis=-1), ["n", 8])
    half = halve(g.model("test"))
    values = np.linspace(-1, 1, 8, dtype=np.float32)[None]
    [y], [expected] = run(half, x=values), run(g.model("test"), x=values)
    np.testing.assert_allclose(y, expected, atol=1e-3)
    assert {t.data_type for t in half.graph.initializer} == {TensorProto.FLOAT16}


def test_half_precision_keeps_powers_until_they_are_taken_back() -> None:
    """A generalised mean (GaitGL): its powers of 0.03 and of 8 fit into float32 alone."""
    g = GraphWriter("gem")
    x = g.input("x", ["n", 8])
    power = g.op("Pow", x, g.constant(np.float32(6.5)))
    mean = g.op("ReduceMean", power, g.constant(np.array([1], np.int64)), keepdims=1)
    g.output("y", g.op("Pow", mean, g.constant(np.float32(1 / 6.5))), ["n", 1])
    half = halve(g.model("test"))
    values = np.outer([0.03, 1, 8], np.linspace(0.2, 1, 8)).astype(np.float32)
    [y], [expected] = run(half, x=values), run(g.model("test"), x=values)
    np.testing.assert_allclose(y, expected, rtol=3e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["biggait", "gaitheat"])
def test_both_compile_as_half_precision_engines(
    kind: str, biggait_bundle: Bundle, gaitheat_bundle: Bundle, tmp_path: Path
) -> None:
    if kind == "biggait":
        graph = biggait_nvinfer.write(onnx.load(biggait_bundle.graph("frame", "fp16")))
    else:
        frame, ahead = gaitheat_bundle.graph("frame", "fp16"), gaitheat_bundle.graph("align", "fp16")
        contract = PoseContract(graph="pose.onnx")
        graph = gaitheat_nvinfer.write(pose_model(), contract, onnx.load(ahead), onnx.load(frame), half=True)
    path = tmp_path / f"{kind}.onnx"
    onnx.save(graph, path)
    request = BuildRequest(path, "fp16", "sm_89", Batch(1, 8, 16))
    try:
        found = build_engine(request, "tensorrt-rtx", cache=EngineCache(tmp_path / "cache"))
    except (MissingExtraError, EngineError) as error:
        if "compile for" in str(error) or isinstance(error, MissingExtraError):
            pytest.skip(str(error))
        raise
    assert found.built.blob is not None
    share = found.built.proof.matrix_half_share
    assert share is not None
    assert share > 0.9


def test_chaining_keeps_the_domains_of_our_own_operators() -> None:
    """TensorRT's parser finds plugins by domain, and nodes of a domain nobody imports are no valid graph."""
    options = AlignmentOptions((tuple(range(11)), tuple(range(11, 17))))
    aligned = onnx_op.write_operator(options)
    tail = GraphWriter("tail")
    tail.output("doubled", tail.op("Add", tail.input("x", ["n", 3, 64, 48]), "x"), ["n", 3, 64, 48])
    chained = chain(aligned, "align/", tail.model("test"), "tail/", [("parts", "x")])
    assert {entry.domain: entry.version for entry in chained.opset_import}["gaitstream"] == onnx_op.VERSION
    assert [node.domain for node in chained.graph.node if node.op_type == "PGHA"] == ["gaitstream"]
    onnx.checker.check_model(chained)


def test_an_old_graph_that_cannot_be_brought_up_says_so() -> None:
    model = pose_model()
    model.graph.node[1].op_type = "ATen"
    with pytest.raises(ExportError, match="opset 13"):
        modern(model)
