"""The real probes and what follows them, driven by what the native front end saw of the synthetic world."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from gaitstream.config.schema import Config
from gaitstream.deepstream.copying import Transfer
from gaitstream.deepstream.geometry import Rect, encoder_rect, gait_rect, joints_in_frame, pose_rect
from gaitstream.deepstream.spec import add_command
from gaitstream.models.recognizer import Recognizer
from tests.deepstream import site
from tests.deepstream.fake import pyservicemaker as fake
from tests.deepstream.recording import FIRST_ID, MUXED, SIZE, Recording, record
from tests.deepstream.site import Seen
from tests.pipeline.tiny import tiny_bundle

Heads = Mapping[str, Recognizer]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    recorded = record(tiny_bundle(tmp_path_factory.mktemp("recording") / "biggait", "biggait").root)
    yield recorded
    recorded.encoder.close()


@pytest.fixture(scope="module")
def heads(recorded: Recording) -> Heads:
    return recorded.encoder.recognizers


@pytest.fixture(scope="module")
def config(recorded: Recording, tmp_path_factory: pytest.TempPathFactory) -> Config:
    return site.enrol(tmp_path_factory.mktemp("site") / "gallery.db", recorded)


@pytest.fixture(scope="module")
def native(config: Config, recorded: Recording) -> Seen:
    return site.run_native(config, recorded)


@pytest.fixture
def recording(recorded: Recording) -> list[Any]:
    """DeepStream's metadata, for a test to spoil."""
    return copy.deepcopy(recorded.batches)


def tracklets(seen: Seen) -> dict[tuple[Any, ...], np.ndarray[Any, Any]]:
    rows = [embedding.tracklet for embedding in seen.tracklets]
    return {(t.camera, t.track, t.model, t.first_ns, t.last_ns, t.frames): t.pooled for t in rows}


def decisions(seen: Seen) -> list[tuple[Any, ...]]:
    return sorted(
        (d.camera, d.track, d.time_ns, d.first_ns, d.final, d.status, str(d.person), str(d.reason), d.frames)
        for d in seen.decisions
    )


def tracks(seen: Seen) -> list[tuple[Any, ...]]:
    return sorted(
        (s.camera, s.track, s.first_ns, s.seen, s.accepted, sorted(s.rejections.items()))
        for s, _ in seen.ended
    )


def assert_same(found: Seen, native: Seen) -> None:
    """The same tracks, windows and decisions; pooled maps differ by nvinfer's half precision alone."""
    assert tracks(found) == tracks(native)
    mine, theirs = tracklets(found), tracklets(native)
    assert mine.keys() == theirs.keys()
    for key, pooled in mine.items():
        # Rounding keeps the order, so the maximum of rounded maps is the rounded maximum.
        np.testing.assert_array_equal(pooled, theirs[key].astype(np.float16))
    assert decisions(found) == decisions(native)


def test_the_recording_is_rich_enough_to_tell_a_difference(native: Seen) -> None:
    assert {"known", "unknown"} <= {d.status.value for d in native.decisions}
    assert {s.camera for s, _ in native.ended} == {"north", "south"}
    assert {t.tracklet.model for t in native.tracklets} == {"biggait", "gaitheat"}
    reasons = set().union(*(s.rejections for s, _ in native.ended))
    assert {"truncated", "occluded", "standing", "low_pose_score"} <= reasons


def test_same_tracklets_and_decisions_as_native(
    native: Seen, recording: list[Any], config: Config, heads: Heads
) -> None:
    seen = site.run_deepstream(config, heads, recording)
    assert_same(seen, native)
    assert {c: n["tensors_missing"] for c, n in seen.counters.items()} == {"north": 0, "south": 0}


def test_every_encoder_is_given_its_rectangle_and_the_box_comes_back(
    recording: list[Any], config: Config, heads: Heads
) -> None:
    """The detector's box, though the tracker overwrote it; also a box that BigGait's rule cuts."""
    left, top, _, height = recording[30].frames[0].persons[0].rect
    recording[30].frames[0].persons[0].rect = [left, top, height * 0.8, height]
    boxes = [[tuple(person.rect) for person in batch.frames[0].persons] for batch in recording]
    assert any(p.rect != p.tracked for batch in recording for p in batch.frames[0].persons)
    plan = site.make_plan(heads)
    plans = {encoder.name: encoder for encoder in plan.encoders}
    _, played = site.play(config, plan, recording, site.HostCopier())
    for before, batch in zip(boxes, played, strict=True):
        for box, person in zip(before, batch.frames[0].persons, strict=True):
            assert person.seen_by["detector"] == box
            for kind in ("biggait", "gaitheat"):
                expected = encoder_rect(plans[kind], Rect(*box), *MUXED)
                assert person.given[f"encoder-{kind}"] == expected
                assert person.seen_by[f"encoder-{kind}"] == expected  # nvinfer had nothing to round
            assert tuple(person.rect) == box
            assert person.border == 3
    cut = played[30].frames[0].persons[0].seen_by["encoder-biggait"]
    assert cut[2] == pytest.approx(height / 2, abs=2)


def test_shadows_are_no_evidence_and_end_tracks_as_losses_do(
    native: Seen, recording: list[Any], config: Config, heads: Heads
) -> None:
    """The tracker keeps predicting boxes with confidence -0.1 where the native tracker reports nobody."""
    added = 0
    for before, batch in itertools.pairwise(recording):
        for old, frame in zip(before.frames, batch.frames, strict=True):
            here = {person.object_id for person in frame.persons}
            for person in old.persons:
                if person.object_id not in here:
                    ghost = copy.deepcopy(person)
                    ghost.confidence = -0.1
                    frame.persons.append(ghost)
                    added += 1
    assert added > 10
    seen = site.run_deepstream(config, heads, recording)
    assert_same(seen, native)
    assert sum(n["shadows"] for n in seen.counters.values()) == added


def test_boxes_between_detections_are_evidence_where_the_detector_rests(
    native: Seen, recording: list[Any], config: Config, heads: Heads
) -> None:
    """With `detect_every: 2` the tracker's box of the frame after a detection counts; nobody else's does."""
    cameras = [camera.model_copy(update={"detect_every": 2}) for camera in config.cameras]
    resting = config.model_copy(update={"cameras": cameras})
    detected: set[tuple[int, int]] = set()
    predicted = 0
    for batch in recording:
        before, detected = detected, set()
        for frame in batch.frames:
            for person in frame.persons:
                key = (frame.pad_index, person.object_id)
                if key in before:
                    person.confidence = -0.1
                    person.tracked = None  # predicted to be where the detector would have seen it
                    predicted += 1
                else:
                    detected.add(key)
    assert predicted > 100
    assert_same(site.run_deepstream(resting, heads, recording), native)
    seen = site.run_deepstream(config, heads, recording)
    assert sum(counts["shadows"] for counts in seen.counters.values()) == predicted
    assert len(seen.tracklets) < len(native.tracklets)


def test_missing_tensors_are_counted_and_cost_their_frames_alone(
    native: Seen, recording: list[Any], config: Config, heads: Heads
) -> None:
    removed = 0
    for batch in recording[20:30]:
        for person in batch.frames[0].persons:
            person.tensors.clear()
            removed += 2
    for batch in recording[30:40]:
        for person in batch.frames[0].persons:
            del person.tensors["encoder-gaitheat"]
            removed += 1
    seen = site.run_deepstream(config, heads, recording)
    assert seen.counters["north"]["tensors_missing"] == removed > 0
    assert seen.counters["south"]["tensors_missing"] == 0
    assert [row[:4] for row in tracks(seen)] == [row[:4] for row in tracks(native)]
    mine, theirs = tracklets(seen), tracklets(native)
    assert len(mine) < len(theirs)
    for key in (key for key in theirs if key[0] == "south"):
        np.testing.assert_array_equal(mine[key], theirs[key].astype(np.float16))


def test_people_too_small_for_nvinfer_are_counted_as_that(
    recording: list[Any], config: Config, heads: Heads
) -> None:
    """It gives them no tensors; that is no lack of memory."""
    small = 0
    for batch in recording[20:40]:
        person = batch.frames[0].persons[0]
        person.rect[2:] = [12.0, 30.0]
        person.tracked = None
        small += 1
    seen = site.run_deepstream(config, heads, recording)
    assert seen.counters["north"]["crops_too_small"] == small  # the pose rule enlarges: enough for GaitHeat
    assert seen.counters["north"]["tensors_missing"] == 0


def test_a_missing_pose_is_not_somebody_elses(recording: list[Any], config: Config, heads: Heads) -> None:
    """One person has no tensors, and everybody else's joints are bad."""
    lone = recording[20].frames[0].persons[0].object_id
    for batch in recording:
        for person in batch.frames[0].persons:
            if person.object_id == lone:
                person.tensors.clear()
            else:
                person.tensors["encoder-gaitheat"]["gaitheat_keypoints"][:, 2] = 0
    seen = site.run_deepstream(config, heads, recording)
    north = {state.track: state for state, _ in seen.ended if state.camera == "north"}
    mine = north.pop(lone - FIRST_ID)
    assert mine.accepted > 0
    assert "low_pose_score" not in mine.rejections
    assert sum(state.rejections["low_pose_score"] for state in north.values()) > 10
    assert not any(state.accepted for state in north.values())


def test_somebody_whose_legs_move_does_not_stand(
    native: Seen, recording: list[Any], config: Config, heads: Heads
) -> None:
    for step, batch in enumerate(recording):
        for person in (person for frame in batch.frames for person in frame.persons):
            joints = person.tensors["encoder-gaitheat"]["gaitheat_keypoints"]
            joints[[15, 16], 0] += np.array([40, -40]) * np.sin(step)
    seen = site.run_deepstream(config, heads, recording)

    def standing(seen: Seen) -> int:
        return sum(state.rejections["standing"] for state, _ in seen.ended)

    assert standing(seen) < standing(native) / 2


@pytest.mark.parametrize("told", [True, False])
def test_a_reused_pad_belongs_to_its_new_camera(
    told: bool, recording: list[Any], config: Config, heads: Heads
) -> None:
    """`north` leaves, `south` takes over its pad and object ids; also when nobody says that they left."""
    half = len(recording) // 2
    elapsed = recording[half].frames[0].pts
    for batch in recording[half:]:
        del batch.frames[1]
        for frame in batch.frames:
            frame.frame_number -= half
            frame.pts -= elapsed
    left = [fake.Message(False, 0, "north"), fake.Message(False, 1, "south")] if told else []
    changes = [*left, fake.Message(True, 0, "south")]
    seen = site.run_deepstream(config, heads, recording[:half] + changes + recording[half:])
    cut_ns = recording[half].frames[0].ntp
    north = [(state, cause) for state, cause in seen.ended if state.camera == "north"]
    assert north
    assert all(state.last_ns < cut_ns and cause == "lost" for state, cause in north)
    assert any(state.first_ns >= cut_ns for state, _ in seen.ended if state.camera == "south")
    for embedding in seen.tracklets:
        t = embedding.tracklet
        assert t.last_ns < cut_ns or t.first_ns >= cut_ns
    assert len({(s.camera, s.track) for s, _ in seen.ended}) == len(seen.ended)


def test_frames_of_nobody_known_are_counted(recording: list[Any], config: Config, heads: Heads) -> None:
    for batch in recording:
        batch.frames[1].pad_index = 7
    seen = site.run_deepstream(config, heads, recording)
    assert seen.counters[""]["unknown_source"] == len(recording)
    assert {s.camera for s, _ in seen.ended} == {"north"}


def test_ids_that_start_over_are_other_people(recording: list[Any], config: Config, heads: Heads) -> None:
    half = len(recording) // 2
    elapsed = recording[half].frames[0].pts
    for batch in recording[half:]:
        frame = batch.frames[0]
        frame.frame_number -= half
        frame.pts -= elapsed
    seen = site.run_deepstream(config, heads, recording)
    cut_ns = recording[half].frames[0].ntp
    assert seen.counters["north"]["id_resets"] == 1
    assert "id_resets" not in seen.counters["south"]
    for state, _ in seen.ended:
        if state.camera == "north":
            assert state.last_ns < cut_ns or state.first_ns >= cut_ns


def test_a_wall_clock_that_is_set_back_ends_tracks_at_once(
    recording: list[Any], config: Config, heads: Heads
) -> None:
    """As in the native front end; a track that waited for the old time would end an hour late."""
    half, hour_ns = len(recording) // 2, 3600 * 10**9
    for batch in recording[half:]:
        for frame in batch.frames:
            frame.ntp -= hour_ns
    last_ns = max(frame.ntp for frame in recording[-1].frames)
    seen = site.run_deepstream(config, heads, recording)
    assert [seen.counters[camera]["clock_set_back"] for camera in ("north", "south")] == [1, 1]
    before = [(state, cause) for state, cause in seen.ended if state.last_ns > last_ns]
    after = [state for state, _ in seen.ended if state.last_ns <= last_ns]
    assert before
    assert after
    assert all(state.first_ns > last_ns and cause == "lost" for state, cause in before)
    assert all(state.first_ns <= last_ns for state in after)
    assert not {(s.camera, s.track) for s, _ in before} & {(s.camera, s.track) for s in after}


def test_an_id_that_comes_back_late_is_a_new_track(
    recording: list[Any], config: Config, heads: Heads
) -> None:
    for batch in recording[25:50]:
        batch.frames[0].persons.clear()
    before = {p.object_id for p in recording[24].frames[0].persons}
    after = {p.object_id for p in recording[50].frames[0].persons}
    assert before & after
    seen = site.run_deepstream(config, heads, recording)
    assert seen.counters["north"]["ids_reused"] >= len(before & after)
    gap = (recording[24].frames[0].ntp, recording[50].frames[0].ntp)
    assert not [
        s for s, _ in seen.ended if s.camera == "north" and s.first_ns <= gap[0] and s.last_ns >= gap[1]
    ]


def test_two_cameras_with_one_object_id_stay_two_people(
    native: Seen, recording: list[Any], config: Config, heads: Heads
) -> None:
    """The recording has such ids in the same buffer; without them the outcome is the same."""
    shared = 0
    for batch in recording:
        north, south = ({person.object_id for person in frame.persons} for frame in batch.frames)
        shared += len(north & south)
        for person in batch.frames[1].persons:
            person.object_id += 1000
    assert shared > 10
    assert_same(site.run_deepstream(config, heads, recording), native)


def test_untracked_boxes_and_probation_are_counted(
    recording: list[Any], config: Config, heads: Heads
) -> None:
    ghost = copy.deepcopy(recording[10].frames[0].persons[0])
    ghost.object_id = 0xFFFF_FFFF_FFFF_FFFF
    recording[10].frames[0].persons.append(ghost)
    seen = site.run_deepstream(config, heads, recording)
    assert seen.counters["north"]["untracked"] == 1
    started = len([s for s, _ in seen.ended if s.camera == "north"])
    assert seen.counters["north"]["probation_frames"] == started * (config.tracking.min_hits - 1)


def test_an_error_in_a_probe_costs_one_batch(recording: list[Any], config: Config, heads: Heads) -> None:
    class Copier(site.HostCopier):
        def copy(self, transfers: Sequence[Transfer]) -> None:
            super().copy(transfers)
            if len(self.calls) == 5:
                raise OSError("the GPU says no")

    seen = site.run_deepstream(config, heads, recording, copier=Copier())
    assert seen.counters[""]["probe_errors"] == 1
    assert seen.tracklets


def test_a_frame_scaled_unevenly_is_told(recording: list[Any], config: Config, heads: Heads) -> None:
    for batch in recording[:5]:
        batch.frames[0].size = (640, 480)
    seen = site.run_deepstream(config, heads, recording)
    assert seen.counters["north"]["frames_stretched"] == 5


def test_boxes_are_in_square_pixels_where_a_camera_is_told_that_its_own_are_not(
    recording: list[Any], config: Config, heads: Heads, native: Seen
) -> None:
    told = [camera.model_copy(update={"pixel_aspect": "4:3"}) for camera in config.cameras]
    for batch in recording:
        for frame in batch.frames:
            frame.size = (SIZE[0] * 3 // 4, SIZE[1])
    seen = site.run_deepstream(config.model_copy(update={"cameras": told}), heads, recording)
    assert not any(counts["frames_stretched"] for counts in seen.counters.values())
    assert_same(seen, native)
    assert add_command(config.model_copy(update={"cameras": told}), told[0].id).aspect == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Rect(100, 50, 40, 100), Rect(100, 50, 40, 100)),
        (Rect(100, 50, 50, 100), Rect(100, 50, 50, 100)),
        (Rect(100, 50, 80, 100), Rect(116, 50, 50, 100)),
        (Rect(99.5, 50.5, 30, 100), Rect(98, 50, 32, 102)),
        (Rect(-5, -3, 40, 100), Rect(0, 0, 36, 98)),
        (Rect(1250, 650, 60, 160), Rect(1250, 650, 30, 70)),
    ],
)
def test_the_crop_rule(box: Rect, expected: Rect) -> None:
    assert gait_rect(box, 1280, 720) == expected


ENCODERS = {name: site.make_encoder(name) for name in ("biggait", "gaitheat")}


def test_rectangles_are_even_inside_the_frame_and_around_their_box() -> None:
    rng = np.random.default_rng(3)
    for _ in range(2000):
        left, top = rng.uniform(-80, 1300), rng.uniform(-80, 740)
        box = Rect(left, top, *rng.uniform(1, 400, 2))
        for kind in ("biggait", "gaitheat"):
            rect = encoder_rect(ENCODERS[kind], box, 1280, 719)
            assert all(side % 2 == 0 for side in rect)
            assert rect.left >= 0
            assert rect.top >= 0
            assert rect.left + rect.width <= 1280
            assert rect.top + rect.height <= 718
            if rect.width and rect.height and kind == "biggait":
                assert rect.width <= rect.height / 2
                assert rect.top <= max(box.top, 0)
                assert rect.top + rect.height >= min(box.top + box.height, 718)


def test_the_pose_rule_is_the_pose_models_own_window() -> None:
    from gaitstream.models.crops import crop_windows

    box = Rect(300, 200, 60, 180)
    left, top, scale = crop_windows(np.array([[300, 200, 360, 380]], np.float32), (256, 192))[0]
    found = pose_rect(box, 1280, 720)
    assert found == pytest.approx((left, top, 192 / scale, 256 / scale), abs=4)
    cut = pose_rect(Rect(0, 600, 60, 120), 1280, 720)
    assert cut.left == 0
    assert cut.top + cut.height == 720


@pytest.mark.parametrize("place", ["middle", "left", "right", "bottom", "corner"])
def test_joints_come_back_to_where_they_are_in_the_frame(place: str) -> None:
    """Also where the frame's border cuts the window: the encoder is given less, and centres it."""
    left, top = {"left": (2, 200), "right": (1200, 200), "bottom": (500, 500), "corner": (2, 480)}.get(
        place, (500, 200)
    )
    box = Rect(left, top, 76, 220)
    joints = np.stack(
        [
            np.linspace(left, left + 76, 17),
            np.linspace(top, min(top + 220, 719), 17),
            np.full(17, 0.9),
        ],
        axis=1,
    ).astype(np.float32)
    person = fake.Person(1, 0.9, list(box), {"encoder-gaitheat": {"gaitheat_keypoints": joints}})
    rect = encoder_rect(ENCODERS["gaitheat"], box, 1280, 720)
    person.seen_by["encoder-gaitheat"] = tuple(rect)
    heat = fake._seen(person, "encoder-gaitheat", "gaitheat_keypoints")
    assert heat[:, 0].min() > -1
    assert heat[:, 0].max() < 48
    found = joints_in_frame(heat[None], np.array([rect]))[0]
    np.testing.assert_allclose(found, joints, atol=0.01)
