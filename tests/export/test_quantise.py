"""Quantised graphs: their integers, what they compute on each runtime, and layers put back."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from gaitstream.engines import open_engine
from gaitstream.engines.base import Batch, BuildRequest
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.opening import build_engine, graph_precision
from gaitstream.errors import EngineError, ExportError, MissingExtraError
from gaitstream.export.quantise import (
    Feeds,
    product_names,
    quantise,
    quantised_names,
    restore,
    weighted_names,
)
from gaitstream.export.sensitivity import keep_sensitive, work_shares
from gaitstream.models.graphs.writer import GraphWriter

pytest.importorskip("nncf", reason="needs the extra [int8]")

LAYERS = ("first", "second", "third")


def three_layers(outlier: float = 0.0) -> onnx.ModelProto:
    """`y [n, 8, 12, 12]`: three convolutions; an outlier widens the range of what the second one looks at."""
    rng = np.random.default_rng(3)
    g = GraphWriter("three")
    x = g.input("x", ["n", 3, 12, 12])
    for index, name in enumerate(LAYERS):
        weight = rng.normal(size=(8, 3 if index == 0 else 8, 3, 3)) / 5
        bias = np.zeros(8)
        if index == 0:
            bias[0] = outlier
        if index == 1:  # which the rest of the graph does not look at
            weight[:, 0] = 0
        x = g.op("Relu", g.tap(name, g.conv(x, weight, bias, pad=1)))
    g.output("y", x, ["n", 8, 12, 12])
    return g.model("test")


@pytest.fixture(scope="module")
def samples() -> list[dict[str, NDArray[np.float32]]]:
    rng = np.random.default_rng(4)
    return [{"x": rng.normal(size=(1, 3, 12, 12)).astype(np.float32)} for _ in range(8)]


def run(graph: Path, runtime: str, precision: str, feeds: Feeds) -> NDArray[np.float32]:
    with open_engine(graph, runtime, precision, cache=EngineCache(graph.parent / "cache")) as engine:
        return np.asarray(engine.infer(feeds)["y"], np.float32)


def error(found: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


def test_a_weight_behind_other_operators_is_a_weight(
    samples: list[dict[str, NDArray[np.float32]]], tmp_path: Path
) -> None:
    """Exporters give flat kernels their axis of time inside the graph."""
    rng = np.random.default_rng(5)
    g = GraphWriter("flat")
    x = g.input("x", ["n", 3, 12, 12])
    deep = g.op("Unsqueeze", x, g.constant(np.asarray([2], np.int64)))
    flat = g.constant(rng.normal(size=(8, 3, 3, 3)).astype(np.float32))
    kernel = g.op("Unsqueeze", flat, g.constant(np.asarray([2], np.int64)))
    y = g.op("Conv", deep, kernel, kernel_shape=[1, 3, 3], pads=[0, 1, 1, 0, 1, 1])
    g.output("y", y, ["n", 8, 1, 12, 12])
    plain = g.model("test")
    found = quantise(plain, samples)
    assert len(quantised_names(found)) == 1
    onnx.save(plain, tmp_path / "plain.onnx")
    onnx.save(found, tmp_path / "int8.onnx")
    expected = run(tmp_path / "plain.onnx", "onnxruntime", "fp32", samples[0])
    rounded = run(tmp_path / "int8.onnx", "onnxruntime", "int8", samples[0])
    assert 1e-4 < error(rounded, expected) < 0.05


def test_a_matrix_for_each_part_stays_as_it_is(samples: list[dict[str, NDArray[np.float32]]]) -> None:
    """Runtimes compute no such product in integers."""
    g = GraphWriter("parts")
    x = g.op("Conv", g.input("x", ["n", 3, 12, 12]), g.constant(np.ones((4, 3, 1, 1), np.float32)))
    rows = g.reshape(g.transpose(x, 2, 0, 1, 3), 12, -1, 48)
    g.output("y", g.op("MatMul", rows, g.constant(np.ones((12, 48, 5), np.float32))), [12, "n", 5])
    model = g.model("test")
    assert len(product_names(model)) == 2
    (conv,) = (node.name for node in model.graph.node if node.op_type == "Conv")
    assert weighted_names(model) == [conv]
    assert quantised_names(quantise(model, samples)) == [conv]


def test_every_integer_is_signed_and_symmetric(samples: list[dict[str, NDArray[np.float32]]]) -> None:
    original = three_layers()
    before = original.SerializeToString()
    found = quantise(original, samples)
    assert original.SerializeToString() == before
    constants = {tensor.name: tensor for tensor in found.graph.initializer}
    pairs = [node for node in found.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) >= 9  # activations and weights of three layers
    for node in pairs:
        zero = constants[node.input[2]]
        assert zero.data_type == TensorProto.INT8
        assert not numpy_helper.to_array(zero).any()
    assert len(quantised_names(found)) == 3
    scales = {np.size(numpy_helper.to_array(constants[node.input[1]])) for node in pairs}
    assert scales == {1, 8}  # activations as a whole, weights by channel


def test_the_same_graph_runs_on_every_runtime(
    samples: list[dict[str, NDArray[np.float32]]], tmp_path: Path
) -> None:
    plain, eight = tmp_path / "plain.onnx", tmp_path / "eight.onnx"
    onnx.save(three_layers(), plain)
    onnx.save(quantise(three_layers(), samples), eight)
    other = {"x": np.random.default_rng(9).normal(size=(4, 3, 12, 12)).astype(np.float32)}
    reference = run(plain, "openvino", "fp32", other)
    for runtime in ("openvino", "onnxruntime"):
        assert 1e-4 < error(run(eight, runtime, "int8", other), reference) < 0.05
    cache = EngineCache(tmp_path / "cache")
    proof = build_engine(BuildRequest(eight, "int8"), "openvino", cache=cache).built.proof
    assert proof.matrix_layers == {"int8": 3}
    assert proof.matrix_int8_share == 1
    assert "100% in int8" in proof.summary()
    assert (graph_precision(plain), graph_precision(eight)) == ("fp32", "int8")
    with pytest.raises(EngineError, match=r"in int8 and came out otherwise .*--precision int8"):
        build_engine(BuildRequest(plain, "int8"), "openvino", cache=cache)


def test_tensorrt_rtx_compiles_it(samples: list[dict[str, NDArray[np.float32]]], tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the extra [rtx]")
    eight = tmp_path / "eight.onnx"
    onnx.save(quantise(three_layers(), samples), eight)
    request = BuildRequest(eight, "int8", "sm_89", Batch(1, 4, 8))
    proof = build_engine(request, "tensorrt-rtx", cache=EngineCache(tmp_path / "cache")).built.proof
    assert proof.matrix_int8_share >= 0.5


def test_layers_put_back_compute_as_before(
    samples: list[dict[str, NDArray[np.float32]]], tmp_path: Path
) -> None:
    original = three_layers()
    found = quantise(original, samples)
    names = quantised_names(found)
    one = restore(found, original, names[:1])
    assert quantised_names(one) == names[1:]
    onnx.save(restore(found, original, names), tmp_path / "back.onnx")
    onnx.save(original, tmp_path / "plain.onnx")
    nodes = onnx.load(tmp_path / "back.onnx").graph.node
    assert not [node for node in nodes if node.op_type == "QuantizeLinear"]
    feeds = samples[0]
    # What is left is NNCF's correction of the biases, which makes up for rounding that is gone.
    back, plain = (run(tmp_path / f"{one}.onnx", "openvino", "fp32", feeds) for one in ("back", "plain"))
    assert error(back, plain) < 0.02


def test_the_layer_that_disturbs_is_found_and_kept(
    samples: list[dict[str, NDArray[np.float32]]], tmp_path: Path
) -> None:
    """One channel of 300 makes the steps of the others a hundred times as wide."""
    original = three_layers(outlier=300.0)
    plain = tmp_path / "plain.onnx"
    onnx.save(original, plain)
    reference = run(plain, "openvino", "fp32", samples[0])

    def noise(graph: onnx.ModelProto) -> float:
        path = tmp_path / "tried.onnx"
        onnx.save(graph, path)
        return error(run(path, "onnxruntime", "int8", samples[0]), reference)

    first, second, third = product_names(original)
    work = work_shares(original)
    assert sum(work.values()) == pytest.approx(1)
    assert work[first] == pytest.approx(3 / 19)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gaitstream.export.sensitivity.MOST_WORK", 0.5)
        patch.setattr("gaitstream.export.sensitivity.WORTH", 2.0)
        chosen = keep_sensitive(quantise(original, samples), original, noise)
    assert [layer.name for layer in chosen.kept] == [second]
    assert chosen.kept[0].gain > 0.8
    assert chosen.noise < chosen.noise_all / 3
    assert set(quantised_names(chosen.graph)) == {first, third}


def test_what_cannot_be_quantised_says_so(
    samples: list[dict[str, NDArray[np.float32]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    g = GraphWriter("sums")
    g.output("y", g.op("Relu", g.input("x", ["n", 3, 12, 12])), ["n", 3, 12, 12])
    with pytest.raises(ExportError, match="sums has no convolution or matrix product with weights"):
        quantise(g.model("test"), samples)
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r"nncf: pip install 'gaitstream\[int8\]'"):
        quantise(three_layers(), samples)


def test_products_that_share_what_is_split_are_put_back_together(tmp_path: Path) -> None:
    """What two layers look at is rounded before it is split for them; attention is not rounded."""
    rng = np.random.default_rng(6)
    g = GraphWriter("shared")
    x = g.op("Gelu", g.linear(g.input("x", ["n", 10, 16]), rng.normal(size=(16, 32)) / 4))
    parts = g.ops("Split", x, outputs=g.fresh("split", 2), axis=-1, num_outputs=2)
    q, k = (g.linear(part, rng.normal(size=(16, 16)) / 4) for part in parts)
    g.output("y", g.op("MatMul", q, g.transpose(k, 0, 2, 1)), ["n", 10, 10])
    original = g.model("test")
    feeds = [{"x": rng.normal(size=(1, 10, 16)).astype(np.float32)} for _ in range(4)]
    found = quantise(original, feeds)
    linear, left, right, _ = product_names(original)
    assert quantised_names(found) == [linear, left, right]
    back = restore(found, original, [left, right])
    onnx.checker.check_model(back)
    assert quantised_names(back) == [linear]
    onnx.save(restore(back, original, [linear]), tmp_path / "back.onnx")
    onnx.save(original, tmp_path / "plain.onnx")
    found_back = run(tmp_path / "back.onnx", "openvino", "fp32", feeds[0])
    expected = run(tmp_path / "plain.onnx", "openvino", "fp32", feeds[0])
    np.testing.assert_allclose(found_back, expected, rtol=1e-4, atol=1e-4)
