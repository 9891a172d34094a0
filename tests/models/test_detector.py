"""Detectors of every known layout, with canned outputs that hold known people, and a real one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream import zoo
from gaitstream.data import Floats
from gaitstream.engines import open_engine
from gaitstream.engines.base import Batch, Done, Engine, Feeds, Pending, TensorSpec
from gaitstream.engines.proof import Proof
from gaitstream.errors import ConfigError, EngineError
from gaitstream.models.detector import DetectorModel, suppress
from gaitstream.models.detector_layouts import (
    STRIDES,
    DetectorContract,
    Geometry,
    recognise,
    usual_contract,
)

Array = NDArray[Any]
SIZE = (128, 160)
"""Input height and width of the canned detectors."""
PEOPLE = np.array([[40, 30, 110, 210], [300, 100, 360, 280]], np.float32)
"""In an image of 400 x 300."""
SCORES = np.array([0.9, 0.6], np.float32)


def blank(height: int = 300, width: int = 400) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


class Canned(Engine):
    """An engine that gives prepared outputs and remembers what it was fed."""

    runtime, precision, device = "canned", "fp32", "none"

    def __init__(
        self, outputs: Callable[[int], dict[str, Array]], batch: int = -1, sizes_input: bool = False
    ) -> None:
        inputs = [TensorSpec("images", (batch, 3, *SIZE), "float32")]
        inputs += [TensorSpec("orig_target_sizes", (batch, 2), "int64")] if sizes_input else []
        self.inputs = {spec.name: spec for spec in inputs}
        self.outputs = {
            name: TensorSpec(name, (batch, *array.shape[1:]), str(array.dtype))
            for name, array in outputs(1).items()
        }
        self.fed: list[Mapping[str, Array]] = []
        self._make = outputs

    def submit(self, feeds: Feeds) -> Pending:
        self.fed.append(self.check(feeds))
        return Done(self._make(len(feeds["images"])))

    def proof(self) -> Proof:
        raise NotImplementedError

    def close(self) -> None: ...


def centres(boxes: Floats) -> Floats:
    return np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]])


def in_network(fit: Any) -> Floats:
    where = Geometry.of((300, 400), SIZE, fit)
    scale = np.array([where.scale_x, where.scale_y] * 2, np.float32)
    return PEOPLE * scale + np.array([where.left, where.top] * 2, np.float32)


def yolox(batch: int) -> dict[str, Array]:
    """Both people on the stride-8 grid, and a car with a high score."""
    cells = sum((SIZE[0] // stride) * (SIZE[1] // stride) for stride in STRIDES)
    raw = np.full((batch, cells, 85), 0.0, np.float32)
    for box, score in zip(centres(in_network("top_left")), SCORES, strict=True):
        x, y = int(box[0] // 8), int(box[1] // 8)
        row = y * (SIZE[1] // 8) + x
        raw[:, row, :4] = [box[0] / 8 - x, box[1] / 8 - y, np.log(box[2] / 8), np.log(box[3] / 8)]
        raw[:, row, 4:6] = [1.0, score]
    raw[:, 7, 4], raw[:, 7, 7] = 1.0, 0.99
    return {"output": raw}


def yolov8(batch: int) -> dict[str, Array]:
    raw = np.zeros((batch, 84, 420), np.float32)
    raw[:, :4, :2] = centres(in_network("center")).T
    raw[:, 4, :2] = SCORES
    raw[:, 6, 2] = 0.99
    return {"output0": raw}


def yolov10(batch: int) -> dict[str, Array]:
    raw = np.zeros((batch, 300, 6), np.float32)
    raw[:, :2] = np.hstack([in_network("center"), SCORES[:, None], np.zeros((2, 1))])
    raw[:, 2] = [0, 0, 50, 50, 0.99, 2]
    return {"output0": raw}


def detr(batch: int) -> dict[str, Array]:
    boxes = np.tile(np.vstack([in_network("stretch"), [[0, 0, 50, 50]]]).astype(np.float32), (batch, 1, 1))
    return {
        "labels": np.tile(np.array([0, 0, 2]), (batch, 1)),
        "boxes": boxes,
        "scores": np.tile(np.array([*SCORES, 0.99], np.float32), (batch, 1)),
    }


def detr_joined(batch: int) -> dict[str, Array]:
    raw = np.zeros((batch, 300, 84), np.float32)
    raw[:, :2, :4] = centres(in_network("stretch")) / [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]
    raw[:, :2, 4] = SCORES
    return {"output0": raw}


def rfdetr(batch: int) -> dict[str, Array]:
    boxes = np.zeros((batch, 300, 4), np.float32)
    boxes[:, :2] = centres(in_network("stretch")) / [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]
    logits = np.full((batch, 300, 91), -9.0, np.float32)
    logits[:, :2, 1] = np.log(SCORES / (1 - SCORES))
    return {"dets": boxes, "labels": logits}


CANNED: dict[str, tuple[str, Callable[[int], dict[str, Array]]]] = {
    "yolox": ("yolox", yolox),
    "yolov8": ("yolov8", yolov8),
    "yolov10": ("yolov10", yolov10),
    "rt-detr": ("detr", detr),
    "rt-detr, one output": ("detr", detr_joined),
    "rf-detr": ("rfdetr", rfdetr),
}


def model(name: str, batch: int = -1, size: int = 16) -> tuple[DetectorModel, Canned]:
    layout, outputs = CANNED[name]
    engine = Canned(outputs, batch, sizes_input=name == "rt-detr")
    shapes = {key: spec.shape for key, spec in engine.outputs.items()}
    assert recognise("x.onnx", shapes, SIZE) == layout
    return DetectorModel(usual_contract("x.onnx", layout), engine, batch=size), engine


@pytest.mark.parametrize("name", CANNED)
def test_people_are_found_where_they_are_and_nobody_else(name: str) -> None:
    detector, _ = model(name)
    (found,) = detector.detect([blank()])
    np.testing.assert_allclose(found.boxes, PEOPLE, atol=0.1)
    np.testing.assert_allclose(found.scores, SCORES, atol=1e-5)
    assert found.boxes.dtype == found.scores.dtype == np.float32


@pytest.mark.parametrize("name", CANNED)
def test_each_camera_has_its_own_limit(name: str) -> None:
    detector, _ = model(name)
    found = detector.detect([blank()] * 3, [0.3, 0.7, 0.95])
    assert [len(one.boxes) for one in found] == [2, 1, 0]
    assert found[2].boxes.shape == (0, 4)


def test_batches_are_filled_across_cameras_of_any_size() -> None:
    detector, engine = model("yolov8", size=4)
    images = [blank(), blank(600, 800), blank(150, 200), blank(), blank(), blank()]
    found = detector.detect(images)
    assert [len(feeds["images"]) for feeds in engine.fed] == [4, 2]
    np.testing.assert_allclose(found[1].boxes, PEOPLE * 2, atol=0.2)
    np.testing.assert_allclose(found[2].boxes, PEOPLE / 2, atol=0.1)


@pytest.mark.parametrize(("batch", "calls"), [(1, 3), (2, 2)])
def test_a_fixed_batch_is_filled_up(batch: int, calls: int) -> None:
    detector, engine = model("yolox", batch)
    assert len(detector.detect([blank()] * 3)) == 3
    assert [len(feeds["images"]) for feeds in engine.fed] == [batch] * calls


@pytest.mark.parametrize(
    "image",
    [
        blank()[:, :, 0], np.dstack([blank(), blank()[:, :, :1]]), blank().transpose(2, 0, 1), blank()[None],
        blank() / np.float32(255), blank().astype(np.uint16), blank()[:0],
    ],
    ids=["grey", "four channels", "planes", "a batch", "floats", "sixteen bits", "empty"],
)  # fmt: skip
def test_what_is_no_picture_is_refused(image: Array) -> None:
    detector, engine = model("yolox")
    with pytest.raises(EngineError, match=r"images are BGR uint8 \[height, width, 3\], not "):
        detector.detect([blank(), image])
    assert engine.fed == []


def test_no_image_no_call() -> None:
    detector, engine = model("yolox")
    assert detector.detect([]) == []
    assert engine.fed == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("yolox", [10, 20, 30]), ("yolov8", [30 / 255, 20 / 255, 10 / 255])],
)
def test_pixels_arrive_in_the_order_and_scale_of_the_layout(name: str, value: list[float]) -> None:
    detector, engine = model(name)
    detector.detect([np.full((300, 400, 3), (10, 20, 30), np.uint8)])
    np.testing.assert_allclose(engine.fed[0]["images"][0, :, 64, 80], value, rtol=1e-5)


def test_rfdetr_pixels_are_normalised() -> None:
    detector, engine = model("rf-detr")
    detector.detect([np.full((300, 400, 3), 255, np.uint8)])
    expected = (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(engine.fed[0]["images"][0, :, 5, 5], expected, rtol=1e-4)


def test_rtdetr_is_told_the_size_its_boxes_are_for() -> None:
    detector, engine = model("rt-detr")
    detector.detect([blank(), blank()])
    np.testing.assert_array_equal(engine.fed[0]["orig_target_sizes"], [[160, 128]] * 2)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((name, {"person": 200}) for name in CANNED if CANNED[name][0] in ("yolox", "yolov8", "rfdetr")),
        ("rt-detr, one output", {"person": 80}),
        ("yolov8", {"layout": "yolox"}),
        ("yolov8", {"layout": "yolov10"}),
        ("yolov8", {"layout": "rfdetr"}),
        ("yolox", {"layout": "yolov10"}),
        ("rf-detr", {"layout": "yolov8"}),
        ("rf-detr", {"layout": "detr"}),
        ("rt-detr", {"layout": "yolox"}),
    ],
)
def test_a_contract_that_does_not_fit_the_outputs_is_refused(name: str, changes: dict[str, Any]) -> None:
    layout, outputs = CANNED[name]
    contract = msgspec.structs.replace(usual_contract("x.onnx", layout), **changes)
    with pytest.raises(ConfigError, match=f"are not what the layout {contract.layout} reads, .* as class"):
        DetectorModel(contract, Canned(outputs))


@pytest.mark.parametrize(
    "wrong",
    [
        {"person": -1},
        {"scale": 0},
        {"std": [0, 1, 1]},
        {"mean": [1e300, 0, 0]},
        {"pad": 300},
        {"pad": -4},
        {"size": [0, 0]},
        {"size": [-5, 640]},
    ],
)
def test_numbers_no_manifest_may_hold(tmp_path: Path, wrong: dict[str, Any]) -> None:
    (tmp_path / "net.onnx").touch()
    manifest = tmp_path / "net.json"
    manifest.write_text(json.dumps({"graph": "net.onnx", "layout": "yolov8", **wrong}))
    with pytest.raises(ConfigError, match=rf"not a detector manifest.*{next(iter(wrong))}"):
        DetectorModel.load(manifest)


@pytest.mark.parametrize(
    "outputs",
    [
        {"boxes": (1, 8400, 4), "scores": (1, 8400, 80)},  # YOLO-NAS
        {"logits": (1, 300, 80), "pred_boxes": (1, 300, 4)},  # Hugging Face's RT-DETR: person is 0
        {"logits": (1, 100, 92), "pred_boxes": (1, 100, 4)},  # DETR: softmax
        {"boxes": (-1, 4), "labels": (-1,), "scores": (-1,)},  # torchvision: no batch
    ],
)
def test_outputs_that_mean_something_else_are_not_guessed(outputs: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError, match="are no detector layout known here"):
        recognise("x.onnx", outputs, (640, 640))


def test_labels_without_a_batch_are_refused_whoever_names_the_layout() -> None:
    engine = Canned(lambda _: {name: array[0] for name, array in detr(1).items()})
    with pytest.raises(ConfigError, match="are not what the layout detr reads"):
        DetectorModel(usual_contract("x.onnx", "detr"), engine)


def test_a_row_for_every_cell_is_suppressed_whatever_its_columns_mean() -> None:
    """DeepStream-Yolo's exports: the columns of an end-to-end detector, before suppression."""

    def rows(batch: int) -> dict[str, Array]:
        raw = np.zeros((batch, 420, 6), np.float32)
        one = in_network("center")[0]
        raw[:, :3] = [[*(one + shift), score, 0] for shift, score in ((0, 0.9), (0.5, 0.8), (1, 0.7))]
        return {"output": raw}

    (found,) = DetectorModel(usual_contract("x.onnx", "yolov10"), Canned(rows)).detect([blank()])
    np.testing.assert_allclose(found.boxes, PEOPLE[:1], atol=0.01)


@pytest.mark.parametrize(
    ("name", "scaled"), [("yolov8", np.s_[:, :4]), ("yolov10", np.s_[:, :, :4]), ("rt-detr", "boxes")]
)
def test_boxes_that_are_shares_of_the_picture_are_refused(name: str, scaled: Any) -> None:
    layout, outputs = CANNED[name]

    def shares(batch: int) -> dict[str, Array]:
        raw = outputs(batch)
        if isinstance(scaled, str):
            return raw | {scaled: raw[scaled] / 160}
        next(iter(raw.values()))[scaled] /= 160
        return raw

    detector = DetectorModel(usual_contract("x.onnx", layout), Canned(shares))
    with pytest.raises(ConfigError, match=r"x\.onnx: of \d+ people .* none has a size, .* in pixels"):
        detector.detect([blank()] * 16)


def test_small_boxes_are_no_reason_once_a_person_was_found() -> None:
    sizes = [1.0]

    def shrinking(batch: int) -> dict[str, Array]:
        return {"output0": yolov10(batch)["output0"] * [*sizes * 4, 1, 1]}

    detector = DetectorModel(usual_contract("x.onnx", "yolov10"), Canned(shrinking))
    assert len(detector.detect([blank()])[0].boxes) == 2
    sizes[0] = 1 / 160
    assert [len(found.boxes) for found in detector.detect([blank()] * 16)] == [0] * 16


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [((2, 5), (2,)), ((4,), (1,)), ((2, 4), (3,)), ((2, 4), (2, 1)), ((2, 2, 2), (2,))],
)
def test_a_layout_that_gives_something_else_is_named(boxes: tuple[int, ...], scores: tuple[int, ...]) -> None:
    """As another package's may."""
    detector, _ = model("yolox")
    given = np.ones(boxes, np.float32), np.ones(scores, np.float32)
    detector.layout = replace(detector.layout, decode=lambda *_: given)
    with pytest.raises(ConfigError, match=r"its layout yolox gives boxes .*, not \[n, 4\] and \[n\]"):
        detector.detect([blank()])


def test_scores_that_are_no_numbers_are_nobody() -> None:
    detector, _ = model("yolov8")
    right = detector.layout.decode

    def half_right(*args: Any) -> tuple[Array, Array]:
        boxes, scores = right(*args)
        return boxes, np.where(np.arange(len(scores)) == 0, np.nan, scores)

    detector.layout = replace(detector.layout, decode=half_right)
    (found,) = detector.detect([blank()])
    np.testing.assert_allclose(found.scores, SCORES[1:], atol=1e-5)


def test_boxes_that_are_no_numbers_are_nobody() -> None:
    def broken(batch: int) -> dict[str, Array]:
        raw = yolov8(batch)["output0"]
        raw[:, 2, 0] = np.inf
        return {"output0": raw}

    (found,) = DetectorModel(usual_contract("x.onnx", "yolov8"), Canned(broken)).detect([blank()])
    np.testing.assert_allclose(found.boxes, PEOPLE[1:], atol=0.01)


class Open(Canned):
    """An engine whose outputs' shapes the graph leaves open."""

    def __init__(self, outputs: Callable[[int], dict[str, Array]], axis: int) -> None:
        super().__init__(outputs)
        self.outputs = {
            name: TensorSpec(
                name, tuple(-1 if n == axis else one for n, one in enumerate(spec.shape)), spec.dtype
            )
            for name, spec in self.outputs.items()
        }


@pytest.mark.parametrize(
    ("outputs", "axis", "layout", "says"),
    [
        (lambda n: {"o": np.zeros((n, 1575, 85), np.float32)}, 1, "yolox", "not what the layout yolox reads"),
        (detr_joined, 1, "yolox", "not what the layout yolox reads"),
        (detr_joined, 2, "yolov8", "like detr once it does: set models.detector.layout"),
        (yolov8, 2, "yolov8", ""),
        (yolox, 1, "yolox", ""),
    ],
)
def test_shapes_that_are_left_open_are_looked_at_once(
    outputs: Callable[[int], dict[str, Array]], axis: int, layout: str, says: str
) -> None:
    engine = Open(outputs, axis)
    assert recognise("x.onnx", {name: spec.shape for name, spec in engine.outputs.items()}, SIZE) == layout
    detector = DetectorModel(usual_contract("x.onnx", layout), engine)
    if not says:
        detector.check_open_axes(guessed=True)
        return
    with pytest.raises(ConfigError, match=says):
        detector.check_open_axes(guessed=True)


@pytest.mark.parametrize("shape", [(1, *SIZE, 3), (1, 1, *SIZE), (3, *SIZE)])
def test_pictures_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    engine = Canned(yolov10)
    engine.inputs = {"images": TensorSpec("images", shape, "float32")}
    with pytest.raises(EngineError, match=r"takes images \[n, 3, height, width\]; this one takes images \["):
        DetectorModel(usual_contract("x.onnx", "yolov10"), engine)


def test_a_graph_that_takes_bytes_gets_them_unscaled() -> None:
    engine = Canned(yolov10)
    engine.inputs = {"images": TensorSpec("images", (-1, 3, *SIZE), "uint8")}
    image = np.full((128, 160, 3), (10, 20, 30), np.uint8)
    DetectorModel(usual_contract("x.onnx", "yolov10"), engine).detect([image])
    assert engine.fed[0]["images"][0, :, 5, 5].tolist() == [30, 20, 10]


def test_a_graph_that_takes_whole_numbers_gets_no_shares_of_white() -> None:
    engine = Canned(yolov10)
    engine.inputs = {"images": TensorSpec("images", (-1, 3, *SIZE), "int32")}
    contract = usual_contract("x.onnx", "yolov10")
    with pytest.raises(ConfigError, match=r"x.onnx takes int32, and the pixels .* are no whole numbers: set"):
        DetectorModel(contract, engine)
    image = np.full((128, 160, 3), (10, 20, 30), np.uint8)
    DetectorModel(msgspec.structs.replace(contract, scale=1.0), engine).detect([image])
    assert engine.fed[0]["images"].dtype == np.int32
    assert engine.fed[0]["images"][0, :, 5, 5].tolist() == [30, 20, 10]


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("colour", "seen"), [("rgb", 2), ("bgr", 0)])
def test_a_graph_that_takes_bytes_gets_the_colours_in_its_order(
    colour: str, seen: int, last: bool, runtime: str, tmp_path: Path
) -> None:
    """Also with channels last, where the engine takes pictures as they lie in memory."""
    onnx = pytest.importorskip("onnx", reason="making graphs needs the extra [export]")
    node, constant = onnx.helper.make_node, onnx.numpy_helper.from_array
    value, kinds = onnx.helper.make_tensor_value_info, onnx.TensorProto
    graph = onnx.helper.make_graph(
        [  # one box, whose score is the first channel's mean
            node("Cast", ["images"], ["floats"], to=kinds.FLOAT),
            node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
            node("Slice", ["means", "zero", "one", "one"], ["first"]),
            node("Div", ["first", "most"], ["share"]),
            node("Unsqueeze", ["share", "two"], ["score"]),
            node("Concat", ["box", "score", "class"], ["output0"], axis=2),
        ],
        "g",
        [value("images", kinds.UINT8, [1, 64, 64, 3] if last else [1, 3, 64, 64])],
        [value("output0", kinds.FLOAT, [1, 1, 6])],
        [
            constant(np.array([1, 2] if last else [2, 3]), "axes"),
            *(constant(np.array([number]), name) for number, name in enumerate(("zero", "one", "two"))),
            constant(np.array(255, np.float32), "most"),
            constant(np.array([[[10, 10, 40, 60]]], np.float32), "box"),
            constant(np.zeros((1, 1, 1), np.float32), "class"),
        ],
    )
    # `one` is the axis of the slice as well as its end and step.
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "d.onnx")
    manifest = {"graph": "d.onnx", "layout": "yolov10", "colour": colour, "size": [64, 64]}
    (tmp_path / "d.json").write_text(json.dumps(manifest))
    detector = DetectorModel.load(tmp_path / "d.onnx", runtime=runtime, precision="fp32")
    for channel in range(3):
        image = np.zeros((64, 64, 3), np.uint8)
        image[..., channel] = 255
        assert len(detector.detect([image])[0].boxes) == (channel == seen)
    detector.close()


def test_unknown_outputs_are_shown() -> None:
    with pytest.raises(ConfigError, match=r"x\.onnx: its outputs \(a \[1, 25200, 85\]\) are no detector"):
        recognise("x.onnx", {"a": (1, 25200, 85)}, (640, 640))


@pytest.mark.parametrize(
    ("shapes", "size", "layout"),
    [
        ({"output": (1, 3549, 85)}, (416, 416), "yolox"),
        ({"output": (-1, 8400, 6)}, (640, 640), "yolov10"),
        ({"output0": (1, 84, 8400)}, (640, 640), "yolov8"),
        ({"output0": (1, 5, 8400)}, (640, 640), "yolov8"),
        ({"output0": (-1, 300, 6)}, (640, 640), "yolov10"),
        ({"labels": (-1, 300), "boxes": (-1, 300, 4), "scores": (-1, 300)}, (640, 640), "detr"),
        ({"dets": (1, 300, 4), "labels": (1, 300, 91)}, (560, 560), "rfdetr"),
        ({"output0": (1, 300, 84)}, (640, 640), "detr"),
    ],
)
def test_layouts_of_published_exports(
    shapes: dict[str, tuple[int, ...]], size: tuple[int, int], layout: str
) -> None:
    assert recognise("x.onnx", shapes, size) == layout


def test_strides_of_no_published_export_are_not_guessed(tmp_path: Path) -> None:
    """The demo's detector has one stride, and another scale and fit than YOLOv8's own exports."""
    copied = tmp_path / "mine.onnx"
    copied.write_bytes(zoo.find("demo", "detector").with_suffix(".onnx").read_bytes())
    with pytest.raises(ConfigError, match=r"mine\.onnx: its outputs \(output \[-1, 5, 960\]\).*a manifest"):
        DetectorModel.load(copied, threads=1)


def test_a_detector_without_a_manifest_is_compiled_once(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def counted(*args: Any, **options: Any) -> Engine:
        opened.append(args[0])
        return open_engine(*args, **options)

    monkeypatch.setattr("gaitstream.models.detector.open_engine", counted)
    graph = shared / "models" / "yolox_nano_coco.onnx"
    detector = DetectorModel.load(graph, threads=1)
    detector.close()
    assert (opened, detector.contract.layout) == ([graph], "yolox")


@pytest.mark.parametrize(("most", "sizes"), [(4, Batch(1, 4, 4)), (100, Batch(1, 16, 100))])
def test_an_engine_is_compiled_for_the_images_that_are_asked_at_once(
    most: int, sizes: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was for 64: too few of 100, and four times the GPU's memory of 16."""
    given: list[Any] = []

    def opened(
        graph: Path, runtime: str, precision: str, threads: int | None, batch: Batch, **_: Any
    ) -> Engine:
        given.append(batch)
        return open_engine(graph, runtime, precision, threads, batch)

    monkeypatch.setattr("gaitstream.models.detector.open_engine", opened)
    DetectorModel.load("demo", runtime="openvino", precision="fp32", batch=most).close()
    assert given == [sizes]


@pytest.mark.parametrize(
    ("boxes", "scores", "kept"),
    [
        ([[0, 0, 10, 10], [1, 0, 11, 10]], [0.5, 0.9], [1]),
        ([[0, 0, 10, 10], [6, 0, 16, 10]], [0.5, 0.9], [1, 0]),
        ([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]], [0.9, 0.8, 0.7], [0, 2]),
        ([], [], []),
    ],
)
def test_suppression(boxes: list[list[float]], scores: list[float], kept: list[int]) -> None:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    assert suppress(array, np.array(scores, np.float32), 0.5).tolist() == kept


def test_suppression_equals_opencvs_on_crowds() -> None:
    import cv2

    random = np.random.default_rng(5)
    for _ in range(20):
        corner = random.uniform(0, 200, (60, 2))
        boxes = np.hstack([corner, corner + random.uniform(20, 90, (60, 2))]).astype(np.float32)
        scores = random.random(60).astype(np.float32)
        sized = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
        theirs = np.array(cv2.dnn.NMSBoxes(sized.tolist(), scores.tolist(), 0.0, 0.45)).ravel()
        assert suppress(boxes, scores, 0.45).tolist() == theirs.tolist()


def test_a_manifest_beside_the_file_speaks_for_it(tmp_path: Path, shared: Path) -> None:
    graph = tmp_path / "nano.onnx"
    graph.symlink_to(shared / "models" / "yolox_nano_coco.onnx")
    manifest = tmp_path / "nano.yaml"
    manifest.write_text("graph: nano.onnx\nlayout: yolox\nfit: top_left\ncolour: bgr\nscale: 1\nperson: 2\n")
    for path in (graph, manifest):
        detector = DetectorModel.load(path, threads=1)
        assert detector.contract == DetectorContract(
            graph="nano.onnx", layout="yolox", fit="top_left", colour="bgr", scale=1.0, person=2
        )
        detector.close()
    manifest.write_text("graph: nano.onnx\nlayout: yoloxx\n")
    with pytest.raises(ConfigError, match=r"nano\.onnx names the layout 'yoloxx', .*allowed: yolox, yolov8"):
        DetectorModel.load(graph)
    manifest.write_text("graph: nano.onnx\nlayouts: yolox\n")
    with pytest.raises(ConfigError, match="not a detector manifest"):
        DetectorModel.load(graph)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.onnx does not exist"):
        DetectorModel.load(tmp_path / "nope.onnx")


def test_an_engine_that_takes_bytes_sees_the_same_pixels(shared: Path) -> None:
    """One runtime makes floats itself, the other is fed them; pictures of two sizes follow each other."""
    path = shared / "models" / "yolox_nano_coco.onnx"
    one, other = (DetectorModel.load(path, runtime=name, threads=1) for name in ("openvino", "onnxruntime"))
    rng = np.random.default_rng(0)
    for sizes in [((300, 400), (480, 320)), ((416, 416),), ((200, 640), (600, 500), (300, 400))]:
        images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
        for found, wanted in zip(one.detect(images, 0.001), other.detect(images, 0.001), strict=True):
            np.testing.assert_allclose(found.scores[0], wanted.scores[0], rtol=1e-3)
            np.testing.assert_allclose(found.boxes[0], wanted.boxes[0], atol=0.05)
    one.close()
    other.close()


def test_a_real_detector_finds_nobody_in_an_empty_picture(shared: Path) -> None:
    detector = DetectorModel.load(shared / "models" / "yolox_nano_coco.onnx", threads=1)
    found = detector.detect([blank(480, 640), np.full((240, 320, 3), 114, np.uint8)])
    assert [len(one.boxes) for one in found] == [0, 0]
    detector.close()
