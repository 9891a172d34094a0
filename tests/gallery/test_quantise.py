"""The bounds of the scan hold, whatever is compared, and the compiled scan says what numpy says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gaitstream.gallery import scan
from gaitstream.gallery.matching import mean_part_distance
from gaitstream.gallery.quantise import TOP, WIDEN, Layout, Probes, digits
from gaitstream.gallery.scan import coarse_distances, fine_distances, quantise
from gaitstream.kernels.scan import scan_library

Floats = NDArray[np.float32]


def embeddings(rng: np.random.Generator, count: int, layout: Layout, kind: str) -> Floats:
    """Embeddings of several kinds; some lie as near to each other as float32 can tell apart."""
    shape = (count, layout.parts, layout.dim)
    values = rng.normal(size=shape)
    if kind == "near ties":
        values = values[:1] + rng.normal(size=shape) * rng.choice([0, 1e-7, 1e-6, 1e-4], (count, 1, 1))
    elif kind == "scales":
        values *= 10.0 ** rng.uniform(-12, 8, (count, layout.parts, 1))
    elif kind == "spikes":
        values *= rng.random(shape) < 0.05
        values[..., 0] *= 1000
    elif kind == "far from zero":
        values += 1000
    return values.astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["gait", "near ties", "scales", "spikes", "far from zero"]),
    st.sampled_from([(16, 256), (1, 1), (3, 70), (16, 32), (2, 512)]),
    st.integers(1, 9),
    st.integers(0, 10**6),
)
def test_the_distance_lies_within_the_bounds(
    kind: str, shape: tuple[int, int], count: int, seed: int
) -> None:
    layout, rng = Layout(*shape), np.random.default_rng(seed)
    templates = embeddings(rng, count, layout, kind)
    probes = np.concatenate([embeddings(rng, 2, layout, kind), templates[:1], np.nextafter(templates[:1], 9)])
    records, planes = quantise(layout, templates)
    given_probes = Probes.of(layout, probes)
    coarse = coarse_distances(layout, records, given_probes)
    for number, probe in enumerate(probes):
        exact = mean_part_distance(probe, templates)
        low = coarse[number] - given_probes.slack[number]
        high = coarse[number] + 2 * records["slack"] + given_probes.slack[number]
        assert (low * np.float32(1 - WIDEN) <= exact).all()
        assert (exact <= high * np.float32(1 + WIDEN)).all()
        fine = fine_distances(layout, records, planes, np.arange(count), given_probes.padded[number])
        assert ((fine - records["fine"]) * np.float32(1 - WIDEN) <= exact).all()
        assert (exact <= (fine + records["fine"]) * np.float32(1 + WIDEN)).all()


@pytest.mark.parametrize("shape", [(16, 256), (3, 70), (2, 512)])
def test_the_compiled_scan_says_what_numpy_says(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if scan_library() is None:
        pytest.skip("there is no compiler")
    layout, rng = Layout(*shape), np.random.default_rng(1)
    templates = embeddings(rng, 301, layout, "scales")
    probes = Probes.of(layout, embeddings(rng, 5, layout, "scales"))
    compiled, compiled_planes = quantise(layout, templates)
    chosen = np.array([0, 300, 7, 7])
    coarse = coarse_distances(layout, compiled, probes, threads=3)
    fine = fine_distances(layout, compiled, compiled_planes, chosen, probes.padded[0])
    monkeypatch.setattr(scan, "scan_library", lambda: None)
    records, planes = quantise(layout, templates)
    for name in ("high", "scale"):
        np.testing.assert_array_equal(records[name], compiled[name])
    for name in ("norm", "slack", "fine"):
        np.testing.assert_allclose(records[name], compiled[name], rtol=1e-6)
    np.testing.assert_array_equal(planes["low"], compiled_planes["low"])
    np.testing.assert_allclose(
        coarse_distances(layout, records, probes), coarse, rtol=1e-4, atol=1e-3 * np.abs(coarse).max()
    )
    np.testing.assert_allclose(
        fine_distances(layout, records, planes, chosen, probes.padded[0]), fine, rtol=1e-5
    )


def test_the_slack_is_small_beside_the_distances() -> None:
    """Bounds that hold and tell nothing would make every search a full comparison."""
    layout, rng = Layout(16, 256), np.random.default_rng(2)
    templates = embeddings(rng, 50, layout, "gait")
    records, _ = quantise(layout, templates)
    typical = mean_part_distance(templates[0], templates[1:]).mean()
    assert records["slack"].max() < 0.01 * typical
    assert records["fine"].max() < 1e-4 * typical
    assert Probes.of(layout, templates).slack.max() < 0.002 * typical


def test_digits_stay_in_their_range() -> None:
    values = np.array([[[1, -1, 0.5, 1 / TOP, 0], [0, 0, 0, 0, 0]], [[1e38, -1e38, 1, 0, 0], [1e-44] * 5]])
    high, low, scale = digits(values.astype(np.float32))
    assert (np.abs(high.astype(int)) <= 127).all()
    assert np.isfinite(scale).all()
    assert high[0, 0, 0] == 127
    assert low[0, 0, 3] == 1


def test_memory_is_that_of_half_floats_and_little_more() -> None:
    layout = Layout(16, 256)
    assert layout.record.itemsize + layout.plane.itemsize + 16 <= 1.03 * 2 * 16 * 256
