"""The model cards quote what was measured."""

from __future__ import annotations

import json

import pytest

from gaitstream import zoo

FIGURES = {
    "detector.md": ("tracking", {"recall": ".1f", "precision": ".1f", "hota": ".1f", "idf1": ".1f"}),
    "pose.md": ("pose", {"pck_2px": ".1f", "pck_1px": ".1f", "median_px": ".2f"}),
    "segmenter.md": ("segmenter", {"iou": ".1f", "masks": "d"}),
    "gaitbase.md": ("gaitbase", {"people": "d", "rank1": ".1f", "eer": ".1f", "fnir_at_fpir_1": ".1f"}),
    "gaitheat.md": ("gaitheat", {"people": "d", "rank1": ".1f", "eer": ".1f", "fnir_at_fpir_1": ".1f"}),
}


@pytest.mark.parametrize("card", FIGURES)
def test_card_quotes_the_figures(card: str) -> None:
    section, wanted = FIGURES[card]
    figures = json.loads((zoo.demo_folder() / "metrics.json").read_text())[section]
    text = (zoo.demo_folder() / card).read_text()
    for name, form in wanted.items():
        assert f"| {format(figures[name], form)}" in text, name
    assert "not for" in text or "nothing about real people" in text
    assert "```sh" in text


def test_the_card_shows_both_gait_models_and_their_fusion() -> None:
    figures = json.loads((zoo.demo_folder() / "metrics.json").read_text())
    text = (zoo.demo_folder() / "gaitbase.md").read_text()
    for name, section in (("GaitHeat", "gaitheat"), ("GaitBase", "gaitbase"), ("fused", "fused")):
        one = figures["beside"][section]
        assert f"| {name} | {one['rank1']:.1f} % | {one['eer']:.1f} %" in text


def test_at_least_fifty_unseen_people_were_measured() -> None:
    figures = json.loads((zoo.demo_folder() / "metrics.json").read_text())["gaitheat"]
    assert figures["people"] >= 50
