"""Changes of cams.yaml by the console: comments stay, and nothing wrong is ever written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from gaitstream.config.reading import load_config
from gaitstream.console.app import create_app
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.permissions import Role
from gaitstream.console.site import ConsoleSite
from tests.config.cams_text import TEXT
from tests.console.conftest import BASE, PASSWORD, log_in


@pytest.fixture
def cams(tmp_path: Path) -> Path:
    path = tmp_path / "cams.yaml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


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
