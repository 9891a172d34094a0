"""Projection against the textbook, and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitstream.synth.cameras import PinholeCamera, look_at


def test_the_target_is_in_the_centre_of_the_picture() -> None:
    camera = look_at("a", (1.0, 2.0, 3.0), (6.0, -3.0, 0.8))
    pixel, depth = camera.project(np.array([6.0, -3.0, 0.8]))
    assert pixel == pytest.approx([319.5, 179.5])
    assert depth == pytest.approx(np.linalg.norm([5, -5, -2.2]))


def test_axes_right_down_forward() -> None:
    camera = PinholeCamera(
        "a", (0.0, 0.0, 1.0), yaw_deg=0.0, tilt_deg=0.0, fov_deg=90.0, width=200, height=100
    )
    assert camera.focal_px == pytest.approx(100.0)
    points = np.array([[10.0, 0.0, 1.0], [10.0, -1.0, 1.0], [10.0, 0.0, 0.0]])
    pixels, depth = camera.project(points)
    assert depth == pytest.approx([10.0] * 3)
    # To the right of someone who looks along +x lies -y; below lies -z. 1 m at 10 m is f / 10 pixels.
    assert pixels - pixels[0] == pytest.approx(np.array([[0, 0], [10, 0], [0, 10]]))


def test_the_rotation_is_orthonormal_and_right_handed() -> None:
    rotation = PinholeCamera("a", (0, 0, 2), yaw_deg=37, tilt_deg=21, fov_deg=60).rotation
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(
    yaw=st.floats(-180, 180), tilt=st.floats(5, 80), fov=st.floats(20, 100), height=st.floats(1, 10),
    x=st.floats(0, 639), y=st.floats(200, 359),
)  # fmt: skip
def test_floor_points_project_back_to_their_pixel(
    yaw: float, tilt: float, fov: float, height: float, x: float, y: float
) -> None:
    camera = PinholeCamera("a", (3.0, -2.0, height), yaw, tilt, fov)
    floor, depth = camera.floor_at(np.array([[x, y]]))
    if not np.isfinite(depth[0]) or depth[0] < 0.5:
        return
    pixel, again = camera.project(np.append(floor[0], 0.0))
    assert pixel == pytest.approx([x, y], abs=1e-4)
    assert again == pytest.approx(depth[0], rel=1e-6)


def test_the_sky_has_no_floor() -> None:
    camera = PinholeCamera("a", (0.0, 0.0, 3.0), yaw_deg=0.0, tilt_deg=0.0, fov_deg=60.0)
    _, depth = camera.floor_at(np.array([[320.0, 10.0], [320.0, 350.0]]))
    assert np.isinf(depth[0])
    assert 0 < depth[1] < 100
