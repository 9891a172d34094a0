"""The Recognizer against the published implementations, and its own promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaitstream.engines.cache import EngineCache
from gaitstream.errors import BundleError, EngineError
from gaitstream.models.alignment import HeatmapAligner
from gaitstream.models.bundle import Bundle
from gaitstream.models.crops import crop_padded, crop_resized
from gaitstream.models.recognizer import Recognizer


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="module")
def biggait(biggait_bundle: Bundle, cache: EngineCache) -> Iterator[Recognizer]:
    model = Recognizer.load(biggait_bundle, "openvino", "fp32", cache=cache)
    yield model
    model.close()


@pytest.fixture(scope="module")
def gaitheat(gaitheat_bundle: Bundle, cache: EngineCache) -> Iterator[Recognizer]:
    model = Recognizer.load(gaitheat_bundle, "openvino", "fp32", cache=cache)
    yield model
    model.close()


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def skip_unless_bf16() -> None:
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bf16")


# ONNX Runtime's CPU provider computes half-typed nodes in fp32: what it shows is the rounding of the weights.
RUNS = [("openvino", "fp32", 1e-5), ("openvino", "bf16", 2e-2), ("onnxruntime", "fp16", 3e-3)]


@pytest.mark.slow
@pytest.mark.parametrize(("runtime", "precision", "tolerance"), RUNS)
def test_biggait_equals_the_published_model(
    runtime: str, precision: str, tolerance: float, biggait_bundle: Bundle, golden: Path, cache: EngineCache
) -> None:
    if precision == "bf16":
        skip_unless_bf16()
    data = np.load(golden / "biggait_A.npz")
    with_runtime = Recognizer.load(biggait_bundle, runtime, precision, cache=cache)
    for case in ("pad1", "pad2"):
        for index, (crops, ratios) in enumerate(
            zip(data[f"{case}/rgb"], data[f"{case}/ratios"], strict=True)
        ):
            embedding = with_runtime.embed(crops, ratios)
            assert embedding.shape == (16, 256)
            assert embedding.dtype == np.float32
            assert relative(embedding, data[f"{case}/embeddings"][index].T) < tolerance
    with_runtime.close()


def gaitheat_parts(data: Any, case: str, variant: str) -> np.ndarray:
    """The golden aligned maps with the maximum over all in front, as the frame graph takes them."""
    name = f"{case}/{variant}/aligned2"
    aligned = data[name] if name in data else data[f"{name}_f16"].astype(np.float32)
    return np.concatenate([aligned.max(axis=2, keepdims=True), aligned], axis=2)


@pytest.mark.parametrize(("runtime", "precision", "tolerance"), RUNS)
@pytest.mark.parametrize("variant", ["f32_always", "f32_identity"])
def test_gaitheat_equals_the_published_model(
    runtime: str,
    precision: str,
    tolerance: float,
    variant: str,
    gaitheat_bundle: Bundle,
    golden: Path,
    cache: EngineCache,
) -> None:
    if precision == "bf16":
        skip_unless_bf16()
    data = np.load(golden / "gaitheat_A.npz")
    model = Recognizer.load(gaitheat_bundle, runtime, precision, cache=cache)
    for case in ("m1", "m2"):
        if not any(f"{case}/{variant}/aligned2{half}" in data for half in ("", "_f16")):
            continue
        for index, parts in enumerate(gaitheat_parts(data, case, variant)):
            wanted = data[f"{case}/{variant}/fusion_embed_2"][index].T
            # Some golden maps are stored in half precision, which moves the embedding by itself.
            exact = f"{case}/{variant}/aligned2" in data
            assert relative(model.embed(parts), wanted) < max(tolerance, 0 if exact else 1e-3)
    model.close()


@pytest.fixture(scope="module")
def sequences(
    biggait: Recognizer, gaitheat: Recognizer
) -> list[tuple[Recognizer, tuple[np.ndarray, ...], np.ndarray]]:
    """Four frames for each model, and their embedding when they are embedded at once."""
    rng = np.random.default_rng(3)
    crops = (
        rng.integers(0, 256, (4, 3, 256, 128), dtype=np.uint8),
        rng.uniform(0.3, 0.6, 4).astype(np.float32),
    )
    parts = (rng.random((4, 3, 64, 48), dtype=np.float32),)
    return [(biggait, crops, biggait.embed(*crops)), (gaitheat, parts, gaitheat.embed(*parts))]


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_split_and_order_gives_the_whole_sequences_embedding(
    sequences: list[tuple[Recognizer, tuple[np.ndarray, ...], np.ndarray]], data: st.DataObject
) -> None:
    """encode + pool + embed_pooled over batches equals embed over all frames at once."""
    order = data.draw(st.permutations(range(4)))
    cuts = sorted(data.draw(st.sets(st.integers(1, 3))))
    for model, frames, whole in sequences:
        pooled = [
            model.pool(model.encode(*(one[list(part)] for one in frames)))
            for part in np.split(np.asarray(order), cuts)
        ]
        assert relative(model.embed_pooled(model.pool(np.stack(pooled))), whole) < 2e-6


def test_many_tracklets_embed_at_once(gaitheat: Recognizer) -> None:
    pooled = np.random.default_rng(0).random((11, 512, 16, 12), dtype=np.float32)
    together = gaitheat.embed_pooled(pooled)
    assert together.shape == (11, 16, 256)
    assert relative(together[7], gaitheat.embed_pooled(pooled[7])) < 1e-6


def test_no_frames(gaitheat: Recognizer) -> None:
    features = gaitheat.encode(np.empty((0, 3, 64, 48), np.float32))
    assert features.shape == (0, 512, 16, 12)
    with pytest.raises(EngineError, match="no frames to pool"):
        gaitheat.pool(features)


def people(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Heatmaps and keypoints of leaning people."""
    rng = np.random.default_rng(5)
    points = np.zeros((count, 17, 3), np.float32)
    points[:, :, 0] = rng.uniform(16, 32, (count, 17))
    points[:, :, 1] = np.linspace(6, 58, 17) + rng.uniform(-1, 1, (count, 17))
    points[:, :, 2] = rng.uniform(0.5, 1, (count, 17))
    y, x = np.mgrid[:64, :48]
    distance = (x - points[:, :, 0, None, None]) ** 2 + (y - points[:, :, 1, None, None]) ** 2
    return (points[:, :, 2, None, None] * np.exp(-distance / 8)).astype(np.float32), points


def test_kernel_and_graph_align_alike(
    gaitheat: Recognizer, gaitheat_bundle: Bundle, cache: EngineCache
) -> None:
    heatmaps, points = people(9)
    by_graph = Recognizer.load(gaitheat_bundle, "openvino", "fp32", alignment="graph", cache=cache)
    kernel, graph = gaitheat.align(heatmaps, points), by_graph.align(heatmaps, points)
    by_graph.close()
    assert kernel.shape == (9, 3, 64, 48)
    assert np.abs(kernel - graph).max() < 1e-4
    assert gaitheat.encode(heatmaps, points).shape == (9, 512, 16, 12)


def test_tracklet_normalization_is_over_each_tracklet(gaitheat: Recognizer) -> None:
    alignment = gaitheat.manifest.alignment
    assert alignment is not None
    aligner = HeatmapAligner(msgspec.structs.replace(alignment, normalization="tracklet"))
    heatmaps, points = people(6)
    heatmaps[3:] *= 0.25
    apart = np.concatenate([aligner.align(heatmaps[:3], points[:3]), aligner.align(heatmaps[3:], points[3:])])
    segments = np.array([0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(aligner.align(heatmaps, points, segments), apart, atol=1e-6)
    assert np.abs(aligner.align(heatmaps, points) - apart).max() > 0.1


def test_weak_poses_are_not_accepted(gaitheat: Recognizer, biggait: Recognizer) -> None:
    points = np.zeros((3, 17, 3), np.float32)
    points[0, :, 2], points[1, :, 2] = 0.39, 0.41
    points[2, :8, 2] = 1.0
    assert gaitheat.accepts(points).tolist() == [False, True, True]
    assert biggait.accepts(points).tolist() == [True, True, True]


def test_verbs_of_the_other_model_are_refused(biggait: Recognizer, gaitheat: Recognizer) -> None:
    with pytest.raises(BundleError, match=r"takes heatmaps, not crops: .*PoseModel\.crop"):
        gaitheat.crop(np.zeros((8, 8, 3), np.uint8), np.zeros((1, 4), np.float32))
    with pytest.raises(BundleError, match="takes crops"):
        biggait.align(np.zeros((1, 17, 64, 48), np.float32))
    with pytest.raises(EngineError, match="needs the width/height ratio"):
        biggait.encode(np.zeros((1, 3, 256, 128), np.uint8))
    with pytest.raises(EngineError, match=r"takes uint8 \[-1, 3, 256, 128\], got uint8 \[1, 3, 128, 64\]"):
        biggait.encode(np.zeros((1, 3, 128, 64), np.uint8), np.ones(1, np.float32))
    for count in (1, 3):  # of one alone a graph would make as many as there are crops
        with pytest.raises(EngineError, match=f"given are 2 of crops, {count} of ratios"):
            biggait.encode(np.zeros((2, 3, 256, 128), np.uint8), np.ones(count, np.float32))


def test_precision_the_bundle_lacks(gaitheat_bundle: Bundle, cache: EngineCache) -> None:
    with pytest.raises(EngineError, match="no precision 'int4'"):
        Recognizer.load(gaitheat_bundle, "openvino", "int4", cache=cache)


def test_auto_takes_bf16_only_where_the_report_allows_it(gaitheat_bundle: Bundle, cache: EngineCache) -> None:
    skip_unless_bf16()
    cautious = Recognizer.load(gaitheat_bundle, "openvino", cache=cache)
    allowed = msgspec.structs.replace(gaitheat_bundle.manifest, allowed_precisions=("fp32", "bf16"))
    trusting = Recognizer.load(Bundle(gaitheat_bundle.root, allowed), "openvino", cache=cache)
    assert (cautious.precision, trusting.precision) == ("fp32", "bf16")
    assert cautious.fingerprint == trusting.fingerprint == gaitheat_bundle.fingerprint
    assert trusting.engine.proof().matrix_half_share > 0.9


# --- the crop rule ------------------------------------------------------------------------------------------


def marked(height: int, width: int) -> np.ndarray:
    """An image whose blue is the column and whose green is the row, and whose red is 200."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, :, 0] = np.arange(width) % 251
    image[:, :, 1] = np.arange(height)[:, None] % 251
    image[:, :, 2] = 200
    return image


Cut = Callable[[np.ndarray, np.ndarray, int, int], tuple[np.ndarray, np.ndarray]]
both_ways = pytest.mark.parametrize("cut", [crop_padded, crop_resized])


@both_ways
@pytest.mark.parametrize(
    ("width", "first", "count"),
    [
        (60, 34, 60),  # even rest
        (61, 33, 61),  # odd rest: the wider margin on the right
        (128, 0, 128),
    ],
)
def test_narrow_boxes_are_centred_in_black(width: int, first: int, count: int, cut: Cut) -> None:
    crops, ratios = cut(marked(300, 400), np.array([[10, 20, 10 + width, 276]], np.float32), 256, 128)
    red = crops[0, 0].max(axis=0)
    assert np.flatnonzero(red).tolist() == list(range(first, first + count))
    assert ratios[0] == np.float32(width / 256)
    # RGB order, and no resizing: the box is 256 high.
    assert crops[0, 2, 0, first] == 10
    assert crops[0, 1, :, first].tolist() == [(20 + row) % 251 for row in range(256)]


@both_ways
def test_wide_boxes_lose_one_column_more_on_the_left_when_odd(cut: Cut) -> None:
    """161 columns over 128: the published floor rule starts at 17, not 16."""
    crops, ratios = cut(marked(300, 400), np.array([[0, 0, 161, 256]], np.float32), 256, 128)
    assert crops[0, 2, 0, 0] == 17
    assert ratios[0] == np.float32(161 / 256)


@both_ways
def test_width_is_truncated_as_in_the_published_preparation(cut: Cut) -> None:
    crops, _ = cut(marked(600, 400), np.array([[0, 0, 101, 500]], np.float32), 256, 128)
    assert np.count_nonzero(crops[0, 0].max(axis=0)) == int(101 * 256 / 500)


@both_ways
def test_boxes_are_rounded_and_cut_at_the_edges(cut: Cut) -> None:
    image = marked(100, 100)
    boxes = np.array(
        [[9.6, 10.4, 40.4, 90.6], [10, 10, 40, 91], [-20, -5, 30, 120], [0, 0, 30, 100]], np.float32
    )
    crops, ratios = cut(image, boxes, 256, 128)
    np.testing.assert_array_equal(crops[0], crops[1])
    np.testing.assert_array_equal(crops[2], crops[3])
    assert ratios[2] == np.float32(0.3)


def test_boxes_outside_or_empty_are_black() -> None:
    boxes = np.array([[200, 10, 220, 50], [10, 10, 10, 40], [50, 50, 40, 60]], np.float32)
    crops, ratios = crop_padded(marked(100, 100), boxes, 256, 128)
    assert crops.shape == (3, 3, 256, 128)
    assert not crops.any()
    assert not ratios.any()


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.floats(-50, 250)] * 4))
def test_any_box_gives_a_crop(box: tuple[float, float, float, float]) -> None:
    crops, ratios = crop_padded(marked(120, 160), np.array([box], np.float32), 256, 128)
    assert crops.shape == (1, 3, 256, 128)
    assert (ratios[0] > 0) == bool(crops[0, 0].any())


def test_no_boxes() -> None:
    crops, ratios = crop_padded(marked(10, 10), np.empty((0, 4), np.float32), 256, 128)
    assert crops.shape == (0, 3, 256, 128)
    assert ratios.shape == (0,)
