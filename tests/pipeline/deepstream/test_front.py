"""The probes and what follows them, driven by what the native front end saw of the synthetic world."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitstream.bundle import Bundle
from gaitstream.engines import open_engine
from gaitstream.pipeline.config import Config
from gaitstream.pipeline.deepstream.geometry import Rect, gait_rect, pose_rect
from gaitstream.recognizer import Recognizer
from tests.pipeline.deepstream import site
from tests.pipeline.deepstream.fake import pyservicemaker as fake
from tests.pipeline.deepstream.site import Seen
from tests.pipeline.tiny import tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("tiny"), "biggait")


@pytest.fixture(scope="module")
def head(bundle: Bundle) -> Recognizer:
    engine = open_engine(bundle.graph("head", "fp32"), "onnxruntime", "fp32", 1)
    return Recognizer(bundle, engine, engine)


@pytest.fixture(scope="module")
def config(bundle: Bundle, head: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("site")
    site.enrol(folder / "gallery.db", bundle, head, range(3))
    return site.make_config(folder, folder / "gallery.db")


@pytest.fixture(scope="module")
def native(config: Config, head: Recognizer) -> tuple[Seen, list[fake.Batch]]:
    return site.run_native(config, head)


@pytest.fixture
def recording(native: tuple[Seen, list[fake.Batch]]) -> list[Any]:
    return copy.deepcopy(native[1])


def tracklets(seen: Seen) -> dict[tuple[Any, ...], np.ndarray[Any, Any]]:
    return {
        (e.tracklet.camera, e.tracklet.first_ns, e.tracklet.last_ns, e.tracklet.frames): e.tracklet.pooled
        for e in seen.tracklets
    }


def decisions(seen: Seen) -> list[tuple[Any, ...]]:
    return sorted(
        (d.camera, d.time_ns, d.first_ns, d.status, d.person, d.frames, d.final) for d in seen.decisions
    )


def tracks(seen: Seen) -> list[tuple[Any, ...]]:
    return sorted((s.camera, s.first_ns, s.seen, s.accepted, dict(s.rejections)) for s, _ in seen.ended)


def assert_same(found: Seen, native: Seen) -> None:
    mine, theirs = tracklets(found), tracklets(native)
    assert mine.keys() == theirs.keys()
    for key, pooled in mine.items():
        np.testing.assert_array_equal(pooled, theirs[key])
    assert decisions(found) == decisions(native)
    assert tracks(found) == tracks(native)


def test_same_tracklets_and_decisions_as_native(
    native: tuple[Seen, list[fake.Batch]], recording: list[Any], config: Config, head: Recognizer
) -> None:
    seen = site.run_deepstream(config, head, recording)
    assert_same(seen, native[0])
    statuses = {d.status.value for d in native[0].decisions}
    assert {"known", "unknown"} <= statuses  # the world is rich enough to tell a difference
    assert len({s.camera for s, _ in native[0].ended}) == 2
    assert {c: n["tensors_missing"] for c, n in seen.counters.items()} == {"north": 0, "south": 0}


def test_wide_boxes_are_narrowed_for_the_encoder_and_restored(
    recording: list[Any], config: Config, head: Recognizer
) -> None:
    person = recording[30].frames[0].persons[0]
    left, top, _, height = person.rect
    wide = [left, top, height * 0.8, height]
    person.rect[:] = wide
    messages: list[Any] = []
    played = _play(config, recording[:31], messages)
    shown = played[30].frames[0].persons[0]
    assert shown.seen_by["detector"] == tuple(wide)
    assert shown.seen_by[site.ENCODER] == pytest.approx(gait_rect(Rect(*wide)))
    assert shown.seen_by[site.ENCODER][2] == pytest.approx(height / 2)
    assert shown.rect == wide


def _play(config: Config, recording: list[Any], messages: list[Any]) -> list[Any]:
    """Play without the pipeline behind; returns the recording as the probes left it."""
    from gaitstream.pipeline.deepstream import child
    from gaitstream.pipeline.deepstream.graph import build_graph
    from gaitstream.pipeline.deepstream.spec import make_spec

    plan = site.make_plan()
    fake.Pipeline.recording, fake.Pipeline.device = copy.deepcopy(recording), fake.CUDA
    spec = make_spec(config, plan, build_graph(config, plan, Path("/out")), "inproc://none")
    child.run(spec, site.no_commands(), messages.append, maker=fake, copy=site.memory_copy)  # type: ignore[arg-type]
    return fake.Pipeline.recording


def test_shadows_are_no_evidence_and_end_tracks_as_losses_do(
    native: tuple[Seen, list[fake.Batch]], recording: list[Any], config: Config, head: Recognizer
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
    seen = site.run_deepstream(config, head, recording)
    assert_same(seen, native[0])
    assert sum(n["shadows"] for n in seen.counters.values()) == added


def test_missing_tensors_are_counted_and_cost_their_frames_alone(
    native: tuple[Seen, list[fake.Batch]], recording: list[Any], config: Config, head: Recognizer
) -> None:
    removed = 0
    for batch in recording[20:30]:
        for person in batch.frames[0].persons:
            person.tensors.clear()
            removed += 1
    seen = site.run_deepstream(config, head, recording)
    assert seen.counters["north"]["tensors_missing"] == removed > 0
    assert seen.counters["south"]["tensors_missing"] == 0
    assert len(seen.tracklets) < len(native[0].tracklets)
    south = {key for key in tracklets(native[0]) if key[0] == "south"}
    assert south <= tracklets(seen).keys()


def test_a_reused_slot_belongs_to_its_new_camera(
    recording: list[Any], config: Config, head: Recognizer
) -> None:
    """`north` leaves; `south` takes over its slot and object ids; nothing of `north` survives."""
    half = 37
    elapsed = recording[half].frames[0].pts
    for batch in recording[half:]:
        del batch.frames[1]
        for frame in batch.frames:
            frame.frame_number -= half
            frame.pts -= elapsed
    changes = [
        fake.Message(False, 0, "north"),
        fake.Message(False, 1, "south"),
        fake.Message(True, 0, "south"),
    ]
    seen = site.run_deepstream(config, head, recording[:half] + changes + recording[half:])
    cut_ns = recording[half].frames[0].ntp
    last = {s.camera: [] for s, _ in seen.ended}  # type: ignore[var-annotated]
    for state, _ in seen.ended:
        last[state.camera].append((state.first_ns, state.last_ns))
    assert all(end < cut_ns for _, end in last["north"])
    assert any(begin >= cut_ns for begin, _ in last["south"])
    for embedding in seen.tracklets:
        t = embedding.tracklet
        assert t.last_ns < cut_ns or t.first_ns >= cut_ns
    assert len({(s.camera, s.track) for s, _ in seen.ended}) == len(seen.ended)


def test_frames_of_nobody_known_are_counted(recording: list[Any], config: Config, head: Recognizer) -> None:
    for batch in recording:
        batch.frames[1].pad_index = 7
    seen = site.run_deepstream(config, head, recording)
    assert seen.counters[""]["unknown_slot"] == len(recording)
    assert {s.camera for s, _ in seen.ended} == {"north"}


def test_ids_that_start_over_are_other_people(recording: list[Any], config: Config, head: Recognizer) -> None:
    half = 37
    elapsed = recording[half].frames[0].pts
    for batch in recording[half:]:
        frame = batch.frames[0]
        frame.frame_number -= half
        frame.pts -= elapsed
    seen = site.run_deepstream(config, head, recording)
    cut_ns = recording[half].frames[0].ntp
    assert seen.counters["north"]["id_resets"] == 1
    assert "id_resets" not in seen.counters["south"]
    for state, _ in seen.ended:
        if state.camera == "north":
            assert state.last_ns < cut_ns or state.first_ns >= cut_ns


def test_an_id_that_comes_back_late_is_a_new_track(
    recording: list[Any], config: Config, head: Recognizer
) -> None:
    for batch in recording[25:50]:
        batch.frames[0].persons.clear()
    before = {p.object_id for p in recording[24].frames[0].persons}
    after = {p.object_id for p in recording[50].frames[0].persons}
    assert before & after
    seen = site.run_deepstream(config, head, recording)
    assert seen.counters["north"]["ids_reused"] >= len(before & after)
    gap = (recording[24].frames[0].ntp, recording[50].frames[0].ntp)
    assert not [
        s for s, _ in seen.ended if s.camera == "north" and s.first_ns <= gap[0] and s.last_ns >= gap[1]
    ]


def test_two_cameras_with_one_object_id_stay_two_people(
    native: tuple[Seen, list[fake.Batch]], config: Config, head: Recognizer
) -> None:
    shared = {p.object_id for b in native[1] for p in b.frames[0].persons}
    shared &= {p.object_id for b in native[1] for p in b.frames[1].persons}
    assert shared  # the recording already has them; the first test compares the outcome


def test_untracked_boxes_and_probation_are_counted(
    recording: list[Any], config: Config, head: Recognizer
) -> None:
    ghost = copy.deepcopy(recording[10].frames[0].persons[0])
    ghost.object_id = 0xFFFF_FFFF_FFFF_FFFF
    recording[10].frames[0].persons.append(ghost)
    seen = site.run_deepstream(config, head, recording)
    assert seen.counters["north"]["untracked"] == 1
    started = len([s for s, _ in seen.ended if s.camera == "north"])
    assert seen.counters["north"]["probation_frames"] == started * (config.tracking.min_hits - 1)


def test_an_error_in_a_probe_costs_one_batch(recording: list[Any], config: Config, head: Recognizer) -> None:
    calls = 0

    def copy_from(target: int, source: int, size: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise OSError("the GPU says no")
        site.memory_copy(target, source, size)

    seen = site.run_deepstream(config, head, recording, copy_from=copy_from)
    assert seen.counters[""]["probe_errors"] == 1
    assert seen.tracklets


def test_a_frame_scaled_unevenly_is_told(recording: list[Any], config: Config, head: Recognizer) -> None:
    for batch in recording[:5]:
        batch.frames[0].size = (640, 480)
    seen = site.run_deepstream(config, head, recording)
    assert seen.counters["north"]["frames_stretched"] == 5


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Rect(100, 50, 40, 100), Rect(100, 50, 40, 100)),
        (Rect(100, 50, 50, 100), Rect(100, 50, 50, 100)),
        (Rect(100, 50, 80, 100), Rect(115, 50, 50, 100)),
    ],
)
def test_the_crop_rule(box: Rect, expected: Rect) -> None:
    assert gait_rect(box) == expected


def test_the_pose_rule_is_the_pose_models_own_window() -> None:
    from gaitstream.pose import crop_windows

    box = Rect(300, 200, 60, 180)
    left, top, scale = crop_windows(np.array([[300, 200, 360, 380]], np.float32))[0]
    found = pose_rect(box, 1280, 720)
    assert found == pytest.approx((left, top, 192 / scale, 256 / scale))
    cut = pose_rect(Rect(0, 600, 60, 120), 1280, 720)
    assert cut.left == 0
    assert cut.top + cut.height == 720
