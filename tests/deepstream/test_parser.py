"""The C++ parser against the Python decoder, on a real detector's outputs and on drawn ones."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.models.detector import DetectorModel
from gaitstream.models.detector_layouts import LAYOUTS, DetectorContract, usual_contract

SOURCES = Path(__file__).parents[2] / "gaitstream" / "deepstream" / "parser"
CODES = {"yolox": 0, "yolov8": 1, "yolov10": 2, "detr": 3, "rfdetr": 4}
FLAGS = ["-std=c++17", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]


class CTensor(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("dims", ctypes.c_int * 4),
        ("rank", ctypes.c_int),
    )


class Parser:
    """The library's C interface."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._decode = self._library.gaitstream_decode

    def widen(self, halves: NDArray[np.float16]) -> NDArray[np.float32]:
        """Half floats as floats."""
        out = np.empty(halves.size, np.float32)
        self._library.gaitstream_widen_half(
            ctypes.c_void_p(halves.ctypes.data),
            ctypes.c_size_t(halves.size),
            ctypes.c_void_p(out.ctypes.data),
        )
        return out

    def __call__(
        self,
        layout: str,
        outputs: dict[str, NDArray[Any]],
        size: tuple[int, int],
        least: float,
        *,
        person: int = 0,
        capacity: int = 20000,
    ) -> NDArray[np.float32] | None:
        """Boxes xyxy and score `[n, 5]`, best first; None when the shapes are refused."""
        arrays = {name: np.ascontiguousarray(a, np.float32) for name, a in outputs.items()}
        tensors = (CTensor * len(arrays))()
        for tensor, (name, array) in zip(tensors, arrays.items(), strict=True):
            dims = (ctypes.c_int * 4)(*array.shape)
            tensor.name, tensor.data, tensor.dims, tensor.rank = (
                name.encode(),
                array.ctypes.data,
                dims,
                array.ndim,
            )
        out = np.zeros((max(capacity, 1), 5), np.float32)
        height, width = size
        count = self._decode(
            CODES[layout], tensors, len(arrays), width, height, person, ctypes.c_float(least),
            out.ctypes.data_as(ctypes.c_void_p), capacity,
        )  # fmt: skip
        if count < 0:
            return None
        found = out[:count]
        found[:, 2:4] += found[:, :2]
        return found[np.argsort(-found[:, 4], kind="stable")]


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Parser:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    library = tmp_path_factory.mktemp("parser") / "libparser.so"
    subprocess.run([compiler, *FLAGS, SOURCES / "decode.cpp", "-o", library], check=True)
    return Parser(library)


def expected(
    layout: Any,
    outputs: dict[str, NDArray[Any]],
    contract: DetectorContract,
    size: tuple[int, int],
    least: float,
) -> NDArray[np.float32]:
    boxes, scores = LAYOUTS.get(layout).decode(
        {k: v[None] for k, v in outputs.items()}, 0, contract, size, least
    )
    found = np.hstack([boxes, scores[:, None]]).astype(np.float32)
    return found[np.argsort(-found[:, 4], kind="stable")]


def drawn(layout: str, rng: np.random.Generator, classes: int = 7) -> dict[str, NDArray[Any]]:
    """Random but plausible outputs for an input of 96 x 160."""
    cells = sum(-(-96 // s) * -(-160 // s) for s in (8, 16, 32))
    scores = rng.uniform(0, 1, (50, classes)).astype(np.float32)
    xywh = rng.uniform(0.1, 0.4, (50, 4)).astype(np.float32)
    if layout == "yolox":
        rows = rng.normal(0, 0.7, (cells, 5 + classes)).astype(np.float32)
        rows[:, 4:] = rng.uniform(0, 1, (cells, 1 + classes))
        return {"out": rows}
    if layout == "yolov8":
        columns = rng.uniform(0, 1, (4 + classes, cells)).astype(np.float32)
        columns[:4] = rng.uniform(10, 90, (4, cells))
        return {"out": columns}
    corners = np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]) * 90
    labels = rng.integers(0, 3, (50, 1))
    if layout == "yolov10":
        return {"out": np.hstack([corners, scores[:, :1], labels]).astype(np.float32)}
    if layout == "detr":
        return {"out": np.hstack([xywh, scores])}
    return {"dets": xywh, "labels": rng.normal(0, 2, (50, classes)).astype(np.float32)}


@pytest.mark.parametrize(("layout", "person"), list(itertools.product(CODES, (0, 1, 2))))
def test_every_layout_decodes_as_python_does(parser: Parser, layout: Any, person: int) -> None:
    contract = usual_contract("drawn.onnx", layout)
    contract = DetectorContract(
        **{f: getattr(contract, f) for f in contract.__struct_fields__} | {"person": person}
    )
    for seed, least in itertools.product(range(4), (0.0, 0.25, 0.9)):
        outputs = drawn(layout, np.random.default_rng(seed))
        found = parser(layout, outputs, (96, 160), least, person=person)
        assert found is not None
        want = expected(layout, outputs, contract, (96, 160), least)
        assert len(found) == len(want)
        np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-4)


def test_detr_with_labels(parser: Parser) -> None:
    rng = np.random.default_rng(0)
    outputs = {
        "labels": rng.integers(0, 3, 30).astype(np.float32),
        "boxes": np.sort(rng.uniform(0, 90, (30, 4)), axis=1).astype(np.float32),
        "scores": rng.uniform(0, 1, 30).astype(np.float32),
    }
    found = parser("detr", outputs, (96, 160), 0.4)
    assert found is not None
    want = expected("detr", outputs, usual_contract("x", "detr"), (96, 160), 0.4)
    np.testing.assert_allclose(found, want, rtol=1e-6)


def test_wrong_shapes_are_refused_and_bad_numbers_dropped(parser: Parser) -> None:
    outputs = drawn("yolox", np.random.default_rng(0))
    assert parser("yolox", outputs, (96, 192), 0.1) is None
    assert parser("yolov10", outputs, (96, 160), 0.1) is None
    assert parser("rfdetr", outputs, (96, 160), 0.1) is None
    assert parser("yolox", outputs, (96, 160), 0.1, person=7) is None
    rows = drawn("yolov10", np.random.default_rng(0))["out"]
    rows[:, 5] = 0
    rows[0, 0], rows[1, 2], rows[2, 4] = np.nan, np.inf, np.nan
    rows[3, 2] = rows[3, 0] - 1
    found = parser("yolov10", {"out": rows}, (96, 160), 0.0)
    assert found is not None
    assert len(found) == len(rows) - 4
    assert np.isfinite(found).all()


def test_the_best_stay_when_there_are_too_many(parser: Parser) -> None:
    outputs = drawn("yolov8", np.random.default_rng(2))
    every, few = (parser("yolov8", outputs, (96, 160), 0.0, capacity=n) for n in (20000, 25))
    assert every is not None
    assert few is not None
    np.testing.assert_array_equal(few, every[:25])
    none = parser("yolov8", outputs, (96, 160), 0.0, capacity=0)
    assert none is not None
    assert len(none) == 0


def test_a_real_detector_on_a_real_video(parser: Parser, shared: Path) -> None:
    import cv2

    model = DetectorModel.load(shared / "models" / "yolox_nano_coco.onnx", runtime="openvino", threads=2)
    video = cv2.VideoCapture(str(shared / "media" / "walkers_gallery.mp4"))
    total = 0
    for index in range(60):
        ok, image = video.read()
        assert ok
        if index % 20:
            continue
        outputs = model.engine.infer(model.feeds(0, [np.asarray(image, np.uint8)]))
        raw = {name: value[0] for name, value in outputs.items()}
        found = parser("yolox", raw, model.size, 0.3)
        assert found is not None
        want = expected("yolox", raw, model.contract, model.size, 0.3)
        np.testing.assert_allclose(found, want, rtol=2e-5, atol=1e-3)
        total += len(found)
    model.close()
    video.release()
    assert total >= 3 * 4  # four people walk there


def test_half_outputs_are_widened_exactly(parser: Parser) -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(parser.widen(halves), halves.astype(np.float32))


def test_the_entry_points_take_half_outputs() -> None:
    """What the headers' test compiles where they are."""
    text = (SOURCES / "nvinfer.cpp").read_text()
    assert re.search(r"case HALF:\s+store->resize\(count\);\s+gaitstream_widen_half", text)


def test_the_entry_points_compile_against_nvidias_headers(tmp_path: Path) -> None:
    """GAITSTREAM_HEADERS: a folder with deepstream/includes and tensorrt/include."""
    headers = os.environ.get("GAITSTREAM_HEADERS")
    cuda = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"
    if headers is None or not cuda.is_dir():
        pytest.skip("NVIDIA's headers are not here; set GAITSTREAM_HEADERS")
    library = tmp_path / "libgaitstream_parser.so"
    places = (Path(headers) / "deepstream" / "includes", Path(headers) / "tensorrt" / "include", cuda)
    includes = [part for place in places for part in ("-isystem", str(place))]
    sources = [SOURCES / "decode.cpp", SOURCES / "nvinfer.cpp"]
    subprocess.run(["g++", *FLAGS, *sources, *includes, "-o", library], check=True)
    loaded = ctypes.CDLL(str(library))
    for entry in parsers().values():
        assert getattr(loaded, entry) is not None


def parsers() -> dict[str, str]:
    """The function of our library by layout."""
    found = {name: LAYOUTS.get(name).nvinfer for name in CODES}
    return {name: parser.function for name, parser in found.items() if parser is not None}


def test_the_entry_points_are_those_that_configurations_name() -> None:
    text = (SOURCES / "nvinfer.cpp").read_text()
    for layout, entry in parsers().items():
        assert f"GAITSTREAM_ENTRY({entry}, GAITSTREAM_{layout.upper()})" in text
