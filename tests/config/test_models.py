"""The section `models`: recognizers by name, families as keys, layouts by name, and where errors lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gaitstream.cli import main
from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.errors import ConfigError
from gaitstream.gallery import Gallery
from gaitstream.models.detector_layouts import LAYOUTS

CAMERAS = "cameras: [{id: a, url: a.mp4}]\n"


def load(folder: Path, models: str) -> Config:
    path = folder / "cams.yaml"
    path.write_text(CAMERAS + "models:\n" + models)
    return load_config(path)


def test_a_recognizer_has_a_name_of_its_own_or_its_familys(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "bundles" / name).mkdir(parents=True)
    models = load(
        tmp_path,
        "  gaitheat: demo\n  biggait: {model: bundles/a, weight: 2}\n"
        "  recognizers:\n    north: bundles/b\n    south.2: {model: bundles/c, weight: 3}\n",
    ).models
    assert {name: (Path(one.model).name, one.weight) for name, one in models.recognizers.items()} == {
        "biggait": ("a", 2.0),
        "gaitheat": ("demo", 1.0),
        "north": ("b", 1.0),
        "south.2": ("c", 3.0),
    }
    assert (models.family("biggait"), models.family("north")) == ("biggait", "")


@pytest.mark.parametrize("models", ["  biggait: null\n", "  recognizers: {}\n", "  pose: demo\n"])
def test_none_is_none(models: str, tmp_path: Path) -> None:
    assert load(tmp_path, models).models.recognizers == {}


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ("  bigait: demo\n", r":3: models\.bigait: unknown key; did you mean 'biggait'\?"),
        ("  segmentor: x.onnx\n", r":3: models\.segmentor: unknown key; did you mean 'segmenter'\?"),
        ("  gaitheat:\n    model: demo\n    wieght: 2\n", r":5: models\.gaitheat\.wieght: .* 'weight'\?"),
        ("  gaitheat:\n    model: demo\n    weight: -1\n", r":5: models\.gaitheat\.weight: '-1': .*greater"),
        (
            "  recognizers:\n    north:\n      model: demo\n      wieght: 2\n",
            r":6: models\.recognizers\.north\.wieght: unknown key; did you mean 'weight'\?",
        ),
        (
            "  recognizers:\n    model:\n      wieght: 2\n",
            r":5: models\.recognizers\.model\.wieght: .* 'weight'",
        ),
        ("  recognizers:\n    North: demo\n", r":4: models\.recognizers\.North: .*pattern"),
        (
            "  gaitheat: demo\n  recognizers: {gaitheat: demo}\n",
            r":3: models\.gaitheat: 'gaitheat' is given under recognizers too; give it once",
        ),
        ("  recognizers: [demo]\n", r":3: models\.recognizers: .*dictionary"),
        ("  recognizers: {north: ./gone}\n", r":3: models\.recognizers\.north\.model: .*gone does not exist"),
        ("  gaitheat: ./gone\n", r":3: models\.gaitheat\.model: .*gone does not exist"),
        ("  detector: gone.yaml\n", r":3: models\.detector\.model: .*gone\.yaml does not exist"),
        ("  segmenter: gone.onnx\n", r":3: models\.segmenter\.model: .*gone\.onnx does not exist"),
        (
            "  detector: {layout: yolo8}\n",
            r":3: models\.detector\.layout: 'yolo8' is no detector layout; allowed: auto, yolox, yolov8",
        ),
        (
            "  segmenter: {model: demo, layout: matte}\n",
            r"'matte' is no segmentation layout; allowed: auto, probability, logit, classes, labels",
        ),
    ],
)
def test_errors_name_the_key_as_the_file_has_it(models: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, models)


def test_every_layout_is_allowed(tmp_path: Path) -> None:
    for name in LAYOUTS.names():
        assert load(tmp_path, f"  detector: {{layout: {name}}}\n").models.detector.layout == name


def test_the_check_looks_at_names_and_families(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cams.yaml"
    (tmp_path / "a.mp4").touch()
    demo = Path(__file__).parents[2] / "gaitstream/zoo/demo/gaitheat"
    path.write_text(CAMERAS + "models:\n  recognizers: {north: dmeo}\n  segmenter: dmeo\n  biggait: demo\n")
    assert main(["config", "check", str(path)]) == 2
    text = capsys.readouterr().err
    assert "cams.yaml:3: models.recognizers.north.model: no packaged recognizer is called 'dmeo'" in text
    assert "cams.yaml:4: models.segmenter.model: no packaged segmenter is called 'dmeo'" in text
    assert "cams.yaml:5: models.biggait.model: no biggait weights ship with gaitstream" in text
    path.write_text(CAMERAS + f"models:\n  recognizers: {{north: demo, south: {demo}}}\n")
    assert main(["config", "check", str(path)]) == 0


def test_editors_know_the_families(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    models = json.loads(capsys.readouterr().out)["$defs"]["Models"]["properties"]
    assert {"detector", "segmenter", "recognizers", "biggait", "gaitheat"} <= models.keys()


def test_the_check_looks_at_what_recognizers_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a run would, which starts no camera then."""
    path = tmp_path / "cams.yaml"
    (tmp_path / "a.mp4").touch()
    packaged = Path(__file__).parents[2] / "gaitstream/zoo/demo"
    outlines = CAMERAS + f"models:\n  gaitbase: {packaged / 'gaitbase'}\n"
    path.write_text(outlines)
    assert main(["config", "check", str(path)]) == 2
    said = capsys.readouterr().err
    assert "cams.yaml:3: models.gaitbase.model: gaitbase works on silhouettes: set models.segmenter" in said
    path.write_text(CAMERAS + f"models:\n  biggait: {packaged / 'gaitbase'}\n  gaitheat: {tmp_path}\n")
    assert main(["config", "check", str(path)]) == 2
    said = capsys.readouterr().err
    assert "cams.yaml:3: models.biggait.model: " in said
    assert "is a bundle of gaitbase; give it as models.gaitbase" in said
    assert "cams.yaml:4: models.gaitheat.model: " in said
    assert "is not a model bundle: it has no manifest.json" in said
    path.write_text(outlines + "  segmenter: demo\ngallery: {path: people.gallery}\n")
    assert main(["config", "check", str(path)]) == 0
    with Gallery(tmp_path / "people.gallery", create=True) as gallery:
        gallery.enroll("Ada", "gaitheat", "a" * 64, np.ones((1, 2, 4), np.float32))
    capsys.readouterr()
    assert main(["config", "check", str(path)]) == 1
    out, said = capsys.readouterr()
    assert "people.gallery holds templates of gaitheat, this runs gaitbase; enrol into a new gallery" in said
    assert "correct" not in out
