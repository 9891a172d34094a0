"""The distance against its definition, and persons' distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitstream.errors import GalleryError
from gaitstream.gallery.matching import Matcher, mean_part_distance


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 200), st.integers(1, 16), st.integers(1, 40), st.integers(0, 1000))
def test_it_is_the_mean_of_the_parts_distances(count: int, parts: int, dim: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    probe = random.normal(size=(parts, dim)).astype(np.float32)
    templates = random.normal(size=(count, parts, dim)).astype(np.float32)
    expected = [
        np.mean([np.linalg.norm(probe[p].astype(float) - template[p]) for p in range(parts)])
        for template in templates
    ]
    np.testing.assert_allclose(mean_part_distance(probe, templates), expected, rtol=1e-5)


def test_it_is_not_the_flat_distance() -> None:
    probe = np.zeros((2, 1), np.float32)
    near_flat = np.array([[[3.0], [3.0]]], np.float32)  # flat 4.24, mean of parts 3
    far_flat = np.array([[[5.0], [0.0]]], np.float32)  # flat 5, mean of parts 2.5
    assert mean_part_distance(probe, far_flat)[0] < mean_part_distance(probe, near_flat)[0]


def test_equal_embeddings_are_at_distance_zero_however_long_they_are() -> None:
    template = np.full((1, 16, 256), 1e4, np.float32)
    assert mean_part_distance(template[0], template)[0] == 0.0


@pytest.mark.parametrize("shape", [(2, 16, 128), (2, 8, 256), (2, 256)])
def test_other_shapes_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(GalleryError, match="different models"):
        mean_part_distance(np.zeros((16, 256), np.float32), np.zeros(shape, np.float32))


@pytest.mark.parametrize(("nearest", "expected"), [(1, [1.0, 5.0]), (2, [1.5, 5.0]), (9, [2.0, 5.0])])
def test_a_person_is_as_near_as_the_nearest_templates(nearest: int, expected: list[float]) -> None:
    ada = np.array([[[3.0]], [[1.0]], [[2.0]]], np.float32)
    bob = np.array([[[5.0]]], np.float32)
    matcher = Matcher.build([("Ada", ada), ("Bob", bob)], nearest)
    assert matcher.distances(np.zeros((1, 1), np.float32)).tolist() == expected


def test_an_empty_gallery_has_no_distances() -> None:
    assert len(Matcher.build([]).distances(np.zeros((16, 256), np.float32))) == 0
