"""Clips from outside: what is taken, what is refused undecoded, and that none can hang or fill anything."""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
from fastapi.testclient import TestClient

from gaitstream.config.reading import load_config
from gaitstream.console import clip_limits, jobs, worker
from gaitstream.console.app import create_app
from gaitstream.console.clip_limits import check_clip
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.permissions import Permission, Role
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import ConsoleError
from gaitstream.gallery import Gallery
from tests.console.conftest import BASE, PASSWORD, log_in
from tests.console.making import write_clip
from tests.gallery.filled import MODEL, PRINT
from tests.gallery.walking import note, sighting, windows


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


@dataclass
class Finished:
    """Puts jobs of the user `boss` on the desk that are done, with a picture each."""

    site: ConsoleSite

    def add(self, kind: Literal["identify", "enrol", "search", "camera"], age_s: float = 0.0) -> str:
        """A job of a kind, begun so long ago; its id."""
        job_id = secrets.token_hex(16)
        folder = self.site.options.state / "jobs" / job_id
        folder.mkdir()
        (folder / "track-1.jpg").write_bytes(b"a picture")
        result = worker.JobResult(templates=1)
        task = worker.Task(kind=kind, cameras="cams.yaml")
        begun_s = time.monotonic() - age_s
        self.site.jobs._jobs[job_id] = jobs.Job(
            job_id, "boss", task, folder, begun_s, "console:boss", "done", result
        )
        return job_id


@pytest.fixture
def finished(site: ConsoleSite) -> Finished:
    return Finished(site)


@pytest.mark.parametrize("kind", ["identify", "enrol", "search", "camera"])
def test_a_token_sees_of_its_users_jobs_what_its_scopes_allow(
    client: TestClient, site: ConsoleSite, finished: Finished, kind: Any
) -> None:
    job_id = finished.add(kind)
    assert client.get(f"/api/v1/jobs/{job_id}").json()["state"] == "done"
    for number, scopes in enumerate((frozenset({Permission.HEALTH_READ}), frozenset(jobs.NEEDED[kind]))):
        token = site.accounts.new_token("boss", f"robot-{number}", scopes)
        program = TestClient(client.app, base_url=BASE, headers={"Authorization": f"Bearer {token}"})
        for path in (f"/api/v1/jobs/{job_id}", f"/api/v1/jobs/{job_id}/pictures/track-1", f"/jobs/{job_id}"):
            assert program.get(path).status_code == (200 if number else 403), path


def test_a_result_is_gone_after_its_time_whoever_asks_and_if_nobody_does(
    client: TestClient, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = finished.add("identify", jobs.KEPT_S + 1)
    folder = finished.site.options.state / "jobs" / job_id
    assert client.get(f"/api/v1/jobs/{job_id}").status_code == 404
    assert not folder.exists()
    monkeypatch.setattr(jobs, "TIDY_S", 0.05)
    with closing(ConsoleSite.open(ConsoleOptions(tmp_path / "other"))) as other:
        job_id = Finished(other).add("identify", jobs.KEPT_S + 1)
        end_s = time.monotonic() + 20
        while (other.options.state / "jobs" / job_id).exists():
            assert time.monotonic() < end_s
            time.sleep(0.02)


def test_what_came_of_clips_goes_with_whoever_is_forgotten(
    client: TestClient, site: ConsoleSite, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Gallery(site.options.cameras.parent / "people.gallery", create=True, key="none") as gallery:  # type: ignore[union-attr]
        gallery.enroll("Ada", MODEL, PRINT, windows(8, 0))
    kept, gone = finished.add("camera"), finished.add("identify")
    begun, go_on = threading.Event(), threading.Event()

    def run(job: jobs.Job) -> worker.JobResult:
        begun.set()
        go_on.wait(20)
        return worker.JobResult(walks=[{"track": 1, "person": "Ada"}])

    monkeypatch.setattr(site.jobs, "_run", run)
    running = client.post("/api/v1/clips/identify", content=b"x").json()
    assert begun.wait(20)
    [ada] = site.desk.people()
    assert client.delete(f"/api/v1/people/{ada}").status_code == 200
    go_on.set()
    assert client.get(f"/api/v1/jobs/{gone}").status_code == 404
    assert not (site.options.state / "jobs" / gone).exists()
    assert client.get(f"/api/v1/jobs/{kept}").status_code == 200
    over = done(client, running)
    assert (over["state"], over["walks"], "forgotten" in over["fault"]) == ("failed", [], True)


def test_a_search_finds_as_many_walks_for_who_sees_some_cameras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest fifty are all on another camera."""
    cams = tmp_path / "cams.yaml"
    cams.write_text(
        "cameras: [{id: gate, url: /dev/null}, {id: hall, url: /dev/null}]\n"
        "gallery: {path: people.gallery, key: none, visitors: {enabled: true, distance: 3.0}}\n"
    )
    with Gallery(tmp_path / "people.gallery", create=True, key="none") as gallery:
        gallery.enroll("Ada", MODEL, PRINT, windows(8, 0))
        note(gallery, *(sighting(1, walk, "hall") for walk in range(1, 56)), sighting(2, 99, "gate"))
    walk = SimpleNamespace(embeddings={MODEL: list(windows(1, 0))})
    monkeypatch.setattr(worker, "_watch", lambda *_, **__: ([walk], ""))
    monkeypatch.setattr(worker, "choose", lambda walks, _: walks[0])
    monkeypatch.setattr(worker, "describe_walk", lambda _: {})
    task = worker.Task(kind="search", cameras=str(cams), seen=("gate",))
    result = worker.search(load_config(cams), task, tmp_path)
    assert [one["track"] for one in result.found or ()] == [99]
    everywhere = worker.search(load_config(cams), worker.Task(kind="search", cameras=str(cams)), tmp_path)
    assert [one["camera"] for one in everywhere.found or ()] == ["hall"] * 50


@pytest.mark.slow
def test_one_picture_of_a_camera_says_who_would_be_rejected(client: TestClient) -> None:
    answer = client.post("/api/v1/cameras/trials", json={"id": "new", "url": "synth://plaza?seed=1"})
    job = done(client, answer.json())
    assert (job["state"], job["fault"]) == ("done", "")
    assert job["width"] > 0
    picture = client.get(f"/api/v1/jobs/{job['job_id']}/pictures/picture")
    assert picture.content[:2] == b"\xff\xd8"
