"""`align` against the published reference, and what it says to wrong arguments."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.errors import KernelError
from gaitstream.kernels import Aligned, align, cpu
from gaitstream.kernels.contract import AlignmentOptions, Backend
from gaitstream.kernels.oracle import spine_matrices
from tests.kernels.kernel_cases import LOWER, UPPER, Emulated, blobs, spine_keypoints

BACKENDS = ("numpy", "cpu", "emulated cuda")
POLICIES: dict[str, Literal["identity", "align"]] = {"f32_identity": "identity", "f32_always": "align"}


class Case:
    """One case of the reference file, its sequences laid end to end."""

    def __init__(self, file: Path, name: str) -> None:
        self.name = name
        self.archive = np.load(file)
        raw = self.archive[f"{name}/heat_raw"]
        self.sequences, self.frames, self.channels = raw.shape[:3]
        self.raw = self.flat("heat_raw")
        self.keypoints: NDArray[np.float32] = self.flat("keypoints")
        self.segments = np.repeat(np.arange(self.sequences, dtype=np.int32), self.frames)

    def flat(self, key: str) -> NDArray[Any]:
        array: NDArray[Any] = self.archive[f"{self.name}/{key}"]
        return array.reshape(-1, *array.shape[2:])

    def normalised(self) -> NDArray[np.float32]:
        """The maps stretched to 0..1 by the extremes of their sequence, as the reference had them."""
        raw = self.archive[f"{self.name}/heat_raw"].astype(np.float32)
        low, high = raw.min((1, 2, 3, 4), keepdims=True), raw.max((1, 2, 3, 4), keepdims=True)
        maps: NDArray[np.float32] = (raw - low) / (high - low)
        return maps.reshape(-1, *maps.shape[2:])

    def __contains__(self, key: str) -> bool:
        return f"{self.name}/{key}" in self.archive.files


@pytest.fixture(scope="module", params=["m1", "m2", "c17"])
def case(request: pytest.FixtureRequest, golden: Path) -> Case:
    return Case(golden / "gaitheat_A.npz", request.param)


@pytest.fixture
def run(request: pytest.FixtureRequest, emulated: Emulated) -> Any:
    def call(
        backend: str, maps: NDArray[Any], keypoints: NDArray[np.float32] | None, segments: Any, **options: Any
    ) -> Aligned:
        if backend == "emulated cuda":
            return emulated(maps, keypoints, AlignmentOptions(**options), segments)
        return align(maps, keypoints, segments=segments, backend=backend, **options)  # type: ignore[arg-type]

    return call


def single_channels(channels: int) -> tuple[tuple[int, ...], ...]:
    return tuple((channel,) for channel in range(min(channels, 16)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("variant", POLICIES)
def test_aligned_maps_match_the_reference(case: Case, variant: str, backend: str, run: Any) -> None:
    key = next((key for key in (f"{variant}/aligned2", f"{variant}/aligned2_f16") if key in case), None)
    if key is None:
        pytest.skip("not in the reference file")
    expected = case.flat(key).astype(np.float32)
    result = run(
        backend,
        case.raw,
        case.keypoints,
        case.segments,
        groups=single_channels(case.channels),
        small_angle=POLICIES[variant],
        normalization="tracklet",
    )
    tolerance = 2.0**-11 if key.endswith("_f16") else 1e-5
    assert np.abs(result.parts[:, 1:] - expected[:, :16]).max() <= tolerance
    assert np.abs(result.parts[:, 0] - expected.max(axis=1)).max() <= tolerance
    np.testing.assert_allclose(result.angle_deg, case.flat("angle_deg"), atol=2e-5)
    expected_identity = case.flat("is_identity") & (POLICIES[variant] == "identity")
    np.testing.assert_array_equal(~result.aligned, expected_identity)


@pytest.mark.parametrize("backend", BACKENDS)
def test_normalised_input_needs_no_normalisation(case: Case, backend: str, run: Any) -> None:
    if "f32_identity/aligned2" not in case:
        pytest.skip("not in the reference file")
    result = run(
        backend,
        case.normalised(),
        case.keypoints,
        None,
        groups=single_channels(case.channels),
        normalization="none",
    )
    assert np.abs(result.parts[:, 1:] - case.flat("f32_identity/aligned2")).max() <= 1e-5


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_form_matches_the_reference(case: Case, backend: str, run: Any) -> None:
    if "half_io_identity/aligned2" not in case:
        pytest.skip("not in the reference file")
    expected = case.flat("half_io_identity/aligned2").astype(np.float32)
    result = run(
        backend,
        case.normalised(),
        case.keypoints,
        None,
        groups=single_channels(case.channels),
        normalization="none",
        sampling="half_io",
    )
    difference = np.abs(result.parts[:, 1:] - expected)
    assert difference.max() <= 2.0**-10
    assert (difference > 0).mean() < 2e-3  # a sum near the middle of two halves may round the other way


def plan_cpu(
    joints: NDArray[np.float32], align_small: bool, gamma_deg: float = 5.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Rotation `[n, 2, 3]` and shift `[n, 2]` of the compiled mathematics."""
    n = len(joints)
    rotation, shift = np.empty((n, 2, 3), np.float32), np.empty((n, 2), np.float32)
    angle, aligned = np.empty(n, np.float32), np.empty(n, np.uint8)
    spine = np.ascontiguousarray(joints[:, [5, 6, 11, 12], :2])
    cpu.library().gaitstream_pgha_plan(
        ctypes.c_void_p(spine.ctypes.data),
        ctypes.c_int64(n),
        ctypes.c_double(gamma_deg),
        ctypes.c_int(align_small),
        ctypes.c_double(24),
        ctypes.c_double(16),
        *(ctypes.c_void_p(array.ctypes.data) for array in (rotation, shift, angle, aligned)),
    )
    return rotation, shift


@pytest.mark.parametrize("matrices", ["mat_identity", "mat_always"])
def test_matrices_match_the_reference(case: Case, matrices: str) -> None:
    expected = case.flat(matrices)
    rotation, shift = plan_cpu(case.keypoints, matrices == "mat_always")
    assert np.abs(rotation - expected[..., 0]).max() <= 1e-6
    assert np.abs(shift - expected[:, :, 2, 1]).max() <= 1e-6


def test_oracle_matrices_match_the_reference(case: Case) -> None:
    joints = case.keypoints.astype(np.float64)
    for frame, expected in zip(joints, case.flat("mat_always"), strict=True):
        neck, hip = frame[5:7, :2].mean(axis=0), frame[11:13, :2].mean(axis=0)
        rotation, translation, _ = spine_matrices(neck, hip)
        assert np.abs(rotation - expected[..., 0]).max() <= 1e-6
        assert np.abs(translation - expected[..., 1]).max() <= 1e-6


def test_neck_lands_on_the_target_and_the_spine_stands() -> None:
    keypoints = spine_keypoints(np.array([30.0, -30.0]), length=20)
    result = align(blobs(keypoints), keypoints, groups=[[5, 6], [11, 12]], target_xy=(20, 14))
    rows, columns = np.mgrid[:64, :48]
    for parts in result.parts:
        mass = parts[1:].sum(axis=(1, 2))
        x, y = (parts[1:] * columns).sum((1, 2)) / mass, (parts[1:] * rows).sum((1, 2)) / mass
        # Half a pixel of tolerance: the published transforms ignore the half-pixel centres.
        np.testing.assert_allclose(x, 20, atol=0.55)
        np.testing.assert_allclose(y, [14, 34], atol=0.55)


def test_auto_uses_the_compiled_library_and_agrees_with_numpy() -> None:
    keypoints = spine_keypoints(np.array([12.0, 1.0, -40.0]))
    maps = blobs(keypoints)
    fast, slow = (align(maps, groups=[UPPER, LOWER], backend=backend) for backend in ("auto", "numpy"))
    np.testing.assert_allclose(fast.parts, slow.parts, atol=1e-5)
    np.testing.assert_array_equal(fast.neck_xy, slow.neck_xy)


def test_results_do_not_depend_on_threads() -> None:
    maps = np.random.default_rng(3).random((33, 17, 64, 48), np.float32)
    one, many = (align(maps, groups=[UPPER, LOWER], backend="cpu", threads=threads) for threads in (1, 5))
    for name in ("parts", "angle_deg", "aligned", "neck_xy", "hip_xy", "score"):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name))


@pytest.mark.parametrize("backend", ["numpy", "cpu"])
@pytest.mark.parametrize("n", [0, 1, 7])
def test_any_number_of_frames(n: int, backend: Backend) -> None:
    maps = np.random.default_rng(n).random((n, 17, 64, 48), np.float32)
    result = align(maps, groups=[UPPER, LOWER], backend=backend)
    assert result.parts.shape == (n, 3, 64, 48)
    assert result.neck_xy.shape == result.hip_xy.shape == (n, 2)
    alone = [align(one[None], groups=[UPPER, LOWER], backend=backend).parts[0] for one in maps]
    np.testing.assert_array_equal(result.parts, np.array(alone).reshape(result.parts.shape))


def test_four_thousand_frames_equal_the_same_frames_alone() -> None:
    few = np.random.default_rng(5).random((8, 17, 64, 48)).astype(np.float16)
    many = np.tile(few, (512, 1, 1, 1))
    result = align(many, groups=[UPPER, LOWER], backend="cpu")
    np.testing.assert_array_equal(
        result.parts.reshape(512, 8, 3, 64, 48),
        np.broadcast_to(align(few, groups=[UPPER, LOWER], backend="cpu").parts, (512, 8, 3, 64, 48)),
    )


def forget_library() -> None:
    """Have the CPU build looked for again."""
    cpu.opened.cache_clear()
    cpu.kind.cache_clear()


def test_no_compiler_falls_back_to_numpy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path))
    monkeypatch.setattr("gaitstream.kernels.build.PREBUILT", tmp_path)
    forget_library()
    maps = np.random.default_rng(0).random((2, 17, 64, 48), np.float32)
    try:
        with pytest.raises(KernelError, match=r"no C\+\+ compiler \(CXX=no-such-compiler"):
            align(maps, groups=[UPPER], backend="cpu")
        result = align(maps, groups=[UPPER])
    finally:
        forget_library()
    np.testing.assert_array_equal(result.parts, align(maps, groups=[UPPER], backend="numpy").parts)


MAPS = np.zeros((2, 17, 64, 48), np.float32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heatmaps": np.zeros((2, 17, 48, 64), np.float32)}, r"\(2, 17, 48, 64\).*\[n, channels, 64, 48\]"),
        ({"heatmaps": MAPS.astype(np.uint8)}, "uint8; give float32 or float16"),
        ({"heatmaps": MAPS[:, :2]}, "2 channels hold no shoulders"),
        ({"heatmaps": np.zeros((1, 65, 64, 48), np.float32)}, "65 channels; 1 to 64"),
        ({"keypoints": np.zeros((2, 17, 2), np.float32)}, r"\(2, 17, 2\).*x, y, score"),
        ({"segments": np.zeros(3, np.int32)}, r"\(3,\).*one tracklet id per frame"),
        ({"segments": np.zeros(2, np.float32)}, "float32; give integer"),
        ({"groups": []}, "0 part groups"),
        ({"groups": [[0]] * 17}, "17 part groups"),
        ({"groups": [[]]}, "empty"),
        ({"groups": [[17]]}, "channel 17; there are 0 to 16"),
        ({"groups": [[-1]]}, "channel -1"),
        ({"gamma_deg": -1.0}, "-1.0; give a finite angle"),
        ({"gamma_deg": float("nan")}, "nan"),
        ({"target_xy": (float("inf"), 1.0)}, "inf"),
        ({"target_xy": (1.0,)}, "two numbers"),
        ({"normalization": "minmax"}, "'minmax'; choose one of none, fixed, tracklet"),
        ({"sampling": "f16"}, "'f16'; choose one of f32, half_io, one"),
        ({"small_angle": "skip"}, "'skip'; choose one of identity, align"),
        ({"backend": "opencl"}, "'opencl'; choose one of auto, cpu, numpy, cuda"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(KernelError, match=message):
        align(**{"heatmaps": MAPS, "groups": [[0]], **arguments})


def test_cuda_without_a_driver_says_what_to_do() -> None:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        with pytest.raises(KernelError, match="use backend='cpu'"):
            align(MAPS, groups=[[0]], backend="cuda")
    else:
        pytest.skip("this machine has a CUDA driver")


def test_every_backend_is_tested() -> None:
    assert set(get_args(Backend)) == {"auto", "cpu", "numpy", "cuda"}
