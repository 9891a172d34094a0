"""GaitJoints, trained on walks that were learned from recorded people; `card.md` says how good it is."""

from __future__ import annotations

from pathlib import Path

from gaitstream.zoo import ZooEntry

_HERE = Path(__file__).resolve().parent

WALKERS = ZooEntry(
    "walkers",
    "recognizer",
    str(_HERE / "gaitjoints"),
    str(_HERE / "card.md"),
    "GaitJoints, learned from how people walk",
    "gaitjoints",
    advice=str(_HERE / "advice.json"),
)
