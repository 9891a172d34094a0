"""A stranger's runner takes over a whole run by its name, with the journal, signals and summary around it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gaitstream.cli import main
from gaitstream.events import CameraOnline, Journal, RunStarted, RunStopped, decode
from gaitstream.pipeline.base import Runner
from stranger.relay.runner import Relay
from tests.pipeline.tiny import tiny_bundle

RUNNER: type[Runner] = Relay
"""mypy checks here that it is one."""


def test_cameras_run_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", "biggait").root
    content = {
        "cameras": [
            {"id": name, "url": f"synth://corridor?people=4&seed={seed}&fps=5&seconds=4", "fps": 5}
            for seed, name in enumerate(("left", "right"))
        ],
        "models": {"detector": "demo", "biggait": f"{bundle}/"},
        "tracklets": {"length": 10, "stride": 5, "provisional_from": 5},
        "quality": {"min_sharpness": 0, "min_motion": 0, "min_height_px": 24},
        "events": {"endpoint": "tcp://127.0.0.1:0"},
        "runtime": {"threads": 1},
    }
    (tmp_path / "cams.yaml").write_text(yaml.safe_dump(content))
    assert main(["run", "--cameras", str(tmp_path / "cams.yaml"), "--no-table", "--runner", "relay"]) == 0
    journal = Journal(tmp_path / "cams.journal")
    events = [decode(record.payload) for record in journal.read()]
    journal.close()
    order = [type(event) for event in events if isinstance(event, (RunStarted, CameraOnline, RunStopped))]
    assert order == [RunStarted, CameraOnline, RunStopped] * 2
    assert [event.camera for event in events if isinstance(event, CameraOnline)] == ["left", "right"]
    assert [event.frames for event in events if isinstance(event, RunStopped)] == [20, 20]
    assert "40 frames" in capsys.readouterr().err
