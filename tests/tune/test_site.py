"""`gaitstream tune` on sites of synthetic cameras, some of them away, and on a real video."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gaitstream.cli import main
from gaitstream.config.reading import load_config
from gaitstream.tune.finding import Finding
from gaitstream.tune.report import check_place, write

SHARED = Path(os.environ.get("GAITSTREAM_SHARED", Path(__file__).parents[2] / ".." / "shared")).resolve()
CAMS = """\
# Ask Ben.
cameras:
  - id: gate
    url: synth://lobby?camera=1&people=6&seed=3&width=480&height=270&seconds=12
    fps: 10   # as agreed
  - {id: empty, url: "synth://yard?people=0&width=160&height=90&seconds=4", fps: 5}
  - id: away
    url: rtsp://viewer:top-secret@127.0.0.1:9/main
  - id: spare
    url: synth://yard
    enabled: false
models: {detector: demo, pose: demo, gaitheat: demo}
sources: {connect_s: 1, backoff_min_s: 0.2, backoff_max_s: 0.2}
"""


def tune(path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, list[dict[str, Any]]]:
    code = main(["tune", "--cameras", str(path), "--json", *options])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.slow
def test_a_site_with_cameras_away_and_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cams.yaml"
    path.write_text(CAMS)
    before = set(tmp_path.iterdir())
    code, found = tune(path, capsys, "--minutes", "0.2")
    assert code == 0
    said = {
        name: [one["said"] for one in found if one["camera"] == name] for name in ("gate", "empty", "away")
    }
    assert any("px high" in line for line in said["gate"])
    assert any("nobody was seen" in line for line in said["empty"])
    assert any("gave no picture, nothing is set" in line for line in said["away"])
    assert {one["camera"] for one in found if one["value"] is not None} <= {"", "gate"}
    assert any("of this machine" in one["said"] for one in found)
    assert "top-secret" not in json.dumps(found)

    written = path.with_suffix(".tuned.yaml")
    assert set(tmp_path.iterdir()) - before == {written, tmp_path / "cams.yaml.lock"}
    text = written.read_text()
    assert "# Ask Ben." in text
    assert "# as agreed" in text
    assert "# tuned: away: gave no picture" in text
    config = load_config(written)
    assert [camera.id for camera in config.cameras] == ["gate", "empty", "away", "spare"]
    assert config.gallery.threshold is not None  # the packaged model's own
    assert path.read_text() == CAMS


def test_a_site_without_pictures_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cams.yaml"
    path.write_text(
        "cameras: [{id: away, url: 'rtsp://127.0.0.1:9/main'}, {id: gone, url: gone.mp4}]\n"
        "models: {detector: demo}\nsources: {connect_s: 0.5, backoff_min_s: 0.2, backoff_max_s: 0.2}\n"
    )
    code, found = tune(path, capsys, "--minutes", "0.1")
    assert code == 1
    assert [one["value"] for one in found if one["value"] is not None] == []
    assert any("gone.mp4" in one["said"] for one in found if one["camera"] == "gone")
    assert not path.with_suffix(".tuned.yaml").exists()


def test_a_table_for_people_and_a_file_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cams.yaml"
    path.write_text(
        "cameras: [{id: gate, url: 'synth://yard?people=0&width=160&height=90&seconds=3'}]\n"
        "models: {detector: demo}\n"
    )
    assert main(["tune", "--cameras", str(path), "--minutes", "0.1", "--out", str(path)]) == 0
    said = capsys.readouterr()
    assert "camera gate\n  nobody was seen in 0.0 min" in said.out
    assert "the site\n" in said.out
    assert f"wrote {path}: 0 values set" in said.err
    assert "# tuned: gate: nobody was seen" in path.read_text()


def test_a_fetched_detector_that_is_damaged_is_said_and_takes_nothing_else_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "cache"))
    receipt = tmp_path / "cache/models/yolox_s/receipt.json"
    receipt.parent.mkdir(parents=True)
    receipt.write_text("{broken")
    path = tmp_path / "cams.yaml"
    path.write_text(
        "cameras: [{id: gate, url: 'synth://yard?people=1&width=160&height=90&seconds=3'}]\n"
        "models: {detector: demo}\n"
    )
    code, found = tune(path, capsys, "--minutes", "0.1")
    assert code == 0
    [said] = [one["said"] for one in found if "yolox_s" in one["said"]]
    assert "was not tried" in said
    assert "gaitstream models get yolox_s --force" in said
    assert path.with_suffix(".tuned.yaml").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--out", "elsewhere/cams.yaml"), "to which the file's paths are relative"),
        (("--out", "{folder}"), "is a folder: give the name of a file in"),
        (("--out", "{folder}/../notes.txt"), "notes.txt exists and 'gaitstream tune' did not write it"),
        (("--detector", "gone.onnx"), "gone.onnx does not exist; give an ONNX file"),
        (("--minutes", "0"), "positive"),
    ],
)
def test_a_wrong_option_is_said_before_anybody_waits(
    options: tuple[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cams.yaml"
    path.write_text(CAMS)
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "notes.txt").write_text("of mine")
    try:
        code: object = main(["tune", "--cameras", str(path), *(one.format(folder=folder) for one in options)])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert said in capsys.readouterr().err


def test_cameras_that_change_places_meanwhile_keep_what_is_theirs(tmp_path: Path) -> None:
    path, to = tmp_path / "cams.yaml", tmp_path / "cams.tuned.yaml"
    path.write_text("cameras: [{id: gate, url: a.mp4}, {id: hall, url: b.mp4}]\nmodels: {detector: demo}\n")
    config = load_config(path)
    found = [
        Finding(("cameras", number, "thresholds", "min_height_px"), "as seen", value)
        for number, value in enumerate((90, 50))
    ]
    path.write_text("cameras: [{id: new, url: c.mp4}, {id: gate, url: a.mp4}]\nmodels: {detector: demo}\n")
    assert write(found, config, path, to, datetime.now(UTC)) == 1
    assert [camera.thresholds.min_height_px for camera in load_config(to).cameras] == [None, 90]
    assert "# tuned: hall has left the file since: as seen" in to.read_text()
    check_place(path, to)


@pytest.mark.slow
def test_a_real_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four people who walk towards the camera for eight seconds, again and again if the file has its way.

    The demo's detector knows no real people.
    """
    video, nano = SHARED / "media" / "walkers_gallery.mp4", SHARED / "models" / "yolox_nano_coco.onnx"
    pose = SHARED / "models" / "simplepose_nano_coco17.onnx"
    if not (video.is_file() and nano.is_file() and pose.is_file()):
        pytest.skip(f"needs {video}, {nano} and {pose}")
    path = tmp_path / "cams.yaml"
    path.write_text(
        f"cameras: [{{id: walk, url: {video}, loop: true}}]\n"
        f"models: {{detector: demo, pose: {pose}, gaitheat: demo}}\n"
    )
    _, found = tune(path, capsys, "--detector", str(nano), "--minutes", "1")
    values = {one["at"]: one["value"] for one in found if one["value"] is not None}
    assert any("demo is not made" in one["said"] or "other programs" in one["said"] for one in found)
    said = "\n".join(one["said"] for one in found if "a picture" in one["said"])
    assert re.search(r"^demo: ", said, re.MULTILINE)
    assert re.search(rf"^{re.escape(str(nano))}: ", said, re.MULTILINE)
    assert "cameras[0].thresholds.min_height_px" not in values  # four people are too few

    path.write_text(path.read_text().replace("detector: demo", f"detector: {nano}"))
    _, found = tune(path, capsys, "--minutes", "1")
    [heights] = [one["said"] for one in found if "px high" in one["said"]]
    assert heights.startswith(("4 tracks", "5 tracks", "6 tracks"))
