"""Detectors and pose models in int8: what the command writes, and what auto takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest

from gaitstream.cli import main
from gaitstream.engines.openvino import OpenVino
from gaitstream.errors import ConfigError, ExportError
from gaitstream.export import scenes
from gaitstream.export.finding import FINDERS, JointFinder, PeopleFinder
from gaitstream.export.networks import quantise_network
from gaitstream.models.detector import DetectorModel
from gaitstream.models.pose import PoseModel
from gaitstream.zoo import find

pytest.importorskip("nncf", reason="needs the extra [int8]")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "SITES", (("plaza", 1),))
    monkeypatch.setattr(scenes, "CALIBRATING", 6)
    monkeypatch.setattr(scenes, "JUDGED", 6)


@pytest.mark.parametrize("kind", ["detector", "pose"])
def test_the_demo_models_are_made_and_judged(
    kind: Literal["detector", "pose"], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code = main(["quantise", kind, "demo", "--calibration", "synth", "--out", str(out)])
    report = json.loads((out / f"{kind}.int8.json").read_text())
    manifest = json.loads((out / f"{kind}.json").read_text())
    assert code == (0 if report["kept"] else 1)
    assert manifest["int8"] == f"{kind}.int8.onnx"
    assert ("int8" in manifest["precisions"]) == report["kept"]
    assert "bf16" in manifest["precisions"]
    assert report["judged_by"] == "truth"
    assert report["quantisation"]["layers"] > 10
    names = {"detector": {"recall", "precision"}, "pose": {"median_px", "found"}}[kind]
    assert set(report["fp32"]) == set(report["int8"]) == names
    assert (out / manifest["int8"]).stat().st_size < 0.6 * (out / manifest["graph"]).stat().st_size
    assert "judged by truth" in capsys.readouterr().out
    loader = DetectorModel.load if kind == "detector" else PoseModel.load
    model = loader(out / f"{kind}.json", runtime="openvino")
    probe = OpenVino().probe()
    otherwise = "bf16" if "bf16" in probe.precisions else "fp32"
    # With tiles for bf16 networks of so few channels gain nothing by integers.
    assert model.engine.precision == ("int8" if report["kept"] and not probe.has_tiles else otherwise)
    model.close()
    with pytest.raises(ExportError, match=f"holds {kind}.json already"):
        quantise_network(kind, "demo", out, "synth", lambda _: None)


def test_a_video_is_judged_by_what_fp32_finds(tmp_path: Path) -> None:
    video = "synth://plaza?camera=1&people=4&seconds=8&seed=5"
    report = quantise_network("pose", "demo", tmp_path / "out", video, lambda _: None)
    assert report.judged_by == "findings"
    assert report.fp32["median_px"] == 0
    assert report.fp32["found"] == 100
    assert 0 <= report.int8["median_px"] < 0.5
    assert 90 < report.int8["found"] <= 100


def test_a_folder_that_cannot_be_is_said_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        command = ["quantise", "pose", "demo", "--calibration", "synth", "--out", str(out)]
        assert main(command) == 1
        said = capsys.readouterr().err
        assert f"{out} cannot be written" in said
        assert "reading" not in said


def test_a_model_in_the_very_folder_and_with_weights_of_their_own(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(find("demo", "pose").parent / "pose.onnx")
    onnx.save(graph, tmp_path / "own.onnx", save_as_external_data=True, location="own.bin")
    before = (tmp_path / "own.onnx").read_bytes()
    quantise_network("pose", tmp_path / "own.onnx", tmp_path, "synth", lambda _: None)
    made = ["own.bin", "own.int8.json", "own.int8.onnx", "own.json", "own.onnx"]
    assert sorted(path.name for path in tmp_path.iterdir()) == made
    assert (tmp_path / "own.onnx").read_bytes() == before


def test_what_fails_leaves_nothing_and_nothing_is_overwritten(tmp_path: Path) -> None:
    nothing = str(tmp_path / "nothing.mp4")
    with pytest.raises(ExportError, match=r"nothing\.mp4"):
        quantise_network("pose", "demo", tmp_path / "out", nothing, lambda _: None)
    assert not any(tmp_path.iterdir())
    (tmp_path / "pose.onnx").write_text("another")
    with pytest.raises(ExportError, match=r"holds pose\.onnx already: choose another --out"):
        quantise_network("pose", "demo", tmp_path, nothing, lambda _: None)
    assert (tmp_path / "pose.onnx").read_text() == "another"


def test_worse_is_not_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Joints that are a pixel off, and boxes that are missing."""
    found = np.zeros((4, 17, 2))
    monkeypatch.setattr(
        "gaitstream.export.finding._joints", lambda _, precision, __: found + (precision == "int8")
    )
    before, after, kept = JointFinder("demo").judge(tmp_path, [], true=False)
    assert not kept
    assert (before["median_px"], after["median_px"]) == pytest.approx((0, 2**0.5))
    boxes = np.array([[0, 0, 10, 20], [30, 0, 40, 20]], np.float32)
    monkeypatch.setattr(
        "gaitstream.export.finding._boxes",
        lambda _, precision, __: [boxes[: 1 if precision == "int8" else 2]],
    )
    scene = scenes.Scene(np.zeros((8, 8, 3), np.uint8), boxes)
    before, after, kept = PeopleFinder("demo").judge(tmp_path, [scene], true=True)
    assert not kept
    assert (before["recall"], after["recall"], after["precision"]) == (100, 50, 100)


def test_an_int8_graph_that_is_missing_is_named(tmp_path: Path) -> None:
    contract = JointFinder("demo").contract
    source = find("demo", "pose").parent / contract.graph
    (tmp_path / "pose.onnx").write_bytes(source.read_bytes())
    changed = msgspec.structs.replace(contract, int8="gone.onnx")
    (tmp_path / "pose.json").write_bytes(msgspec.json.encode(changed))
    with pytest.raises(ConfigError, match=r"names the int8 graph 'gone\.onnx', which is not beside it"):
        PoseModel.load(tmp_path / "pose.json")


def test_every_kind_has_a_finder() -> None:
    assert set(FINDERS) == {"detector", "pose"}
