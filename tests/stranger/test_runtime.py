"""The stranger's models and detector at work: run, enrol, identify, DeepStream's files and the benchmark."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gaitstream import zoo
from gaitstream.bench.result import read_report
from gaitstream.cli import main
from gaitstream.config.reading import load_config
from gaitstream.data import Embedding
from gaitstream.errors import ConfigError
from gaitstream.events import IdentityFinal, Journal, decode
from gaitstream.models.bundle import Bundle
from gaitstream.models.recognizer import Recognizer
from gaitstream.pipeline.enroll import watch_video
from gaitstream.pipeline.observe import Observer
from gaitstream.pipeline.runner import Pipeline

torch = pytest.importorskip("torch", reason="exporting needs the extra [export]")

from stranger.contrast import graph as contrast  # noqa: E402
from stranger.corners import graph as corners  # noqa: E402
from stranger.outline.module import Outline  # noqa: E402
from stranger.stride.module import Stride  # noqa: E402

FAMILIES = ["toy-outline", "toy-stride"]
SECONDS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stranger's bundles and networks, and a video of two people of the synthetic world."""
    folder = tmp_path_factory.mktemp("stranger")
    torch.manual_seed(8)
    for family, module in zip(FAMILIES, (Outline(6, 10), Stride(4, 9)), strict=True):
        checkpoint = folder / f"{family}.pt"
        torch.save(module.state_dict(), checkpoint)
        arguments = ["--checkpoint", str(checkpoint), "--out", str(folder / family), "--target"]
        assert main(["export", family, *arguments, "deepstream"]) == 0
    contrast.write(folder / "contrast.onnx")
    corners.write(zoo.find("demo", "detector").with_suffix(".onnx"), folder / "corners.onnx")
    (folder / "corners.yaml").write_text(
        "graph: corners.onnx\nlayout: toy-corners\nfit: top_left\nscale: 1\n"
    )
    arguments = ["--out", str(folder / "site"), "--cameras", "1", "--people", "2"]
    assert main(["synth", *arguments, "--seconds", str(SECONDS), "--site", "corridor"]) == 0
    return folder


def video(folder: Path) -> Path:
    return next((folder / "site").rglob("*.mp4"))


def cams(folder: Path, out: Path, models: dict[str, Any]) -> Path:
    """A site of the stranger's networks and the models given."""
    data = {
        "cameras": [{"id": "hall", "url": str(video(folder)), "fps": None}],
        "models": {
            "detector": str(folder / "corners.yaml"),
            "segmenter": str(folder / "contrast.yaml"),
            **models,
        },
        "runtime": {"threads": 1},
        "quality": {"min_sharpness": 0, "min_height_px": 32, "min_motion": 0, "max_overlap": 0.9},
        "gallery": {"path": str(out / "people.gallery"), "threshold": 1e-3, "margin": 0.0},
        "events": {
            "endpoint": f"ipc://{out}/bus",
            "replay": f"ipc://{out}/replay",
            "journal": str(out / "journal"),
        },
    }
    path = out / "cams.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


class Windows(Observer):
    """Keeps what was embedded."""

    def __init__(self) -> None:
        self.embeddings: list[Embedding] = []

    def on_embedding(self, embedding: Embedding) -> None:
        self.embeddings.append(embedding)


@pytest.mark.parametrize("family", FAMILIES)
def test_enrol_identify_and_run(
    family: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under the family's own key and under a name of one's own; whoever was enrolled is known again."""
    name = family if family == "toy-outline" else "north"
    bundle = str(folder / family)
    path = cams(folder, tmp_path, {name: bundle} if name == family else {"recognizers": {name: bundle}})
    walks = [walk for walk in watch_video(load_config(path), video(folder), match=False) if walk.full]
    assert walks, "nobody walked long enough"
    assert {kind for walk in walks for kind in walk.embeddings} == {name}
    shown = ["--video", str(video(folder)), "--cameras", str(path)]
    assert main(["enroll", "--person", "Ada", "--track", str(walks[0].track), *shown]) == 0
    capsys.readouterr()
    assert main(["identify", *shown]) == 0
    assert "Ada" in capsys.readouterr().out
    command = [sys.executable, "-m", "gaitstream", "run", "--cameras", str(path), "--no-table"]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    journal = Journal(tmp_path / "journal")
    events = [decode(record.payload) for record in journal.read()]
    journal.close()
    assert "Ada" in {event.person for event in events if isinstance(event, IdentityFinal)}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_pipeline_gives_what_the_recognizer_gives(family: str, folder: Path, tmp_path: Path) -> None:
    """A window's embedding equals the model over the same frames' silhouettes; clips keep their inputs."""
    seen = Windows()
    config = load_config(cams(folder, tmp_path, {family: str(folder / family)}))
    with Pipeline(config, observers=[seen]) as pipeline:
        pipeline.run()
    full = [one for one in seen.embeddings if not one.tracklet.provisional]
    assert full
    with_runtime = Recognizer.load(folder / family, "onnxruntime", "fp32", 1)
    for one in full:
        kept = one.tracklet.pooled
        if family == "toy-stride":
            assert kept.shape == (30, 1, 64, 44)
            assert kept.dtype == np.uint8
            assert 0.05 < (kept > 127).mean() < 0.8
            expected = with_runtime.embed(kept)
        else:
            assert kept.shape == (6, 16, 11)
            expected = with_runtime.embed_pooled(kept)
        np.testing.assert_allclose(one.parts, expected, rtol=2e-2, atol=2e-3)
    with_runtime.close()


def test_silhouettes_need_a_segmenter(folder: Path, tmp_path: Path) -> None:
    path = cams(folder, tmp_path, {"toy-outline": str(folder / "toy-outline"), "segmenter": None})
    with pytest.raises(ConfigError, match=r"toy-outline works on silhouettes: set models\.segmenter"):
        Pipeline(load_config(path))


def test_deepstream_is_rendered_with_the_strangers_graphs_and_parser(folder: Path, tmp_path: Path) -> None:
    outline, stride = str(folder / "toy-outline"), str(folder / "toy-stride")
    path = cams(folder, tmp_path, {"toy-outline": outline, "recognizers": {"north": stride}})
    out = tmp_path / "graph"
    assert main(["deepstream", "render", "--cameras", str(path), "--out", str(out)]) == 0
    detector = (out / "detector.txt").read_text()
    assert "parse-bbox-func-name=StrangerParseCorners\n" in detector
    assert "custom-lib-path=/opt/stranger/libcorners.so\n" in detector
    for name, family in (("toy-outline", "toy-outline"), ("north", "toy-stride")):
        text = (out / f"encoder-{name}.txt").read_text()
        bundle = Bundle.open(folder / family)
        assert f"onnx-file={bundle.root}/deepstream" in text
        assert "infer-dims=3;64;44\n" in text


@pytest.mark.slow
def test_the_benchmark_measures_them(folder: Path, tmp_path: Path) -> None:
    arguments = [word for family in FAMILIES for word in ("--bundle", str(folder / family))]
    out = tmp_path / "bench"
    assert main(["bench", "recognizer", "--quick", "--device", "cpu", "--out", str(out), *arguments]) == 0
    (suite,) = read_report(out / "report.json").suites
    measured = {(row.setting["model"], row.contender) for row in suite.rows if "tracklet" in row.figures}
    for family in FAMILIES:
        assert {(family, "openvino fp32"), (family, "onnxruntime fp32")} <= measured
