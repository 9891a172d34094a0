"""Clips from outside: what is taken, what is refused undecoded, and that none can hang or fill anything."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from gaitstream.console import clip_limits, jobs
from gaitstream.console.app import create_app
from gaitstream.console.clip_limits import check_clip
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.permissions import Role
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import ConsoleError
from tests.console.conftest import BASE, PASSWORD, log_in
from tests.console.making import write_clip


@pytest.mark.parametrize(
    ("form", "told"), [("mp4", "mp4"), ("mov", "mp4"), ("matroska", "matroska"), ("avi", "avi")]
)
def test_the_usual_containers_are_taken(tmp_path: Path, form: str, told: str) -> None:
    facts = check_clip(write_clip(tmp_path / "clip", form=form))
    assert (facts.format, facts.width, facts.height, facts.frames) == (told, 64, 64, 5)


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
HOSTILE = {
    "nothing": b"",
    "text": b"hello, this is no video at all",
    "a playlist that names another file": PLAYLIST,
    "a list of files to join": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(64),
    "an archive": b"PK\x03\x04" + bytes(64),
    "a head and nothing behind": b"\x00\x00\x00\x18ftypisom" + bytes(16),
    "a playlist behind a head": b"\x00\x00\x00\x18ftypisom" + PLAYLIST * 20,
    "rubbish in matroska": b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 8,
    "rubbish in avi": b"RIFF\xff\xff\xff\xffAVI " + bytes(range(256)) * 8,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_video_is_refused_in_words(tmp_path: Path, name: str) -> None:
    path = tmp_path / "clip"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ConsoleError, match="clip"):
        check_clip(path)


def test_a_broken_video_is_an_error_wherever_it_is_broken(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole", 30).read_bytes()
    random = np.random.default_rng(3)
    path = tmp_path / "clip"
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for at in random.integers(0, len(data), 12):
            data[at] = random.integers(0, 256)
        path.write_bytes(data[: random.integers(1, len(data))])
        try:
            check_clip(path)
        except ConsoleError:
            refused += 1
    assert refused > 30


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [("MOST_FRAMES", 20, "too long"), ("LONGEST_S", 1.0, "too long"), ("MOST_PIXELS", 64 * 63, "64 x 64")],
)
def test_long_and_large_ones_are_refused_whatever_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: float, words: str
) -> None:
    monkeypatch.setattr(clip_limits, limit, value)
    with pytest.raises(ConsoleError, match=words):
        check_clip(write_clip(tmp_path / "clip", 30))


@pytest.mark.parametrize(
    ("codec", "width", "height", "words"),
    [("ffv1", 640, 360, "coded as ffv1"), ("mpeg4", 8160, 4096, "8160 x 4096")],
)
def test_what_nobody_films_in_is_refused_before_it_is_decoded(
    tmp_path: Path, codec: str, width: int, height: int, words: str
) -> None:
    clip = write_clip(tmp_path / "clip", 1, codec=codec, width=width, height=height, form="matroska")
    with pytest.raises(ConsoleError, match=words):
        check_clip(clip)


def test_few_frames_over_a_long_time_are_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConsoleError, match="too long"):
        check_clip(write_clip(tmp_path / "clip", 5, step=15 * 60))


@pytest.fixture
def site(tmp_path: Path) -> Any:
    cams = tmp_path / "cams.yaml"
    cams.write_text("cameras: [{id: gate, url: /dev/null}]\ngallery: {path: people.gallery, key: none}\n")
    made = ConsoleSite.open(ConsoleOptions(tmp_path / "state", cameras=cams))
    yield made
    made.close()


@pytest.fixture
def client(site: ConsoleSite) -> TestClient:
    site.accounts.add("boss", PASSWORD, Role.ADMINISTRATOR)
    browser = TestClient(create_app(site), base_url=BASE, follow_redirects=False)
    log_in(browser, "boss", PASSWORD)
    return browser


def done(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    end_s = time.monotonic() + 60
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < end_s
        time.sleep(0.05)
        job = client.get(f"/api/v1/jobs/{job['job_id']}").json()
    return job


def test_a_hostile_clip_fails_in_its_own_process_and_is_gone_afterwards(
    client: TestClient, site: ConsoleSite
) -> None:
    answer = client.post("/api/v1/clips/enrol", params={"person": "Eve"}, content=PLAYLIST)
    job = done(client, answer.json())
    assert (job["state"], "send MP4" in job["fault"]) == ("failed", True)
    assert not list((site.options.state / "jobs").rglob("clip"))


def test_a_camera_that_cannot_be_right_is_refused_in_words_after_a_try(client: TestClient) -> None:
    answer = client.post("/api/v1/cameras/trials", json={"id": "new", "url": "rtsp://u:secret@127.0.0.1:1/x"})
    assert answer.status_code == 202
    job = done(client, answer.json())
    assert job["state"] == "failed"
    assert "127.0.0.1:1" in job["fault"]
    assert "secret" not in str(job)


def test_what_takes_too_long_is_ended(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(jobs.WORK_S, "camera", 0.05)
    answer = client.post("/api/v1/cameras/trials", json={"id": "new", "url": "synth://plaza"})
    assert "longer than" in done(client, answer.json())["fault"]


def test_when_too_many_wait_the_next_is_told_when_to_come_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_WAITING", 0)
    answer = client.post("/api/v1/clips/enrol", params={"person": "Eve"}, content=b"x")
    assert (answer.status_code, int(answer.headers["retry-after"])) == (429, 31)


def test_a_clip_that_is_larger_than_allowed_is_not_taken(
    client: TestClient, site: ConsoleSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gaitstream.console.clips.LARGEST_BYTES", 1000)
    answer = client.post("/api/v1/clips/enrol", params={"person": "Eve"}, content=bytes(2000))
    assert answer.status_code == 422
    assert not list((site.options.state / "jobs").rglob("clip"))
    huge = {"Content-Length": str(1 << 40)}
    assert client.post("/api/v1/clips/enrol?person=Eve", content=b"", headers=huge).status_code == 413


@pytest.mark.slow
def test_one_picture_of_a_camera_says_who_would_be_rejected(client: TestClient) -> None:
    answer = client.post("/api/v1/cameras/trials", json={"id": "new", "url": "synth://plaza?seed=1"})
    job = done(client, answer.json())
    assert (job["state"], job["fault"]) == ("done", "")
    assert job["width"] > 0
    picture = client.get(f"/api/v1/jobs/{job['job_id']}/pictures/picture")
    assert picture.content[:2] == b"\xff\xd8"
