"""Silhouettes and skeleton maps equal the published preparation, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitstream.models import silhouettes, skeleton_maps
from gaitstream.models.manifest import SkeletonContract
from tests.models.opengait.vectors import FOLDER

SILHOUETTES = (
    "walker", "binary", "left_border", "tight_crop", "large", "small", "grey", "specks", "too_small_sum",
    "bar_first_column", "wide", "exact_64_wide", "square128",
)  # fmt: skip
MAPS = (
    "clean", "missing", "joint_never_seen", "one_coordinate_zero", "coco18", "low_score_outside",
    "one_frame_short_limb", "no_scores",
)  # fmt: skip


@pytest.fixture(scope="module")
def stored() -> np.lib.npyio.NpzFile:
    path = FOLDER / "pretreatment_A.npz"
    if not path.is_file():
        pytest.skip(f"the reference preparation is not at {path}")
    loaded: np.lib.npyio.NpzFile = np.load(path)
    return loaded


@pytest.mark.parametrize("name", SILHOUETTES)
def test_silhouettes_are_aligned_as_published(stored: np.lib.npyio.NpzFile, name: str) -> None:
    raw = stored[f"sil/{name}/raw"]
    general = silhouettes.align(raw)
    assert (general is not None) == bool(stored[f"sil/{name}/kept"])
    if general is not None:
        np.testing.assert_array_equal(general, stored[f"sil/{name}/aligned"])
    np.testing.assert_array_equal(silhouettes.align(raw, "ccpg"), stored[f"sil/{name}/aligned_ccpg"])


@pytest.mark.parametrize("name", MAPS)
def test_skeleton_maps_are_drawn_as_published(stored: np.lib.npyio.NpzFile, name: str) -> None:
    keypoints = skeleton_maps.fill_missing(skeleton_maps.to_coco17(stored[f"map/{name}/keypoints"]))
    np.testing.assert_allclose(keypoints, stored[f"map/{name}/padded"], atol=1e-9)
    placed = skeleton_maps.place(keypoints, 128)
    np.testing.assert_allclose(placed, stored[f"map/{name}/normalised"], atol=1e-9)
    contract = SkeletonContract()
    limbs = [skeleton_maps.to_grey(skeleton_maps.limb_map(one, contract)) for one in placed]
    joints = [skeleton_maps.to_grey(skeleton_maps.joint_map(one, contract)) for one in placed]
    np.testing.assert_array_equal(limbs, stored[f"map/{name}/limb128_grey"])
    np.testing.assert_array_equal(joints, stored[f"map/{name}/joint128_grey"])
    np.testing.assert_array_equal(skeleton_maps.draw(keypoints), stored[f"map/{name}/maps"])


@given(height=st.integers(3, 200), width=st.integers(3, 200), seed=st.integers(0, 2**16))
def test_any_mask_gives_a_centred_silhouette_or_none(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.where(rng.random((height, width)) < rng.random(), 255, 0).astype(np.uint8)
    for rule in ("general", "ccpg"):
        found = silhouettes.align(mask, rule)
        if found is not None:
            assert found.shape == (64, 64)
            assert found.dtype == np.uint8
            assert found.any()


def test_an_empty_mask_is_dropped() -> None:
    assert silhouettes.align(np.zeros((40, 30), np.uint8)) is None
    assert silhouettes.align(np.zeros((40, 30), np.uint8), "ccpg") is None


def test_networks_take_the_middle_columns_in_0_to_1() -> None:
    stored = np.arange(256, dtype=np.uint8)[None, None].repeat(256, axis=1)
    taken = silhouettes.network_input(np.ascontiguousarray(stored[:, :64, :64]))
    assert taken.shape == (1, 64, 44)
    np.testing.assert_array_equal(taken[0, 0], (np.arange(10, 54) / 255.0).astype(np.float32))
    assert silhouettes.network_input(np.zeros((64, 44), np.uint8)).shape == (64, 44)
    assert silhouettes.network_input(np.zeros((128, 128), np.uint8)).shape == (128, 88)


def test_keypoints_of_another_skeleton_are_refused() -> None:
    with pytest.raises(ValueError, match="25 joints"):
        skeleton_maps.to_coco17(np.zeros((2, 25, 3)))
