"""Pose models that end in bins of both axes, or find more joints than COCO's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.cli import main
from gaitstream.data import Floats
from gaitstream.engines.cache import EngineCache, file_sha256
from gaitstream.engines.graph_files import output_shapes
from gaitstream.errors import ConfigError, EngineError
from gaitstream.models.pose import PoseModel, keypoints, read_contract
from gaitstream.models.pose_outputs import JOINTS
from gaitstream.models.resolve import quantised_beside

onnx = pytest.importorskip("onnx", reason="making graphs needs the extra [export]")

SIGMAS = (4.9, 5.66)
"""Of RTMPose's labels, in bins across and down."""
PLAIN = "mean: [0, 0, 0]\nstd: [1, 1, 1]\nscale: 255\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, compiled_kernels: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kernels").symlink_to(compiled_kernels)
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "cache"))
    return EngineCache(tmp_path / "cache" / "engines")


def bins_graph(
    path: Path,
    *,
    joints: int = JOINTS,
    bins: tuple[int, int] = (384, 512),
    opset: int = 11,
    named: bool = True,
    swapped: bool = False,
    batch: int | str = "n",
) -> Path:
    """A graph that gives back the bins that `told` writes into a crop, joint by joint.

    Red holds those across, green those down, as many as they are; the rest of the crop is not read.
    """
    across, down = bins
    info, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    numbers = {
        "zero": [0], "one": [1], "two": [2], "axis": [1], "flat": [0, 1, 256 * 192],
        "across": [0, joints, across], "down": [0, joints, down],
        "end_x": [joints * across], "end_y": [joints * down], "last": [2],
    }  # fmt: skip
    nodes = [
        node("Slice", ["pixels", "zero", "one", "axis"], ["red"]),
        node("Slice", ["pixels", "one", "two", "axis"], ["green"]),
        node("Reshape", ["red", "flat"], ["reds"]),
        node("Reshape", ["green", "flat"], ["greens"]),
        node("Slice", ["reds", "zero", "end_x", "last"], ["bins_x"]),
        node("Slice", ["greens", "zero", "end_y", "last"], ["bins_y"]),
        node("Reshape", ["bins_x", "across"], ["simcc_x"]),
        node("Reshape", ["bins_y", "down"], ["simcc_y"]),
    ]
    shapes: list[Any] = [[batch, joints, across], [batch, joints, down]] if named else [None, None]
    outputs = [
        info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in zip(("simcc_x", "simcc_y"), shapes, strict=True)
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "bins",
        [info("pixels", onnx.TensorProto.FLOAT, [batch, 3, 256, 192])],
        outputs[::-1] if swapped else outputs,
        [onnx.numpy_helper.from_array(np.array(values, np.int64), name) for name, values in numbers.items()],
    )
    opsets = [onnx.helper.make_opsetid("", opset)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    path.with_suffix(".yaml").write_text(f"graph: {path.name}\n{PLAIN}")
    return path


def labels(centres: NDArray[Any], bins: tuple[int, int]) -> tuple[Floats, Floats]:
    """What RTMPose is trained to give for joints at `[joints, 2]` bins: bells of height 1."""
    return tuple(
        np.exp(-0.5 * ((np.arange(count) - centres[:, axis, None]) / SIGMAS[axis]) ** 2).astype(np.float32)
        for axis, count in enumerate(bins)
    )


def told(across: Floats, down: Floats) -> NDArray[np.uint8]:
    """A crop in 0..255, `[1, 3, 256, 192]`, that makes `bins_graph` give these."""
    crop = np.zeros((3, 256 * 192))
    crop[0, : across.size] = across.ravel()
    crop[1, : down.size] = down.ravel()
    return np.rint(crop.reshape(1, 3, 256, 192) * 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("runtime", "changes"),
    [
        ("openvino", {}),
        ("onnxruntime", {}),
        ("onnxruntime", {"opset": 17, "named": False}),
        ("openvino", {"swapped": True, "batch": 1}),
    ],
)
def test_bins_become_heatmaps(
    runtime: str, changes: dict[str, Any], tmp_path: Path, cache: EngineCache
) -> None:
    """A bell around each joint, as wide as other pose models', with a peak of 1."""
    path = bins_graph(tmp_path / "rtmpose.onnx", **changes)
    centres = np.random.default_rng(3).uniform((16, 16), (368, 496), (JOINTS, 2))
    model = PoseModel.load(path, runtime, "fp32", cache=cache)
    crops = told(*labels(centres, (384, 512)))
    found = model.heatmaps(np.concatenate([crops, np.zeros_like(crops), crops]))
    # Two bins a pixel, four pixels a heatmap's: its first covers bins 0 to 6, whose middle is 3.
    x, y = ((centres - 3) / 8).T[:, :, None, None]
    rows, columns = np.indices((64, 48))
    wanted = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 2.0**2))
    np.testing.assert_allclose(found[[0, 2]], np.stack([wanted, wanted]), atol=0.04)
    assert found[1].max() < 0.3, "nothing is seen"
    points = keypoints(found[:1])[0]
    assert np.abs(points[:, :2] - (centres - 3) / 8).max() < 0.3
    assert points[:, 2].min() > 0.9
    model.close()


def test_a_level_that_training_leaves_open_changes_nothing(tmp_path: Path, cache: EngineCache) -> None:
    path = bins_graph(tmp_path / "rtmpose.onnx")
    across, down = labels(np.random.default_rng(5).uniform(20, 360, (JOINTS, 2)), (384, 512))
    model = PoseModel.load(path, "openvino", "fp32", cache=cache)
    raised = model.heatmaps(told(across * 0.7 + 0.2, down * 0.7 + 0.2))
    np.testing.assert_allclose(raised, model.heatmaps(told(across * 0.7, down * 0.7)), atol=0.03)
    model.close()


def test_what_is_unsure_in_one_axis_has_half_a_peak_at_both_places(
    tmp_path: Path, cache: EngineCache
) -> None:
    path = bins_graph(tmp_path / "rtmpose.onnx")
    left, right = (labels(np.full((JOINTS, 2), (x, 243.0)), (384, 512)) for x in (99.0, 259.0))
    model = PoseModel.load(path, "openvino", "fp32", cache=cache)
    found = model.heatmaps(told(np.maximum(left[0], right[0]), left[1]))[0]
    np.testing.assert_allclose(found[:, 30, [12, 32]], 0.5, atol=0.03)
    assert found.max() < 0.54
    model.close()


def test_the_manifest_says_which_joints_and_how_sharp(tmp_path: Path, cache: EngineCache) -> None:
    """Of Halpe's 26 joints the first seventeen are COCO's, unless the manifest says otherwise."""
    path = bins_graph(tmp_path / "halpe.onnx", joints=26, bins=(192, 256))
    centres = np.random.default_rng(7).uniform(8, 180, (26, 2))
    crops = told(*labels(centres, (192, 256)))
    first = PoseModel.load(path, "openvino", "fp32", cache=cache)
    points = keypoints(first.heatmaps(crops))[0]
    assert np.abs(points[:, :2] - (centres[:17] - 1.5) / 4).max() < 0.3
    chosen = list(range(25, 8, -1))
    path.with_suffix(".yaml").write_text(f"graph: {path.name}\n{PLAIN}joints: {chosen}\nbeta: 2\n")
    other = PoseModel.load(path, "openvino", "fp32", cache=cache)
    less_sure = keypoints(other.heatmaps(crops))[0]
    assert np.abs(less_sure[:, :2] - (centres[chosen] - 1.5) / 4).max() < 0.6
    assert less_sure[:, 2].max() < 0.5 < points[:, 2].min()
    for model in (first, other):
        model.close()


def test_what_a_graph_is_made_into_has_a_contract_of_its_own(tmp_path: Path) -> None:
    """Quantised and written down again it would else have its joints picked twice."""
    path = bins_graph(tmp_path / "halpe.onnx", joints=26, bins=(192, 256))
    bins_graph(tmp_path / "halpe.int8.onnx", joints=26, bins=(192, 256))
    chosen = list(range(25, 8, -1))
    manifest = f"graph: {path.name}\n{PLAIN}joints: {chosen}\nint8: halpe.int8.onnx\n"
    path.with_suffix(".yaml").write_text(manifest)
    graph, contract = read_contract(path)
    assert (contract.graph, contract.joints) == (graph.name, ())
    smaller = quantised_beside(graph, contract.int8)
    assert smaller is not None
    for made in (graph, smaller):
        assert [shape[1:] for shape in output_shapes(made).values()] == [(17, 64, 48)]
    own = tmp_path / "copied" / graph.name
    own.parent.mkdir()
    own.write_bytes(graph.read_bytes())
    own.with_suffix(".json").write_bytes(msgspec.json.encode(contract))
    assert read_contract(own) == (own, contract)


def test_more_joints_than_coco_s(tmp_path: Path, cache: EngineCache) -> None:
    """ViTPose trained on whole bodies ends in 133 heatmaps."""
    weight = np.zeros((133, 3, 4, 4), np.float32)
    weight[:, 0] = np.arange(1, 134)[:, None, None] / 16
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["data", "weight"], ["heatmaps"], strides=[4, 4])],
        "wholebody",
        [info("data", onnx.TensorProto.FLOAT, ["n", 3, 256, 192])],
        [info("heatmaps", onnx.TensorProto.FLOAT, ["n", 133, 64, 48])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    path = tmp_path / "wholebody.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    path.with_suffix(".yaml").write_text(f"graph: {path.name}\n{PLAIN}")
    model = PoseModel.load(path, "openvino", "fp32", cache=cache)
    found = model.heatmaps(np.full((2, 3, 256, 192), 255, np.uint8))
    assert found.shape == (2, 17, 64, 48)
    np.testing.assert_allclose(found[:, :, 5, 5], np.tile(np.arange(1.0, 18), (2, 1)), rtol=1e-5)
    model.close()
    made = sorted((tmp_path / "cache" / "engines" / "pose").iterdir())
    assert len(made) == 1
    PoseModel.load(path, "openvino", "fp32", cache=cache).close()
    assert sorted((tmp_path / "cache" / "engines" / "pose").iterdir()) == made, "it is made once"


@pytest.mark.parametrize(
    ("changes", "manifest", "error", "says"),
    [
        ({"bins": (512, 512)}, "", EngineError, r"simcc_x \[-?\d+, 17, 512\] and simcc_y .*256 x 192"),
        ({"joints": 16}, "", EngineError, r"at least 17 joints"),
        ({"opset": 7}, "", EngineError, r"is in opset 7: export it in 8 or later"),
        ({}, "joints: [1, 2]\n", ConfigError, r"`joints` takes 17 numbers, .*not 2"),
        ({}, "joints: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]\n", ConfigError, r"finds 17 joints.*17"),
        ({}, "beta: 0\n", ConfigError, "> 0.*beta"),
    ],
)
def test_what_cannot_be_made_into_heatmaps(
    changes: dict[str, Any], manifest: str, error: type[Exception], says: str, tmp_path: Path
) -> None:
    path = bins_graph(tmp_path / "pose.onnx", **changes)
    path.with_suffix(".yaml").write_text(f"graph: {path.name}\n{PLAIN}{manifest}")
    with pytest.raises(error, match=says):
        PoseModel.load(path, "openvino", "fp32")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bins_graph(tmp_path / "pose.onnx")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"pose\.onnx is made into cannot be written .*GAITSTREAM_CACHE"):
        PoseModel.load(path, "openvino", "fp32")


def test_shapes_are_read_without_opening_a_graph(tmp_path: Path) -> None:
    graph = bins_graph(tmp_path / "a.onnx")
    assert output_shapes(graph) == {"simcc_x": (-1, 17, 384), "simcc_y": (-1, 17, 512)}
    assert output_shapes(bins_graph(tmp_path / "b.onnx", named=False)) == {"simcc_x": (), "simcc_y": ()}
    for content in (b"", b"no graph", graph.read_bytes()[:-40]):
        (tmp_path / "c.onnx").write_bytes(content)
        assert output_shapes(tmp_path / "c.onnx") == {}


def test_rtmpose_runs_by_its_name(
    tmp_path: Path, cache: EngineCache, capsys: pytest.CaptureFixture[str]
) -> None:
    """The catalogue's own entry, with a graph that ends as RTMPose does in place of its weights."""
    graph = bins_graph(tmp_path / "rtmpose_s.onnx")
    trusted = ["--sha256", file_sha256(graph)]
    assert main(["models", "get", "rtmpose_s", "--from", str(tmp_path), *trusted, "--no-measure"]) == 0
    assert "models: {pose: rtmpose_s}" in capsys.readouterr().out
    model = PoseModel.load("rtmpose_s", "openvino", "fp32", cache=cache)
    assert model.contract.mean == (0.485, 0.456, 0.406)
    assert model.heatmaps(np.zeros((2, 3, 256, 192), np.uint8)).shape == (2, 17, 64, 48)
    model.close()
