"""enroll, identify and gallery with the packaged models: videos, cameras, streams, saved pictures."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml

from gaitstream.cli import main
from gaitstream.config.camera_sections import Camera
from gaitstream.pipeline.enroll import is_endless
from gaitstream.synth import open_synthetic

WALK = "synth://corridor?camera=1&people=2&seed=3&only=0&width=640&height=360"
BOTH = WALK.replace("&only=0", "")


@pytest.fixture
def cams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    data = {
        "cameras": [
            {"id": "alone", "url": f"{WALK}&seconds=20"},
            {"id": "live", "url": f"{BOTH}&live=1"},
            {"id": "empty", "url": "blank"},
        ],
        "models": {"detector": "demo", "pose": "demo", "gaitheat": "demo"},
        "gallery": {"path": "people.gallery"},
        "quality": {"min_height_px": 40},
    }
    (tmp_path / "blank").mkdir()
    for number in range(15):
        cv2.imwrite(str(tmp_path / "blank" / f"{number}.png"), np.full((180, 320, 3), 90, np.uint8))
    path = tmp_path / "cams.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def video(path: Path, url: str = WALK, seconds: int = 20) -> Path:
    camera = open_synthetic(f"{url}&seconds={seconds}")
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        while (shot := camera.read()) is not None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shot[1], format="bgr24")))
        container.mux(stream.encode(None))
    return path


def names(out: str) -> list[str | None]:
    return [json.loads(line)["person"] for line in out.splitlines()]


def test_from_a_camera_to_a_name(cams: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A camera of the file is enrolled from and identified with; the gallery is the one of cams.yaml."""
    where = ["--cameras", str(cams)]
    code = main(["enroll", "--person", "Ada", "--camera", "alone", *where])
    said = capsys.readouterr().out
    if code == 2:  # the one person walked by several times
        track = re.findall(r"--track (\d+)", said)[0]
        assert re.search(r"shows \d+ tracks", said)
        assert main(["enroll", "--person", "Ada", "--camera", "alone", "--track", track, *where]) == 0
        said = capsys.readouterr().out
    assert re.search(r"enrolled Ada: \d+ templates", said)
    assert main(["gallery", "list", *where]) == 0
    assert "Ada" in capsys.readouterr().out
    cams.write_text(cams.read_text().replace("people.gallery", "people.gallery\n  threshold: 0.6"))
    assert main(["identify", "--camera", "alone", "--json", *where]) == 0
    assert "Ada" in names(capsys.readouterr().out)
    again = ["enroll", "--person", "Eve", "--camera", "alone", *where]
    assert main(again if code == 0 else [*again, "--track", track]) == 0
    assert "Eve walks like Ada (distance 0.0000): where they are one" in capsys.readouterr().out


def test_from_a_live_camera_by_its_saved_pictures(cams: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody walks past twice: of several tracks pictures are kept, and one of these folders is enrolled."""
    where = ["--cameras", str(cams)]
    assert main(["enroll", "--person", "Ada", "--camera", "live", "--seconds", "12", *where]) in (0, 2)
    said = capsys.readouterr()
    assert "for 12 s" in said.err
    folders = [path.parent for path in (cams.parent / "tracks").rglob("decision.json")]
    most = max(folders, key=lambda folder: len(list(folder.glob("*.jpg"))))
    assert len(list(most.glob("*.jpg"))) >= 10
    assert main(["enroll", "--person", "Bob", "--tracklet", str(most), *where]) == 0
    assert re.search(r"enrolled Bob: \d+ templates from the pictures", capsys.readouterr().out)
    for path in list(most.glob("*.jpg"))[3:]:
        path.unlink()
    assert main(["enroll", "--person", "Eve", "--tracklet", str(most), *where]) == 2
    assert "pictures show a gait" in capsys.readouterr().err
    assert main(["enroll", "--person", "Eve", "--tracklet", str(cams.parent), *where]) == 2
    assert "holds no pictures of a track" in capsys.readouterr().err


def test_from_a_stream_without_showing_its_password(cams: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--cameras", str(cams)]
    video(cams.parent / "main.mp4", BOTH, 12)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(cams.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://viewer:hunter2@127.0.0.1:{server.server_port}/main.mp4?pw=hunter3"
        code = main(["enroll", "--person", "Ada", "--video", url, "--seconds", "30", *where])
        server.shutdown()
    said = capsys.readouterr()
    assert code in (0, 2), said
    assert f"http://***@127.0.0.1:{server.server_port}/main.mp4?pw=***" in said.out + said.err
    assert main(["enroll", "--person", "Ada", "--video", "rtsp://u:hunt/er2@127.0.0.1:9/main", *where]) == 2
    assert (
        main(
            [
                "enroll",
                "--person",
                "Ada",
                "--video",
                "rtsp://u:hunter2@127.0.0.1:9/main",
                "--seconds",
                "1",
                *where,
            ]
        )
        == 1
    )
    said2 = capsys.readouterr()
    assert "%40 %3A" in said2.err
    assert "rtsp://***@127.0.0.1:9/main: cannot be opened" in said2.err
    assert "hunt" not in said.out + said.err + said2.out + said2.err


def test_seconds_of_a_file_are_its_own(cams: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """However fast or slowly this machine reads it: 150 pictures are six seconds, and 90 frames of 15."""
    for number in range(15, 150):
        shutil.copyfile(cams.parent / "blank" / "0.png", cams.parent / "blank" / f"{number}.png")
    assert main(["identify", "--camera", "empty", "--seconds", "2", "--cameras", str(cams)]) == 0
    frames = re.search(r"nobody was detected in (\d+) frames", capsys.readouterr().out)
    assert frames is not None
    assert 30 <= int(frames[1]) < 40


def test_a_looped_file_is_watched_once(cams: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cams.write_text(cams.read_text().replace("url: blank", "url: blank\n  loop: true"))
    assert main(["identify", "--camera", "empty", "--cameras", str(cams)]) == 0
    assert "nobody was detected in 9 frames" in capsys.readouterr().out


def test_an_empty_table_says_why(cams: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--cameras", str(cams)]
    assert main(["identify", "--camera", "empty", *where]) == 0
    assert "nobody was detected in 9 frames" in capsys.readouterr().out
    assert main(["enroll", "--person", "Ada", "--camera", "empty", *where]) == 2
    assert "nobody was detected" in capsys.readouterr().err
    assert main(["identify", "--camera", "nope", *where]) == 2
    assert "has alone, live, empty" in capsys.readouterr().err
    assert main(["gallery", "list", *where]) == 1
    assert "make one with 'gaitstream enroll" in capsys.readouterr().err


def test_a_table_without_a_terminal_is_not_cut_at_80_characters(cams: Path) -> None:
    path = video(cams.parent / "both.mp4", BOTH, 12)
    done = subprocess.run(
        [sys.executable, "-m", "gaitstream", "identify", "--video", str(path), "--cameras", str(cams)],
        capture_output=True, text=True, check=True, cwd=cams.parent,
    )  # fmt: skip
    head, *rows = done.stdout.splitlines()
    assert head.split() == [
        "track",
        "seconds",
        "frames",
        "who",
        "distance",
        "threshold",
        "nearest",
        "why",
        "not",
    ]
    assert len(rows) >= 2
    assert all("no_gallery" in row or "too_" in row or "trunc" in row for row in rows), rows


@pytest.mark.parametrize("command", [["identify", "--video"], ["enroll", "--person", "Ada", "--video"]])
def test_a_video_without_a_name_is_none(
    command: list[str], cams: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a script's variable is empty."""
    assert main([*command, "", "--cameras", str(cams)]) == 2
    assert "'' is no video: give a file" in capsys.readouterr().err
    assert main([*command, "walk\udce9.mp4", "--cameras", str(cams)]) == 2
    assert "'walk\\udce9.mp4': videos need names in UTF-8: rename it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "endless"),
    [
        ("synth://plaza", True),
        ("synth://plaza?seconds=4", False),
        ("synth://plaza?seconds=4&live=1", False),
        ("rtsp://10.0.0.5/main", True),
        ("walk.mp4", False),
    ],
)
def test_what_has_no_end_is_watched_for_a_time(url: str, endless: bool) -> None:
    assert is_endless(Camera.model_validate({"id": "a", "url": url})) is endless
