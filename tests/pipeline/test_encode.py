"""Encoding: the right people, in the right order, with the same features as one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitstream.config.schema import Config
from gaitstream.config.track_sections import Quality
from gaitstream.data import Frame, Image, Person, Reason
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import ConfigError, EngineError
from gaitstream.models import skeleton_maps
from gaitstream.models.bundle import Bundle
from gaitstream.models.manifest import (
    ClipContract,
    EmbeddingContract,
    Graphs,
    InputContract,
    InputKind,
    Manifest,
)
from gaitstream.models.pose import PoseModel, keypoints, to_image
from gaitstream.models.recognizer import Recognizer
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.runner import load_detector

LENIENT = Quality(min_sharpness=0, min_pose_score=0, min_motion=0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    """Engines of random weights do not belong into the user's cache."""
    return EngineCache(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Narrow models with random weights: what is tested here is who is encoded, not how well.

    `gaitheat-released` is normalised over the tracklet, as the released model is.
    """
    torch = pytest.importorskip("torch", reason="writing bundles needs the extra [export]")
    from gaitstream.export.api import ExportOptions, write_bundle
    from gaitstream.models.biggait.module import BigGait, GaitNet
    from gaitstream.models.biggait.trained import TrainedBigGait
    from gaitstream.models.gaitheat.module import GaitHeat
    from gaitstream.models.gaitheat.spec import GaitHeatOptions
    from gaitstream.models.gaitheat.trained import TrainedGaitHeat
    from gaitstream.models.trained import TrainedModel

    torch.manual_seed(3)
    net = GaitNet((6, 5), (8, 8, 16, 16), 4, 16, 8, 3)
    biggait = BigGait(dim=64, depth=4, hidden=64, denoising_hidden=16, net=net, widths=(6, 5))
    gaitheat = GaitHeat((4, 8, 8, 16), parts=16, dim=8, identities=3)
    root = tmp_path_factory.mktemp("bundles")
    weights = root / "weights.pt"
    weights.write_bytes(b"random")
    for module in (biggait, gaitheat):
        module.eval().requires_grad_(False)
    wanted: dict[str, TrainedModel] = {
        "biggait": TrainedBigGait(biggait),
        "gaitheat": TrainedGaitHeat(gaitheat),
        "gaitheat-released": TrainedGaitHeat(gaitheat, GaitHeatOptions(normalization="tracklet")),
    }
    for name, model in wanted.items():
        (root / name).mkdir()
        write_bundle(model, root / name, ExportOptions(precisions=("fp32",)), [weights])
    return {name: root / name for name in wanted}


@pytest.fixture(scope="module")
def biggait(bundles: dict[str, Path], cache: EngineCache) -> Recognizer:
    return Recognizer.load(bundles["biggait"], "openvino", "fp32", 2, cache=cache)


@pytest.fixture(scope="module")
def gaitheat(bundles: dict[str, Path], cache: EngineCache) -> Recognizer:
    return Recognizer.load(bundles["gaitheat"], "openvino", "fp32", 2, cache=cache)


@pytest.fixture(scope="module")
def pose(shared: Path, cache: EngineCache) -> PoseModel:
    return PoseModel.load(
        shared / "models" / "simplepose_nano_coco17.onnx", "openvino", "fp32", 2, cache=cache
    )


@pytest.fixture(scope="module")
def images(shared: Path) -> list[Image]:
    """Two moments of the four walkers."""
    import av

    with av.open(str(shared / "media" / "walkers_gallery.mp4")) as container:
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    return [np.asarray(frames[index], np.uint8) for index in (200, 230)]


BOXES = [[[55, 415, 125, 645], [165, 425, 225, 620]], [[380, 415, 465, 645]]]
"""Walkers in the two moments."""


def judge(quality: Quality = LENIENT, recognizers: Sequence[Recognizer] = ()) -> EvidenceJudge:
    cameras = [{"id": f"camera{index}", "url": "a.mp4"} for index in range(2)]
    return EvidenceJudge(Config.model_validate({"cameras": cameras, "quality": quality}), recognizers)


def works(images: list[Image], rejected: Reason | None = None) -> list[Work]:
    """Two cameras, two people and one; the second of the first may be rejected already."""
    batch = []
    for index, (image, boxes) in enumerate(zip(images, BOXES, strict=True)):
        name = f"camera{index}"
        persons = tuple(
            Person(name, track, 7, 1000, np.array(box, np.float32), 0.9, rejected if track == 1 else None)
            for track, box in enumerate(boxes)
        )
        batch.append(Work(Frame(name, 7, 1000, image), persons))
    return batch


def test_a_batch_across_cameras_equals_one_by_one(images: list[Image], biggait: Recognizer) -> None:
    encoded = Encoder({"biggait": biggait}).encode(works(images), judge())
    assert [(one.person.camera, one.person.track) for one in encoded.features] == [
        ("camera0", 0),
        ("camera0", 1),
        ("camera1", 0),
    ]
    expected = [
        biggait.encode(*biggait.crop(image, np.array([box], np.float32)))[0]
        for image, boxes in zip(images, BOXES, strict=True)
        for box in boxes
    ]
    for feature, alone in zip(encoded.features, expected, strict=True):
        assert feature.model == "biggait"
        assert feature.map.shape == (16, 16, 8)
        np.testing.assert_allclose(feature.map, alone, atol=2e-4 * float(np.abs(alone).max()))
    assert set(encoded.seconds) == {"crop", "biggait"}


def test_rejected_people_are_kept_and_not_encoded(images: list[Image], biggait: Recognizer) -> None:
    encoded = Encoder({"biggait": biggait}).encode(works(images, Reason.OCCLUDED), judge())
    assert [[one.rejected for one in persons] for persons in encoded.persons] == [
        [None, Reason.OCCLUDED],
        [None],
    ]
    assert [one.person.camera for one in encoded.features] == ["camera0", "camera1"]


def test_both_models_see_the_same_people(
    images: list[Image], biggait: Recognizer, gaitheat: Recognizer, pose: PoseModel
) -> None:
    encoded = Encoder({"biggait": biggait, "gaitheat": gaitheat}, pose).encode(works(images), judge())
    assert [one.model for one in encoded.features] == ["biggait"] * 3 + ["gaitheat"] * 3
    maps = pose.heatmaps(pose.crop(images[1], np.array(BOXES[1], np.float32)))
    alone = gaitheat.encode(maps, keypoints(maps))[0]
    np.testing.assert_allclose(encoded.features[-1].map, alone, atol=2e-3 * float(np.abs(alone).max()))
    assert not encoded.features[-1].is_input


def test_pixels_pose_and_standing_reject_with_their_reason(images: list[Image], pose: PoseModel) -> None:
    encoder = Encoder({}, pose)

    def reasons(quality: Quality) -> list[Reason | None]:
        return [
            person.rejected
            for persons in encoder.encode(works(images), judge(quality)).persons
            for person in persons
        ]

    assert reasons(LENIENT) == [None] * 3
    assert reasons(LENIENT.model_copy(update={"min_sharpness": 1e9})) == [Reason.BLURRED] * 3
    assert reasons(LENIENT.model_copy(update={"min_pose_score": 0.99})) == [Reason.LOW_POSE_SCORE] * 3
    assert reasons(Quality(min_motion=0)) == [None] * 3

    batch = works(images)
    strict = judge(LENIENT.model_copy(update={"min_motion": 0.04}))
    for work in batch:
        person, size = work.persons[0], (work.frame.image.shape[1], work.frame.image.shape[0])
        for step in range(20):
            past = Person(person.camera, 0, 0, 1000 - (20 - step) * 50_000_000, person.box, 0.9)
            strict.judge_boxes(person.camera, size, [past])
        strict.judge_boxes(person.camera, size, [person])
    encoded = Encoder({}).encode(batch, strict)
    assert [one.rejected for persons in encoded.persons for one in persons] == [
        Reason.STANDING,
        None,
        Reason.STANDING,
    ]


def test_a_background_without_anybody_has_no_pose(images: list[Image], pose: PoseModel) -> None:
    (work, _) = works(images)
    wall = Person("camera0", 5, 7, 1000, np.array([10, 20, 110, 260], np.float32), 0.9)
    lenient = judge(Quality(min_motion=0, min_sharpness=0))
    encoded = Encoder({}, pose).encode([Work(work.frame, (wall,))], lenient)
    assert encoded.persons[0][0].rejected is Reason.LOW_POSE_SCORE


def test_nothing_to_do(biggait: Recognizer) -> None:
    encoded = Encoder({"biggait": biggait}).encode([], judge())
    assert (encoded.persons, encoded.features) == ([], [])


def test_heatmaps_need_a_pose_model(gaitheat: Recognizer) -> None:
    with pytest.raises(ConfigError, match=r"gaitheat works on poses: set models\.pose"):
        Encoder({"gaitheat": gaitheat})


def test_heatmaps_wait_for_their_window_where_the_bundle_says_so(
    images: list[Image], bundles: dict[str, Path], pose: PoseModel, cache: EngineCache
) -> None:
    released = Recognizer.load(bundles["gaitheat-released"], "openvino", "fp32", 2, cache=cache)
    encoded = Encoder({"gaitheat": released}, pose).encode(works(images), judge())
    maps = pose.heatmaps(pose.crop(images[1], np.array(BOXES[1], np.float32)))
    last = encoded.features[-1]
    np.testing.assert_allclose(last.map, maps[0], atol=1e-4)
    assert last.is_input
    assert "gaitheat" not in encoded.seconds


def test_a_bundle_under_the_wrong_key_is_refused(
    bundles: dict[str, Path],
) -> None:
    config = Config.model_validate(
        {
            "cameras": [{"id": "a", "url": "a.mp4"}],
            "models": {"biggait": str(bundles["gaitheat"])},
            "runtime": {"name": "openvino", "threads": 1},
        }
    )
    with pytest.raises(ConfigError, match=r"models\.biggait: .* is a bundle of gaitheat"):
        Encoder.load(config)


def needy(root: Path, kind: InputKind) -> Recognizer:
    """A recognizer that needs something; its engine is never asked."""
    contract = InputContract(kind=kind, height=64, width=44, channels=1, crop_rule="segment")
    manifest = Manifest(
        model="needy",
        version="1",
        input=contract,
        clip=ClipContract(),
        embedding=EmbeddingContract(parts=1, dim=1, tap="none"),
        graphs={"fp32": Graphs(clip="clip.onnx")},
        licence="test",
        source={},
    )
    return Recognizer(Bundle(root, manifest), Silent())


class Silent:
    """An encoder of windows that nobody asks."""

    engine: Any = None

    def embed_windows(self, windows: Any) -> Any:
        raise AssertionError("nobody was to be embedded")

    def prepare(self, most: int) -> None:
        """Nothing to prepare."""

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (InputKind.POSE, r"north works on poses: set models\.pose"),
        (InputKind.SKELETON_MAP, r"north works on poses: set models\.pose"),
        (InputKind.SILHOUETTE, r"north works on silhouettes: set models\.segmenter"),
        (InputKind.REPRESENTATION, "north works on pictures that only a data set has, no camera"),
    ],
)
def test_what_a_recognizer_needs_and_nobody_makes_is_said(kind: InputKind, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        Encoder({"north": needy(tmp_path, kind)})


@pytest.mark.parametrize("kind", [InputKind.SKELETON_MAP, InputKind.JOINTS])
def test_skeletons_and_joints_come_from_the_pose_stage(
    kind: InputKind, images: list[Image], pose: PoseModel, tmp_path: Path
) -> None:
    encoder = Encoder({"north": needy(tmp_path, kind)}, pose)
    batch = works(images)
    encoded = encoder.encode(batch, judge())
    assert [one.person.camera for one in encoded.features] == ["camera0", "camera0", "camera1"]
    maps = pose.heatmaps(pose.crop(images[1], np.array(BOXES[1], np.float32)))
    joints = to_image(keypoints(maps), np.array(BOXES[1], np.float32))
    contract = encoder.recognizers["north"].manifest
    drawn = skeleton_maps.draw(joints, (64, 44), contract.skeleton)
    expected = joints[0] if kind is InputKind.JOINTS else drawn[0]
    last = encoded.features[-1]
    assert last.is_input
    assert last.map.dtype == expected.dtype
    np.testing.assert_allclose(last.map.astype(float), expected, atol=3.0)


def test_every_network_is_asked_for_the_gpu_that_is_configured() -> None:
    """`runtime.gpu: 1` is never computed on another device: OpenVINO, which has no GPU, refuses."""
    config = Config.model_validate(
        {
            "cameras": [{"id": "a", "url": "a.mp4"}],
            "models": {"gaitheat": "demo"},
            "runtime": {"name": "openvino", "gpu": 1},
        }
    )
    assert config.runtime.device == "cuda:1"
    for load in (
        lambda: load_detector(config),
        lambda: Encoder.load(config),
        lambda: PoseModel.load("demo", "openvino", device=config.runtime.device),
    ):
        with pytest.raises(EngineError, match="openvino compiles for 'cpu' here, not for 'cuda:1'"):
            load()
    plain = Config.model_validate({"cameras": [{"id": "a", "url": "a.mp4"}]})
    assert plain.runtime.device is None
