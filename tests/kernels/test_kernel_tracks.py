"""Joints and running maxima: the CUDA kernels on the emulator and the CPU build against numpy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from gaitstream.errors import KernelError
from gaitstream.kernels import cpu
from gaitstream.kernels.arguments import POOL_ENTRIES, PoolParams
from gaitstream.kernels.cuda import Launcher
from gaitstream.kernels.driver import Driver
from gaitstream.kernels.peaks import find_peaks, peaks_numpy
from gaitstream.kernels.pooling import Merge, pool_numpy, pool_params, rounds
from tests.kernels.kernel_cases import as_device, blobs, hard_maps, launches, padded_empty, spine_keypoints

Find = Callable[[NDArray[Any]], NDArray[np.float32]]


@pytest.fixture
def on_emulator(emulator: ctypes.CDLL) -> Find:
    def find(heatmaps: NDArray[Any]) -> NDArray[np.float32]:
        maps = padded_empty(heatmaps.shape, heatmaps.dtype)
        maps[...] = heatmaps
        joints = np.full((*heatmaps.shape[:2], 3), np.nan, np.float32)
        Launcher(Driver(), b"emulated").peaks(as_device(maps), as_device(joints))
        return joints

    return find


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_every_form_finds_the_same_joints(on_emulator: Find, dtype: Any) -> None:
    keypoints = spine_keypoints(np.linspace(-180, 90, 5))
    for maps in (hard_maps(), blobs(keypoints + np.float32(0.3))):
        with np.errstate(over="ignore"):
            given_maps = maps.astype(dtype)
        expected = peaks_numpy(given_maps)
        np.testing.assert_array_equal(find_peaks(given_maps, backend="cpu"), expected)
        np.testing.assert_array_equal(on_emulator(given_maps), expected)


def test_joints_are_found_within_a_quarter_pixel() -> None:
    keypoints = spine_keypoints(np.linspace(-180, 90, 33))
    found = find_peaks(blobs(keypoints))
    assert np.abs(found[..., :2] - keypoints[..., :2]).max() <= 0.26
    assert find_peaks(blobs(keypoints)).dtype == np.float32


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrays.arrays(np.float32, (1, 2, 64, 48), elements=st.floats(width=32), fill=st.just(np.float32(0))),
)
def test_any_maps_give_the_same_joints(on_emulator: Find, maps: NDArray[np.float32]) -> None:
    expected = peaks_numpy(maps)
    np.testing.assert_array_equal(find_peaks(maps, backend="cpu"), expected)
    np.testing.assert_array_equal(on_emulator(maps), expected)


def test_wrong_maps_are_named() -> None:
    with pytest.raises(KernelError, match=r"\[n, joints, 64, 48\]"):
        find_peaks(np.zeros((1, 17, 32, 48), np.float32))
    with pytest.raises(KernelError, match="float64"):
        find_peaks(np.zeros((1, 17, 64, 48)))


def test_the_struct_mirrors_the_source(emulator: ctypes.CDLL) -> None:
    size = ctypes.sizeof(PoolParams)
    assert size == emulator.emulator_pool_bytes() == cpu.library().gaitstream_pool_params_bytes()
    assert size <= 4096  # of parameters a kernel takes


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.integers(1, 150), st.integers(1, 40), st.booleans())
def test_pooling_equals_numpy(emulator: ctypes.CDLL, seed: int, count: int, slots: int, half: bool) -> None:
    """Any rows into any slots, several into one: the order within a slot is kept."""
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 700))
    rows = random.normal(size=(count, size)).astype(np.float16 if half else np.float32)
    rows[random.random(rows.shape) < 0.01] = np.nan
    into, fresh = random.integers(0, slots, count).tolist(), (random.random(count) < 0.3).tolist()
    expected = random.normal(size=(slots, size)).astype(np.float32)
    on_gpu, on_cpu = expected.copy(), expected.copy()
    pool_numpy(expected, rows, into, fresh)

    def merges(target: NDArray[np.float32]) -> list[Merge]:
        return [
            Merge(row.ctypes.data, target[slot].ctypes.data, first)
            for row, slot, first in zip(rows, into, fresh, strict=True)
        ]

    Launcher(Driver(), b"emulated").pool(merges(on_gpu), size, half_rows=half)
    for few in rounds(merges(on_cpu)):
        cpu.library().gaitstream_pool(ctypes.byref(pool_params(few, size, half_rows=half)))
    np.testing.assert_array_equal(on_gpu, expected)
    np.testing.assert_array_equal(on_cpu, expected)


@given(st.lists(st.integers(0, 9), max_size=300))
def test_no_launch_has_a_slot_twice(slots: list[int]) -> None:
    merges = [Merge(row, slot, False) for row, slot in enumerate(slots)]
    made = rounds(merges)
    assert sorted(one.row for few in made for one in few) == list(range(len(slots)))
    for few in made:
        assert 0 < len(few) <= POOL_ENTRIES
        assert len({one.slot for one in few}) == len(few)
    for slot in set(slots):
        rows = [one.row for few in made for one in few if one.slot == slot]
        assert rows == sorted(rows)


def test_many_tracks_take_few_launches(emulator: ctypes.CDLL) -> None:
    memory = np.zeros((200, 8), np.float32)
    merges = [Merge(row.ctypes.data, row.ctypes.data, True) for row in memory]
    Launcher(Driver(), b"emulated").pool(merges, 8, half_rows=False)
    assert launches(emulator) == -(-200 // POOL_ENTRIES)
