"""Pose models: crops, heatmaps, peaks, and graphs that are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from gaitstream.engines.cache import EngineCache
from gaitstream.errors import ConfigError, EngineError
from gaitstream.models.crops import crop_compiled, crop_padded, crop_warped, crop_windows
from gaitstream.models.pose import (
    PoseModel,
    keypoints,
    to_heatmap,
    to_image,
)

onnx = pytest.importorskip("onnx", reason="making graphs needs the extra [export]")


SIZE = (256, 192)


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "cache")


def average_graph(path: Path, *, joints: int = 17, batch: int | str = "n", kernel: int = 4) -> Path:
    """Heatmap k is the mean of each 4 x 4 block of channel k % 3, times 1 + k."""
    weight = np.zeros((joints, 3, kernel, kernel), np.float32)
    for joint in range(joints):
        weight[joint, joint % 3] = (1 + joint) / kernel**2
    size = [256 // kernel, 192 // kernel]
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["data", "weight"], ["heatmaps"], strides=[kernel, kernel])],
        "average",
        [info("data", onnx.TensorProto.FLOAT, [batch, 3, 256, 192])],
        [info("heatmaps", onnx.TensorProto.FLOAT, [batch, joints, *size])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_any_number_of_crops(runtime: str, batch: int | str, tmp_path: Path, cache: EngineCache) -> None:
    """Graphs exported for one picture take as many as the others."""
    path = average_graph(tmp_path / "pose.onnx", batch=batch)
    (tmp_path / "pose.yaml").write_text("graph: pose.onnx\nscale: 255\nmean: [0, 0, 0]\nstd: [1, 1, 1]\n")
    model = PoseModel.load(path, runtime, cache=cache)
    crops = np.random.default_rng(0).integers(0, 256, (19, 3, 256, 192), dtype=np.uint8)
    found = model.heatmaps(crops)
    means = crops.reshape(19, 3, 64, 4, 48, 4).mean((3, 5)) / 255
    wanted = np.stack([means[:, joint % 3] * (1 + joint) for joint in range(17)], axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert model.heatmaps(crops[:0]).shape == (0, 17, 64, 48)
    model.close()


def test_manifest_declares_colour_and_normalisation(tmp_path: Path, cache: EngineCache) -> None:
    average_graph(tmp_path / "pose.onnx")
    (tmp_path / "bgr.yaml").write_text(
        "graph: pose.onnx\ncolour: bgr\nscale: 1\nmean: [10, 20, 30]\nstd: [2, 2, 2]\nlicence: none\n"
    )
    crops = np.zeros((1, 3, 256, 192), np.uint8)
    crops[0] = np.array([100, 110, 130], np.uint8)[:, None, None]
    model = PoseModel.load(tmp_path / "bgr.yaml", "openvino", cache=cache)
    found = model.heatmaps(crops)[0, :3, 5, 5]
    # Blue, green, red of the crop, in the graph's order.
    np.testing.assert_allclose(found, [(130 - 10) / 2, (110 - 20) / 2 * 2, (100 - 30) / 2 * 3], rtol=1e-5)
    model.close()


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("kind", "numbers", "says"),
    [
        (
            "INT32",
            "scale: 255\nmean: [0, 0, 0]\nstd: [1, 1, 1]",
            "takes int32, and the pixels .* whole numbers",
        ),
        ("INT8", "scale: 1\nmean: [0, 0, 0]\nstd: [1, 1, 1]", "takes int8, and the pixels .* from 0 to 255"),
        ("INT8", "scale: 0.5\nmean: [256, 256, 256]\nstd: [2, 2, 2]", ""),
    ],
)
def test_whole_numbers_are_fed_to_no_graph_in_place_of_fractions(
    kind: str, numbers: str, says: str, runtime: str, tmp_path: Path, cache: EngineCache
) -> None:
    """They were cut: of an int32 input with pixels in 0..1 all but white was black."""
    model = onnx.load(average_graph(tmp_path / "pose.onnx"))
    model.graph.input[0].type.tensor_type.elem_type = getattr(onnx.TensorProto, kind)
    model.graph.node[0].input[0] = "floats"
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["data"], ["floats"], to=onnx.TensorProto.FLOAT))
    onnx.save(model, tmp_path / "pose.onnx")
    (tmp_path / "pose.yaml").write_text(f"graph: pose.onnx\n{numbers}\n")
    if says:
        with pytest.raises(ConfigError, match=says):
            PoseModel.load(tmp_path / "pose.onnx", runtime, "fp32", cache=cache)
        return
    pose = PoseModel.load(tmp_path / "pose.onnx", runtime, "fp32", cache=cache)
    found = pose.heatmaps(np.full((1, 3, 256, 192), 203, np.uint8))[0, 0, 0, 0]
    assert found == pytest.approx(203 - 128)
    pose.close()


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_what_are_no_crops_or_boxes_is_refused(runtime: str, tmp_path: Path, cache: EngineCache) -> None:
    """ONNX Runtime took pixels in 0..1 for nearly black ones."""
    model = PoseModel.load(average_graph(tmp_path / "pose.onnx"), runtime, cache=cache)
    image = np.zeros((360, 640, 3), np.uint8)
    crops = model.crop(image, np.array([[100.0, 50, 200, 300]], np.float32))
    for wrong in (crops / 255, crops[0], crops.transpose(0, 2, 3, 1)):
        with pytest.raises(EngineError, match=r"crops are RGB uint8 \[n, 3, height, width\], not "):
            model.heatmaps(wrong)  # type: ignore[arg-type]
    for boxes, says in (
        (np.zeros(4, np.float32), r"boxes are xyxy pixels \[n, 4\], not \[4\]"),
        (np.zeros((2, 5), np.float32), r"not \[2, 5\]"),
        (np.full((1, 4), np.nan, np.float32), "NaN or infinity"),
    ):
        with pytest.raises(EngineError, match=says):
            model.crop(image, boxes)
        with pytest.raises(EngineError, match=says):
            crop_padded(image, boxes, 256, 128)
    assert model.crop(image, np.zeros(0, np.float32)).shape == (0, 3, 256, 192)
    model.close()


def test_without_a_manifest_imagenet_is_assumed(tmp_path: Path, cache: EngineCache) -> None:
    model = PoseModel.load(average_graph(tmp_path / "pose.onnx"), "openvino", cache=cache)
    found = model.heatmaps(np.full((1, 3, 256, 192), 255, np.uint8))[0, 0, 0, 0]
    assert found == pytest.approx((1 - 0.485) / 0.229, rel=1e-5)
    model.close()


@pytest.mark.parametrize(
    ("joints", "kernel", "says"),
    [
        (16, 4, r"makes heatmaps \[-1, 16, 64, 48\]: a pose model makes heatmaps \[n, 17, 64, 48\]"),
        (17, 8, r"makes heatmaps \[-1, 17, 32, 24\]"),
    ],
)
def test_wrong_output_names_both_shapes(
    joints: int, kernel: int, says: str, tmp_path: Path, cache: EngineCache
) -> None:
    path = average_graph(tmp_path / "pose.onnx", joints=joints, kernel=kernel)
    with pytest.raises(EngineError, match=says):
        PoseModel.load(path, "openvino", cache=cache)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("graph: pose.onnx\nmeans: [0, 0, 0]\n", "unknown field `means`"),
        ("graph: pose.onnx\ncolour: yuv\n", "yuv"),
        ("graph: pose.onnx\nmean: [0, 0]\n", "length"),
        ("graph: pose.onnx\nscale: 0\n", r"> 0.*scale"),
        ("graph: pose.onnx\nscale: .inf\n", r"<= 1000000.*scale"),
        ("graph: pose.onnx\nstd: [0.2, 0, 0.2]\n", r"> 0.*std"),
        ("graph: pose.onnx\nmean: [.nan, 0, 0]\n", r"-1000000.*mean"),
        ("colour: rgb\n", "graph"),
        ("graph: [\n", "not a pose manifest"),
        ("graph: other.onnx\n", r"'other\.onnx', which is not beside it"),
    ],
)
def test_wrong_manifest_is_explained(text: str, says: str, tmp_path: Path) -> None:
    average_graph(tmp_path / "pose.onnx")
    (tmp_path / "named.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        PoseModel.load(tmp_path / "named.yaml")


def test_missing_file() -> None:
    with pytest.raises(
        ConfigError,
        match=r"pose nowhere\.onnx does not exist; give an ONNX file .*: demo",
    ):
        PoseModel.load("nowhere.onnx")


def test_peaks_move_a_quarter_pixel_to_the_higher_side() -> None:
    maps = np.zeros((2, 3, 64, 48), np.float32)
    maps[0, 0, 10, 20], maps[0, 0, 10, 21], maps[0, 0, 9, 20] = 1.0, 0.5, 0.4
    maps[0, 1, 63, 0] = 0.7
    maps[1, 2, 30, 40] = -1
    found = keypoints(maps)
    assert found.shape == (2, 3, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, 0], [20.25, 9.75, 1.0])
    np.testing.assert_allclose(found[0, 1], [0, 63, 0.7])
    np.testing.assert_allclose(found[0, 2], [0, 0, 0])
    assert keypoints(maps[:0]).shape == (0, 3, 3)


def test_crops_and_keypoints_are_inverse(tmp_path: Path, cache: EngineCache) -> None:
    """A bright square painted at a joint is found where it was painted, through crop, graph and peaks."""
    path = average_graph(tmp_path / "pose.onnx")
    model = PoseModel.load(path, "openvino", cache=cache)
    image = np.zeros((480, 640, 3), np.uint8)
    image[196:205, 296:305] = 255
    boxes = np.array([[250, 100, 350, 400], [280.5, 150, 500, 300], [200, 190, 310, 215]], np.float32)
    crops = model.crop(image, boxes)
    assert crops.shape == (3, 3, 256, 192)
    found = to_image(keypoints(model.heatmaps(crops)), boxes)
    scales = crop_windows(boxes, SIZE)[:, 2]
    # Half a heatmap pixel, in pixels of the image.
    assert (np.abs(found[:, :, :2] - (300, 200)).max(axis=(1, 2)) <= 4 + 2 / scales).all()
    model.close()


def test_points_go_to_the_image_and_back() -> None:
    boxes = np.array([[100, 100, 200, 400], [-20, 0, 300, 100]], np.float32)
    points = np.random.default_rng(0).uniform(0, 48, (2, 17, 3)).astype(np.float32)
    np.testing.assert_allclose(to_heatmap(to_image(points, boxes), boxes), points, atol=1e-4)
    middle = np.array([[[149.5, 249.5]]])
    np.testing.assert_allclose(to_heatmap(middle, boxes[:1]), [[[23.5, 31.5]]], atol=1e-9)


def test_crop_keeps_the_aspect_and_grows_by_a_quarter() -> None:
    windows = crop_windows(np.array([[100, 100, 200, 400], [0, 0, 300, 100]], np.float32), SIZE)
    # 300 high: 225 wide at 3:4, both x 1.25.
    np.testing.assert_allclose(windows[0], [150 - 225 * 1.25 / 2, 250 - 300 * 1.25 / 2, 192 / (225 * 1.25)])
    # 300 wide: 400 high.
    np.testing.assert_allclose(windows[1], [150 - 300 * 1.25 / 2, 50 - 400 * 1.25 / 2, 192 / (300 * 1.25)])


def test_crop_is_rgb_and_black_outside(tmp_path: Path, cache: EngineCache) -> None:
    model = PoseModel.load(average_graph(tmp_path / "pose.onnx"), "openvino", cache=cache)
    image = np.empty((100, 100, 3), np.uint8)
    image[:] = (1, 2, 3)
    crop = model.crop(image, np.array([[0, 0, 75, 100]], np.float32))[0]
    assert crop[:, 128, 96].tolist() == [3, 2, 1]
    assert crop[:, 0, 0].tolist() == [0, 0, 0]
    model.close()


def test_native_crops_equal_warped_ones() -> None:
    """Also of people over the edge, larger than the crop, and in pictures that are views."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (500, 700, 3), dtype=np.uint8)
    whole = cv2.GaussianBlur(noise, (7, 7), 2).astype(np.uint8)
    boxes = np.array(
        [[-40, -60, 90, 220], [620.3, 300.8, 760, 560], [0, 0, 700, 500], [300.4, 100.7, 330.2, 170.1],
         [900, 900, 950, 990], [250, 250, 250, 250]], np.float32,
    )  # fmt: skip
    frames = [
        (image, boxes[:count])
        for image, count in ((whole, 6), (whole[20:420, 50:650], 2), (whole[:, ::-1], 5))
    ]
    each = [crop_warped(image, found, SIZE) for image, found in frames]
    difference = np.abs(crop_compiled(frames, SIZE).astype(int) - np.concatenate(each))
    assert len(difference) == 13
    assert difference.max() <= 4  # OpenCV may round source positions
    assert (difference > 1).mean() < 1e-3
    for (image, found), crops in zip(frames, np.split(crop_compiled(frames, SIZE), [6, 8]), strict=True):
        np.testing.assert_array_equal(crop_compiled([(image, found)], SIZE), crops)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_real_model_of_batch_one(runtime: str, shared: Path, cache: EngineCache) -> None:
    """Both runtimes, whole batches and single crops agree on a published pose model."""
    path = shared / "models" / "simplepose_nano_coco17.onnx"
    model = PoseModel.load(path, runtime, cache=cache)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    boxes = np.array([[20, 10, 90, 230], [100, 30, 180, 200], [200, 0, 300, 239]], np.float32)
    crops = model.crop(image, boxes)
    together = model.heatmaps(crops)
    one_by_one = np.concatenate([model.heatmaps(crops[i : i + 1]) for i in range(3)])
    assert together.shape == (3, 17, 64, 48)
    np.testing.assert_allclose(together, one_by_one, atol=1e-4)
    model.close()
