"""Models that need several frames at once are measured with as many as they take."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitstream.bench.recognizer import measure_engine
from gaitstream.models.manifest import ClipContract

torch = pytest.importorskip("torch", reason="exporting needs the extra [export]")

from gaitstream.export.api import ExportOptions, write_bundle  # noqa: E402
from gaitstream.models.gaitjoints.module import GaitJoints  # noqa: E402
from gaitstream.models.graphs.inputs import JOINTS  # noqa: E402
from gaitstream.models.graphs.traced_models import ClipModel, Tap  # noqa: E402


def test_batches_that_are_too_short_for_a_model_are_left_out(tmp_path: Path) -> None:
    module = GaitJoints(16, 1, 8).eval()
    model = ClipModel(
        "gaitjoints",
        module,
        (JOINTS,),
        lambda keypoints: module(keypoints.transpose(1, 2)),
        ClipContract(min_frames=5),
        Tap("after the neck"),
    )
    (tmp_path / "bundle").mkdir()
    write_bundle(model, tmp_path / "bundle", ExportOptions(precisions=("fp32",)))
    (row,) = measure_engine(str(tmp_path / "bundle"), 1, "openvino", "fp32")
    assert {name for name in row.figures if name.startswith("batch")} == {"batch 16"}
    assert row.figures["tracklet"].median > 0
