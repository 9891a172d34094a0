"""The model cards quote what was measured."""

from __future__ import annotations

import json

import pytest

from gaitstream import zoo

FIGURES = {
    "detector.md": ("tracking", {"recall": ".1f", "precision": ".1f", "hota": ".1f", "idf1": ".1f"}),
    "pose.md": ("pose", {"pck_2px": ".1f", "pck_1px": ".1f", "median_px": ".2f"}),
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


def test_at_least_fifty_unseen_people_were_measured() -> None:
    figures = json.loads((zoo.demo_folder() / "metrics.json").read_text())["gaitheat"]
    assert figures["people"] >= 50
