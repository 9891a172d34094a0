"""The published protocols against numbers computed by the original evaluators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from gaitstream.errors import GaitstreamError
from gaitstream.evaluate import protocols
from gaitstream.evaluate.distances import pairwise
from gaitstream.evaluate.retrieval import retrieve

Metric = Literal["euc", "cos"]
METRICS: tuple[Metric, ...] = ("euc", "cos")


@pytest.fixture(scope="module")
def reference(golden: Path) -> Mapping[str, Any]:
    with np.load(golden / "metrics_A.npz") as file:
        return dict(file)


def sequences(reference: Mapping[str, Any], name: str) -> protocols.Sequences:
    return protocols.Sequences.of(
        reference[f"{name}/embeddings"].transpose(0, 2, 1),
        reference[f"{name}/labels"],
        reference[f"{name}/types"],
        reference[f"{name}/views"],
    )


@pytest.mark.parametrize("metric", METRICS)
def test_casia_b_single_view(reference: Mapping[str, Any], metric: Metric) -> None:
    result = protocols.casia_b(sequences(reference, "CASIA-B"), metric)
    expected = f"CASIA-B/{metric}/single_view"
    assert list(result) == reference[f"{expected}/conditions"].tolist()
    pairs = result.values()
    np.testing.assert_array_equal(
        np.stack([p.matrix for p in pairs], 1), reference[f"{expected}/acc_view_matrix"]
    )
    np.testing.assert_allclose(
        np.stack([p.per_probe_view for p in pairs], 1), reference[f"{expected}/per_probe_view"], atol=1e-9
    )
    np.testing.assert_allclose([p.rank1 for p in pairs], reference[f"{expected}/rank1"], atol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_casia_b_cross_view(reference: Mapping[str, Any], metric: Metric) -> None:
    result = protocols.casia_b_cross_view(sequences(reference, "CASIA-B"), metric).values()
    expected = f"CASIA-B/{metric}/cross_view"
    per_view = np.stack([r.per_view for r in result])
    np.testing.assert_allclose(per_view[..., 0], reference[f"{expected}/per_view"][..., 0], rtol=1e-12)
    np.testing.assert_allclose(per_view, reference[f"{expected}/per_view"], atol=1e-4)
    np.testing.assert_allclose([r.rank1 for r in result], reference[f"{expected}/rank1"], atol=1e-9)
    np.testing.assert_allclose([r.mean_ap for r in result], reference[f"{expected}/mAP"], atol=0.01)


@pytest.mark.parametrize("metric", METRICS)
def test_sustech1k(reference: Mapping[str, Any], metric: Metric) -> None:
    result = protocols.sustech1k(sequences(reference, "SUSTech1K"), metric)
    expected = f"SUSTech1K/{metric}"
    assert list(result) == reference[f"{expected}/conditions"].tolist()
    pairs = result.values()
    np.testing.assert_array_equal(
        np.stack([p.matrix for p in pairs], 1), reference[f"{expected}/acc_view_matrix"]
    )
    np.testing.assert_allclose(
        np.stack([p.rank_mean for p in pairs], 1), reference[f"{expected}/rank_mean"], atol=1e-9
    )
    np.testing.assert_allclose([p.rank1 for p in pairs], reference[f"{expected}/rank1"], atol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_ccpg(reference: Mapping[str, Any], metric: Metric) -> None:
    result = protocols.ccpg(sequences(reference, "CCPG"), metric)
    assert list(result) == ["CL", "UP", "DN", "BG"]
    found, expected = result.values(), f"CCPG/{metric}"
    np.testing.assert_allclose(
        np.stack([r.retrieval.cmc for r in found]) / 100, reference[f"{expected}/cmc20"], atol=1e-6
    )
    np.testing.assert_allclose([r.retrieval.mean_ap for r in found], reference[f"{expected}/mAP"], atol=0.01)
    np.testing.assert_allclose(
        [r.retrieval.mean_inp for r in found], reference[f"{expected}/mINP"], atol=0.01
    )
    np.testing.assert_array_equal(
        np.stack([r.cameras.matrix[0] for r in found]), reference[f"{expected}/acc_view_matrix"]
    )
    for name, values in {
        "rank1": [r.retrieval.rank1 for r in found],
        "rank1_include_identical": [r.rank1_include_identical for r in found],
        "rank1_exclude_identical": [r.cameras.rank1 for r in found],
    }.items():
        np.testing.assert_allclose(values, reference[f"{expected}/{name}"], atol=1e-9, err_msg=name)


@pytest.mark.parametrize("metric", METRICS)
def test_plain_reidentification(reference: Mapping[str, Any], metric: Metric) -> None:
    data = sequences(reference, "CASIA-B")
    probe = data.of_types(protocols.CASIA_B_PROBES["CL"])
    gallery = data.of_types(protocols.CASIA_B_GALLERY)
    dist = pairwise(probe.embeddings, gallery.embeddings, metric)
    np.testing.assert_allclose(dist[:32, :48], reference[f"reid/{metric}/dist_corner"], rtol=1e-5, atol=1e-5)
    found = retrieve(dist, probe.ids, gallery.ids)
    np.testing.assert_allclose(found.cmc / 100, reference[f"reid/{metric}/cmc"], atol=1e-6)
    assert found.mean_ap == pytest.approx(reference[f"reid/{metric}/mAP"], abs=0.01)
    assert found.mean_inp == pytest.approx(reference[f"reid/{metric}/mINP"], abs=0.01)


def test_wrong_shapes_and_metrics_are_named() -> None:
    with pytest.raises(GaitstreamError, match=r"\(2, 3, 4\) and \(2, 4, 4\)"):
        pairwise(np.zeros((2, 3, 4)), np.zeros((2, 4, 4)))
    with pytest.raises(GaitstreamError, match="'l1' is unknown"):
        pairwise(np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), "l1")  # type: ignore[arg-type]
    with pytest.raises(GaitstreamError, match="differ in length"):
        protocols.Sequences.of(np.zeros((2, 3, 4)), ["a"], ["nm-01", "nm-02"], ["0", "0"])


def test_no_match_anywhere_is_an_error_not_a_zero() -> None:
    with pytest.raises(GaitstreamError, match="no probe has a match"):
        retrieve(np.zeros((1, 2)), ["a"], ["b", "c"])


def test_ccgr_counts_pairs_of_conditions_and_views_as_its_authors_do() -> None:
    """Their script by hand: rank-k of one gallery view and condition, diagonals left out, means of means."""
    rng = np.random.default_rng(4)
    conditions, views, people = ("BG1", "CL1", "NM1"), ("0", "45", "90"), 6
    rows = [(str(p), c, v) for p in range(people) for c in conditions for v in views]
    centres = rng.normal(size=(people, 2, 4))
    embeddings = np.stack([centres[int(row[0])] for row in rows]) + 0.9 * rng.normal(size=(len(rows), 2, 4))
    data = protocols.Sequences.of(embeddings, *map(list, zip(*rows, strict=True)))
    distances = pairwise(embeddings, embeddings)

    def hits(probe: tuple[str, str], gallery: tuple[str, str], k: int) -> float:
        asked = [i for i, row in enumerate(rows) if row[1:] == probe]
        held = [i for i, row in enumerate(rows) if row[1:] == gallery]
        nearest = [sorted(held, key=lambda j: distances[i, j])[:k] for i in asked]
        found = [rows[i][0] in {rows[j][0] for j in near} for i, near in zip(asked, nearest, strict=True)]
        return round(100 * sum(found) / len(found), 2)

    def between(probe: str, gallery: str, k: int) -> float:
        pairs = [hits((probe, a), (gallery, b), k) for a in views for b in views if a != b]
        return sum(pairs) / len(pairs)

    found = protocols.ccgr(data)
    for k in (1, 5):
        each = [
            np.mean([between(probe, gallery, k) for probe in conditions if probe != gallery])
            for gallery in conditions
        ]
        assert found.hard(k) == pytest.approx(np.mean(each))
        assert found.easy(k) == pytest.approx(each[conditions.index("NM1")])
    assert protocols.ccgr(data, galleries=("NM1",)).easy(1) == pytest.approx(found.easy(1))
    with pytest.raises(GaitstreamError, match="NM1"):
        protocols.ccgr(data.of_types(("BG1", "CL1")))
