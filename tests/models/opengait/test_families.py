"""Every OpenGait family: the published keys load, and graphs give the published embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="checkpoints are read with the extra 'export'")

from gaitstream.engines.cache import EngineCache  # noqa: E402
from gaitstream.errors import CheckpointError  # noqa: E402
from gaitstream.export.api import export_bundle  # noqa: E402
from gaitstream.export.running import BundleRunner  # noqa: E402
from gaitstream.models.bundle import Bundle  # noqa: E402
from gaitstream.models.spec import find_family  # noqa: E402
from tests.models.opengait.vectors import (  # noqa: E402
    FAMILY,
    LIMIT,
    MODELS,
    cases,
    checker,
    feeds,
    relative_error,
    write_checkpoint,
)

QUICK = [name for name in MODELS if name != "biggergait"]
SHAPES = {"gaitbase": "frame", "gaitset": "frame", "gaitpart": "frame", "biggergait": "frame"}
"""Families of one shape; DeepGaitV2 has both, the rest look at whole windows."""


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_the_graphs_give_the_published_embeddings(
    name: str, family_bundle: Callable[[str], Bundle], tmp_path: Path
) -> None:
    checker()  # the weights are the reference's
    bundle = family_bundle(name)
    manifest = bundle.manifest
    assert manifest.model == FAMILY[name]
    assert manifest.shape == SHAPES.get(FAMILY[name], "frame" if "_2d" in name else "clip")
    runner = BundleRunner(bundle, "openvino", "fp32", EngineCache(tmp_path / "cache"), for_once=True)
    for label, arrays, wanted in cases(name):
        if manifest.clip is not None and len(arrays[0]) < manifest.clip.min_frames:
            arrays = [manifest.clip.lengthen(array) for array in arrays]
        rows = feeds(manifest, arrays)
        found = runner.embed(rows, np.zeros(len(arrays[0]), np.int64)).embedding[0]
        assert relative_error(found, wanted) < LIMIT, label


@pytest.mark.slow
def test_a_family_is_proved_at_every_precision(tmp_path: Path) -> None:
    checkpoint = write_checkpoint("gaitset", tmp_path / "gaitset.pt")
    exported = export_bundle("auto", checkpoint, tmp_path / "gaitset")
    rows = {(row.runtime, row.precision): row for row in exported.report.rows if row.output == "embedding"}
    assert {"fp32", "fp16"} <= {precision for _, precision in rows}
    assert all(row.verdict == "pass" for row in rows.values())
    assert exported.bundle.manifest.more_features.keys() == {"first", "second"}


@pytest.mark.slow
def test_what_a_checkpoint_lacks_is_named(tmp_path: Path) -> None:
    path = write_checkpoint("gaitbase", tmp_path / "gaitbase.pt")
    state = torch.load(path)["model"]
    del state["Backbone.forward_block.layer3.0.conv1.weight"]
    state["Backbone.forward_block.layer3.0.conv1.wieght"] = torch.zeros(1)
    torch.save({"model": state}, path)
    with pytest.raises(CheckpointError, match=r"missing +Backbone.forward_block.layer3.0.conv1.weight"):
        find_family("gaitbase").load(path)


@pytest.mark.slow
def test_training_only_keys_may_be_missing(tmp_path: Path) -> None:
    path = write_checkpoint("gaitbase", tmp_path / "gaitbase.pt")
    state = {key: value for key, value in torch.load(path)["model"].items() if "BNNecks" not in key}
    torch.save(state, path)
    assert find_family("gaitbase").load(path).describe()["embedding"].parts == 16


@pytest.mark.slow
def test_the_position_grid_of_older_releases(tmp_path: Path) -> None:
    """`transformers` up to 4.36 resized the position grid with an offset, which moves embeddings."""
    check = checker()
    stored = check.load("biggergait_group")
    checkpoint = write_checkpoint("biggergait_group", tmp_path / "b.pt")
    trained = find_family("biggergait").load(checkpoint, positions="offset")
    with torch.no_grad():
        found = trained.module(torch.from_numpy(stored["one/rgb"])).numpy()[0]
    assert relative_error(found, stored["one/embeddings_oldpos"][0].T) < LIMIT
    assert relative_error(found, stored["one/embeddings"][0].T) > 1e-3
