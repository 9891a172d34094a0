"""The gallery's coarse scan: the CUDA kernel on the emulator against its formula and its bounds."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaitstream.errors import KernelError
from gaitstream.gallery.matching import mean_part_distance
from gaitstream.gallery.quantise import WIDEN, Layout, Probes
from gaitstream.gallery.scan import coarse_distances, coarse_record, quantise
from gaitstream.kernels.arguments import SCAN_BLOCK_ROWS, SCAN_BLOCKS, ScanParams
from gaitstream.kernels.cuda import Launcher
from gaitstream.kernels.driver import Driver
from gaitstream.kernels.scan import DeviceScan, ScanProbes
from tests.kernels.kernel_cases import launches, padded_empty

Floats = NDArray[np.float32]


def emulated(layout: Layout, records: NDArray[np.void], probes: Probes) -> Floats:
    """The kernel's results; templates and probes lie where the kernel may read 16 bytes at once."""
    size = layout.record.itemsize
    pieces = [records[start : start + SCAN_BLOCK_ROWS] for start in range(0, len(records), SCAN_BLOCK_ROWS)]
    blocks = [padded_empty((len(piece) * size,), np.uint8) for piece in pieces]
    for block, piece in zip(blocks, pieces, strict=True):
        block[:] = piece.view(np.uint8)
    high, low = (padded_empty(one.shape, np.int8) for one in (probes.high, probes.low))
    high[...], low[...] = probes.high, probes.low
    count = len(probes.slack)
    out = np.full((count, len(records)), np.nan, np.float32)
    asked = ScanProbes(
        count, high.ctypes.data, low.ctypes.data, probes.scale.ctypes.data, probes.norm.ctypes.data
    )
    addresses = [block.ctypes.data for block in blocks]
    Launcher(Driver(), b"emulated").scan(
        DeviceScan(coarse_record(layout), addresses, len(records), asked, out.ctypes.data)
    )
    return out


def formula(records: NDArray[np.void], probes: Probes) -> Floats:
    """Every operation in float32 and in the order of `part_distance`."""
    digits = 256 * probes.high.astype(np.int64) + probes.low
    products = np.einsum("kpd,npd->knp", digits, records["high"].astype(np.int64) - 128).astype(np.float32)
    step = np.float32(512) * probes.scale[:, None] * records["scale"]
    squares = probes.norm[:, None] + records["norm"] - step * products
    far = np.sqrt(np.maximum(squares, np.float32(0)))
    total = np.zeros(far.shape[:2], np.float32)
    for part in range(far.shape[2]):
        total += far[:, :, part]
    bounds: Floats = total / np.float32(far.shape[2]) - records["slack"]
    return bounds


def embeddings(rng: np.random.Generator, count: int, layout: Layout) -> Floats:
    values = rng.normal(size=(count, layout.parts, layout.dim)) * 10.0 ** rng.uniform(-3, 3)
    ties = rng.random(count) < 0.3
    values[ties] = values[:1] * (1 + rng.choice([0, 1e-7, 1e-4], (int(ties.sum()), 1, 1)))
    found: Floats = values.astype(np.float32)
    return found


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([(16, 256), (1, 1), (3, 70), (2, 512), (5, 130)]),
    st.integers(1, 16),
    st.integers(1, 140),
    st.integers(0, 10**6),
)
def test_the_kernel_says_what_its_formula_says(
    emulator: ctypes.CDLL, shape: tuple[int, int], asked: int, count: int, seed: int
) -> None:
    """Bit for bit where no operations are fused; the bounds hold, and erased rows are infinitely far."""
    layout, rng = Layout(*shape), np.random.default_rng(seed)
    templates = embeddings(rng, count, layout)
    given_probes = np.concatenate([templates[:1], embeddings(rng, asked, layout)])[:asked]
    records, _ = quantise(layout, templates)
    erased = rng.random(count) < 0.1
    records[erased] = np.zeros(1, layout.record)
    records["slack"][erased] = -np.inf
    probes = Probes.of(layout, given_probes)
    found = emulated(layout, records, probes)
    np.testing.assert_array_equal(found, formula(records, probes))
    assert np.isposinf(found[:, erased]).all()
    for bound, slack, probe in zip(found, probes.slack, given_probes, strict=True):
        exact = mean_part_distance(probe, templates)[~erased]
        low, high = bound[~erased] - slack, bound[~erased] + 2 * records["slack"][~erased] + slack
        assert (low * np.float32(1 - WIDEN) <= exact).all()
        assert (exact <= high * np.float32(1 + WIDEN)).all()


def test_rows_lie_in_several_pieces_of_memory(emulator: ctypes.CDLL) -> None:
    layout, rng = Layout(1, 8), np.random.default_rng(0)
    records, _ = quantise(layout, embeddings(rng, SCAN_BLOCK_ROWS + 77, layout))
    probes = Probes.of(layout, embeddings(rng, 5, layout))
    found = emulated(layout, records, probes)
    assert launches(emulator) == 1
    np.testing.assert_array_equal(found, formula(records, probes))
    np.testing.assert_allclose(
        found, coarse_distances(layout, records, probes), atol=1e-3 * float(np.abs(found).max())
    )


def test_the_struct_mirrors_the_source(emulator: ctypes.CDLL) -> None:
    assert ctypes.sizeof(ScanParams) == emulator.emulator_scan_bytes() <= 4096  # of parameters a kernel takes


@pytest.mark.parametrize(("rows", "pieces", "probes"), [(1, 1, 17), (SCAN_BLOCK_ROWS + 1, 1, 1), (1, 257, 1)])
def test_what_does_not_fit_is_refused(emulator: ctypes.CDLL, rows: int, pieces: int, probes: int) -> None:
    job = DeviceScan(coarse_record(Layout(16, 256)), [0] * pieces, rows, ScanProbes(probes, 0, 0, 0, 0), 0)
    with pytest.raises(KernelError, match=f"takes 16 probes, and {SCAN_BLOCKS} pieces of {SCAN_BLOCK_ROWS}"):
        Launcher(Driver(), b"emulated").scan(job)
    assert launches(emulator) == 0
