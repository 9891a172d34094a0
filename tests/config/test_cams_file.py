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


SHARED = """\
x-usual: &usual
  fps: 10
  thresholds: {min_height_px: 30}   # all
cameras:
  - &gate
    id: gate   # the gate
    <<: *usual
    url: "synth://plaza?seed=$$1"
  - <<: *gate
    id: yard
  - id: hall
    url: synth://plaza
    thresholds: &near
      margin: 0.1   # near
    regions: &walk [[[0, 0], [9, 0], [9, 9]]]
  - id: door
    url: synth://plaza
    thresholds: *near
    regions: *walk
"""


def test_what_cameras_share_is_set_for_the_one_that_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "cams.yaml"
    path.write_text(SHARED)
    before = load_config(path)
    values = {
        ("cameras", 0, "fps"): 5.0,
        ("cameras", 1, "thresholds", "min_height_px"): 50.0,
        ("cameras", 2, "regions"): [[[0, 0], [8, 0], [8, 8]]],
        ("cameras", 3, "thresholds", "margin"): 0.3,
    }
    after = CamsFile(path).write_settings(values, {}, MARK, path)
    gate, yard, hall, door = after.cameras
    assert [one.fps for one in after.cameras] == [5.0, 10.0, 15.0, 15.0]
    assert (gate.thresholds.min_height_px, yard.thresholds.min_height_px) == (30, 50)
    assert (hall.thresholds.margin, door.thresholds.margin) == (0.1, 0.3)
    assert (hall.regions, door.regions) == ([[(0, 0), (8, 0), (8, 8)]], before.cameras[3].regions)
    assert gate.url.reveal() == yard.url.reveal() == "synth://plaza?seed=$1"
    assert all(comment in path.read_text() for comment in ("# all", "# the gate", "# near"))


def test_a_camera_that_others_are_made_of_is_changed_alone(tmp_path: Path) -> None:
    path = tmp_path / "cams.yaml"
    path.write_text(SHARED)
    config = CamsFile(path).change("gate", {"fps": 4.0, "detect_every": 2})
    assert [(one.fps, one.detect_every) for one in config.cameras[:2]] == [(4.0, 2), (10.0, 1)]
    config = CamsFile(path).change("gate", {"thresholds": None})
    assert [one.thresholds.min_height_px for one in config.cameras[:2]] == [None, 30]
    assert [(one.fps, one.detect_every) for one in config.cameras[:2]] == [(4.0, 2), (10.0, 1)]


def test_a_section_without_keys_takes_the_first_one(tmp_path: Path) -> None:
    path = tmp_path / "cams.yaml"
    path.write_text("cameras: [{id: gate, url: synth://plaza, thresholds: {}}]\ngallery: {}\nmodels: {}\n")
    values = {
        ("cameras", 0, "thresholds", "min_height_px"): 60.0,
        ("gallery", "threshold"): 0.4,
        ("models", "detector", "model"): "demo",
    }
    config = CamsFile(path).write_settings(values, {}, MARK, path)
    assert (config.cameras[0].thresholds.min_height_px, config.gallery.threshold) == (60.0, 0.4)


def test_lines_end_as_they_did(tmp_path: Path) -> None:
    path = tmp_path / "cams.yaml"
    path.write_bytes(b"# here\r\ncameras:\r\n- id: a\r\n  url: a.mp4\r\n")
    CamsFile(path).add({"id": "b", "url": "b.mp4"})
    assert path.read_bytes() == (
        b"# here\r\ncameras:\r\n- id: a\r\n  url: a.mp4\r\n- id: b\r\n  url: b.mp4\r\n"
    )
    CamsFile(path).remove("a")
    assert path.read_bytes() == b"# here\r\ncameras:\r\n- id: b\r\n  url: b.mp4\r\n"


def test_a_link_stays_one_and_the_file_behind_it_is_changed(cams: Path, tmp_path: Path) -> None:
    link = tmp_path / "etc" / "cams.yaml"
    link.parent.mkdir()
    link.symlink_to(cams)
    CamsFile(link).change("gate", {"fps": 7.0})
    assert link.is_symlink()
    assert load_config(cams).camera("gate").fps == 7.0
    assert [one.name for one in link.parent.iterdir()] == ["cams.yaml"]
    CamsFile(link).write_settings({}, NOTES, MARK, cams.with_suffix(".new.yaml"))


def test_a_note_is_a_comment_whatever_is_in_it(cams: Path) -> None:
    CamsFile(cams).write_settings({}, {("cameras", 0): ["away:\x07\nid: no\u2028url: no"]}, MARK, cams)
    assert "  # checked: away:  id: no url: no\n" in cams.read_text()
