"""A package whose plug-ins are broken is named, and takes nothing else down."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitstream import zoo
from gaitstream.cli import main
from gaitstream.errors import ConfigError
from gaitstream.gallery import Gallery
from gaitstream.gallery.stores import STORES
from gaitstream.models import segmentation_layouts
from gaitstream.models.spec import FAMILIES, families, recognise
from gaitstream.registry import Registry
from gaitstream.zoo import registry

POINTS = """
[gaitstream.models]
clash = careless.clash:FAMILY
hasty = careless.hasty:FAMILY
leaving = careless.leaving:FAMILY
liar = careless.liar:FAMILY
raising = careless.raising:FAMILY
wrong = careless.wrong:NUMBER

[gaitstream.segmenters]
raising = careless.raising:LAYOUT

[gaitstream.galleries]
raising = careless.raising:Store
wrong = careless.wrong:NUMBER

[gaitstream.weights]
raising = careless.raising:WEIGHTS
"""
FAMILY = """
from dataclasses import dataclass

from gaitstream.models.spec import ModelFamily, flag


@dataclass(frozen=True)
class Options:
    {option}: str = flag("", help="of its own")


FAMILY = ModelFamily(
    name="{name}",
    title="the {name} model",
    summary="100 % careless",
    recognises=lambda shapes: shapes["stem.weight"][0] == 3,
    loader="careless.raising:load",
    options=Options,
)
"""


@pytest.fixture
def careless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package, installed for one test."""
    package, about = tmp_path / "careless", tmp_path / "careless-1.0.dist-info"
    package.mkdir()
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: careless\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(POINTS)
    for module, text in {
        "__init__": "",
        "raising": "TABLE = {}['missing']\n",
        "wrong": "NUMBER = 3\n",
        "leaving": "raise SystemExit('no licence')\n",
        "clash": FAMILY.format(name="clash", option="window"),
        "hasty": FAMILY.format(name="hasty", option="tap"),
        "liar": FAMILY.format(name="biggait", option="tap"),
    }.items():
        (package / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    doors: tuple[Registry[object], ...] = (
        FAMILIES, segmentation_layouts.LAYOUTS, registry.BROUGHT, STORES
    )  # type: ignore[assignment]  # fmt: skip
    for door in doors:
        monkeypatch.setattr(door, "_found", None)
        monkeypatch.setattr(door, "_told", set())


@pytest.mark.usefixtures("careless")
def test_the_other_families_are_exported_and_told_apart(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["export", "--help"])
    shown = capsys.readouterr().out
    assert "toy-outline" in shown
    assert "100 % careless" in shown
    names = [family.name for family in families()]
    assert len(names) == len(set(names))
    assert recognise({"outline.0.weight": (1,)}) == []
    for said in (
        "'raising' of the package careless cannot be loaded from careless.raising:FAMILY: KeyError",
        "'wrong' of the package careless is no model family: careless.wrong:NUMBER is of type int, and "
        "has to be ModelFamily",
        "'leaving' of the package careless cannot be loaded from careless.leaving:FAMILY: SystemExit",
        "the model family 'liar' calls itself 'biggait'",
        "the clash model cannot be exported: every family has --window, and it brings its own",
        "the hasty model cannot tell whether a checkpoint is its own (KeyError: 'stem.weight')",
    ):
        assert caplog.text.count(said) == 1


@pytest.mark.usefixtures("careless")
def test_other_models_are_found(caplog: pytest.LogCaptureFixture) -> None:
    assert zoo.find("demo", "detector").name == "detector.json"
    assert "demo" in zoo.names("detector")
    assert "'raising' of the package careless cannot be loaded" in caplog.text
    with pytest.raises(ConfigError, match="'raising' of the package careless cannot be loaded"):
        zoo.find("raising", "recognizer")
    with pytest.raises(ConfigError, match="is no segmentation layout known here"):
        segmentation_layouts.recognise("odd.onnx", [(1, 2, 3, 4, 5)])


@pytest.mark.usefixtures("careless")
@pytest.mark.parametrize(
    ("url", "says"),
    [
        (
            "raising:x",
            "'raising' of the package careless cannot be loaded from careless.raising:Store: KeyError",
        ),
        (
            "wrong:x",
            "'wrong' of the package careless is no gallery store: careless.wrong:NUMBER is of type int",
        ),
    ],
)
def test_a_store_that_cannot_be_had_is_named(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Gallery(url)
