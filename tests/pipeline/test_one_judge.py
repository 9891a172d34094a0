"""The same person-frames through both front ends: the judge says the same of them, in batches of any size.

Pictures, boxes and joints are given; the native side runs the encoder with real frame graphs, DeepStream's
side the translator on the records its process would send of the same frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.config.schema import Config
from gaitstream.data import Frame, Image, Person, Reason
from gaitstream.deepstream.records import NOTHING, BufferRecord, FrameRecord, Gone, TrackedBox
from gaitstream.deepstream.translate import Translator
from gaitstream.engines.cache import EngineCache
from gaitstream.models.crops import PeopleInFrames
from gaitstream.models.pose import PoseModel, keypoints, to_heatmap, to_image
from gaitstream.models.recognizer import Recognizer
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.gather import Work
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.source.clock import SECOND_NS
from tests.pipeline.tiny import tiny_bundle

Floats = NDArray[np.float32]
FPS = 10
SIZE = (640, 480)
KINDS: tuple[Literal["biggait", "gaitheat"], ...] = ("biggait", "gaitheat")
Recognizers = dict[str, Recognizer]


@dataclass(frozen=True)
class Sight:
    """One person in one frame."""

    box: tuple[float, float, float, float]
    track: int = 1
    pose: float = 0.9
    """Score of every joint."""
    stride: float = 0.0
    """Way of the left ankle to the right of the right one, pixels."""

    @property
    def points(self) -> Floats:
        """Joints as a pose model finds them, `[17, 3]`."""
        x1, y1, x2, y2 = self.box
        rows = np.linspace(y1 + 5, y2 - 5, 17)
        columns = np.full(17, (x1 + x2) / 2)
        columns[15] += self.stride
        points = np.stack([columns, rows, np.full(17, self.pose)], axis=1)[None]
        found = to_heatmap(points, np.array([self.box], np.float32))[0].astype(np.float32)
        return np.asarray(keypoints(heatmaps_of(found[None]))[0], np.float32)


def heatmaps_of(points: Floats) -> Floats:
    """Heatmaps `[n, 17, 64, 48]` with one peak per joint."""
    maps = np.zeros((len(points), 17, 64, 48), np.float32)
    for person, joints in enumerate(points):
        for joint, (x, y, score) in enumerate(joints):
            maps[
                person, joint, int(np.clip(round(float(y)), 0, 63)), int(np.clip(round(float(x)), 0, 47))
            ] = score
    return maps


@dataclass
class Scene:
    """A camera's frames."""

    frames: list[list[Sight]]
    quality: dict[str, Any] = field(default_factory=dict)
    camera: dict[str, Any] = field(default_factory=dict)
    other_from: int | None = None
    """From this frame on the pictures show somebody else."""

    def config(self) -> Config:
        entry = {"id": "gate", "url": "a.mp4", "fps": FPS, **self.camera}
        return Config.model_validate({"cameras": [entry], "quality": {"min_sharpness": 0, **self.quality}})

    def image(self, index: int) -> Image:
        looks_like = 2 if self.other_from is not None and index >= self.other_from else 1
        rng = np.random.default_rng(looks_like)
        image = rng.integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
        dark = [1, 2] if looks_like == 2 else [0, 1]
        image[:, :, dark] = 0
        return np.asarray(image, np.uint8)


class ScriptedPose:
    """Finds the joints that the scene says, by the boxes it is asked for."""

    def __init__(self, scene: Scene) -> None:
        self._sights = {sight.box: sight for frame in scene.frames for sight in frame}

    def crop_frames(self, frames: PeopleInFrames) -> Floats:
        return np.concatenate([boxes for _, boxes in frames])

    def heatmaps(self, boxes: Floats) -> Floats:
        return heatmaps_of(np.stack([self._sights[tuple(map(float, box))].points for box in boxes]))  # type: ignore[index]


@pytest.fixture(scope="module")
def recognizers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recognizers]:
    root = tmp_path_factory.mktemp("tiny")
    cache = EngineCache(root / "engines")
    models: Recognizers = {}
    for kind in KINDS:
        models[kind] = Recognizer.load(tiny_bundle(root / kind, kind), "openvino", "fp32", 1, cache=cache)
    yield models
    for model in models.values():
        model.close()


def time_ns(index: int) -> int:
    return 1_800_000_000 * SECOND_NS + index * SECOND_NS // FPS


Judged = list[list[tuple[int, Reason | None]]]


def native(
    scene: Scene, recognizers: Recognizers, batch: int
) -> tuple[Judged, list[tuple[str, int, int]], EvidenceJudge]:
    """Reasons by frame and track, the features that were kept, and the judge."""
    judge = EvidenceJudge(scene.config(), recognizers.values())
    encoder = Encoder(recognizers, cast(PoseModel, ScriptedPose(scene)), on_device=False)
    judged: Judged = []
    kept = []
    works = []
    for index, sights in enumerate(scene.frames):
        persons = [
            Person("gate", one.track, index, time_ns(index), np.array(one.box, np.float32), 0.9)
            for one in sights
        ]
        frame = Frame("gate", index, time_ns(index), scene.image(index))
        works.append(Work(frame, judge.judge_boxes("gate", SIZE, persons)))
        if len(works) == batch or index == len(scene.frames) - 1:
            encoded = encoder.encode(works, judge)
            judged += [[(one.track, one.rejected) for one in frame] for frame in encoded.persons]
            kept += [(one.model, one.person.frame_index, one.person.track) for one in encoded.features]
            works = []
    return judged, sorted(kept), judge


def deepstream(
    scene: Scene, recognizers: Recognizers
) -> tuple[Judged, list[tuple[str, int, int]], EvidenceJudge]:
    """The same, from the records and tensors that the DeepStream process would send."""
    judge = EvidenceJudge(scene.config(), recognizers.values())
    translator = Translator(scene.config(), KINDS, judge)
    judged: Judged = []
    kept = []
    for index, sights in enumerate(scene.frames):
        batch, arrays = records(scene, index, sights, recognizers)
        for frame in translator.translate(batch, arrays):
            judged.append([(one.track, one.rejected) for one in frame.persons])
            kept += [(one.model, one.person.frame_index, one.person.track) for one in frame.features]
    return judged, sorted(kept), judge


def records(
    scene: Scene, index: int, sights: Sequence[Sight], recognizers: Recognizers
) -> tuple[BufferRecord, list[NDArray[Any]]]:
    """Everybody is encoded there, also those who are no evidence."""
    people = tuple(TrackedBox(one.track, one.box, 0.9, False, (row, row)) for row, one in enumerate(sights))
    frame = FrameRecord("gate", index, time_ns(index), *SIZE, people)
    boxes = np.array([one.box for one in sights], np.float32).reshape(-1, 4)
    points = np.array([one.points for one in sights], np.float32).reshape(-1, 17, 3)
    crops = recognizers["biggait"].crop(scene.image(index), boxes)
    maps = [
        recognizers["biggait"].encode(*crops),
        recognizers["gaitheat"].encode(heatmaps_of(points), points),
    ]
    nothing = np.empty((0, 17, 3), np.float32)
    joints = to_image(points, boxes)
    return BufferRecord((frame,), (), {}, ()), [maps[0], nothing, maps[1], joints]


STILL = (300.0, 100.0, 360.0, 300.0)


def walking(count: int = 25, speed_px: float = 6.0, **keys: Any) -> list[list[Sight]]:
    return [[Sight((100 + speed_px * i, 100, 160 + speed_px * i, 300), **keys)] for i in range(count)]


def stepping(count: int = 25) -> list[list[Sight]]:
    """On the spot, and told apart by a hair, so that every frame's box is its own."""
    legs = [30 * float(np.sin(index)) for index in range(count)]
    return [[Sight((300 + i / 64, 100, 360 + i / 64, 300), stride=legs[i])] for i in range(count)]


def standing(count: int = 25) -> list[list[Sight]]:
    return [[Sight((300 + i / 64, 100, 360 + i / 64, 300))] for i in range(count)]


def jumping() -> list[list[Sight]]:
    """Walks, is on another place at once, and stands there."""
    there = [[Sight((500 + i / 64, 100, 560 + i / 64, 300))] for i in range(14)]
    return [*walking(11), *there]


def passing() -> list[list[Sight]]:
    """Somebody far away walks behind somebody near."""
    return [
        [
            Sight((300 + i / 64, 60, 420 + i / 64, 440), 1, stride=40 * float(np.sin(i))),
            Sight((200 + 8.0 * i, 110, 250 + 8.0 * i, 300), 2),
        ]
        for i in range(20)
    ]


SCENES: dict[str, tuple[Callable[[], Scene], set[Reason | None]]] = {
    "walks": (lambda: Scene(walking()), {None}),
    "stands": (lambda: Scene(standing()), {None, Reason.STANDING}),
    "steps on the spot": (lambda: Scene(stepping()), {None}),
    "jumps and stands": (lambda: Scene(jumping()), {None, Reason.ID_SWITCH_SUSPECTED, Reason.STANDING}),
    "passes behind": (lambda: Scene(passing()), {None, Reason.OCCLUDED}),
    "small": (lambda: Scene(walking(), {"min_height_px": 201}), {Reason.TOO_SMALL}),
    "at the border": (lambda: Scene(walking(speed_px=20)), {None, Reason.TRUNCATED}),
    "leaves the region": (
        lambda: Scene(walking(), camera={"regions": [[[0, 0], [200, 0], [200, 480], [0, 480]]]}),
        {None, Reason.OUTSIDE_REGION},
    ),
    "no pose": (lambda: Scene(walking(pose=0.3), {"min_pose_score": 0.35}), {Reason.LOW_POSE_SCORE}),
    "no pose for the manifest": (
        lambda: Scene(walking(pose=0.3), {"min_pose_score": 0.0}),
        {Reason.LOW_POSE_SCORE},
    ),
    "pose just right": (lambda: Scene(walking(pose=0.45), {"min_pose_score": 0.0}), {None}),
    "somebody else": (
        lambda: Scene(walking(), {"max_feature_jump": 0.02}, other_from=15),
        {None, Reason.ID_SWITCH_SUSPECTED},
    ),
    "nobody": (lambda: Scene([[], []]), set()),
}


@pytest.mark.parametrize("name", SCENES)
def test_both_front_ends_judge_alike(name: str, recognizers: Recognizers) -> None:
    make, expected = SCENES[name]
    scene = make()
    one_by_one, features, _ = native(scene, recognizers, 1)
    assert {reason for frame in one_by_one for _, reason in frame} == expected
    accepted = sum(reason is None for frame in one_by_one for _, reason in frame)
    assert len(features) == 2 * accepted
    for batch in (3, 16):
        assert native(scene, recognizers, batch)[:2] == (one_by_one, features), batch
    assert deepstream(scene, recognizers)[:2] == (one_by_one, features)


def test_a_feature_that_breaks_takes_those_of_the_other_model_along(recognizers: Recognizers) -> None:
    """What the other model made of the same frame may be of somebody else too."""
    scene = Scene(walking(), {"max_feature_jump": 0.02}, other_from=15)
    for judged, features, _ in (native(scene, recognizers, 1), deepstream(scene, recognizers)):
        assert judged[15] == [(1, Reason.ID_SWITCH_SUSPECTED)]
        assert not [feature for feature in features if feature[1] == 15]
        assert {feature[0] for feature in features if feature[1] == 16} == set(KINDS)


@pytest.mark.parametrize("front", ["native", "deepstream"])
def test_nothing_is_remembered_of_tracks_that_ended(front: str, recognizers: Recognizers) -> None:
    """Two hundred people pass one after the other, with every rule on."""
    passers = [
        [Sight((100 + 6.0 * i, 100, 160 + 6.0 * i, 300), track)] for track in range(200) for i in range(2)
    ]
    scene = Scene(passers, {"max_feature_jump": 0.5})
    if front == "native":
        _, _, judge = native(scene, recognizers, 16)
        assert judge.remembered == {("gate", track) for track in range(200)}
        judge.forget("gate", range(200))
    else:
        _, _, judge = deepstream(scene, recognizers)
        lost = int(FPS * scene.config().tracking.lost_s) + 2
        assert len(judge.remembered) <= lost
        judge.remove("gate")
    assert judge.remembered == set()


def test_a_camera_that_leaves_takes_what_is_remembered_along(recognizers: Recognizers) -> None:
    scene = Scene(walking(8), {"max_feature_jump": 0.5})
    judge = EvidenceJudge(scene.config(), recognizers.values())
    translator = Translator(scene.config(), KINDS, judge)
    for index, sights in enumerate(scene.frames):
        translator.translate(*records(scene, index, sights, recognizers))
    assert judge.remembered == {("gate", 1)}
    [left] = translator.translate(BufferRecord((), (Gone("gate"),), {}, ()), [])
    assert left.ended == (1,)
    assert judge.remembered == set()


def test_a_person_without_tensors_is_judged_by_the_box(recognizers: Recognizers) -> None:
    scene = Scene(standing())
    judge = EvidenceJudge(scene.config(), recognizers.values())
    translator = Translator(scene.config(), KINDS, judge)
    reasons = []
    for index, sights in enumerate(scene.frames):
        person = TrackedBox(1, sights[0].box, 0.9, False, (NOTHING, NOTHING))
        frame = FrameRecord("gate", index, time_ns(index), *SIZE, (person,))
        nothing = np.empty((0, 17, 3), np.float32)
        [judged] = translator.translate(BufferRecord((frame,), (), {}, ()), [nothing] * 4)
        assert judged.features == ()
        reasons += [one.rejected for one in judged.persons]
    assert reasons[0] is None
    assert reasons[-1] is Reason.STANDING


def test_regions_that_do_not_fit_a_cameras_frames_are_told_once_and_see_nobody(
    recognizers: Recognizers, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind DeepStream, too, where they come with a camera that is added while others run."""
    scene = Scene(walking(3))
    config = scene.config()
    gate = config.cameras[0].model_copy(update={"regions": [[(0.0, 0.0), (9000.0, 0.0), (9000.0, 9000.0)]]})
    config = config.model_copy(update={"cameras": [gate]})
    translator = Translator(config, KINDS, EvidenceJudge(config, recognizers.values()))
    for index, sights in enumerate(scene.frames):
        [frame] = translator.translate(*records(scene, index, sights, recognizers))
        assert (frame.persons, frame.features) == ((), ())
    assert caplog.text.count("lies outside the frame") == 1
