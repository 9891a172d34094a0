"""The counters of a stretch of a run, and what a saturated one ran out of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from gaitstream.bench.clips import FPS, cameras_on, make_clips
from gaitstream.bench.drive import (
    BOUNDS,
    PERSONS,
    DrivenLoad,
    Moment,
    between,
    build_config,
    limit_of,
    with_gallery,
)
from gaitstream.bench.floors import Floors, FrameWork
from gaitstream.bench.pipeline import drive, paced_row, saturation_notes
from gaitstream.bench.pipeline_charts import draw
from gaitstream.bench.plots import COLOURS, LINES, draw_chart, styles
from gaitstream.bench.stages import stage_rows, stage_suite
from gaitstream.config.camera_sections import Camera
from gaitstream.config.secret_url import SecretUrl
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.pipeline.encode import Encoder
from gaitstream.telemetry.stats import CameraCounters, Histogram, Snapshot


def snapshot(frames: int, people: int, stages: Mapping[str, list[float]], cpu_s: float) -> Snapshot:
    counters = CameraCounters(analysed=frames, encoded=people, person_frames=2 * people)
    counters.rejections.update(standing=people // 10, too_small=people)
    found = Snapshot(cameras={"a": counters}, cpu_s=cpu_s)
    found.event_latency = Histogram(BOUNDS)
    for name, values in stages.items():
        found.stages[name] = Histogram()
        for value in values:
            found.stages[name].observe(value)
    return found


def load(stage_s: dict[str, float], cpu_s: float = 0.0) -> DrivenLoad:
    calls = dict.fromkeys(stage_s, 10)
    latency = Histogram(BOUNDS)
    latency.observe(20.0)
    return DrivenLoad(10.0, 100, 500, 400, 300, 5, stage_s, calls, cpu_s, 1.0, 500.0, latency)


LIMITS = Floors(
    {"detect": 10.0, "pose": 1.0, "gaitheat": 0.5}, {"detect": 1e3, "pose": 1e3, "gaitheat": 1e3}, 10.0
)


def test_a_stretch_is_the_difference_of_its_ends() -> None:
    before = snapshot(10, 20, {"detect": [1000.0]}, 1.0)
    after = snapshot(40, 80, {"detect": [1000.0, 2000.0], "pose": [500.0]}, 3.0)
    found = between(Moment(100.0, before, 1.0), Moment(110.0, after, 1.5))
    assert (found.frames, found.persons, found.cpu_s, found.fps) == (30, 60, 2.0, 3.0)
    assert (found.seen, found.posed, found.decode_s) == (120, 66, 0.5)
    assert found.stage_s == {"detect": 2.0, "pose": 0.5}
    assert found.calls == {"detect": 1, "pose": 1}
    assert found.busy == pytest.approx(0.25)


def test_the_limit_is_named() -> None:
    assert limit_of(load({"pose": 6.0, "detect": 3.5})).startswith("the pipeline's thread (95%")
    assert "largest stage: pose, 60%" in limit_of(load({"pose": 6.0, "detect": 3.5}))
    assert limit_of(load({"pose": 1.0}, cpu_s=1e6)).startswith("the CPU")
    assert limit_of(load({"pose": 1.0})).startswith("decoding or other work")


def test_stages_add_up_to_the_frame_and_stand_beside_their_floors() -> None:
    setting: dict[str, str | int | float] = {"people": 4, "size": "1000x1000"}
    rows = {
        row.contender: row for row in stage_rows(load({"detect": 2.0, "pose": 3.0}), setting, 10**6, LIMITS)
    }
    times = {name: row.figures["time"].median for name, row in rows.items()}
    assert times == pytest.approx(
        {"frame": 100.0, "detect": 20.0, "pose": 30.0, "rest": 50.0, "decode": 10.0}
    )
    # 10 GFLOP at 1 TFLOP/s and 3 MB at 10 GB/s; four people go through the pose model, three are encoded.
    assert rows["detect"].floor["time"] == pytest.approx(10.3)
    assert rows["pose"].floor["time"] == pytest.approx(4.0)
    assert rows["decode"].floor["time"] == pytest.approx(0.6)
    assert "time" not in rows["rest"].floor
    assert rows["frame"].floor["time"] == pytest.approx(LIMITS.frame_ms(FrameWork(10**6, 4.0, 3.0)))


def test_charts_are_drawn_and_saturation_is_told(tmp_path: Path) -> None:
    setting: dict[str, str | int | float] = {"people": 4, "size": "640x360"}
    seen = load({"detect": 2.0, "pose": 3.0})
    rows = [paced_row(seen, setting | {"cameras": count}, due, 5.0) for count, due in ((1, 10.0), (2, 20.0))]
    assert [row.note.split(":")[0] for row in rows] == ["keeps up", "saturated"]
    assert [row.floor for row in rows] == [{"p50": 5.0}, {"p50": 5.0, "analysed": 200.0}]
    assert saturation_notes(rows)[0].startswith("4 people, 640x360: carries 1 cameras; with 2 saturated")
    stages = stage_suite(stage_rows(seen, setting, 640 * 360, LIMITS))
    for chart in [*draw(rows), *stages.charts]:
        assert all(path.stat().st_size > 1000 for path in draw_chart(chart, tmp_path))


def test_pairs_share_colours_and_lines() -> None:
    found = styles(["1 person, p50", "1 person, p95", "4 people, p50", "4 people, p95", "due"])
    assert [found[name]["color"] for name in ("1 person, p95", "4 people, p50")] == list(COLOURS[:2])
    assert [found[name]["linestyle"] for name in ("4 people, p50", "4 people, p95")] == list(LINES[:2])


@pytest.mark.slow
def test_the_crowd_is_enrolled_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    whole = Gallery.enroll_many

    def counted(self: Gallery, enrolments: list[Enrolment]) -> int:
        calls.append(len(enrolments))
        return whole(self, enrolments)

    monkeypatch.setattr(Gallery, "enroll_many", counted)
    embedding = SimpleNamespace(parts=2, dim=4)
    model = SimpleNamespace(manifest=SimpleNamespace(embedding=embedding), fingerprint="f" * 64)
    encoder = cast(Encoder, SimpleNamespace(recognizers={"gaitheat": model}))
    config = build_config([Camera(id="a", url=SecretUrl("a.mp4"))], "demo")
    config = with_gallery(config, encoder, tmp_path / "crowd.gallery")
    assert calls == [PERSONS]
    assert config.gallery.path is not None
    with Gallery(config.gallery.path) as gallery:
        assert gallery.matcher("gaitheat", "f" * 64).templates.shape == (4 * PERSONS, 2, 4)


def test_the_pipeline_is_really_driven(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 2, (320, 180), 2.0)
    assert make_clips(tmp_path, 2, (320, 180), 2.0) == clips
    assert [camera.fps for camera in cameras_on(clips, 3, FPS, loop=True)] == [FPS] * 3
    found = drive(clips, 2, tmp_path / "run", 4.0, realtime=False)
    assert found.frames > 0
    assert {"detect", "track"} <= set(found.stage_s)
    # Stages of one thread do not overlap; one call may straddle the ends of the stretch.
    assert found.busy < 1.5
