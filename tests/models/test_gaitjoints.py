"""GaitJoints: what it may not depend on, and its graph beside its module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.models.recognizer import Recognizer
from gaitstream.models.spec import find_family

torch = pytest.importorskip("torch", reason="exporting needs the extra [export]")

from gaitstream.export.api import ExportOptions, export_bundle  # noqa: E402
from gaitstream.models.gaitjoints.module import GaitJoints, joint_features  # noqa: E402
from gaitstream.models.graphs.checkpoint import recognise_checkpoint  # noqa: E402
from gaitstream.models.graphs.walkers import walker  # noqa: E402

LEFT_WRIST = 9
SEED = 4


@pytest.fixture(scope="module")
def module() -> GaitJoints:
    """Random weights."""
    found = find_family("gaitjoints").random(SEED).module
    assert isinstance(found, GaitJoints)
    return found


def walk(person: int = 0, frames: int = 30) -> NDArray[np.float32]:
    """A drawn walk in pixels, all joints found: `[1, frames, 17, 3]`."""
    joints = np.stack([walker(person, 0.4 * frame, 2.0) * 200 + (300, 150) for frame in range(frames)])
    return np.concatenate([joints, np.full((frames, 17, 1), 0.9)], -1)[None].astype(np.float32)


def embed(module: GaitJoints, keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
    """The embedding of one walk, `[dim]`."""
    with torch.no_grad():
        found: NDArray[np.float32] = module(torch.from_numpy(keypoints))[0, 0].numpy()
    return found


def test_neither_place_nor_size_in_the_picture_changes_the_embedding(module: GaitJoints) -> None:
    keypoints = walk()
    moved = keypoints * np.array([0.31, 0.31, 1], np.float32) + np.array([900, -40, 0], np.float32)
    np.testing.assert_allclose(embed(module, moved), embed(module, keypoints), atol=2e-4)
    assert np.abs(embed(module, walk(1)) - embed(module, keypoints)).max() > 1e-3
    assert np.linalg.norm(embed(module, keypoints)) == pytest.approx(1, abs=1e-5)


def test_where_a_joint_is_does_not_matter_if_it_was_not_found(module: GaitJoints) -> None:
    keypoints, elsewhere = walk(), walk()
    keypoints[:, 5:20, LEFT_WRIST, 2] = elsewhere[:, 5:20, LEFT_WRIST, 2] = 0.1
    elsewhere[:, 5:20, LEFT_WRIST, :2] += 500
    np.testing.assert_array_equal(embed(module, elsewhere), embed(module, keypoints))
    elsewhere[:, 5:20, LEFT_WRIST, 2] = 0.9
    assert np.abs(embed(module, elsewhere) - embed(module, keypoints)).max() > 1e-3


@pytest.mark.parametrize("frames", [1, 2, 3, 30])
def test_features_of_any_number_of_frames_are_finite(frames: int) -> None:
    found = joint_features(torch.from_numpy(walk(frames=frames)))
    assert found.shape == (1, 85, frames)
    assert torch.isfinite(found).all()
    lost = torch.zeros(1, frames, 17, 3)
    assert torch.isfinite(joint_features(lost)).all()


@pytest.mark.parametrize("sizes", [(256, 4, 256), (48, 2, 32)])
def test_a_checkpoint_is_recognised_and_its_sizes_are_read(
    sizes: tuple[int, int, int], tmp_path: Path
) -> None:
    path = tmp_path / "gaitjoints.pt"
    torch.manual_seed(SEED)
    module = GaitJoints(*sizes)
    torch.save({"model": module.state_dict()}, path)
    family = recognise_checkpoint(path)
    assert family.name == "gaitjoints"
    read = family.load(path).module
    assert isinstance(read, GaitJoints)
    np.testing.assert_array_equal(embed(read, walk()), embed(module.eval(), walk()))


def test_the_bundle_gives_what_the_module_gives(module: GaitJoints, tmp_path: Path) -> None:
    path = tmp_path / "gaitjoints.pt"
    torch.save({"model": module.state_dict()}, path)
    export_bundle("gaitjoints", path, tmp_path / "bundle", options=ExportOptions(precisions=("fp32",)))
    for runtime in ("openvino", "onnxruntime"):
        model = Recognizer.load(tmp_path / "bundle", runtime, "fp32", threads=1)
        for frames in (1, 2, 17, 30):
            keypoints = walk(frames=frames)
            found = model.embed_inputs({"joints": keypoints[0]})
            assert found.shape == (1, 256)
            np.testing.assert_allclose(found[0], embed(module, keypoints), atol=2e-6)
        model.close()
