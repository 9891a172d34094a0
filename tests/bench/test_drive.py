"""The counters of a stretch of a run, and what a saturated one ran out of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gaitstream.bench.clips import FPS, cameras_on, make_clips
from gaitstream.bench.drive import BOUNDS, Load, between, limit_of
from gaitstream.bench.pipeline import contender_row, drive, row_of, saturation_notes
from gaitstream.bench.pipeline_charts import draw
from gaitstream.bench.plots import draw_chart
from gaitstream.pipeline.stats import CameraStats, Histogram, Snapshot


def snapshot(frames: int, people: int, stages: Mapping[str, list[float]], cpu_s: float) -> Snapshot:
    found = Snapshot(cameras={"a": CameraStats(analysed=frames, encoded=people)}, cpu_s=cpu_s)
    found.event_latency = Histogram(BOUNDS)
    for name, values in stages.items():
        found.stages[name] = Histogram()
        for value in values:
            found.stages[name].observe(value)
    return found


def load(stage_s: dict[str, float], cpu_s: float = 0.0) -> Load:
    calls = dict.fromkeys(stage_s, 10)
    return Load(10.0, 100, 300, 5, stage_s, calls, cpu_s, 500.0, Histogram(BOUNDS))


def test_a_stretch_is_the_difference_of_its_ends() -> None:
    before = snapshot(10, 20, {"detect": [1000.0]}, 1.0)
    after = snapshot(40, 80, {"detect": [1000.0, 2000.0], "pose": [500.0]}, 3.0)
    found = between((100.0, before), (110.0, after))
    assert (found.frames, found.persons, found.cpu_s, found.fps) == (30, 60, 2.0, 3.0)
    assert found.stage_s == {"detect": 2.0, "pose": 0.5}
    assert found.calls == {"detect": 1, "pose": 1}
    assert found.busy == pytest.approx(0.25)


def test_the_limit_is_named() -> None:
    assert limit_of(load({"pose": 6.0, "detect": 3.5})).startswith("the pipeline's thread (95%")
    assert "largest stage: pose, 60%" in limit_of(load({"pose": 6.0, "detect": 3.5}))
    assert limit_of(load({"pose": 1.0}, cpu_s=1e6)).startswith("the CPU")
    assert limit_of(load({"pose": 1.0})).startswith("decoding or other work")


def test_costs_go_with_frames_or_with_people() -> None:
    figures = row_of(load({"detect": 2.0, "pose": 3.0}), {"cameras": 1}, due=15.0).figures
    assert (figures["detect"].median, figures["detect"].unit) == (20.0, "ms/frame")
    assert (figures["pose"].median, figures["pose"].unit) == (10.0, "ms/person")
    assert figures["rest"].median == pytest.approx(50.0)


def test_charts_are_drawn_and_saturation_is_told(tmp_path: Path) -> None:
    setting: dict[str, str | int | float] = {"people": 4, "size": "640x360"}
    rows = [
        row_of(load({"detect": 2.0, "pose": 3.0}), setting | {"cameras": count}, due=due)
        for count, due in ((1, 10.0), (2, 20.0), (2, None))
    ]
    assert [row.note.split(":")[0] for row in rows] == ["keeps up", "saturated", "as fast as it goes"]
    assert saturation_notes(rows)[0].startswith("4 people, 640x360: carries 1 cameras; with 2 saturated")
    for chart in draw(rows):
        assert all(path.stat().st_size > 1000 for path in draw_chart(chart, tmp_path))


def test_a_contender_has_its_latencies() -> None:
    row = contender_row("x", 10.0, 2.0, [1.0, 2.0, 3.0], 0.5)
    assert [row.figures[name].median for name in ("p50", "p95", "p99")] == [1.0, 2.0, 3.0]


@pytest.mark.slow
def test_the_pipeline_is_really_driven(tmp_path: Path) -> None:
    clips = make_clips(tmp_path, 2, (320, 180), 2.0)
    assert make_clips(tmp_path, 2, (320, 180), 2.0) == clips
    assert [camera.fps for camera in cameras_on(clips, 3, FPS, loop=True)] == [FPS] * 3
    found = drive(clips, 2, tmp_path / "run", 1.5, realtime=False)
    assert found.frames > 0
    assert {"detect", "track"} <= set(found.stage_s)
    # Stages of one thread do not overlap; one call may straddle the ends of the stretch.
    assert found.busy < 1.5
