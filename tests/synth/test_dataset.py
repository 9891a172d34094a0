"""`gaitstream synth`: what it writes can be read by others."""

import configparser
import csv
import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml

from gaitstream.cli import main
from gaitstream.synth import open_synthetic
from gaitstream.synth.address import Address
from gaitstream.synth.dataset import write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synth")
    shape = ["--cameras", "2", "--people", "5", "--site", "lobby", "--size", "320x180"]
    arguments = [*shape, "--seconds", "2", "--seed", "3", "--fps", "10"]
    assert main(["synth", *arguments, "--out", str(root)]) == 0
    return root


def test_videos_open_in_pyav_and_opencv(dataset: Path) -> None:
    for name in ("cam1", "cam2"):
        with av.open(str(dataset / f"{name}.mp4")) as video:
            stream = video.streams.video[0]
            assert (stream.width, stream.height, stream.average_rate) == (320, 180, Fraction(10))
            assert sum(1 for _ in video.decode(video=0)) == 20
        capture = cv2.VideoCapture(str(dataset / f"{name}.mp4"))
        ok, image = capture.read()
        assert ok
        camera = open_synthetic(
            f"synth://lobby?camera={name[3:]}&people=5&seed=3&fps=10&width=320&height=180&quality=0"
        )
        assert np.abs(image.astype(int) - camera.image(0)).mean() < 6


def test_ground_truth_is_mot_challenge(dataset: Path) -> None:
    with (dataset / "cam1/gt/gt.txt").open() as file:
        rows = [[float(value) for value in row] for row in csv.reader(file)]
    assert rows
    assert {len(row) for row in rows} == {9}
    frames = [row[0] for row in rows]
    assert frames == sorted(frames)
    assert {min(frames), max(frames)} <= set(range(1, 21))
    assert {row[1] for row in rows} <= {1, 2, 3, 4, 5}
    assert all(row[4] > 0 and row[5] > 0 and row[6] == row[7] == 1 and 0 <= row[8] <= 1 for row in rows)
    camera = open_synthetic("synth://lobby?camera=1&people=5&seed=3&fps=10&width=320&height=180")
    truth = camera.truth(0)
    first = {row[1]: row for row in rows if row[0] == 1}
    for person, box in zip(truth.people, truth.boxes, strict=True):
        left, top, wide, high = first[person + 1][2:6]
        assert [left - 1, top - 1, left - 1 + wide, top - 1 + high] == pytest.approx(box.tolist(), abs=0.02)
    info = configparser.ConfigParser()
    info.read(dataset / "cam1/seqinfo.ini")
    assert info["Sequence"]["seqLength"] == "20"


def test_keypoints_and_identities_belong_to_the_boxes(dataset: Path) -> None:
    with (dataset / "cam2/gt/gt.txt").open() as file:
        boxes = {(int(row[0]), int(row[1])): [float(v) for v in row[2:6]] for row in csv.reader(file)}
    lines = [json.loads(line) for line in (dataset / "cam2/gt/keypoints.jsonl").read_text().splitlines()]
    assert {(line["frame"], line["id"]) for line in lines} == set(boxes)
    for line in lines:
        left, top, _, high = boxes[line["frame"], line["id"]]
        points = np.array(line["keypoints"])
        assert points.shape == (17, 3)
        assert (points[:, 0] + 1 >= left - 0.1).all()
        assert (points[:, 1] + 1 <= top + high + 0.1).all()
    people = json.loads((dataset / "identities.json").read_text())
    assert [person["id"] for person in people] == [1, 2, 3, 4, 5]
    assert all("stature" in person and "appearance" in person for person in people)


def test_cams_yaml_lists_the_videos(dataset: Path) -> None:
    config = yaml.safe_load((dataset / "cams.yaml").read_text())
    assert [(dataset / camera["url"]).is_file() for camera in config["cameras"]] == [True, True]
    from gaitstream.config.reading import load_config

    assert [camera.id for camera in load_config(dataset / "cams.yaml").cameras] == ["cam1", "cam2"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--site", "plazza"], "did you mean 'plaza'"),
        (["--size", "33x20"], "write WIDTHxHEIGHT"),
        (["--size", "641x361"], "even width"),
        (["--cameras", "0"], "1 to 64"),
        (["--seconds", "soon"], "not a positive number"),
    ],
)
def test_wrong_arguments_are_explained(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gaitstream", "synth", "--out", str(tmp_path / "x"), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dataset_that_was_interrupted_does_not_pass_for_the_one_before(tmp_path: Path) -> None:
    address = Address(site="lobby", people=2, fps=5, width=64, height=64, seconds=1)
    write_dataset([address], tmp_path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset([replace(address, people=3)], tmp_path, interrupt)
    assert not (tmp_path / "cams.yaml").exists()
    assert not (tmp_path / "identities.json").exists()
    write_dataset([replace(address, people=3)], tmp_path)
    assert len(json.loads((tmp_path / "identities.json").read_text())) == 3


def test_files_of_ones_own_are_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "cams.yaml"
    own.write_text("cameras: [{id: a, url: a.mp4}]\n")
    order = ["synth", "--cameras", "1", "--people", "1", "--size", "64x48", "--seconds", "0.1", "--out"]
    assert main([*order, str(tmp_path)]) != 0
    assert "holds a cams.yaml of your own" in capsys.readouterr().err
    assert own.read_text() == "cameras: [{id: a, url: a.mp4}]\n"
    assert main([*order, str(own)]) != 0
    assert "cannot be filled" in capsys.readouterr().err
    for _ in range(2):  # a dataset is written anew
        assert main([*order, str(tmp_path / "set")]) == 0
