"""Graphs whose weights lie in files of their own: all files count, for bundles and for the engine cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from gaitstream.engines import open_engine
from gaitstream.engines.cache import EngineCache, file_sha256
from gaitstream.engines.graph_files import external_files, graph_sha256
from gaitstream.errors import BundleError, EngineError
from gaitstream.models.bundle import Bundle, write_manifest
from tests.models.test_bundle import root  # noqa: F401 - a fixture


def write(path: Path, scale: float = 2.0, *, external: bool = True, location: str = "weights.bin") -> Path:
    """y = scale * x; a second weight hides in the branch of an If."""
    weight = numpy_helper.from_array(np.full(4096, scale, np.float32), "w")
    hidden = numpy_helper.from_array(np.full(4096, 3.0, np.float32), "h")
    value = helper.make_tensor_value_info
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=hidden)],
        "b",
        [],
        [value("c", TensorProto.FLOAT, [4096])],
    )
    nodes = [
        helper.make_node("If", ["on"], ["z"], then_branch=branch, else_branch=branch),
        helper.make_node("Mul", ["x", "w"], ["m"]),
        helper.make_node("Add", ["m", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, [1, 4096])], [value("y", TensorProto.FLOAT, [1, 4096])],
        [weight, numpy_helper.from_array(np.array(True), "on")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(
        model, str(path), save_as_external_data=external, location=location, size_threshold=1024,
        convert_attribute=True,
    )  # fmt: skip
    return path


def test_names_are_found_wherever_they_stand(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx")
    assert external_files(path) == ["weights.bin"]
    model = onnx.load(str(path), load_external_data=False)
    inner = model.graph.node[0].attribute[0].g.node[0].attribute[0].t
    inner.external_data[0].value = "other.bin"
    onnx.save(model, str(tmp_path / "b.onnx"))
    assert external_files(tmp_path / "b.onnx") == ["other.bin", "weights.bin"]
    assert external_files(write(tmp_path / "c.onnx", external=False)) == []
    assert graph_sha256(tmp_path / "c.onnx") == file_sha256(tmp_path / "c.onnx")


def test_other_weights_are_another_graph(tmp_path: Path) -> None:
    path = write(tmp_path / "a.onnx")
    before = graph_sha256(path)
    weights = tmp_path / "weights.bin"
    weights.write_bytes(bytes(weights.stat().st_size))
    assert graph_sha256(path) != before
    weights.unlink()
    with pytest.raises(EngineError, match=r"weights\.bin.* missing"):
        graph_sha256(path)
    model = onnx.load(str(path), load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../../secret"
    onnx.save(model, str(path))
    with pytest.raises(EngineError, match="outside its folder"):
        graph_sha256(path)


def test_an_engine_is_not_taken_for_other_weights(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    x = np.ones((1, 4096), np.float32)
    for scale in (2.0, 5.0):
        graph = write(tmp_path / "a.onnx", scale)
        with open_engine(graph, "openvino", precision="fp32", cache=cache) as engine:
            assert engine.infer({"x": x})["y"][0, 0] == scale + 3.0


def test_a_bundle_whose_weights_were_zeroed_is_refused(root: Path) -> None:  # noqa: F811
    write(root / "frame.onnx")
    write_manifest(Bundle.open(root, verify=False).manifest, root)
    Bundle.open(root)
    weights = root / "weights.bin"
    weights.write_bytes(bytes(weights.stat().st_size))
    with pytest.raises(BundleError, match="changed after export"):
        Bundle.open(root)
    weights.unlink()
    with pytest.raises(BundleError, match="missing"):
        Bundle.open(root)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_any_bytes_have_a_hash(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    try:
        assert len(graph_sha256(path)) == 64
    except EngineError as error:
        assert "takes weights from" in str(error)  # noqa: PT017


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_weights_that_are_missing_are_named_when_a_graph_is_opened(tmp_path: Path, runtime: str) -> None:
    path = write(tmp_path / "a.onnx")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(EngineError, match=r"takes weights from 'weights\.bin', which is missing; copy it"):
        open_engine(path, runtime)
