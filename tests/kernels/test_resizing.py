"""Pictures made small, or large, for a detector: native code beside OpenCV."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaitstream.kernels import cpu
from gaitstream.kernels.resizing import resize

Bytes = NDArray[np.uint8]
cv2 = pytest.importorskip("cv2")


def noise(height: int, width: int) -> Bytes:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 200), st.integers(1, 200))
def test_within_a_grey_level_of_opencv_and_nothing_beside_it(
    height: int, width: int, rows: int, columns: int
) -> None:
    image = noise(height, width)
    canvas = np.full((rows + 5, columns + 9, 3), 7, np.uint8)
    resize(image, canvas[2 : 2 + rows, 4 : 4 + columns])
    expected = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
    inner = canvas[2 : 2 + rows, 4 : 4 + columns].astype(int)
    assert np.abs(inner - expected).max() <= 1
    canvas[2 : 2 + rows, 4 : 4 + columns] = 7
    assert (canvas == 7).all()


def test_large_pictures_mirrored_ones_and_parts_of_others() -> None:
    large = noise(2160, 3840)
    for image in (large, large[:, ::-1], large[7:1500, 11:2000]):
        out = np.empty((234, 416, 3), np.uint8)
        resize(image, out)
        expected = cv2.resize(np.ascontiguousarray(image), (416, 234), interpolation=cv2.INTER_LINEAR)
        assert np.abs(out.astype(int) - expected).max() <= 1
    same = np.empty_like(large)
    resize(large, same)
    assert (same == large).all()


def test_without_native_code_opencv_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "available", lambda: False)
    out = np.empty((90, 50, 3), np.uint8)
    resize(noise(200, 100), out)
    assert (out == cv2.resize(noise(200, 100), (50, 90), interpolation=cv2.INTER_LINEAR)).all()
