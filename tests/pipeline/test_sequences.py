"""Videos in the place of a data set's pickles: the person in them is found, followed and embedded."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream import zoo
from gaitstream.cli import main
from gaitstream.cli.commands import evaluating
from gaitstream.errors import SourceError
from gaitstream.evaluate.collecting import Videos
from gaitstream.evaluate.dataset import scan
from gaitstream.models.detector import find_detector
from gaitstream.pipeline import sequences
from gaitstream.pipeline.sequences import VideoSequences, fingerprint
from gaitstream.synth import SyntheticCamera
from gaitstream.synth.address import parse_address

SECONDS = 5
SIZE = (640, 360)
SHOWS_NOBODY = r"empty\.mp4 shows nobody whose walk could be embedded, .*: nobody was detected in 20 frames"


def write_video(path: Path, person: int | None, day: int, seconds: float = SECONDS) -> None:
    """One person of a synthetic site, alone; both when None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    only = "" if person is None else f"&only={person}"
    address = f"synth://plaza?camera=1&people=2&seed=7{only}&day={day}&seconds={seconds}"
    camera = SyntheticCamera(parse_address(address))
    write_frames(path, (camera.image(index) for index in range(round(seconds * 15))))


def write_frames(path: Path, images: Iterable[NDArray[np.uint8]]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, each in the types of gallery and probes; the latter's videos have folders of their own."""
    root = tmp_path_factory.mktemp("grew")
    for person in (0, 1):
        write_video(root / f"p{person}" / "01" / "cam.mp4", person, day=0)
        write_video(root / f"p{person}" / "02" / "cam" / "walk.mp4", person, day=0, seconds=SECONDS - 1)
    return root


def test_videos_stand_for_sequences(videos: Path, tmp_path: Path) -> None:
    found = scan(videos)
    assert [one.name for one in found] == ["p0/01/cam", "p0/02/cam", "p1/01/cam", "p1/02/cam"]
    assert all(one.video is not None and one.video.suffix == ".mp4" for one in found)
    two = tmp_path / "p" / "01" / "cam"
    two.mkdir(parents=True)
    for name in ("a.mp4", "b.mkv"):
        (two / name).touch()
    with pytest.raises(SourceError, match="holds 2 videos"):
        scan(tmp_path)


def test_videos_of_any_usual_kind_are_sequences(tmp_path: Path) -> None:
    """What is left out is not said: a data set of cameras' `.MTS` files had none of them."""
    (tmp_path / "p" / "01").mkdir(parents=True)
    for name in ("a.MOV", "b.m4v", "c.mpg", "d.MTS", "e.wmv", "notes.txt"):
        (tmp_path / "p" / "01" / name).touch()
    assert [one.view for one in scan(tmp_path)] == ["a", "b", "c", "d", "e"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gaitheat", "gaitbase"])
def test_a_data_set_of_videos_is_evaluated_through_detector_and_segmenter(
    videos: Path, tmp_path: Path, family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = zoo.find("demo", "recognizer", family)
    out = tmp_path / "out"
    command = ["evaluate", str(bundle), "--data", str(videos), "--protocol", "grew", "--out", str(out)]
    assert main(command) == 0
    result = json.loads((out / "evaluation.json").read_text())
    assert result["figures"]["rank-1"] == 100.0, "the same clothes and route were not recognised"
    assert result["sequences"] == 4
    kept = {path: path.stat().st_mtime_ns for path in (out / "embeddings").rglob("*.npy")}
    assert len(kept) == 4
    assert main(command) == 0
    assert kept == {path: path.stat().st_mtime_ns for path in kept}, "embedded again"
    capsys.readouterr()


def test_other_models_that_find_people_have_another_fingerprint(tmp_path: Path) -> None:
    graph = tmp_path / "detector.onnx"
    shutil.copyfile(find_detector("demo")[0], graph)
    site = tmp_path / "cams.yaml"
    site.write_text(f"cameras: [{{id: a, url: synth://plaza}}]\nmodels: {{detector: {graph}}}\n")
    bundle = zoo.find("demo", "recognizer")
    found = fingerprint(bundle, site)
    assert found == fingerprint(bundle, site)
    assert found != fingerprint(bundle)
    graph.write_bytes(graph.read_bytes() + b"\0")
    assert fingerprint(bundle, site) != found, "a detector that was replaced is taken for the one before"


@pytest.mark.slow
def test_the_whole_walk_is_embedded_where_a_site_spares_frames(videos: Path, tmp_path: Path) -> None:
    plain, sparing = tmp_path / "plain.yaml", tmp_path / "sparing.yaml"
    plain.write_text("cameras: [{id: a, url: synth://plaza}]\n")
    sparing.write_text(plain.read_text() + "tracklets: {every: 4}\n")
    found = []
    for site in (plain, sparing):
        reader = VideoSequences(zoo.find("demo", "recognizer"), site, threads=2)
        found.append(reader.embed(videos / "p0" / "01" / "cam.mp4"))
        reader.close()
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.slow
def test_embeddings_are_those_of_one_bundle(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another bundle is put in its place before the first video is opened."""
    bundle = tmp_path / "bundle"
    shutil.copytree(zoo.find("demo", "recognizer", "gaitheat"), bundle)

    def exchange(*arguments: object) -> VideoSequences:
        shutil.rmtree(bundle)
        shutil.copytree(zoo.find("demo", "recognizer", "gaitbase"), bundle)
        return evaluating.open_videos(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluating, "VIDEOS", Videos(exchange, evaluating.key_of_models))
    out = tmp_path / "out"
    assert (
        main(["evaluate", str(bundle), "--data", str(videos), "--protocol", "grew", "--out", str(out)]) == 1
    )
    assert "was changed while it was evaluated: run the evaluation again" in capsys.readouterr().err
    assert not list(out.rglob("*.npy"))


@pytest.mark.slow
def test_it_is_said_where_somebody_else_may_be_meant_and_where_frames_are_left_out(
    videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "both.mp4", None, day=0)
    reader = VideoSequences(zoo.find("demo", "recognizer"), threads=2)
    reader.embed(videos / "p0" / "01" / "cam.mp4")
    assert not caplog.records
    reader.embed(tmp_path / "both.mp4")
    reader.close()
    assert "both.mp4 shows 2 people at a time; the one seen longest is taken" in caplog.text
    assert "are embedded, no more" not in caplog.text
    monkeypatch.setattr(sequences, "MOST_FRAMES", 10)
    reader = VideoSequences(zoo.find("demo", "recognizer"), threads=2)
    reader.embed(videos / "p0" / "01" / "cam.mp4")
    reader.close()
    assert re.search(r"cam\.mp4: the first 10 of \d\d frames are embedded, no more", caplog.text)


@pytest.mark.slow
def test_frames_after_the_most_are_left_out_and_nobody_is_an_error(videos: Path, tmp_path: Path) -> None:
    reader = VideoSequences(zoo.find("demo", "recognizer"), threads=2, frames=20)
    whole = VideoSequences(zoo.find("demo", "recognizer"), threads=2)
    one, all_of_it = (each.embed(videos / "p0" / "01" / "cam.mp4") for each in (reader, whole))
    assert one.shape == all_of_it.shape
    assert not np.allclose(one, all_of_it)
    whole.close()
    write_frames(tmp_path / "empty.mp4", [np.zeros((*SIZE[::-1], 3), np.uint8)] * 20)
    with pytest.raises(SourceError, match=SHOWS_NOBODY):
        reader.embed(tmp_path / "empty.mp4")
    reader.close()
