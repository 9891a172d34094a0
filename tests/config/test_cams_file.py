"""Changes of cams.yaml: comments stay, and nothing wrong is ever written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gaitstream.config.cams_file import CamsFile
from gaitstream.config.notes import without_notes
from gaitstream.config.reading import load_config
from gaitstream.errors import ConfigError
from tests.config.cams_text import TEXT


@pytest.fixture
def cams(tmp_path: Path) -> Path:
    path = tmp_path / "cams.yaml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def test_a_camera_is_added_and_all_else_stays_to_the_letter(cams: Path) -> None:
    config = CamsFile(cams).add({"id": "hall", "url": "synth://plaza", "regions": [[[0, 0], [9, 0], [9, 9]]]})
    assert [camera.id for camera in config.cameras] == ["gate", "yard", "hall"]
    text = cams.read_text()
    for line in TEXT.splitlines():
        assert line in text, line
    assert load_config(cams).camera("hall").regions == [[(0, 0), (9, 0), (9, 9)]]
    assert cams.stat().st_mode & 0o777 == 0o640


def test_a_camera_is_changed_and_its_comments_and_variables_stay(cams: Path) -> None:
    CamsFile(cams).change("gate", {"fps": 10.0, "enabled": False})
    assert cams.read_text() == TEXT.replace("fps: 15", "enabled: false\n    fps: 10.0")
    CamsFile(cams).change("gate", {"enabled": None})
    assert cams.read_text() == TEXT.replace("fps: 15", "fps: 10.0")
    CamsFile(cams).change("gate", {"fps": None})
    assert cams.read_text() == TEXT.replace("    fps: 15\n", "")


def test_a_camera_is_taken_out(cams: Path) -> None:
    CamsFile(cams).remove("gate")
    assert [camera.id for camera in load_config(cams).cameras] == ["yard"]
    assert cams.read_text() == TEXT.replace(TEXT[TEXT.index("  - id") : TEXT.index("  # The")], "")
    with pytest.raises(ConfigError, match="gate"):
        CamsFile(cams).remove("gate")


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        ({"id": "gate", "url": "synth://plaza"}, "already"),
        ({"id": "a b", "url": "synth://plaza"}, "pattern"),
        ({"id": "new", "url": "ftp://user:secret@host/x", "speed": 4}, "unknown key"),
        ({"id": "new", "url": "synth://plaza", "fps": 0}, "greater"),
    ],
)
def test_what_would_be_wrong_is_said_with_file_and_line_and_not_written(
    cams: Path, camera: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        CamsFile(cams).add(camera)
    assert f"{cams}:" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert cams.read_text() == TEXT
    assert sorted(path.name for path in cams.parent.iterdir()) == ["cams.yaml", "cams.yaml.lock"]


def test_what_is_typed_names_no_variable(cams: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALLERY_KEY", "the secret")
    CamsFile(cams).add({"id": "new", "url": "rtsp://u:${GALLERY_KEY}$x@host/1"})
    assert load_config(cams).camera("new").url.reveal() == "rtsp://u:${GALLERY_KEY}$x@host/1"


@pytest.mark.parametrize(
    "text", ["cameras:\n- id: gate\n  url: synth://plaza\n", "cameras: [{id: gate, url: synth://plaza}]\n"]
)
def test_other_ways_to_write_the_list_are_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cams.yaml"
    path.write_text(text)
    CamsFile(path).add({"id": "hall", "url": "synth://plaza"})
    assert path.read_text().startswith(text.rstrip("]\n"))
    assert len(load_config(path).cameras) == 2


MARK = "checked:"
NOTES = {("cameras",): ["today"], ("cameras", 0, "fps"): ["so many fit"], ("cameras", 1): ["nobody " * 30]}


def test_settings_and_notes_are_written_beside_and_all_else_stays(cams: Path) -> None:
    values = {
        ("cameras", 0, "fps"): 12.0,
        ("cameras", 0, "regions"): [[[0, 0], [9, 0], [9, 9]]],
        ("cameras", 1, "thresholds", "min_height_px"): 80.0,
        ("gallery", "threshold"): 0.4,
        ("gallery", "margin"): 0.1,
        ("models", "detector", "model"): "other.onnx",
    }
    (cams.parent / "other.onnx").touch()
    to = cams.with_suffix(".new.yaml")
    config = CamsFile(cams).write_settings(values, NOTES, MARK, to)
    assert cams.read_text() == TEXT
    assert to.stat().st_mode & 0o777 == 0o640
    gate, yard = config.cameras
    assert (gate.fps, gate.regions, yard.thresholds.min_height_px) == (12.0, [[(0, 0), (9, 0), (9, 9)]], 80.0)
    assert (config.gallery.threshold, Path(config.models.detector.model).name) == (0.4, "other.onnx")
    text = to.read_text()
    for kept in (
        "# Our site.",
        "# by the bicycle stands",
        "${RTSP_PASSWORD:-none}",
        "# The yard is dark.",
        "x-note",
    ):
        assert kept in text
    assert "    # checked: so many fit\n    fps: 12.0\n" in text
    assert "regions: [[[0, 0], [9, 0], [9, 9]]]" in text
    assert all(len(line) <= 110 for line in text.splitlines())


def test_notes_are_replaced_and_not_heaped_up(cams: Path) -> None:
    for _ in range(3):
        CamsFile(cams).write_settings({}, NOTES, MARK, cams)
    text = cams.read_text()
    assert text.count("checked: so many fit") == 1
    assert without_notes(text, MARK) == TEXT


def test_another_folder_or_a_wrong_value_is_refused_and_nothing_is_written(
    cams: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ConfigError, match="relative"):
        CamsFile(cams).write_settings({}, {}, MARK, tmp_path / "elsewhere" / "cams.yaml")
    to = tmp_path / "new.yaml"
    with pytest.raises(ConfigError, match=r"new\.yaml:\d+: cameras\[0\]\.fps"):
        CamsFile(cams).write_settings({("cameras", 0, "fps"): 0}, {}, MARK, to)
    assert not to.exists()


@pytest.mark.parametrize(
    "text",
    [
        "cameras: [{id: gate, url: synth://plaza}]\n",
        "cameras:\n- id: gate\n  url: synth://plaza\n",
        "cameras:\n  - {id: gate,\n     url: synth://plaza}\n",
        "x-usual: &usual\n  fps: 5\ncameras:\n  - <<: *usual\n    id: gate\n    url: synth://plaza\n",
        'cameras:\n  - url: "synth://plaza"\n    fps: 5\n    id: gate',
    ],
)
def test_settings_and_notes_in_other_ways_to_write_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cams.yaml"
    path.write_text(text)
    values = {("cameras", 0, "fps"): 7.5, ("gallery", "threshold"): 0.5}
    notes = {("cameras", 0, "fps"): ["seven"], ("cameras", 0): ["nobody"], ("gallery", "threshold"): ["half"]}
    config = CamsFile(path).write_settings(values, notes, MARK, path)
    assert (config.cameras[0].fps, config.gallery.threshold) == (7.5, 0.5)
    assert all(f"# checked: {one}\n" in path.read_text() for one in ("seven", "nobody", "half"))
