"""Colours of people's cells in native code beside OpenCV's steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaitstream.kernels import cpu
from gaitstream.kernels.cells import cell_means
from gaitstream.pipeline.clothes import CELLS, COLUMNS, ROWS, cell_colours, resized_cells

Bytes = NDArray[np.uint8]


def scene(seed: int) -> Bytes:
    """Noise, blurred, so that neighbouring cells differ."""
    cv2 = pytest.importorskip("cv2")
    noise = np.random.default_rng(seed).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    picture: Bytes = cv2.GaussianBlur(noise, (0, 0), 3)
    return picture


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.integers(0, 100), st.integers(0, 150), st.integers(2, 100), st.integers(12, 150))
def test_native_code_equals_opencv(seed: int, left: int, top: int, width: int, height: int) -> None:
    if not cpu.available():
        pytest.skip("nothing compiles here")
    image = scene(seed)
    span = np.array([left, top, left + width, top + height], np.int32)
    # A mean that lies between two bytes may be rounded either way.
    np.testing.assert_allclose(
        cell_means(image, span[None], COLUMNS, ROWS)[0], resized_cells(image, span), rtol=0, atol=1
    )


def test_boxes_of_any_kind_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large, small (they grow), at the edges, outside, and of no size at all."""
    image = scene(0)
    boxes = np.array(
        [
            [20, 30, 90, 250], [20, 30, 22, 34], [-40, -30, 40, 200], [150, 200, 260, 400],
            [500, 500, 600, 900], [-90, -80, -20, -10], [50, 50, 50, 50], [19.5, 29.5, 88.5, 250.5],
        ],
        np.float32,
    )  # fmt: skip
    found = cell_colours(image, boxes)
    assert found.shape == (len(boxes), CELLS, 3)
    monkeypatch.setattr(cpu, "available", lambda: False)
    np.testing.assert_allclose(found, cell_colours(image, boxes), rtol=0, atol=4)
    assert cell_colours(image, boxes[:0]).shape == (0, CELLS, 3)
    mirrored = image[:, ::-1]
    assert np.isfinite(cell_colours(mirrored, boxes)).all()
    narrow = image[:, 20:90]  # rows further apart than they are long
    np.testing.assert_array_equal(
        cell_colours(narrow, boxes[:1] - np.array([20, 0, 20, 0], np.float32)), cell_colours(image, boxes[:1])
    )


def test_very_tall_boxes_do_not_overflow() -> None:
    white = np.full((7000, 4, 3), 255, np.uint8)  # 583 rows in a cell
    span = np.array([[0, 0, 4, 7000]], np.int32)
    if not cpu.available():
        pytest.skip("nothing compiles here")
    assert (cell_means(white, span, COLUMNS, ROWS) == 255).all()
