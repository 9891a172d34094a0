"""The demo with both packaged gait models: each sees every window, and the fused distance decides."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from gaitstream import zoo
from gaitstream.cli import main
from gaitstream.demo.plan import DemoPlan
from gaitstream.demo.run import DemoOptions, run_demo
from gaitstream.demo.score import FUSED, curves, fuse
from gaitstream.errors import ConfigError

BOTH = ("gaitheat", "gaitbase")


@pytest.mark.slow
def test_both_models_see_every_window_and_their_fusion_decides(tmp_path: Path) -> None:
    plan = DemoPlan(seconds=14, people=3, enrolled=2, cameras=(1,), live=False, gait=BOTH)
    record, result = run_demo(DemoOptions(plan, tmp_path), Console(file=StringIO()))
    assert record.models.keys() == record.units.keys() == set(BOTH)
    assert record.threshold == zoo.advice(*BOTH).threshold
    by_model = {name: {(w.track, w.last_s) for w in record.windows if w.model == name} for name in BOTH}
    assert by_model["gaitheat"] == by_model["gaitbase"] != set()
    assert len(fuse(record)) == len(by_model["gaitheat"])
    assert result.strangers_named == {}
    shown = [track for track in record.tracks if track.pictures]
    assert all(len(one.pictures) == len(one.heatmaps) == len(one.silhouettes) for one in shown)
    page = (tmp_path / "report.html").read_text()
    assert all(f"<td>{name}</td>" in page for name in curves(record))
    assert FUSED in curves(record)
    assert record.forgotten is not None
    assert record.forgotten.remains == []
    assert record.forgotten.templates == record.people[0].templates


@pytest.mark.slow
def test_weights_of_another_package_are_fused_with_the_demo_s(tmp_path: Path) -> None:
    pytest.importorskip("gaitstream_walkers", reason="needs the package in weights/")
    both = ("gaitheat", "gaitjoints")
    plan = DemoPlan(seconds=12, people=2, enrolled=1, cameras=(1,), live=False, gait=both)
    assert plan.models()["gaitjoints"]["model"] == "walkers"
    record, result = run_demo(DemoOptions(plan, tmp_path), Console(file=StringIO()))
    assert record.models.keys() == set(both)
    assert record.threshold == zoo.advice(*both).threshold
    assert {window.model for window in record.windows} == set(both)
    assert result.strangers_named == {}


def test_models_that_nobody_measured_together_are_refused() -> None:
    if "gaitjoints" not in zoo.advised():
        pytest.skip("needs the package in weights/")
    with pytest.raises(ConfigError, match="nothing is recommended for gaitbase with gaitjoints; there is"):
        zoo.advice("gaitjoints", "gaitbase")


def test_a_model_that_is_not_packaged_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--gait", "gaitset"]) != 0
    assert "--gait gaitset: packaged are gaitheat, gaitbase" in capsys.readouterr().err
