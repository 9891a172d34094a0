"""Poses, features and maxima that never leave the device, beside the same by way of the host.

The device is simulated: the product's own code queues work on streams that dawdle, so that a wait that is
missing shows as another result, and every copy is counted.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.config.schema import Config
from gaitstream.config.track_sections import Quality
from gaitstream.data import Frame, Image, Person
from gaitstream.engines import Pixels
from gaitstream.engines.base import TensorSpec
from gaitstream.engines.simulated import SimulatedDevice, SimulatedStream
from gaitstream.engines.simulated_tensorrt import Program, open_simulated
from gaitstream.errors import EngineError
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.models.alignment import HeatmapAligner
from gaitstream.models.device_path import DeviceBatch, DeviceFeature, DevicePath, Stage
from gaitstream.models.device_pool import WINDOWS_AT_ONCE, DevicePool
from gaitstream.models.encoders import FrameEncoder, Head
from gaitstream.models.on_device import DeviceEncoder
from gaitstream.models.pose import PoseModel, keypoints, read_contract
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.resolve import find_bundle
from gaitstream.pipeline.embed import Embedder, Filled
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.pool import Emitted, MapWindow, WindowRule

CROP_BYTES = 3 * 256 * 192
JOINT_BYTES = 17 * 3 * 4
RULE = WindowRule(length=4, stride=2, provisional_from=3, max_gap_s=1e9)
SECOND_NS = 1_000_000_000


@pytest.fixture
def device() -> Iterator[SimulatedDevice]:
    made = SimulatedDevice(seed=5, delay_s=3e-3)
    yield made
    made.close()


def on(device: SimulatedDevice, people: int) -> tuple[PoseModel, Recognizer]:
    """The demo's models on a device."""
    graph, contract = read_contract("demo")
    pixels = Pixels(contract.scale, contract.mean, contract.std)
    pose = PoseModel(contract, open_simulated(graph, device, batch=people, pixels=pixels))
    bundle = find_bundle("demo", family="gaitheat")
    manifest = bundle.manifest
    assert manifest.alignment is not None
    frames = FrameEncoder(
        manifest,
        open_simulated(bundle.graph("frame", "fp32"), device, batch=people),
        HeatmapAligner(manifest.alignment),
    )
    head = Head(manifest, open_simulated(bundle.graph("head", "fp32"), device, batch=people))
    return pose, Recognizer(bundle, head, frames)


def on_host() -> tuple[PoseModel, Recognizer]:
    return PoseModel.load("demo", "openvino", "fp32"), Recognizer.load(
        find_bundle("demo", family="gaitheat"), "openvino", "fp32"
    )


def picture(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (360, 640, 3), dtype=np.uint8)


def boxes(count: int, seed: int) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    corner = random.uniform((0, 0), (500, 100), (count, 2))
    return np.concatenate([corner, corner + random.uniform((40, 120), (120, 250), (count, 2))], 1).astype(
        np.float32
    )


def people(frames: int) -> list[tuple[Image, NDArray[np.float32]]]:
    return [(picture(seed), boxes(1 + seed % 5, seed)) for seed in range(frames)]


def test_joints_and_features_equal_the_hosts(device: SimulatedDevice) -> None:
    """Batches of four over frames of one to five people: pieces of frames, and frames in pieces."""
    pose, recognizer = on(device, 4)
    encoder = DeviceEncoder(pose, {"gaitheat": recognizer}, people=4)
    host_pose, host = on_host()
    seen = people(6)
    rows, joints = encoder.find_poses(seen)
    heatmaps = np.concatenate([host_pose.heatmaps(host_pose.crop(*one)) for one in seen])
    expected = keypoints(heatmaps)
    assert len(rows) == len(heatmaps) == sum(len(one) for _, one in seen)
    np.testing.assert_allclose(joints, expected, atol=1e-4)
    window, features = MapWindow(RULE, None), host.encode(heatmaps, expected)
    pooled = []
    for index, feature in enumerate(encoder.features("gaitheat", rows[[0, 3, 4, 9]])):
        if window.frames == 0:
            window = MapWindow(RULE, feature.pool)
        emitted = window.add(index, feature)
        pooled += [emitted] if emitted else []
    (emitted,) = pooled[-1:]
    np.testing.assert_allclose(np.asarray(emitted.data), features[[0, 3, 4, 9]].max(axis=0), atol=1e-5)
    encoder.close()


def test_the_networks_of_a_lane_work_in_the_same_memory(device: SimulatedDevice) -> None:
    """One after the other on its stream: the larger one's is enough for both."""
    maps, parts = (
        TensorSpec("maps", (-1, 17, 64, 48), "float32"),
        TensorSpec("parts", (-1, 3, 64, 48), "float32"),
    )
    crops, features = (
        TensorSpec("x", (-1, 3, 256, 192), "uint8"),
        TensorSpec("features", (-1, 8, 16, 12), "float32"),
    )
    pose = open_simulated(Program({"x": crops}, {"maps": maps}, dict, scratch_bytes=1 << 24), device)
    frame = open_simulated(
        Program({"parts": parts}, {"features": features}, dict, scratch_bytes=1 << 25), device
    )
    path = DevicePath(pose, {"gait": Stage(frame, AlignmentOptions((tuple(range(5)),) * 2))}, people=1)
    before = device.traffic.memory_bytes
    path.begin(1)
    assert 1 << 25 < device.traffic.memory_bytes - before < (1 << 25) + (1 << 21)
    path.close()
    assert device.traffic.memory_bytes == before


def works(frame: int, cameras: int = 3) -> list[Work]:
    """Two people before every camera, in one frame each."""
    made = []
    for camera in range(cameras):
        name, time_ns = f"cam{camera}", (1_800_000_000 + frame) * SECOND_NS
        found = boxes(2, camera) + np.float32(3 * frame)
        persons = tuple(
            Person(name, track, frame, time_ns, box, 0.9) for track, box in enumerate(found, start=1)
        )
        made.append(Work(Frame(name, frame, time_ns, picture(10 * frame + camera)), persons))
    return made


def run(encoder: Encoder, frames: int) -> dict[tuple[str, int], list[Any]]:
    """Windows and embeddings of every track."""
    quality = Quality(min_sharpness=0, min_pose_score=0, min_motion=0)
    cameras = [{"id": f"cam{index}", "url": "x.mp4"} for index in range(3)]
    judge = EvidenceJudge(Config.model_validate({"cameras": cameras, "quality": quality}))
    embedder = Embedder(encoder.recognizers, RULE)
    windows: dict[tuple[str, int], Any] = {}
    out: dict[tuple[str, int], list[Any]] = {}
    for frame in range(frames):
        encoded = encoder.encode(works(frame), judge)
        filled = []
        for feature in encoded.features:
            key = feature.person.camera, feature.person.track
            window = windows.setdefault(key, embedder.window(feature.model, feature.map))
            emitted = window.add(feature.person.time_ns, feature.map)
            if emitted is not None:
                filled.append(Filled(feature.model, *key, emitted))
        for embedding in embedder.embed(filled):
            tracklet = embedding.tracklet
            out.setdefault((tracklet.camera, tracklet.track), []).append((tracklet, embedding.parts))
    return out


def test_the_pipeline_gives_the_same_windows_and_embeddings(device: SimulatedDevice) -> None:
    pose, recognizer = on(device, 4)
    encoder = Encoder({"gaitheat": recognizer}, pose)
    assert encoder.device is not None
    host_pose, host = on_host()
    plain = Encoder({"gaitheat": host}, host_pose)
    assert plain.device is None
    expected, found = run(plain, 9), run(encoder, 9)
    assert found.keys() == expected.keys()
    assert len(found) == 6
    for key, windows in expected.items():
        assert len(found[key]) == len(windows) >= 3
        for (tracklet, parts), (other, others) in zip(windows, found[key], strict=True):
            assert (tracklet.first_ns, tracklet.frames, tracklet.provisional) == (
                other.first_ns, other.frames, other.provisional
            )  # fmt: skip
            assert isinstance(other.pooled, np.ndarray)
            np.testing.assert_allclose(other.pooled, tracklet.pooled, atol=1e-4)
            np.testing.assert_allclose(others, parts, atol=1e-4)
    encoder.close()
    assert device.traffic.memory_bytes == 0


def test_exactly_these_bytes_are_copied(device: SimulatedDevice) -> None:
    """Of a person-frame a crop goes up and joints come down; of a window the pooled map; no other maps."""
    pose, recognizer = on(device, 4)
    encoder = DeviceEncoder(pose, {"gaitheat": recognizer}, people=4)
    frames, windows = 0, 0
    open_windows: list[MapWindow] = []
    emitted: list[Emitted] = []
    for seed in range(8):
        rows, _ = encoder.find_poses([(picture(seed), boxes(4, seed))])
        frames += len(rows)
        for index, feature in enumerate(encoder.features("gaitheat", rows)):
            if seed == 0:
                open_windows.append(MapWindow(RULE, feature.pool))
            one = open_windows[index].add(seed, feature)
            emitted += [one] if one else []
        windows = len(emitted)
    traffic = device.traffic
    map_bytes = 4 * int(np.prod(emitted[0].data.shape))
    assert (traffic.uploads, traffic.upload_bytes) == (8, frames * CROP_BYTES)
    assert traffic.downloads == 8 + windows
    assert traffic.download_bytes == frames * JOINT_BYTES + windows * map_bytes
    for one in emitted:
        assert not np.isnan(np.asarray(one.data)).any()
    assert traffic.downloads == 8 + windows  # looking at a window copies nothing more
    encoder.close()


def cheap(feature: int) -> tuple[Program, Program]:
    """A pose model and a frame graph that cost nothing: one value of the crop, spread."""

    def poses(feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        crops = feeds["crops"]
        maps = np.zeros((len(crops), 17, 64, 48), np.float32)
        maps[:, :, 30, 20] = crops[:, 0, 0, 0, None] / 255
        return {"heatmaps": maps}

    def encode(feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        values = feeds["parts"].max(axis=(1, 2, 3)).astype(np.float32)
        return {"features": np.repeat(values[:, None], feature, 1)[:, :, None, None]}

    return (
        Program(
            {"crops": TensorSpec("crops", (-1, 3, 256, 192), "uint8")},
            {"heatmaps": TensorSpec("heatmaps", (-1, 17, 64, 48), "float32")},
            poses,
        ),
        Program(
            {"parts": TensorSpec("parts", (-1, 2, 64, 48), "float32")},
            {"features": TensorSpec("features", (-1, feature, 1, 1), "float32")},
            encode,
        ),
    )


def cheap_path(device: SimulatedDevice, people: int = 8) -> tuple[DevicePath, DevicePool]:
    pose, frame = cheap(16)
    stage = Stage(
        open_simulated(frame, device, batch=people), AlignmentOptions((tuple(range(17)),), gamma_deg=90.0)
    )
    path = DevicePath(open_simulated(pose, device, batch=people), {"g": stage}, people=people)
    return path, DevicePool(path, "g")


def encode(path: DevicePath, pool: DevicePool, values: list[int]) -> list[DeviceFeature]:
    """Features that are `value / 255` of one person each."""
    batch = path.begin(len(values))
    batch.crops[...] = 0
    batch.crops[:, 0, 0, 0] = values
    batch.start()
    batch.joints()
    return [batch.feature("g", index)._replace(pool=pool) for index in range(len(values))]


def test_a_frame_graph_may_take_half_floats(device: SimulatedDevice) -> None:
    """Parts are written in the type that it reads."""
    pose, frame = cheap(16)
    halved = {"parts": replace(frame.inputs["parts"], dtype="float16")}
    options = AlignmentOptions((tuple(range(17)),), gamma_deg=90.0)

    def path_of(program: Program) -> DevicePath:
        stage = Stage(open_simulated(program, device, batch=8), options)
        return DevicePath(open_simulated(pose, device, batch=8), {"g": stage}, people=8)

    found = []
    for program in (frame, frame._replace(inputs=halved)):
        path = path_of(program)
        pool = DevicePool(path, "g")
        blocks = [pool.start(feature) for feature in encode(path, pool, [51, 204])]
        found.append([float(np.asarray(pool.pooled([block])).max()) for block in blocks])
        path.close()
        pool.close()
    np.testing.assert_allclose(found[0], [0.2, 0.8], atol=1e-6)
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)
    with pytest.raises(EngineError, match="'parts' is int8; the device takes float32 or float16"):
        path_of(frame._replace(inputs={"parts": replace(frame.inputs["parts"], dtype="int8")}))


def test_nothing_leaks_over_ten_thousand_windows() -> None:
    """Lanes, slots and rows come back; what is asked for late, or never, is no exception."""
    device = SimulatedDevice()
    path, pool = cheap_path(device)
    random = np.random.default_rng(0)
    tracks = {index: MapWindow(RULE, pool) for index in range(8)}
    history: dict[int, list[int]] = {index: [] for index in tracks}
    memory, windows, late = [], 0, []
    turn = 0
    while windows < 10_000:
        values = random.integers(1, 256, 8).tolist()
        for index, feature in enumerate(encode(path, pool, values)):
            if random.random() < 0.02:  # the track ends, and another begins in its place
                tracks[index], history[index] = MapWindow(RULE, pool), []
            history[index].append(values[index])
            emitted = tracks[index].add(turn, feature)
            if emitted is None:
                continue
            windows += 1
            expected = max(history[index][-emitted.frames :]) / 255
            late.append((emitted.data, expected))
        if turn % 7 == 0:
            for data, expected in late[::3]:  # the others are never looked at
                np.testing.assert_allclose(np.asarray(data), expected, atol=1e-6)
            late.clear()
        turn += 1
        memory.append(device.traffic.memory_bytes)
    assert len(set(memory[100:])) == 1
    assert len(path._lanes) <= 3
    tracks.clear()
    del feature, emitted, data
    gc.collect()
    pool.close()
    path.close()
    for stage in path.stages.values():
        stage.engine.close()
    path.pose.close()
    assert device.traffic.memory_bytes == 0
    device.close()


@pytest.mark.parametrize("seed", range(3))
def test_a_wait_that_is_left_out_is_noticed(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the events between streams the maxima are taken of features that are not there yet."""

    def wrong(delay_s: float = 4e-3) -> int:
        device = SimulatedDevice(seed, delay_s=delay_s)
        path, pool = cheap_path(device)
        found = 0
        for start in range(1, 200, 8):
            values = list(range(start, start + 8))
            first, *others = encode(path, pool, values)
            block = pool.start(first)
            for feature in others:
                pool.merge(block, feature)
            got = pool.pooled([block]).fetch()
            found += not np.allclose(got, values[-1] / 255, atol=1e-6)
        device.close()
        return found

    assert wrong() == 0
    monkeypatch.setattr(SimulatedStream, "wait", lambda self, event: None)
    # On a busy machine threads may stand for so long that short delays do not show: longer ones do.
    assert any(wrong(delay_s) for delay_s in (4e-3, 2e-2, 1e-1))


def test_features_nobody_pools_hold_their_lanes() -> None:
    device = SimulatedDevice()
    path, pool = cheap_path(device, people=1)
    held = [encode(path, pool, [value]) for value in range(1, 5)]
    assert len(path._lanes) == 4
    del held[1:]
    encode(path, pool, [9])
    assert len(path._lanes) == 4
    with pytest.raises(EngineError, match="64 batches of features are held"):
        held += [encode(path, pool, [1]) for _ in range(70)]
    device.close()


def test_many_windows_at_once_wait_for_the_oldest() -> None:
    device = SimulatedDevice(delay_s=1e-4)
    path, pool = cheap_path(device)
    count = 2 * WINDOWS_AT_ONCE + 5
    pooled = []
    for value in range(1, count + 1):
        (feature,) = encode(path, pool, [value])
        pooled.append(pool.pooled([pool.start(feature)]))
    for value, one in enumerate(pooled, start=1):
        np.testing.assert_allclose(np.asarray(one), value / 255, atol=1e-6)
        assert np.asarray(one, np.float64).dtype == np.float64
    device.close()


def test_what_needs_the_host_goes_by_way_of_it(device: SimulatedDevice) -> None:
    pose, recognizer = on(device, 4)
    host_pose, host = on_host()
    assert DeviceEncoder.where_possible(host_pose, {"gaitheat": host}) is None
    assert DeviceEncoder.where_possible(None, {"gaitheat": recognizer}) is None
    assert DeviceEncoder.where_possible(pose, {"gaitheat": host}) is None  # one here, one there
    assert DeviceEncoder.where_possible(pose, {}) is None
    assert Encoder({"gaitheat": recognizer}, pose, on_device=False).device is None
    other = SimulatedDevice(index=1)
    elsewhere, _ = on(other, 4)
    assert DeviceEncoder.where_possible(elsewhere, {"gaitheat": recognizer}) is None
    other.close()


def test_a_device_is_given_many_people_at_once(device: SimulatedDevice) -> None:
    """What suits a CPU leaves a GPU idle."""
    pose, recognizer = on(device, 16)
    host_pose, host = on_host()
    assert pose.engine.rows_at_once(8) == 16
    assert host_pose.engine.rows_at_once(8) == 8
    assert Encoder({"gaitheat": recognizer}, pose).people_at_once == 8 * 16
    assert Encoder({"gaitheat": host}, host_pose).people_at_once == 64


def test_all_batches_are_under_way_before_one_is_waited_for(device: SimulatedDevice) -> None:
    pose, recognizer = on(device, 2)
    encoder = DeviceEncoder(pose, {"gaitheat": recognizer}, people=2)
    waited: list[int] = []
    joints = DeviceBatch.joints

    def noted(batch: DeviceBatch) -> NDArray[np.float32]:
        waited.append(device.traffic.uploads)
        return joints(batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceBatch, "joints", noted)
        encoder.find_poses([(picture(0), boxes(7, 0))])
    assert waited == [4, 4, 4, 4]
    encoder.close()


def test_the_next_frames_are_detected_while_these_are_encoded() -> None:
    """Joints alone are waited for: other networks and the next people's poses run beside a frame graph."""
    device, goes_on = SimulatedDevice(), threading.Event()
    pose, frame = cheap(16)

    def slow(feeds: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        assert goes_on.wait(20)
        return frame.compute(feeds)

    options = AlignmentOptions((tuple(range(17)),), gamma_deg=90.0)
    stage = Stage(open_simulated(frame._replace(compute=slow), device, batch=8), options)
    path = DevicePath(open_simulated(pose, device, batch=8), {"g": stage}, people=8)
    pool, detector = DevicePool(path, "g"), open_simulated(pose, device, batch=8)
    first = encode(path, pool, [51])
    found = detector.infer({"crops": np.full((1, 3, 256, 192), 102, np.uint8)})
    assert found["heatmaps"].max() == pytest.approx(0.4)
    both = [*first, *encode(path, pool, [204])]
    assert not goes_on.is_set()
    goes_on.set()
    features = [np.asarray(pool.pooled([pool.start(one)])).max() for one in both]
    np.testing.assert_allclose(features, [0.2, 0.8], atol=1e-6)
    path.close()
    device.close()


def test_a_graph_for_one_batch_size_is_refused() -> None:
    """Batches of people come in every size; the way by the host runs such a graph one by one."""
    device = SimulatedDevice()
    pose, frame = cheap(16)
    single = pose._replace(inputs={"crops": TensorSpec("crops", (1, 3, 256, 192), "uint8")})
    stage = Stage(open_simulated(frame, device), AlignmentOptions((tuple(range(17)),)))
    with pytest.raises(EngineError, match=r"'crops' takes \[1, 3, 256, 192\]: a graph for any batch"):
        DevicePath(open_simulated(single, device), {"g": stage})
    device.close()
