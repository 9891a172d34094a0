"""What is asked of models, engines and the muxer before DeepStream starts."""

from __future__ import annotations

import os
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gaitstream.config.schema import Config
from gaitstream.deepstream import engines, models
from gaitstream.deepstream.engines import prepare_engines
from gaitstream.deepstream.graph import build_graph, check_ports, reconnects, room_for_cameras, uri_of
from gaitstream.deepstream.models import _detector
from gaitstream.deepstream.nvinfer import detector_sections, encoder_sections
from gaitstream.deepstream.plan import Plan
from gaitstream.deepstream.spec import start_of
from gaitstream.engines.base import BuildRequest, Built
from gaitstream.engines.cache import CachedEngine
from gaitstream.engines.proof import Proof
from gaitstream.errors import BundleError, ConfigError, EngineError, MissingExtraError
from gaitstream.pipeline.source.video import VideoSource

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def yolox(path: Path, given: int = FLOAT, made: int = FLOAT, columns: int = 85) -> Path:
    """A graph of YOLOX's shapes in these types: zeros of the picture's type."""
    rows = sum((64 // stride) ** 2 for stride in (8, 16, 32))
    zeros = numpy_helper.from_array(np.zeros((rows, columns), np.float32), "zeros")
    nodes = [
        helper.make_node("Cast", ["images"], ["picture"], to=FLOAT),
        helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["mean", "column"], ["means"]),
        helper.make_node("Add", ["zeros", "means"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["output"], to=made),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("images", given, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output", made, [1, rows, columns])],
        [zeros, numpy_helper.from_array(np.array([-1, 1, 1]), "column")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def with_detector(path: Path) -> Config:
    detector = {"model": str(path), "layout": "yolox"}
    return Config.model_validate(
        {"cameras": [{"id": "a", "url": "rtsp://h/1"}], "models": {"detector": detector}}
    )


def test_overlaps_of_a_row_for_every_cell_are_suppressed(plan: Plan, tmp_path: Path) -> None:
    """DeepStream-Yolo's exports have an end-to-end detector's columns, before suppression."""
    graph = yolox(tmp_path / "people.onnx", columns=6)
    config = Config.model_validate(
        {"cameras": [{"id": "a", "url": "rtsp://h/1"}], "models": {"detector": {"model": str(graph)}}}
    )
    detector = _detector(config)
    assert (detector.layout, detector.doubles) == ("yolov10", True)
    for doubles, mode in ((True, 2), (False, 4)):
        here = replace(plan, detector=replace(detector, doubles=doubles))
        sections = detector_sections(config, here)
        assert sections["property"]["cluster-mode"] == mode
        assert ("nms-iou-threshold" in sections["class-attrs-all"]) is doubles


def test_a_detector_in_single_floats_is_taken(tmp_path: Path) -> None:
    plan = _detector(with_detector(yolox(tmp_path / "yolox.onnx")))
    assert (plan.layout, plan.height, plan.width) == ("yolox", 64, 64)


@pytest.mark.parametrize(
    ("given", "made", "says"),
    [
        (HALF, FLOAT, "input images is f16"),
        (FLOAT, HALF, "output output is f16"),
        (HALF, HALF, "input images is f16, output output is f16"),
        (TensorProto.UINT8, FLOAT, "input images is u8"),
    ],
)
def test_a_detector_that_nvinfer_would_overrun_is_refused(
    given: int, made: int, says: str, tmp_path: Path
) -> None:
    """nvinfer writes four bytes for each value of the input, whatever its type."""
    with pytest.raises(ConfigError, match=says):
        _detector(with_detector(yolox(tmp_path / "yolox.onnx", given, made)))


def test_an_encoder_that_nvinfer_would_overrun_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_detector(yolox(tmp_path / "yolox.onnx"))
    half = models._Graph(yolox(tmp_path / "half.onnx", HALF, HALF), "fp16", plugins=False)
    monkeypatch.setattr(models, "_stored", lambda *_, **__: half)
    with pytest.raises(ConfigError, match="input images is f16; nvinfer writes f32"):
        models._encoder("gaitheat", "demo", config)


def test_a_model_that_no_export_brings_to_deepstream_is_said_to_be_one() -> None:
    """GaitBase looks at silhouettes: to export it again would not help."""
    config = Config.model_validate(
        {
            "cameras": [{"id": "a", "url": "rtsp://h/1"}],
            "models": {"gaitbase": "demo", "segmenter": "demo"},
        }
    )
    with pytest.raises(BundleError, match="looks at silhouette and not at crops alone") as caught:
        models.make_plan(config)
    assert "--frontend native" in str(caught.value)
    assert "gaitstream export" not in str(caught.value)


def test_a_pose_model_that_is_none_is_named(tmp_path: Path) -> None:
    pose = yolox(tmp_path / "people.onnx")
    config = Config.model_validate(
        {
            "cameras": [{"id": "a", "url": "rtsp://h/1"}],
            "models": {"gaitheat": "demo", "pose": str(pose)},
        }
    )
    with pytest.raises(EngineError, match=r"people\.onnx makes output .*: a pose model makes heatmaps"):
        models.make_plan(config)


# Engines.


def test_engines_are_built_for_the_gpu_that_runs_them(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[BuildRequest] = []

    def build(request: BuildRequest, runtime: str, **_: Any) -> CachedEngine:
        asked.append(request)
        return CachedEngine(Built(b"engine", Proof(source="none", layers={}, matrix_layers={})), None, "new")

    monkeypatch.setattr(engines, "build_engine", build)
    files = {}
    for gpu in (0, 2):
        here = Plan(plan.detector, plan.encoders, plan.parser, tmp_path / "engines", gpu)
        files[gpu] = prepare_engines(here)
        assert all(file.read_bytes() == b"engine" for file in files[gpu])
        assert [request.device for request in asked] == [f"cuda:{gpu}"] * 3
        config = Config.model_validate(
            {"cameras": [{"id": "a", "url": "rtsp://h/1"}], "deepstream": {"gpu": gpu}}
        )
        sections = [detector_sections(config, here), *(encoder_sections(config, here, i) for i in (0, 1))]
        assert [one["property"]["model-engine-file"] for one in sections] == [str(f) for f in files[gpu]]
        assert all(one["property"]["gpu-id"] == gpu for one in sections)
        graph = build_graph(config, here, tmp_path, view=True)
        placed = {n.properties["gpu-id"] for n in graph.nodes if "gpu-id" in n.properties}
        assert placed == {gpu}
        asked.clear()
    assert not set(files[0]) & set(files[2])  # two GPUs of one machine need not be alike


def test_without_tensorrts_module_engines_must_be_there(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nvinfer would compile them again at every start."""

    def missing(*_: Any, **__: Any) -> CachedEngine:
        raise MissingExtraError("tensorrt", "gpu", "The runtime 'tensorrt'")

    monkeypatch.setattr(engines, "build_engine", missing)
    here = Plan(plan.detector, plan.encoders, plan.parser, tmp_path)
    with pytest.raises(EngineError, match="python3-libnvinfer"):
        prepare_engines(here)
    config = Config.model_validate({"cameras": [{"id": "a", "url": "rtsp://h/1"}]})
    for sections in (detector_sections(config, here), *(encoder_sections(config, here, i) for i in (0, 1))):
        Path(str(sections["property"]["model-engine-file"])).write_bytes(b"engine")
    assert len(prepare_engines(here)) == 3


# The muxer.


def site_of(count: int, fps: float | None = 15.0, **deepstream: Any) -> Config:
    cameras = [{"id": f"c{i}", "url": f"rtsp://h/{i}", "fps": fps} for i in range(count)]
    return Config.model_validate({"cameras": cameras, "deepstream": {"source_fps": 30.0, **deepstream}})


@pytest.mark.parametrize("count", [1, 3, 16])
def test_a_batch_is_full_with_one_frame_of_every_camera(count: int, plan: Plan) -> None:
    """One with more room is never full, and waits for its timeout every time."""
    config = site_of(count)
    assert room_for_cameras(config) == count
    assert build_graph(config, plan, Path("/out")).node("cameras").properties["max-batch-size"] == count
    assert room_for_cameras(site_of(count, max_cameras=20)) == 20


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"metrics": {"port": 9000}}, "deepstream.rest: 9000 is the port of metrics.port"),
        ({"events": {"endpoint": "tcp://127.0.0.1:9000"}}, "deepstream.rest: 9000 is the port of events"),
        ({"metrics": {"port": 8554}}, "deepstream.view_port: 8554 is the port of metrics.port"),
        ({"deepstream": {"view_port": 9000}}, "deepstream.rest: 9000 is the port of deepstream.view_port"),
    ],
)
def test_two_things_do_not_listen_at_one_port(keys: dict[str, Any], said: str) -> None:
    config = Config.model_validate({"cameras": [{"id": "a", "url": "rtsp://h/1"}], **keys})
    with pytest.raises(ConfigError, match=re.escape(said)):
        check_ports(config, view=True)
    check_ports(site_of(1), view=True)


def test_a_scheme_is_written_as_deepstream_looks_for_it() -> None:
    camera = Config.model_validate({"cameras": [{"id": "a", "url": "RTSP://H/Main"}]}).cameras[0]
    assert uri_of(camera) == "rtsp://H/Main"
    assert reconnects(camera)


def test_a_process_has_room_for_as_many_cameras_as_deepstream_takes() -> None:
    assert room_for_cameras(site_of(1024)) == 1024
    with pytest.raises(
        ConfigError, match="1025 cameras are enabled, and one process of DeepStream takes 1024"
    ):
        room_for_cameras(site_of(1025))


@pytest.mark.parametrize(
    ("source_fps", "fps", "decoded_fps"),
    [(30, 15, 15), (30, 30, 30), (25, 10, 12.5), (30, None, 30), (5, 1, 1)],
)
def test_a_late_camera_costs_a_quarter_of_a_period_at_most(
    source_fps: float, fps: float | None, decoded_fps: float, plan: Plan
) -> None:
    config = site_of(2, fps, source_fps=source_fps)
    properties = build_graph(config, plan, Path("/out")).node("cameras").properties
    every = max(int(str(properties["drop-frame-interval"])), 1)
    assert source_fps / every == decoded_fps
    timeout_us = int(str(properties["batched-push-timeout"]))
    assert 0.2e6 / decoded_fps < timeout_us <= 0.25e6 / decoded_fps


# Times of files.


def test_both_front_ends_start_a_file_at_the_same_time(tmp_path: Path) -> None:
    """As configured, as the metadata say, else by the last write: one rule, in one place."""
    video = write_video(tmp_path / "plain.mp4")
    dated = write_video(tmp_path / "dated.mp4", "2026-02-03T04:05:06+00:00")
    os.utime(video, ns=(1, 1_700_000_000_000_000_000))
    for path, keys in (
        (video, {}),
        (dated, {}),
        (dated, {"start_time": "2026-01-01T00:00:00"}),
        (video, {"start_time": "2026-01-01T00:00:00+02:00"}),
    ):
        config = Config.model_validate({"cameras": [{"id": "a", "url": str(path), **keys}]})
        [camera] = config.cameras
        source = VideoSource(camera, config.sources)
        with closing(source):
            source.open()
            assert start_of(camera) == source._start_ns
    assert start_of(camera) == 1_767_218_400_000_000_000


def write_video(path: Path, created: str = "") -> Path:
    """A second of grey."""
    with av.open(str(path), "w") as container:
        if created:
            container.metadata["creation_time"] = created
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
