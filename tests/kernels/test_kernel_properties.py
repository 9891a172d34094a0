"""Every form of the kernel equals the oracle over the input space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaitstream.kernels import Aligned, align
from gaitstream.kernels.contract import AlignmentOptions
from tests.kernels.kernel_cases import LOWER, UPPER, Emulated, blobs, spine_keypoints

GROUPS = (UPPER, LOWER)
# 180 degrees, both sides of the threshold, small, large, and none at all.
TILTS = (0.0, 4.999, 5.001, -4.999, -5.001, 1e-3, 45.0, -45.0, 89.9, -90.0, -135.0, -180.0, -269.0)


def assert_same(got: Aligned, expected: Aligned, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(got.parts.astype(np.float32), expected.parts, rtol=0, atol=atol)
    np.testing.assert_array_equal(got.aligned, expected.aligned)
    np.testing.assert_allclose(got.angle_deg, expected.angle_deg, rtol=0, atol=1e-4)
    np.testing.assert_allclose(got.neck_xy, expected.neck_xy, rtol=1e-6)
    np.testing.assert_allclose(got.hip_xy, expected.hip_xy, rtol=1e-6)
    np.testing.assert_allclose(got.score, expected.score, rtol=1e-5, atol=1e-6)


@st.composite
def inputs(
    draw: st.DrawFn,
) -> tuple[NDArray[Any], NDArray[np.float32] | None, NDArray[np.int32], AlignmentOptions]:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 3))
    channels = draw(st.sampled_from([2, 13, 17, 20, 33]))
    maps = random.normal(0.4, 0.5, (n, channels, 64, 48)).astype(
        draw(st.sampled_from([np.float32, np.float16]))
    )
    if draw(st.booleans()):
        maps[random.random(maps.shape) < 0.01] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    if draw(st.booleans()):
        maps[0, random.integers(channels)] = draw(st.sampled_from([0.0, 0.25, np.nan]))
    keypoints = None
    if channels < 13 or draw(st.booleans()):
        keypoints = random.uniform([-10, -10, 0], [58, 74, 1], (n, 17, 3)).astype(np.float32)
        tilt = draw(st.one_of(st.sampled_from(TILTS), st.floats(-270, 90)))
        keypoints[0] = spine_keypoints(np.array([tilt]))[0]
        if draw(st.booleans()):
            keypoints[0, 5:7] = keypoints[0, 11:13]
    groups = draw(
        st.lists(
            st.lists(st.integers(0, channels - 1), min_size=1, max_size=6).map(tuple), min_size=1, max_size=6
        )
    )
    options = AlignmentOptions(
        groups=tuple(groups),
        gamma_deg=draw(st.sampled_from([0.0, 5.0, 20.0, 300.0])),
        small_angle=draw(st.sampled_from(["identity", "align"])),
        target_xy=draw(st.sampled_from([(24.0, 16.0), (0.0, 0.0), (47.5, 63.2), (-100.0, 1e4)])),
        normalization=draw(st.sampled_from(["fixed", "tracklet", "none"])),
        sampling=draw(st.sampled_from(["f32", "one"])),
    )
    return maps, keypoints, random.integers(0, 2, n).astype(np.int32), options


def run(backend: str, case: tuple[Any, Any, Any, AlignmentOptions]) -> Aligned:
    maps, keypoints, segments, options = case
    words = {name: getattr(options, name) for name in AlignmentOptions.__dataclass_fields__}
    return align(maps, keypoints, segments=segments, backend=backend, **words)  # type: ignore[arg-type]


@given(inputs())
@settings(max_examples=60, deadline=None)
def test_cpu_build_equals_the_oracle(case: tuple[Any, Any, Any, AlignmentOptions]) -> None:
    scale = max(1.0, float(np.abs(run("numpy", case).parts).max()))
    assert_same(run("cpu", case), run("numpy", case), atol=3e-5 * scale)


@given(inputs(), st.integers(0, 1000))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cuda_kernels_equal_the_oracle(
    emulated: Emulated, case: tuple[Any, Any, Any, AlignmentOptions], seed: int
) -> None:
    maps, keypoints, segments, options = case
    segments = np.unique(segments, return_inverse=True)[1].astype(np.int32)
    expected = run("numpy", case)
    scale = max(1.0, float(np.abs(expected.parts).max()))
    assert_same(emulated(maps, keypoints, options, segments, seed), expected, atol=3e-5 * scale)


@pytest.mark.parametrize("small_angle", ["identity", "align"])
@pytest.mark.parametrize("backend", ["numpy", "cpu", "emulated cuda"])
def test_tilts_of_all_signs_and_sizes(backend: str, small_angle: Any, emulated: Emulated) -> None:
    keypoints = spine_keypoints(np.array(TILTS))
    maps = blobs(keypoints)
    options = AlignmentOptions(GROUPS, small_angle=small_angle)
    if backend == "emulated cuda":
        result = emulated(maps, keypoints, options)
    else:
        result = run(backend, (maps, keypoints, None, options))
    np.testing.assert_allclose(result.angle_deg, TILTS, atol=1e-3)
    np.testing.assert_array_equal(
        result.aligned, (np.abs(TILTS) > 5) if small_angle == "identity" else np.ones(len(TILTS), bool)
    )
    neck = result.parts[result.aligned, 0][:, 15:18, 23:26].max(axis=(1, 2))
    assert (neck > 0.05).all()  # something of the shoulders lies where the neck goes


FORMS = ("numpy", "cpu", "emulated cuda")


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, emulated: Emulated) -> Any:
    def call(maps: NDArray[Any], keypoints: NDArray[np.float32] | None, **options: Any) -> Aligned:
        chosen = AlignmentOptions(GROUPS, **options)
        if request.param == "emulated cuda":
            return emulated(maps, keypoints, chosen)
        return run(request.param, (maps, keypoints, None, chosen))

    return call


def test_neck_on_hip_counts_as_lying(form: Any) -> None:
    keypoints = spine_keypoints(np.array([30.0]))
    keypoints[0, [5, 6, 11, 12], :2] = (20.0, 40.0)
    result = form(blobs(keypoints), keypoints)
    assert result.angle_deg[0] == -90
    assert result.aligned[0]
    row, column = np.unravel_index(result.parts[0, 0].argmax(), (64, 48))
    # A quarter turn moves a pixel by one: the published transforms ignore the half-pixel centres.
    assert (row, column) == (16, 23)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_spine_joint_that_is_not_finite_leaves_the_frame(form: Any, value: float) -> None:
    keypoints = spine_keypoints(np.array([30.0]))
    maps = blobs(keypoints)
    keypoints[0, 5, 0] = value
    keypoints[0, 0, 2] = np.nan
    result = form(maps, keypoints)
    assert not result.aligned[0]
    assert result.angle_deg[0] == 0
    np.testing.assert_array_equal(result.parts[0, 0], maps[0].max(axis=0))
    assert result.score[0] == pytest.approx(0.5 * 16 / 17)


@pytest.mark.parametrize("normalization", ["fixed", "tracklet", "none"])
def test_maps_of_nan_give_zeros(form: Any, normalization: str) -> None:
    result = form(np.full((1, 17, 64, 48), np.nan, np.float32), None, normalization=normalization)
    assert not result.parts.any()
    np.testing.assert_array_equal(result.neck_xy, 0)
    assert result.score[0] == 0


@pytest.mark.parametrize("value", [0.0, 0.7, -3.0, 6.0])
def test_constant_maps(form: Any, value: float) -> None:
    maps = np.full((1, 17, 64, 48), value, np.float32)
    np.testing.assert_array_equal(form(maps, None, normalization="tracklet").parts, 0)
    np.testing.assert_allclose(form(maps, None).parts, np.clip(value, 0, 1), atol=1e-7)
    np.testing.assert_allclose(form(maps, None, normalization="none").parts, value, rtol=1e-6)
    assert form(maps, None).score[0] == pytest.approx(value)


def test_infinities_clamp_and_make_no_joint(form: Any) -> None:
    keypoints = spine_keypoints(np.array([20.0]))
    keypoints[..., :2] = np.round(keypoints[..., :2])
    maps = blobs(keypoints)
    maps[0, 5, 0, 0], maps[0, 6, 0, 0] = np.inf, np.nan
    result = form(maps, None, gamma_deg=90)
    np.testing.assert_array_equal(result.neck_xy[0], keypoints[0, 5:7, :2].mean(axis=0))
    assert result.parts[0, 0, 0, 0] == 1
    assert form(maps, None, gamma_deg=90, normalization="none").parts[0, 0, 0, 0] == pytest.approx(
        np.where(np.isfinite(maps[0, :, 0, 0]), maps[0, :, 0, 0], 0).max()
    )


def test_equal_peaks_take_the_first(form: Any) -> None:
    maps = np.zeros((1, 17, 64, 48), np.float32)
    for joint in (5, 6, 11, 12):
        maps[0, joint, [10, 10, 40], [30, 31, 3]] = 0.9
    result = form(maps, None)
    np.testing.assert_array_equal(result.neck_xy[0], (30, 10))


@pytest.mark.parametrize("corner", [(0, 0), (47, 0), (0, 63), (47, 63)])
def test_joints_in_the_corners(form: Any, corner: tuple[int, int]) -> None:
    keypoints = spine_keypoints(np.array([30.0]))
    keypoints[0, [5, 6], :2] = corner
    expected = run("numpy", (blobs(keypoints), None, None, AlignmentOptions(GROUPS)))
    assert_same(form(blobs(keypoints), None), expected)
    np.testing.assert_array_equal(expected.neck_xy[0], corner)


def test_wild_keypoints_stay_inside_the_maps(form: Any) -> None:
    random = np.random.default_rng(0)
    keypoints = (random.normal(0, 1, (4, 17, 3)) * 10.0 ** np.array([3, 10, 25, 38])[:, None, None]).astype(
        np.float32
    )
    maps = random.random((4, 17, 64, 48)).astype(np.float32)
    result = form(maps, keypoints)
    assert np.isfinite(result.parts).all()
    assert (result.parts >= 0).all()
    assert (result.parts <= 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_half_io_of_every_form(emulated: Emulated, dtype: Any) -> None:
    keypoints = spine_keypoints(np.array(TILTS))
    maps = blobs(keypoints).astype(dtype)
    options = AlignmentOptions(GROUPS, sampling="half_io", normalization="tracklet")
    expected = run("numpy", (maps, keypoints, None, options))
    for got in (run("cpu", (maps, keypoints, None, options)), emulated(maps, keypoints, options)):
        difference = np.abs(got.parts - expected.parts)
        assert difference.max() <= 4e-3  # a grid value between two halves: 0.012 pixels on a slope
        assert (difference > 2.0**-10).mean() < 2e-3
        np.testing.assert_array_equal(got.parts, got.parts.astype(np.float16))


def test_half_parts_are_rounded_float_parts(emulated: Emulated) -> None:
    maps = np.random.default_rng(1).random((2, 17, 64, 48)).astype(np.float16)
    half = emulated(maps, None, AlignmentOptions(GROUPS), parts_dtype=np.float16)
    full = emulated(maps, None, AlignmentOptions(GROUPS))
    np.testing.assert_array_equal(half.parts, full.parts.astype(np.float16))


@pytest.mark.parametrize("seed", range(4))
def test_thread_order_does_not_matter(emulated: Emulated, seed: int) -> None:
    maps = np.random.default_rng(2).random((1, 17, 64, 48)).astype(np.float32)
    expected = emulated(maps, None, AlignmentOptions(GROUPS), seed=0)
    got = emulated(maps, None, AlignmentOptions(GROUPS), seed=100 + seed)
    np.testing.assert_array_equal(got.parts, expected.parts)
    np.testing.assert_array_equal(got.score, expected.score)


def test_one_sampling_differs_as_documented() -> None:
    keypoints = spine_keypoints(np.array([20.0]))
    maps = np.random.default_rng(0).random((1, 17, 64, 48)).astype(np.float32)
    two, one = (
        run("cpu", (maps, keypoints, None, AlignmentOptions(GROUPS, sampling=sampling)))
        for sampling in ("f32", "one")
    )
    assert np.abs(two.parts - one.parts).max() > 1e-2
