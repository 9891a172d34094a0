"""`gaitstream compare`: a published size beside its PyTorch module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaitstream.bench import compare_models, recognizer
from gaitstream.bench.result import Row
from gaitstream.cli import main
from gaitstream.models.bundle import Bundle

pytest.importorskip("torch", reason="random weights are made with the extra 'export'")


def here(function: Callable[..., list[Row]], arguments: dict[str, Any]) -> list[Row]:
    """A contender without a process of its own."""
    return function(**arguments)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One short turn."""
    monkeypatch.setattr(compare_models, "run_contender", here)
    monkeypatch.setattr(compare_models, "TURNS", 1)
    monkeypatch.setattr(recognizer, "SETTLING_S", 0.0)
    monkeypatch.setattr(recognizer, "MEASURED_S", 0.0)


@pytest.mark.usefixtures("quick")
def test_a_published_size_stands_beside_its_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--random", "gaittr", "--precision", "fp32", "--markdown"]) == 0
    head, _, row = capsys.readouterr().out.splitlines()
    cells = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert float(cells["ms a tracklet"]) > 0
    assert float(cells["PyTorch here"]) > 0
    assert cells["faster"].endswith(" x")
    assert float(cells["published code, elsewhere"]) > 0


@pytest.mark.usefixtures("quick")
def test_several_pictures_are_channels_of_one_to_a_module(tmp_path: Path) -> None:
    bundle = recognizer.make_bundle("skeletongaitpp", tmp_path / "bundle", eight_bits=False)
    (row,) = recognizer.measure_module(str(bundle), 1, "skeletongaitpp")
    assert row.figures["tracklet"].median > 0


def test_eight_bits_of_a_size_whose_pictures_only_a_data_set_has(tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="needs the extra [int8]")
    bundle = Bundle.open(recognizer.make_bundle("multigaitpp", tmp_path / "bundle"))
    assert "int8" in bundle.manifest.graphs
