"""The script that measures gait models on a real video: times are the video's, and too little is said."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gaitstream import zoo
from gaitstream.errors import ConfigError
from gaitstream.synth import open_synthetic
from tests.pipeline.test_source import encode

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate_video.py"


@pytest.mark.parametrize("fps", [5, 50])
def test_pictures_come_at_the_videos_own_rate(fps: int, tmp_path: Path) -> None:
    script = runpy.run_path(str(SCRIPT))
    clip = script["read"](encode(tmp_path / "walk.ts", [(64, 48)], fps=fps))
    assert len(clip) == 10
    assert clip.frame_ns == pytest.approx(1e9 / fps, rel=0.01)
    halved = script["CHANGES"]["half frame rate"](clip)
    assert (len(halved), halved.frame_ns) == (5, 2 * clip.frame_ns)


def test_too_little_to_compare_is_said_with_what_there_is() -> None:
    script = runpy.run_path(str(SCRIPT))
    for tracklets, said in (
        ([], "nobody"),
        ([np.zeros((3, 1, 2))], r"\[3\]"),
        ([np.zeros((1, 1, 2))] * 2, "1, 1"),
    ):
        with pytest.raises(Exception, match=rf"by person: .*{said}.* give a video in which at least two"):
            script["check"](tracklets, 30)


def test_a_video_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "gone.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "gone.mp4: no such file; give a video or a folder of images that exists"
    )
    assert "Traceback" not in done.stderr


def test_models_on_silhouettes_look_at_what_a_segmentation_model_finds() -> None:
    """The demo's GaitBase on two people of the synthetic world: each is nearer to themselves."""
    script = runpy.run_path(str(SCRIPT))
    camera = open_synthetic("synth://corridor?camera=1&people=4&seed=2")
    times, images, _ = zip(*(camera.read() for _ in range(135)), strict=True)
    gaitbase = str(zoo.find("demo", "recognizer", "gaitbase"))
    models = script["Models"].load("demo", "demo", gaitbase, 25, 1, "demo")
    result = script["measure"](models, script["Clip"](list(images[60:]), times[1] - times[0]))
    assert (result["people"], result["tracklets"]) == (2, 4)
    assert result["successive"] < 0.8 * result["others"]
    assert result["nearer_than_mean_of_every_other_person"] == 100
    assert result["right_in_the_other_half"] == 100


def test_what_a_gait_model_lacks_is_said() -> None:
    load = runpy.run_path(str(SCRIPT))["Models"].load
    gaitbase = str(zoo.find("demo", "recognizer", "gaitbase"))
    with pytest.raises(ConfigError, match="looks at silhouettes: --segmenter names a model that makes them"):
        load("demo", "demo", gaitbase, 10, 1)
