"""A reason names what to change: hidden legs, darkness, small people, switches, cuts, distance."""

from __future__ import annotations

import numpy as np
import pytest

from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.data import Detections, Floats, Frame, Image, Person, Reason, Status
from gaitstream.events import IdentityFinal
from gaitstream.models.detector import DetectorModel
from gaitstream.models.pose import PoseModel, keypoints
from gaitstream.pipeline.cameras import CameraStream
from gaitstream.pipeline.cuts import CutDetector
from gaitstream.pipeline.decide import Decider
from gaitstream.pipeline.identify import Identifier
from gaitstream.pipeline.judge import EvidenceJudge
from gaitstream.pipeline.known import DecisionLimits
from gaitstream.pipeline.publish import RunEvents
from gaitstream.pipeline.quality import legs_hidden
from gaitstream.pipeline.source import CameraReader
from gaitstream.pipeline.track import CameraTracker
from gaitstream.synth import open_synthetic
from gaitstream.telemetry.display import FAR_HINT, summary
from gaitstream.telemetry.stats import CameraCounters, Snapshot, Stats
from tests.pipeline.test_identify import KNOWN, add, at, window
from tests.pipeline.test_watchlist import Heard, site

PLAZA = "synth://plaza?camera=1&people=6&seed=3&width=640&height=360&seconds=10"


def pictures(url: str, every: int) -> list[Image]:
    camera, found = open_synthetic(url), []
    while (shot := camera.read()) is not None:
        found.append(shot[1])
    return found[::every]


def counter(image: Image, boxes: Floats) -> Image:
    """A counter before everybody, up to the hips."""
    hidden = image.copy()
    for x1, y1, x2, y2 in boxes:
        top = int(y1 + (y2 - y1) * 0.55)
        hidden[top : int(y2) + 4, max(0, int(x1) - 15) : int(x2) + 15] = 110
    return hidden


def test_legs_behind_a_counter_are_told_from_legs_that_are_seen() -> None:
    """With the packaged models: most people behind it, hardly anybody who walks freely."""
    detector, pose = DetectorModel.load("demo"), PoseModel.load("demo")
    free, behind = [], []
    for image in pictures(PLAZA, 10):
        boxes = detector.detect([image], [0.3])[0].boxes
        whole = (boxes[:, 3] - boxes[:, 1] > 60) & (boxes[:, 0] > 2) & (boxes[:, 3] < 358)
        if not whole.any():
            continue
        free.append(legs_hidden(keypoints(pose.heatmaps(pose.crop(image, boxes[whole])))))
        hidden = counter(image, boxes[whole])
        seen = detector.detect([hidden], [0.3])[0].boxes
        if len(seen):
            behind.append(legs_hidden(keypoints(pose.heatmaps(pose.crop(hidden, seen)))))
    assert np.concatenate(free).mean() < 0.05
    assert np.concatenate(behind).mean() > 0.5


def test_the_judge_says_which() -> None:
    config = Config(cameras=[Camera(id="gate", url=SecretUrl("x"))])
    judge = EvidenceJudge(config)
    box = np.array([100, 50, 160, 250], np.float32)
    person = Person("gate", 1, 0, 0, box, 1.0)
    judge.judge_boxes("gate", (640, 360), [person])
    points = np.full((1, 17, 3), 0.9, np.float32)
    points[0, 13:, 2] = 0.3
    assert judge.judge_pose([person], points) == [Reason.LEGS_HIDDEN]
    points[0, 13:, 2] = 0.8
    assert judge.judge_pose([person], points) == [None]
    noise = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
    assert judge.judge_pixels([person], noise) == [None]
    assert judge.judge_pixels([person], np.full_like(noise, 12)) == [Reason.TOO_DARK]
    assert judge.judge_pixels([person], np.full_like(noise, 150)) == [Reason.BLURRED]
    assert judge.judge_pixels([], noise) == []


def test_a_cut_ends_tracks_and_people_who_cross_the_picture_do_not() -> None:
    plaza, lobby = pictures(PLAZA, 3), pictures(PLAZA.replace("plaza", "lobby"), 3)
    cuts = CutDetector()
    assert [index for index, image in enumerate(plaza + lobby) if cuts.is_cut(image)] == [len(plaza) + 2]
    close = plaza[0].copy()
    close[:, 100:330] = 90  # somebody right before the lens
    cuts = CutDetector()
    noise = np.random.default_rng(0).integers(0, 255, (8, *plaza[0].shape), np.uint8)
    damaged = [image for pair in zip(plaza, noise, noise, strict=False) for image in pair]
    dark = plaza[0] // 2, plaza[0] * 0, plaza[0] * 0, plaza[0]
    assert not any(
        cuts.is_cut(image) for image in (plaza[0], close, plaza[0], *dark, *damaged, *noise, *plaza)
    )


def test_a_track_does_not_go_on_across_a_cut() -> None:
    camera = Camera(id="gate", url=SecretUrl("rtsp://h/1"))
    config = Config(cameras=[camera])
    tracker = CameraTracker("gate", config.tracking, 15.0)
    stream = CameraStream(camera, CameraReader(camera, config.sources), tracker, CameraCounters())
    scenes = pictures(PLAZA, 150)[0], pictures(PLAZA.replace("plaza", "lobby"), 150)[0]
    box = Detections(np.array([[100, 50, 160, 250]], np.float32), np.ones(1, np.float32))
    seen = []
    for index in range(12):
        tracked = stream.track(Frame("gate", index, 10**15 + index * 66_000_000, scenes[index >= 6]), box)
        seen.append(([person.track for person in tracked.persons], tracked.ended))
    assert seen[5] == ([1], ())
    assert seen[8][1] == (1,)
    assert seen[11][0] == [2]


def person(track: int, height: float, rejected: Reason | None = None) -> Person:
    return Person("gate", track, 0, 10**9, np.array([0, 0, 40, height], np.float32), 1.0, rejected)


@pytest.mark.parametrize(
    ("distance", "height", "rejected", "reason"),
    [
        (0.9, 200, None, None),
        (1.2, 200, None, Reason.BELOW_THRESHOLD),
        (1.2, 60, Reason.LEGS_HIDDEN, Reason.BELOW_THRESHOLD),
        (1.4, 60, Reason.LEGS_HIDDEN, Reason.LEGS_HIDDEN),
        (1.8, 200, None, Reason.BELOW_THRESHOLD),
        (1.8, 200, Reason.LEGS_HIDDEN, Reason.LEGS_HIDDEN),
        (1.8, 200, Reason.STANDING, Reason.BELOW_THRESHOLD),
        (1.8, 60, None, Reason.TOO_SMALL),
    ],
)
def test_a_track_that_is_like_nobody_says_what_spoilt_it(
    distance: float, height: float, rejected: Reason | None, reason: Reason | None
) -> None:
    identifier = Identifier("gate", KNOWN, DecisionLimits(1.0, 0.0))
    identifier.observe([person(1, height)] * 10 + ([person(1, height, rejected)] * 20 if rejected else []))
    add(identifier, window(1, at(distance)))
    _, decision = identifier.end(1)
    assert decision.reason is reason
    assert decision.status is (Status.KNOWN if reason is None else Status.UNKNOWN)


def test_a_track_that_was_given_up_after_a_switch_says_so() -> None:
    identifier = Identifier("gate", KNOWN, DecisionLimits(1.0, 0.0))
    identifier.observe([person(1, 200)] * 10)
    add(identifier, window(1, at(0.5)))
    assert identifier.decide(1).status is Status.KNOWN
    identifier.suspect(1)
    identifier.observe([person(1, 200)] * 3)
    _, decision = identifier.end(1)
    assert (decision.status, decision.reason) == (Status.INSUFFICIENT, Reason.ID_SWITCH_SUSPECTED)
    identifier.observe([person(2, 200)] * 3)
    identifier.suspect(2)  # nothing was known yet
    assert identifier.end(2)[1].reason is Reason.TOO_SHORT


def test_without_a_recognizer_the_reason_says_so() -> None:
    """However many frames there are: they are not too few."""
    sink, stats = Heard(), Stats()
    decider = Decider(site(watchlist_only=False), {}, RunEvents("run", {}, sink, stats), stats)
    for _ in range(100):
        decider.take([("gate", [person(1, 200)])], [])
    decider.end_all("shutdown")
    decider.close()
    finals = [event for event in sink.events if isinstance(event, IdentityFinal)]
    assert [(event.status, event.reason) for event in finals] == [("insufficient_evidence", "no_recognizer")]
    assert any("models.recognizers" in line for line in summary(stats.snapshot()))


def test_enrolling_is_advised_only_near_the_threshold() -> None:
    stats = CameraCounters(decoded=9, tracks_ended=5, far=3)
    stats.unnamed.update(below_threshold=5)
    lines = summary(Snapshot(cameras={"gate": stats}))
    assert f"  3 x below_threshold: {FAR_HINT}" in lines
    assert any(line.startswith("  2 x below_threshold: near somebody") for line in lines)
    stats.unnamed.update(below_threshold=-2)
    assert not any("near somebody" in line for line in summary(Snapshot(cameras={"gate": stats})))
