"""Changes of cams.yaml by the console: comments stay, and nothing wrong is ever written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from gaitstream.config.reading import load_config
from gaitstream.console.app import create_app
from gaitstream.console.cams_file import CamsFile
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.permissions import Role
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import ConfigError
from tests.console.conftest import BASE, PASSWORD, log_in

TEXT = """\
# Our site. Ask Ben before you change the yard.
cameras:
  - id: gate   # by the bicycle stands
    url: rtsp://viewer:${RTSP_PASSWORD:-none}@10.0.0.5/stream1
    fps: 15
  # The yard is dark.
  - {id: yard, url: "synth://plaza?live=1", fps: 5}

x-note: kept
models:
  detector: demo  # for now
"""


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
    with pytest.raises(NotFoundError, match="gate"):
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


@pytest.fixture
def client(tmp_path: Path, cams: Path, gallery: Path) -> Any:
    site = ConsoleSite.open(ConsoleOptions(tmp_path / "state", cameras=cams, gallery=gallery, key="none"))
    site.accounts.add("boss", PASSWORD, Role.ADMINISTRATOR)
    browser = TestClient(create_app(site), base_url=BASE, follow_redirects=False)
    log_in(browser, "boss", PASSWORD)
    yield browser
    site.close()


def test_programs_see_change_and_remove_cameras_and_no_password(client: TestClient, cams: Path) -> None:
    listed = client.get("/api/v1/cameras").json()
    assert [(one["camera"], one["url"]) for one in listed] == [
        ("gate", "rtsp://***@10.0.0.5/stream1"), ("yard", "synth://plaza?live=1"),
    ]  # fmt: skip
    made = client.post("/api/v1/cameras", json={"id": "hall", "url": "synth://plaza"})
    assert (made.status_code, made.json()["camera"]) == (201, "hall")
    region = {"regions": [[[0, 0], [100, 0], [100, 90]]], "region_size": [160, 90]}
    changed = client.patch("/api/v1/cameras/hall", json=region).json()
    assert changed["region_size"] == [160, 90]
    outside = {"regions": [[[0, 0], [500, 0], [100, 90]]]}
    refused = client.patch("/api/v1/cameras/hall", json=outside)
    assert (refused.status_code, "outside" in refused.json()["error"]) == (422, True)
    assert client.delete("/api/v1/cameras/hall").status_code == 204
    assert load_config(cams).cameras[-1].id == "yard"


def test_unknown_keys_of_a_camera_are_refused(client: TestClient) -> None:
    answer = client.post("/api/v1/cameras", json={"id": "x", "url": "synth://plaza", "exec": "sh"})
    assert answer.status_code == 422
