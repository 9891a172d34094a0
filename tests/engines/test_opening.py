"""Every runtime of this machine opens a graph and computes the same numbers."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gaitstream.engines import Batch, Pixels, open_engine
from gaitstream.engines.base import Probe
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.opening import mean_width, settle_precision
from gaitstream.errors import EngineError, MissingExtraError
from tests.engines.small_graphs import small_graph, small_reference

TOLERANCES = [
    ("openvino", "fp32", 1e-5),
    ("openvino", "bf16", 2e-2),
    ("onnxruntime", "fp32", 1e-5),
    ("auto", "auto", 1e-5),
]


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def skip_unless_native(precision: str) -> None:
    import openvino

    if precision == "bf16" and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")


@pytest.mark.parametrize(("runtime", "precision", "tolerance"), TOLERANCES)
def test_computes_the_graph(
    runtime: str, precision: str, tolerance: float, graph: Path, cache: EngineCache, images: np.ndarray
) -> None:
    skip_unless_native(precision)
    with open_engine(graph, runtime, precision, threads=1, cache=cache) as engine:
        features = engine.infer({"images": images})["features"]
        assert engine.inputs["images"].shape == (-1, 3, 16, 16)
        assert engine.inputs["images"].dtype == "uint8"
        assert engine.outputs["features"].shape == (-1, 8)
    assert features.dtype == np.float32
    assert relative(features, small_reference(images)) < tolerance


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_many_inferences_under_way_keep_their_own_results(
    runtime: str, graph: Path, cache: EngineCache, images: np.ndarray
) -> None:
    with open_engine(graph, runtime, "fp32", cache=cache) as engine:
        # More than there are slots, and read back in another order: nothing blocks, nothing mixes.
        pending = [engine.submit({"images": images[i % 5 : i % 5 + 1]}) for i in range(12)]
        results = {i: pending[i].result()["features"] for i in reversed(range(12))}
        again = pending[3].result()["features"]
    wanted = small_reference(images)
    for i, found in results.items():
        assert relative(found, wanted[i % 5 : i % 5 + 1]) < 1e-5
    np.testing.assert_array_equal(again, results[3])


def test_threads_share_an_engine(graph: Path, cache: EngineCache, images: np.ndarray) -> None:
    wanted = small_reference(images)
    worst: list[float] = []
    with open_engine(graph, "openvino", "fp32", cache=cache) as engine:

        def work(index: int) -> None:
            for _ in range(20):
                found = engine.infer({"images": images[index : index + 1]})["features"]
                worst.append(relative(found, wanted[index : index + 1]))

        workers = [threading.Thread(target=work, args=(index,)) for index in range(5)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert len(worst) == 100
    assert max(worst) < 1e-5


def test_dropped_inference_does_not_hold_its_slot(
    graph: Path, cache: EngineCache, images: np.ndarray
) -> None:
    with open_engine(graph, "openvino", "fp32", cache=cache) as engine:
        for _ in range(8):
            engine.submit({"images": images})
        assert relative(engine.infer({"images": images})["features"], small_reference(images)) < 1e-5


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("feeds", "says"),
    [
        ({"images": np.zeros((1, 3, 16, 16), np.float32)}, r"takes uint8 \[-1, 3, 16, 16\], got float32"),
        ({"images": np.zeros((1, 3, 16, 17), np.uint8)}, r"got uint8 \[1, 3, 16, 17\]"),
        ({"pictures": np.zeros((1, 3, 16, 16), np.uint8)}, r"takes inputs \['images'\], got \['pictures'\]"),
    ],
)
def test_wrong_feeds_are_named(
    runtime: str, feeds: dict[str, np.ndarray], says: str, graph: Path, cache: EngineCache
) -> None:
    with open_engine(graph, runtime, "fp32", cache=cache) as engine, pytest.raises(EngineError, match=says):
        engine.infer(feeds)


def long_window(path: Path, least: int) -> Path:
    """`late [n, 1, 1] = the frame at least - 1 of clip [n, 1, frames]`; shorter clips cannot be run."""
    ends = [
        numpy_helper.from_array(np.array([at], np.int64), name)
        for name, at in (("a", least - 1), ("z", least))
    ]
    bounds = [*ends, numpy_helper.from_array(np.array([2], np.int64), "axis")]
    bounds.append(numpy_helper.from_array(np.array([0, 1, 1], np.int64), "shape"))
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["clip", "a", "z", "axis"], ["cut"]),
            helper.make_node("Reshape", ["cut", "shape"], ["late"]),
        ],
        "late",
        [helper.make_tensor_value_info("clip", TensorProto.FLOAT, ["n", 1, "frames"])],
        [helper.make_tensor_value_info("late", TensorProto.FLOAT, ["n", 1, 1])],
        bounds,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_graphs_of_the_longest_chunks_are_opened(runtime: str, tmp_path: Path, cache: EngineCache) -> None:
    """A chunk has up to 15 frames at least, and cannot be run with fewer."""
    clip = np.arange(40, dtype=np.float32).reshape(2, 1, 20)
    with open_engine(long_window(tmp_path / "chunk.onnx", 15), runtime, "fp32", cache=cache) as engine:
        assert engine.infer({"clip": clip})["late"].ravel().tolist() == [14.0, 34.0]


def test_a_graph_that_cannot_be_run_is_named(tmp_path: Path, cache: EngineCache) -> None:
    path = long_window(tmp_path / "chunk.onnx", 99)
    with pytest.raises(EngineError, match=r"onnxruntime cannot run .*chunk\.onnx"):
        open_engine(path, "onnxruntime", "fp32", cache=cache)


def test_batch_one_graph_is_opened_for_batches(
    tmp_path: Path, cache: EngineCache, images: np.ndarray
) -> None:
    graph = small_graph(tmp_path / "one.onnx", batch=1)
    with (
        open_engine(graph, "openvino", "fp32", cache=cache) as fixed,
        pytest.raises(EngineError, match=r"\[1, 3, 16, 16\], got uint8 \[5"),
    ):
        fixed.infer({"images": images})
    with open_engine(graph, "openvino", "fp32", free_batch=True, cache=cache) as engine:
        assert relative(engine.infer({"images": images})["features"], small_reference(images)) < 1e-5


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("swap", [False, True])
def test_bytes_become_floats_inside_the_engine(
    interleaved: bool, swap: bool, tmp_path: Path, cache: EngineCache
) -> None:
    """The graph gives its input back, and is fed pictures in every order."""
    info = onnx.helper.make_tensor_value_info
    shape: list[str | int | None] = ["n", 3, 8, 6]
    node = onnx.helper.make_node("Relu", ["data"], ["kept"])
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph([node], "keep", [info("data", kind, shape)], [info("kept", kind, shape)])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "keep.onnx")
    pixels = Pixels(255.0, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), interleaved, swap)
    planes = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 6), dtype=np.uint8)
    mean, std = (np.array(values)[:, None, None] for values in (pixels.mean, pixels.std))
    wanted = np.maximum(((planes[:, ::-1] if swap else planes) / 255 - mean) / std, 0)
    with open_engine(
        tmp_path / "keep.onnx", "openvino", "fp32", threads=1, pixels=pixels, cache=cache
    ) as engine:
        assert engine.inputs["data"].dtype == "uint8"
        feed = np.ascontiguousarray(planes.transpose(0, 2, 3, 1)) if interleaved else planes
        np.testing.assert_allclose(engine.infer({"data": feed})["kept"], wanted, atol=1e-6)
    with open_engine(tmp_path / "keep.onnx", "onnxruntime", "fp32", pixels=pixels, cache=cache) as engine:
        assert engine.inputs["data"].dtype == "float32"


def test_closed_engine_says_so(graph: Path, cache: EngineCache, images: np.ndarray) -> None:
    for runtime in ("openvino", "onnxruntime"):
        engine = open_engine(graph, runtime, "fp32", cache=cache)
        engine.close()
        engine.close()
        with pytest.raises(EngineError, match="closed"):
            engine.infer({"images": images})


def test_half_graph_runs_in_fp32_where_the_device_has_no_half(
    half_graph: Path, cache: EngineCache, images: np.ndarray
) -> None:
    with open_engine(half_graph, "openvino", cache=cache) as engine:
        assert engine.precision in ("fp32", "fp16")
        assert relative(engine.infer({"images": images})["features"], small_reference(images)) < 3e-3


@pytest.mark.parametrize(
    ("runtime", "precision", "says"),
    [
        ("tensorflow", "fp32", "no runtime 'tensorflow': use auto, tensorrt"),
        ("openvino", "int4", "no precision 'int4': use auto, fp32"),
        ("onnxruntime", "bf16", "no bf16"),
    ],
)
def test_unknown_names(runtime: str, precision: str, says: str, graph: Path, cache: EngineCache) -> None:
    with pytest.raises(EngineError, match=says):
        open_engine(graph, runtime, precision, cache=cache)


def test_fp16_is_refused_where_openvino_would_quietly_take_something_else(
    half_graph: Path, cache: EngineCache
) -> None:
    import openvino

    if "FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU computes fp16")
    with pytest.raises(EngineError, match="does not compute fp16 natively"):
        open_engine(half_graph, "openvino", "fp16", cache=cache)


def test_missing_and_broken_files(tmp_path: Path, cache: EngineCache) -> None:
    with pytest.raises(EngineError, match="there is no graph"):
        open_engine(tmp_path / "nothing.onnx", cache=cache)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a graph at all")
    for runtime in ("openvino", "onnxruntime"):
        with pytest.raises(EngineError, match=r"broken\.onnx"):
            open_engine(broken, runtime, "fp32", cache=cache)
    with pytest.raises(EngineError, match=r"broken\.onnx"):
        open_engine(broken, cache=cache)


def test_missing_extra_names_the_command(
    graph: Path, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for module, runtime, extra in [
        ("onnxruntime", "onnxruntime", "ort"),
        ("tensorrt_rtx", "tensorrt-rtx", "rtx"),
        ("tensorrt", "tensorrt", "gpu"),
    ]:
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.setitem(sys.modules, "tensorrt_bindings", None)
        with pytest.raises(MissingExtraError, match=rf"pip install 'gaitstream\[{extra}\]'"):
            open_engine(graph, runtime, cache=cache)


def test_batch_is_read_and_checked() -> None:
    assert Batch.parse("1,8,32") == Batch(1, 8, 32)
    assert Batch.parse("4") == Batch(4, 4, 4)
    for text in ("1,2", "a,b,c", "", "1,2,3,4"):
        with pytest.raises(EngineError, match="MIN,OPT,MAX"):
            Batch.parse(text)
    with pytest.raises(EngineError, match="1 <= MIN <= OPT <= MAX"):
        Batch.parse("4,2,8")
    with pytest.raises(EngineError, match=r"1,2,99999999999 is not usable: .* at most 65536"):
        Batch.parse("1,2,99999999999")


def test_auto_takes_bf16_only_where_it_is_proven_and_native(graph: Path) -> None:
    able, unable = (
        Probe("1.0", "cpu", "a CPU", accelerator=False, precisions=precisions)
        for precisions in (("fp32", "bf16"), ("fp32",))
    )
    assert settle_precision(graph, "auto", able) == "fp32"
    assert settle_precision(graph, "auto", able, ("bf16",)) == "bf16"
    assert settle_precision(graph, "auto", unable, ("bf16",)) == "fp32"
    assert settle_precision(graph, "fp32", able, ("bf16",)) == "fp32"


@pytest.mark.parametrize(("channels", "with_tiles"), [(64, "bf16"), (256, "int8")])
def test_int8_is_taken_where_it_is_faster(channels: int, with_tiles: str, tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((8, channels, 1, 1), np.float32), "w")
    sizes: dict[str, list[str | int | None]] = {"x": ["n", channels, 4, 4], "y": ["n", 8, 4, 4]}
    floats = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes[name]) for name in sizes}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    path = tmp_path / "wide.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [floats["x"]], [floats["y"]], [weights])), path)
    assert mean_width(path) == channels
    plain = Probe("1.0", "cpu", "a CPU", accelerator=False, precisions=("fp32", "bf16", "int8"))
    tiles = replace(plain, has_tiles=True)
    proven = ("bf16", "int8")
    assert settle_precision(path, "auto", plain, proven) == "int8"
    assert settle_precision(path, "auto", tiles, proven) == with_tiles
    assert settle_precision(path, "auto", tiles, ("int8",)) == "int8"
