"""The pages name every reason, layout and manifest key there is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gaitstream.config.track_sections import Quality
from gaitstream.data import Reason
from gaitstream.models.detector_layouts import OWN, DetectorContract
from gaitstream.models.pose import PoseContract
from gaitstream.models.segmentation_layouts import LAYOUTS as SEGMENTATION
from gaitstream.models.segmenter import SegmenterContract

DOCS = Path(__file__).parents[2] / "docs"


def test_every_reason_has_an_answer() -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    assert [reason for reason in Reason if f"| `{reason}` |" not in page] == []


def test_every_key_of_quality_that_is_named_exists() -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    named = {word.split("`")[0] for word in page.split("quality.")[1:]}
    assert named
    assert named <= set(Quality.model_fields)


@pytest.mark.parametrize("contract", [DetectorContract, PoseContract, SegmenterContract])
def test_every_key_of_a_manifest_is_shown(contract: type[msgspec.Struct]) -> None:
    page = (DOCS / "bring-your-own-model.md").read_text()
    keys = contract.__struct_fields__
    assert [key for key in keys if f"\n{key}:" not in page] == []


def test_every_layout_is_shown() -> None:
    page = (DOCS / "bring-your-own-model.md").read_text()
    assert [layout for layout in OWN if f"| `{layout}` |" not in page] == []
    assert [layout for layout in SEGMENTATION.names() if f"| `{layout}` |" not in page] == []
