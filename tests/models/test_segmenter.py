"""Segmentation models of every layout, and silhouettes as the datasets have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gaitstream.engines.cache import EngineCache
from gaitstream.errors import ConfigError, EngineError
from gaitstream.models.segmentation_layouts import SegmentationLayout, check, recognise
from gaitstream.models.segmenter import Segmenter
from gaitstream.models.silhouettes import draw as silhouettes

HEIGHT, WIDTH = 48, 36


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def bright_parts(path: Path, layout: str) -> Path:
    """A network that takes for the person what is bright: the mean of the normalised channels is above 0."""
    weight = numpy_helper.from_array(np.full((1, 3, 1, 1), 1 / 3, np.float32), "w")
    nodes = [helper.make_node("Conv", ["crops", "w"], ["logit"])]
    shape: list[int | str] = ["n", 1, HEIGHT, WIDTH]
    last, kind = "logit", TensorProto.FLOAT
    if layout == "probability":
        nodes.append(helper.make_node("Sigmoid", ["logit"], ["out"]))
        last = "out"
    elif layout in ("classes", "labels"):
        nodes += [helper.make_node("Neg", ["logit"], ["other"])]
        nodes += [helper.make_node("Concat", ["other", "logit"], ["scores"], axis=1)]
        last, shape = "scores", ["n", 2, HEIGHT, WIDTH]
        if layout == "labels":
            nodes += [helper.make_node("ArgMax", ["scores"], ["out"], axis=1, keepdims=0)]
            last, shape, kind = "out", ["n", HEIGHT, WIDTH], TensorProto.INT64
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info(last, kind, shape)],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    path.with_suffix(".yaml").write_text(
        f"graph: {path.name}\nscale: 127.5\nmean: [1, 1, 1]\nstd: [1, 1, 1]\n"
        + ("layout: logit\n" if layout == "logit" else "")
    )
    return path


@pytest.mark.parametrize("layout", ["probability", "logit", "classes", "labels"])
def test_every_layout_gives_the_same_mask(layout: str, tmp_path: Path, cache: EngineCache) -> None:
    model = Segmenter.load(bright_parts(tmp_path / "net.onnx", layout), "openvino", "fp32", 1, cache=cache)
    assert model.size == (HEIGHT, WIDTH)
    crops = np.random.default_rng(0).integers(0, 256, (19, 3, HEIGHT, WIDTH), dtype=np.uint8)
    masks = model.masks(crops)
    expected = np.where(crops.mean(axis=1) > 127.5, 255, 0)
    assert masks.dtype == np.uint8
    clear = np.abs(crops.mean(axis=1) - 127.5) > 1
    np.testing.assert_array_equal(masks[clear], expected[clear])
    assert model.masks(crops[:0]).shape == (0, HEIGHT, WIDTH)
    model.close()


@pytest.mark.parametrize("kind", ["bytes", "shares", "one alone", "classes"])
def test_a_layout_that_gives_something_else_is_named(kind: str, tmp_path: Path, cache: EngineCache) -> None:
    """As another package's may: 255 for a person would become 1, and one mask would be everybody's."""
    segmenter = Segmenter.load(bright_parts(tmp_path / "net.onnx", "probability"), "onnxruntime", cache=cache)
    right = segmenter._layout.read
    give: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
        "bytes": lambda found: found.astype(np.uint8) * 255,
        "shares": lambda found: found * np.float32(0.9),
        "one alone": lambda found: found[:1],
        "classes": lambda found: found[:, None],
    }
    segmenter._layout = SegmentationLayout(
        decode=lambda output, person: give[kind](right([output], person, (0, 0)))
    )
    with pytest.raises(
        ConfigError, match=r"layout probability gives masks .*, not bool \[n, height, width\]"
    ):
        segmenter.masks(np.full((2, 3, *segmenter.size), 255, np.uint8))
    segmenter.close()


def test_logits_are_not_read_as_shares(tmp_path: Path, cache: EngineCache) -> None:
    """Nothing in their shape tells them apart: the person would be cut where the logit is a half."""
    graph = bright_parts(tmp_path / "net.onnx", "logit")
    graph.with_suffix(".yaml").write_text("graph: net.onnx\nscale: 127.5\nmean: [1, 1, 1]\nstd: [1, 1, 1]\n")
    model = Segmenter.load(graph, "openvino", "fp32", 1, cache=cache)
    crops = np.full((3, 3, HEIGHT, WIDTH), 120, np.uint8)
    assert not model.masks(crops).any()
    crops[1, :, 5] = 0
    with pytest.raises(ConfigError, match=r"values as low as -1\.0, .* set `layout: logit`"):
        model.masks(crops)
    model.close()


@pytest.mark.parametrize("layout", ["probability", "logit"])
def test_shares_without_a_channel_are_not_read_as_classes(
    layout: str, tmp_path: Path, cache: EngineCache
) -> None:
    """In shape they are classes, and no share but a whole one would be the person's."""
    graph = onnx.load(bright_parts(tmp_path / "net.onnx", layout))
    (output,) = graph.graph.output
    graph.graph.node.append(helper.make_node("Squeeze", [output.name, "axis"], ["flat"]))
    graph.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    output.CopyFrom(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["n", HEIGHT, WIDTH]))
    onnx.save(graph, tmp_path / "net.onnx")
    manifest = "graph: net.onnx\nscale: 127.5\nmean: [1, 1, 1]\nstd: [1, 1, 1]\n"
    (tmp_path / "net.yaml").write_text(manifest)
    crops = np.full((2, 3, HEIGHT, WIDTH), 20, np.uint8)
    crops[:, :, 10:40, 9:20] = 200
    unnamed = Segmenter.load(tmp_path / "net.onnx", "openvino", "fp32", 1, cache=cache)
    with pytest.raises(ConfigError, match=r"values such as -?0\.\d+, which are no classes: .* `logit`"):
        unnamed.masks(crops)
    unnamed.close()
    named = Segmenter.load(tmp_path / "net.onnx", "openvino", "fp32", 1, layout=layout, cache=cache)
    np.testing.assert_array_equal(named.masks(crops), np.where(crops[:, 0] > 127, 255, 0))
    named.close()


def test_labels_of_a_black_and_white_picture_need_their_class_named(
    tmp_path: Path, cache: EngineCache
) -> None:
    """No pixel is of class 1: nobody would be found in any crop, and nothing would say why."""
    graph = onnx.load(bright_parts(tmp_path / "net.onnx", "labels"))
    (output,) = graph.graph.output
    graph.graph.initializer.append(numpy_helper.from_array(np.array(255), "white"))
    graph.graph.node.append(helper.make_node("Mul", [output.name, "white"], ["picture"]))
    output.name = "picture"
    onnx.save(graph, tmp_path / "net.onnx")
    crops = np.full((2, 3, HEIGHT, WIDTH), 20, np.uint8)
    unnamed = Segmenter.load(tmp_path / "net.onnx", "openvino", "fp32", 1, cache=cache)
    assert not unnamed.masks(crops).any()
    crops[:, :, 10:40, 9:20] = 200
    with pytest.raises(
        ConfigError, match=r"a picture of 0 and 255, and nothing in it is class 1, .* `person: 255`"
    ):
        unnamed.masks(crops)
    unnamed.close()
    manifest = tmp_path / "net.yaml"
    for person, shown in ((255, crops[:, 0] > 127), (0, crops[:, 0] < 127)):
        manifest.write_text(manifest.read_text().partition("person")[0] + f"person: {person}\n")
        named = Segmenter.load(tmp_path / "net.onnx", "openvino", "fp32", 1, cache=cache)
        np.testing.assert_array_equal(named.masks(crops), np.where(shown, 255, 0))
        named.close()


def test_shares_are_not_read_as_logits(tmp_path: Path, cache: EngineCache) -> None:
    """Every pixel would be the person's: all silhouettes would be the same rectangle."""
    graph = bright_parts(tmp_path / "net.onnx", "probability")
    model = Segmenter.load(graph, "openvino", "fp32", 1, layout="logit", cache=cache)
    with pytest.raises(ConfigError, match=r"between 0 and 1, .* set `layout: probability`"):
        model.masks(np.full((3, 3, HEIGHT, WIDTH), 120, np.uint8))
    model.close()


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.FLOAT])
def test_levels_and_classes_are_not_read_as_shares(kind: int, tmp_path: Path, cache: EngineCache) -> None:
    """All but level 0 would be the person, and of classes all but the first."""
    graph = onnx.load(bright_parts(tmp_path / "net.onnx", "probability"))
    (output,) = graph.graph.output
    graph.graph.node.append(helper.make_node("Mul", [output.name, "white"], ["scaled"]))
    graph.graph.node.append(helper.make_node("Cast", ["scaled"], ["levels"], to=kind))
    graph.graph.initializer.append(numpy_helper.from_array(np.array(255, np.float32), "white"))
    output.CopyFrom(helper.make_tensor_value_info("levels", kind, ["n", 1, HEIGHT, WIDTH]))
    onnx.save(graph, tmp_path / "net.onnx")
    model = Segmenter.load(tmp_path / "net.onnx", "openvino", "fp32", 1, cache=cache)
    crops = np.full((2, 3, HEIGHT, WIDTH), 140, np.uint8)
    with pytest.raises(ConfigError, match=r"as high as 13\d\.\d, .* `layout: labels`.* divide them by 255"):
        model.masks(crops)
    model.close()


def test_classes_last_are_refused_though_the_graph_leaves_its_shape_open(
    tmp_path: Path, cache: EngineCache
) -> None:
    """The highest of a row's pixels would be the class."""
    graph = onnx.load(bright_parts(tmp_path / "net.onnx", "classes"))
    (output,) = graph.graph.output
    graph.graph.node.append(helper.make_node("Transpose", [output.name], ["last"], perm=[0, 2, 3, 1]))
    output.CopyFrom(helper.make_tensor_value_info("last", TensorProto.FLOAT, ["n", "h", "w", "c"]))
    picture = helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, "height", "width"])
    graph.graph.input[0].CopyFrom(picture)
    onnx.save(graph, tmp_path / "net.onnx")
    model = Segmenter.load(tmp_path / "net.onnx", "openvino", "fp32", 1, layout="classes", cache=cache)
    with pytest.raises(ConfigError, match=r"output \[2, 192, 192, 2\] has its classes on the last axis"):
        model.masks(np.zeros((2, 3, 192, 192), np.uint8))
    model.close()


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("count", [1, 4, 6])
def test_a_graph_of_a_fixed_batch_is_filled_up(
    runtime: str, count: int, tmp_path: Path, cache: EngineCache
) -> None:
    """A reshape of its own keeps the batch from being opened."""
    graph = onnx.load(bright_parts(tmp_path / "net.onnx", "classes"))
    (source,), (output,) = graph.graph.input, graph.graph.output
    graph.graph.node.append(helper.make_node("Reshape", [output.name, "shape"], ["kept"]))
    shape = np.array([4, 2, HEIGHT, WIDTH])
    graph.graph.initializer.append(numpy_helper.from_array(shape, "shape"))
    source.type.tensor_type.shape.dim[0].dim_value = 4
    output.CopyFrom(helper.make_tensor_value_info("kept", TensorProto.FLOAT, shape.tolist()))
    onnx.save(graph, tmp_path / "net.onnx")
    model = Segmenter.load(tmp_path / "net.onnx", runtime, "fp32", 1, cache=cache)
    model.prepare(count)
    crops = np.full((count, 3, HEIGHT, WIDTH), 20, np.uint8)
    for place, crop in enumerate(crops):
        crop[:, 4 + place : 40] = 200
    np.testing.assert_array_equal(model.masks(crops), np.where(crops[:, 0] > 127, 255, 0))
    assert len(model.masks(crops[:0])) == 0
    model.close()


def test_a_graph_on_pixels_of_interleaved_channels_is_refused_by_its_shape(
    tmp_path: Path, cache: EngineCache
) -> None:
    """Before the runtime stumbles over the means of channels that are not where they are expected."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["crops"], ["out"], axes=[3], keepdims=0)],
        "interleaved",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", HEIGHT, WIDTH])],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(EngineError, match=r"takes crops \[-1, 48, 36, 3\]: .* one input \[n, 3, h"):
        Segmenter.load(path, "openvino", "fp32", 1, cache=cache)


def test_masks_of_other_proportions_than_the_crops_are_brought_to_theirs(
    tmp_path: Path, cache: EngineCache
) -> None:
    """Silhouettes would be as slim as the output: here half as wide as the person is."""
    graph = helper.make_graph(
        [helper.make_node("MaxPool", ["crops"], ["red"], kernel_shape=[1, 2], strides=[1, 2]),
         helper.make_node("ReduceMax", ["red"], ["out"], axes=[1], keepdims=1)],
        "slim",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 1, HEIGHT, WIDTH // 2])],
    )  # fmt: skip
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    path.with_suffix(".yaml").write_text("graph: net.onnx\nscale: 255\nmean: [0, 0, 0]\nstd: [1, 1, 1]\n")
    model = Segmenter.load(path, "openvino", "fp32", 1, cache=cache)
    crops = np.zeros((2, 3, HEIGHT, WIDTH), np.uint8)
    crops[:, :, 4:40, 8:24] = 255
    np.testing.assert_array_equal(model.masks(crops), crops[:, 0])
    model.close()


def test_whoever_stands_beside_is_not_in_the_mask(tmp_path: Path, cache: EngineCache) -> None:
    """A square crop is as wide as two or three people."""
    model = Segmenter.load(bright_parts(tmp_path / "net.onnx", "classes"), "openvino", "fp32", 1, cache=cache)
    image = np.zeros((200, 300, 3), np.uint8)
    image[40:160, 100:130] = 255
    boxes = np.array([[100, 40, 130, 160], [180, 30, 205, 170]], np.float32)
    alone = model.masks(model.crop(image, boxes))
    np.testing.assert_array_equal(model.masks(model.crop(image, boxes), boxes)[0], alone[0])
    image[30:170, 140:165] = 255
    crops = model.crop(image, boxes)
    assert (model.masks(crops) != alone).any()
    found = model.masks(crops, boxes)
    np.testing.assert_array_equal(found[0], alone[0])
    assert not found[1].any(), "nobody is in this box"
    model.close()


BOXES = np.array([[9, 24, 14, 40], [24, 24, 20, 40], [18, 24, 30, 44]], np.float32)
"""Middles and sizes of three instances: somebody beside, somebody else beside, and a bag before both."""


def instances(path: Path, scores: NDArray[np.float32]) -> Path:
    """A network that finds `BOXES` in every crop, with scores `[classes, 3]`; what is bright is theirs."""
    found = np.concatenate([BOXES.T, scores, np.ones((1, 3), np.float32)])[None].astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["crops"], ["prototypes"], axes=[1], keepdims=1),
            helper.make_node("ReduceMean", ["crops"], ["any"], axes=[2, 3], keepdims=0),
            helper.make_node("ReduceMean", ["any"], ["one"], axes=[1], keepdims=1),
            helper.make_node("Mul", ["one", "zero"], ["none"]),
            helper.make_node("Unsqueeze", ["none", "axis"], ["nothing"]),
            helper.make_node("Add", ["nothing", "found"], ["out"]),
        ],
        "instances",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", *found.shape[1:]]),
            helper.make_tensor_value_info("prototypes", TensorProto.FLOAT, ["n", 1, HEIGHT, WIDTH]),
        ],
        [
            numpy_helper.from_array(np.zeros((1, 1), np.float32), "zero"),
            numpy_helper.from_array(np.array([2], np.int64), "axis"),
            numpy_helper.from_array(found, "found"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    path.with_suffix(".yaml").write_text(
        f"graph: {path.name}\nperson: 0\nscale: 127.5\nmean: [1, 1, 1]\nstd: [1, 1, 1]\n"
    )
    return path


@pytest.mark.parametrize(
    ("people", "bag", "seen"),
    [
        ([0.9, 0.8, 0.0], 0.95, BOXES[1]),  # more in the middle than the surer one
        ([0.9, 0.2, 0.0], 0.95, BOXES[0]),  # too unsure to be anybody
        ([0.1, 0.2, 0.0], 0.95, None),
    ],
)
def test_of_several_instances_the_person_in_the_middle_is_taken(
    people: list[float], bag: float, seen: NDArray[np.float32] | None, tmp_path: Path, cache: EngineCache
) -> None:
    scores = np.array([people, [0.0, 0.0, bag]], np.float32)
    model = Segmenter.load(instances(tmp_path / "net.onnx", scores), "openvino", "fp32", 1, cache=cache)
    crops = np.zeros((5, 3, HEIGHT, WIDTH), np.uint8)
    crops[:, :, 10:40] = 255
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    if seen is not None:
        x, y, width, height = seen.astype(int)
        expected[max(10, y - height // 2) : min(40, y + height // 2), x - width // 2 : x + width // 2] = 255
    np.testing.assert_array_equal(model.masks(crops), np.broadcast_to(expected, (5, HEIGHT, WIDTH)))
    model.close()


def test_instances_are_not_taken_for_labels_without_a_manifest(tmp_path: Path, cache: EngineCache) -> None:
    graph = instances(tmp_path / "net.onnx", np.full((2, 3), 0.5, np.float32))
    graph.with_suffix(".yaml").unlink()
    with pytest.raises(ConfigError, match=r"net\.yaml beside it, for a YOLO model with person: 0"):
        Segmenter.load(graph, "openvino", "fp32", 1, cache=cache)
    graph.with_suffix(".yaml").write_text("graph: net.onnx\nperson: 2\n")
    with pytest.raises(ConfigError, match=r"\[n, 4 \+ classes \+ k, anchors\].*person as class 2"):
        Segmenter.load(graph, "openvino", "fp32", 1, layout="instances", cache=cache)


@pytest.mark.parametrize(
    ("shapes", "layout"),
    [
        ([(-1, 116, 8400), (-1, 32, 160, 160)], "instances"),
        ([(-1, 116, -1), (-1, 32, -1, -1)], "instances"),
        ([(-1, 192, 160), (-1, 2, 48, 40)], "labels"),
        ([(-1, 2, 48, 40), (-1, 192, 160)], "classes"),
        ([(-1, 192, 160)], "labels"),
    ],
)
def test_layouts_are_told_apart_by_all_outputs(shapes: list[tuple[int, ...]], layout: str) -> None:
    assert recognise("net.onnx", shapes) == layout


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ((-1, 8400, 116), r"anchors on the second axis; export it as \[n, 4 \+ classes \+ k, anchors\]"),
        ((1, 300, 38), r"its own suppression has chosen, \[n, boxes, 6 \+ k\]; export it without"),
    ],
)
def test_instances_in_another_form_are_not_read_as_garbage(found: tuple[int, ...], says: str) -> None:
    shapes = [found, (-1, 32, 160, 160)]
    with pytest.raises(ConfigError, match=says):
        recognise("net.onnx", shapes)
    with pytest.raises(ConfigError, match=says):
        check("net.onnx", "instances", shapes, 0, (640, 640))


def test_crops_and_masks_of_a_person_on_a_dark_ground(tmp_path: Path, cache: EngineCache) -> None:
    model = Segmenter.load(
        bright_parts(tmp_path / "net.onnx", "classes"), "onnxruntime", "fp32", 1, cache=cache
    )
    image = np.zeros((200, 300, 3), np.uint8)
    image[40:140, 100:130] = 255
    masks = model.masks(model.crop(image, np.array([[100, 40, 130, 140]], np.float32)))
    drawn = silhouettes(masks, (64, 44))[0, 0]
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero((drawn > 127).any(axis=0))
    assert (rows[0], rows[-1]) == (0, 63)
    assert abs(len(columns) - 64 * 0.3) <= 2
    assert abs((columns[0] + columns[-1]) / 2 - 22) <= 1
    model.close()


def test_wrong_models_are_explained(tmp_path: Path, cache: EngineCache) -> None:
    path = bright_parts(tmp_path / "net.onnx", "labels")
    with pytest.raises(ConfigError, match="there is no segmentation layout 'matte'"):
        Segmenter.load(path, "openvino", "fp32", 1, layout="matte", cache=cache)
    with pytest.raises(ConfigError, match="no packaged segmenter is called 'dmeo'"):
        Segmenter.load("dmeo")
    detector = Path(__file__).parents[2] / "gaitstream/zoo/demo/detector.onnx"
    with pytest.raises(ConfigError, match=r"detector\.json is not a segmenter manifest"):
        Segmenter.load(detector, "openvino", "fp32", 1, cache=cache)


def reference(mask: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The datasets' definition, step by step: centred on the median column, padded where the mask ends.

    A mask that adds up to too little, or whose median column is the first, is dropped.
    """
    import cv2

    if mask.sum(dtype=np.int64) <= 10_000:
        return np.zeros((height, width), np.uint8)
    rows = np.nonzero(mask.sum(axis=1))[0]
    mask = mask[rows.min() : rows.max() + 1]
    size = max(int(height * mask.shape[1] / mask.shape[0]), 1), height
    mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    total, running, middle = int(mask.sum(dtype=np.int64)), 0, 0
    for column in range(mask.shape[1]):
        running += int(mask[:, column].sum(dtype=np.int64))
        if running > total / 2:
            middle = column
            break
    if middle == 0:
        return np.zeros((height, width), np.uint8)
    wide = np.zeros((height, mask.shape[1] + 2 * width), np.uint8)
    wide[:, width : width + mask.shape[1]] = mask
    left = middle + width - width // 2
    return wide[:, left : left + width]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_silhouettes_are_those_of_the_datasets(data: st.DataObject) -> None:
    height, width = data.draw(st.sampled_from([(64, 44), (64, 64), (128, 88)]))
    rows, columns = data.draw(st.integers(8, 90)), data.draw(st.integers(8, 90))
    mask = np.zeros((rows, columns), np.uint8)
    for _ in range(data.draw(st.integers(1, 4))):
        top, left = data.draw(st.integers(0, rows - 2)), data.draw(st.integers(0, columns - 2))
        bottom = data.draw(st.integers(top + 1, rows))
        right = data.draw(st.integers(left + 1, columns))
        mask[top:bottom, left:right] = 255
    drawn = silhouettes(mask[None], (height, width))
    assert drawn.shape == (1, 1, height, width)
    np.testing.assert_array_equal(drawn[0, 0], reference(mask, height, width))


def test_masks_in_another_form_are_not_drawn_black() -> None:
    inside = np.zeros((2, 90, 60), bool)
    inside[:, 10:80, 20:40] = True
    right = silhouettes(inside * np.uint8(255), (64, 44))
    assert right.any()
    np.testing.assert_array_equal(silhouettes(inside, (64, 44)), right)
    with pytest.raises(EngineError, match="masks are uint8 of 0 and 1: give 0 and 255, bools"):
        silhouettes(inside.astype(np.uint8), (64, 44))
    others: list[NDArray[Any]] = [inside.astype(np.float32), right, inside[0]]
    for wrong in others:
        with pytest.raises(EngineError, match=r"give uint8 or bool \[n, rows, columns\]"):
            silhouettes(wrong, (64, 44))


def test_nobody_is_black() -> None:
    assert not silhouettes(np.zeros((2, 30, 20), np.uint8), (64, 44)).any()


def constant_output(path: Path, shape: list[int | str], **manifest: object) -> Path:
    """A network whose output has this shape whatever it is shown; height and width of the input are open."""
    size = [1, *(one for one in shape[1:] if isinstance(one, int))]
    value = numpy_helper.from_array(np.zeros(size, np.float32), "value")
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["crops"], ["mean"], keepdims=0),
            helper.make_node("Add", ["value", "mean"], ["out"]),
        ],
        "constant",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, *shape[1:]])],
        [value],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    path.with_suffix(".json").write_text(json.dumps({"graph": path.name, **manifest}))
    return path


@pytest.mark.parametrize(
    ("shape", "manifest", "says"),
    [
        (["n", 2, HEIGHT, WIDTH], {"person": 7}, r"layout classes reads, .* with the person as class 7"),
        (["n", 2, HEIGHT, WIDTH], {"layout": "probability"}, r"probability reads, \[n, 1, height, width\]"),
        (["n", 2, HEIGHT, WIDTH], {"layout": "labels"}, r"labels reads, \[n, height, width\]"),
        (["n", 1, HEIGHT, WIDTH], {"layout": "classes"}, r"classes reads, \[n, classes, height, width\]"),
        (["n", HEIGHT, WIDTH, 2], {}, "has its classes on the last axis"),
        (["n", HEIGHT, WIDTH, 1], {}, "has its classes on the last axis"),
    ],
)
def test_a_manifest_that_does_not_fit_its_graph_is_refused(
    tmp_path: Path, cache: EngineCache, shape: list[int | str], manifest: dict[str, object], says: str
) -> None:
    path = constant_output(tmp_path / "net.onnx", shape, **manifest)
    with pytest.raises(ConfigError, match=says):
        Segmenter.load(path, "openvino", "fp32", 1, cache=cache)


@pytest.mark.parametrize("wrong", [{"person": -1}, {"scale": 0}, {"std": [0, 1, 1]}, {"size": [0, 0]}])
def test_numbers_no_manifest_may_hold(tmp_path: Path, wrong: dict[str, object]) -> None:
    path = constant_output(tmp_path / "net.onnx", ["n", 1, HEIGHT, WIDTH], **wrong)
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Segmenter.load(path, "openvino", "fp32", 1)
