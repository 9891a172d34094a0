"""Sharpness in native code beside OpenCV's steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaitstream.kernels import cpu
from gaitstream.kernels.sharpness import laplacian_variances
from gaitstream.pipeline.quality import sharpness, shrunk_sharpness

Bytes = NDArray[np.uint8]


def scene(seed: int, blur: int) -> Bytes:
    cv2 = pytest.importorskip("cv2")
    noise = np.random.default_rng(seed).integers(0, 256, (400, 300, 3), dtype=np.uint8)
    picture: Bytes = cv2.GaussianBlur(noise, (0, 0), blur) if blur else noise
    return picture


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 99), st.integers(0, 6), st.integers(64, 400), st.integers(8, 300), st.integers(0, 99))
def test_native_code_equals_opencv(seed: int, blur: int, height: int, width: int, left: int) -> None:
    if not cpu.available():
        pytest.skip("nothing compiles here")
    person = scene(seed, blur)[:height, left : left + width]
    columns = max(8, round(64 * person.shape[1] / height))
    if person.shape[1] < columns:
        return
    expected = shrunk_sharpness(person, columns)
    # A grey value that lies between two bytes may be rounded either way.
    box = np.array([[0, 0, person.shape[1], height, columns]], np.int32)
    assert laplacian_variances(person, box, 64) == [pytest.approx(expected, rel=0.02, abs=0.3)]


def test_boxes_of_any_kind_are_judged() -> None:
    image = scene(0, 2)
    boxes = np.array(
        [[10, 10, 110, 310], [-50, -50, 20, 30], [500, 10, 600, 310], [60, 40, 160, 240]], np.float32
    )
    first, small, outside, last = sharpness(image, boxes)
    assert min(first, small, last) > 0  # the small one grows
    assert outside == 0
    assert [first, last] == [sharpness(image, boxes[at : at + 1])[0] for at in (0, 3)]
    assert sharpness(np.full_like(image, 90), boxes[:1]) == [0]
    assert sharpness(image[:, ::-1], boxes[:1])[0] > 0
    assert sharpness(image, boxes[:0]) == []
