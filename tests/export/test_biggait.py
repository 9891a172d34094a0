"""BigGait against the vectors of the published implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gaitstream.models.biggait.module import GRID, BigGait, Maps, close, valid_columns
from gaitstream.models.bundle import Bundle
from gaitstream.models.graphs.vit import interpolate_positions

Array = NDArray[Any]
Golden = Mapping[str, Array]
Relative = Callable[[Any, Any], float]
Run = Callable[[str, str, str], dict[str, Array]]
EXACT = 1e-5
ROUNDED = 1e-3
"""Limit where the stored reference was rounded to half."""
FP32 = ("openvino", "onnxruntime")


@pytest.fixture(scope="module")
def module_maps(biggait: BigGait, biggait_golden: Golden) -> Callable[[str], Maps]:
    """The module's maps of a case, computed once."""

    @cache
    def maps(case: str) -> Maps:
        rgb = torch.from_numpy(biggait_golden[f"{case}/rgb"]).flatten(0, 1)
        ratios = torch.from_numpy(biggait_golden[f"{case}/ratios"]).flatten()
        return biggait.maps(biggait.preprocess(rgb, ratios), ratios)

    return maps


def case_of(golden: Golden, case: str) -> Golden:
    """One case's arrays; the compact set lacks some of them, and one case."""
    found = {
        key.removeprefix(f"{case}/"): value for key, value in golden.items() if key.startswith(f"{case}/")
    }
    if not found:
        pytest.skip(f"{case} is in the full set of reference vectors alone")
    return found


def debug_of(golden: Path) -> Golden:
    """Tokens and pictures of one frame, which the compact set lacks."""
    path = golden / "biggait_A_debug.npz"
    if not path.is_file():
        pytest.skip("tokens are in the full set of reference vectors alone")
    with np.load(path) as data:
        return dict(data)


def check_maps(golden: Golden, name: str, found: Array, relative: Relative) -> None:
    """A branch's maps against what is stored of them."""
    if f"{name}_full" in golden:
        assert relative(found[:1], golden[f"{name}_full"]) < EXACT
    if f"{name}_f16" in golden:
        assert relative(found, golden[f"{name}_f16"]) < ROUNDED


@pytest.mark.parametrize("case", ["pad1", "pad2", "raw1", "raw2"])
def test_module_equals_the_published_maps(
    biggait: BigGait,
    module_maps: Callable[[str], Maps],
    biggait_golden: Golden,
    relative: Relative,
    case: str,
) -> None:
    g = case_of(biggait_golden, case)
    maps = module_maps(case)
    if "mask_prob" in g:
        assert relative(maps.mask_prob, g["mask_prob"]) < EXACT
    assert np.array_equal(maps.edge_sum, g["edge_sum"])
    assert np.array_equal(maps.edge_sum > 160, g["flipped"])
    assert relative(maps.foreground, g["foreground"]) < EXACT
    assert np.array_equal(maps.foreground.numpy() != 0, g["foreground"] != 0)
    for name in ("denoising", "appearance"):
        check_maps(g, name, getattr(maps, name).numpy(), relative)
    if "post_full" in g:
        assert relative(maps.post[g["full_idx"].tolist()], g["post_full"]) < EXACT
    pooled = maps.post.reshape(*g["rgb"].shape[:2], 512, 16, 8).amax(1)
    assert relative(biggait.head(pooled).transpose(1, 2), g["embeddings"]) < EXACT


def test_module_embeds_packed_sequences(biggait: BigGait, biggait_golden: Golden, relative: Relative) -> None:
    rgb, ratios = (torch.from_numpy(biggait_golden[f"pad1/{name}"]) for name in ("rgb", "ratios"))
    found = biggait(rgb, ratios, biggait_golden["pad1/seqL"].tolist()).transpose(1, 2)
    assert relative(found, biggait_golden["pad1/embeddings_seqL"]) < EXACT


def test_module_equals_the_published_tokens(
    biggait: BigGait,
    module_maps: Callable[[str], Maps],
    biggait_golden: Golden,
    golden: Path,
    relative: Relative,
) -> None:
    debug = debug_of(golden)
    frame = int(debug["frame"])
    rgb = torch.from_numpy(biggait_golden["pad1/rgb"][0, frame : frame + 1])
    images = biggait.preprocess(rgb, torch.from_numpy(biggait_golden["pad1/ratios"][0, frame : frame + 1]))
    assert relative(images[0], debug["net_input_f16"]) < ROUNDED
    backbone = biggait.backbone
    assert relative(interpolate_positions(backbone.pos_embed, 32, 16), debug["pos_embed_interp"]) < EXACT
    tokens = backbone.tokens(images)
    assert relative(tokens[0], debug["tokens_in"]) < EXACT
    assert relative(backbone.blocks[0](tokens)[0], debug["block0_f16"]) < ROUNDED
    last, middle = backbone(images)
    assert relative(last[0], debug["x_norm_patchtokens"]) < EXACT
    assert relative(middle[0], debug["x_norm_patchtokens_mid4_f16"]) < ROUNDED
    assert relative(module_maps("pad1").fused[frame], debug["fused_f16"]) < ROUNDED


def test_module_pads_a_stretched_crop_with_the_mean_colour(
    biggait: BigGait, biggait_golden: Golden, golden: Path, relative: Relative
) -> None:
    debug = debug_of(golden)
    frame = int(debug["raw1_frame"])
    rgb = torch.from_numpy(biggait_golden["raw1/rgb"][0, frame : frame + 1])
    images = biggait.preprocess(rgb, torch.from_numpy(biggait_golden["raw1/ratios"][0, frame : frame + 1]))
    assert relative(images[0], debug["raw1_net_input_f16"]) < ROUNDED


@pytest.mark.parametrize("case", ["pad1", "pad2"])
@pytest.mark.parametrize("runtime", FP32)
def test_fp32_graphs_equal_the_published_maps(
    run_biggait: Run, biggait_golden: Golden, relative: Relative, runtime: str, case: str
) -> None:
    g = case_of(biggait_golden, case)
    found = run_biggait(runtime, "fp32", case)
    first = 1 / (1 + np.exp(-found["mask_logit"].astype(np.float64)))
    probability = np.stack([first, 1 - first], -1) * found["valid"].reshape(-1, 1, GRID[1], 1)
    if "mask_prob" in g:
        assert relative(probability, g["mask_prob"]) < EXACT
    assert np.array_equal(found["support"][:, 0] != 0, g["foreground"] != 0)
    for name in ("denoising", "appearance"):
        check_maps(g, name, found[name].transpose(0, 2, 3, 1), relative)
    if "post_full" in g:
        assert relative(found["features"][g["full_idx"]], g["post_full"]) < EXACT
    assert relative(found["embedding"].transpose(0, 2, 1), g["embeddings"]) < EXACT


@pytest.mark.parametrize(
    ("runtime", "precision", "limit"), [("onnxruntime", "fp16", 3e-3), ("openvino", "bf16", 2e-2)]
)
def test_lower_precisions_keep_the_embedding(
    run_biggait: Run,
    biggait_golden: Golden,
    relative: Relative,
    record_property: Callable[[str, object], None],
    runtime: str,
    precision: str,
    limit: float,
) -> None:
    _require_native(runtime, precision)
    cases = ("pad1", "pad2")
    mean = np.concatenate([biggait_golden[f"{case}/embeddings"] for case in cases]).mean(0)
    for case in cases:
        reference = biggait_golden[f"{case}/embeddings"]
        found = run_biggait(runtime, precision, case)["embedding"].transpose(0, 2, 1)
        assert relative(found, reference) < limit
        centred = float(np.linalg.norm(found - reference) / np.linalg.norm(reference - mean))
        record_property(f"{case} centred", centred)
        # The common part is about ten times the rest, so this is what the limit leaves of it.
        assert centred < 12 * limit


def test_packed_sequences_only_pool_differently(
    biggait_bundle: Bundle,
    run_biggait: Run,
    embed: Callable[[Bundle, str, str, Array], Array],
    biggait_golden: Golden,
    relative: Relative,
) -> None:
    features = run_biggait("openvino", "fp32", "pad1")["features"]
    split = int(biggait_golden["pad1/seqL"][0])
    pooled = np.stack([features[:split].max(0), features[split:].max(0)])
    found = embed(biggait_bundle, "openvino", "fp32", pooled).transpose(0, 2, 1)
    assert relative(found, biggait_golden["pad1/embeddings_seqL"]) < EXACT


@pytest.mark.parametrize("width", range(1, 40))
def test_valid_columns_truncate_and_floor(width: int) -> None:
    exact = np.float32(width / 64)
    ratios = [exact, np.nextafter(exact, np.float32(9)), np.nextafter(exact, np.float32(0))]
    for ratio, need in zip(ratios, (width, width, width - 1), strict=True):
        expected = np.zeros(32)
        left = (32 - need) // 2
        expected[max(left, 0) : min(left + need, 32)] = 1
        assert np.array_equal(valid_columns(torch.tensor([ratio]))[0], expected)


def test_closing_has_neutral_borders() -> None:
    """A foreground that fills the grid stays whole, and one column at the border survives."""
    mask = torch.ones(1, *GRID)
    dilated, eroded = close(mask)
    assert torch.equal(dilated, mask)
    assert torch.equal(eroded, mask)
    hole = mask.clone()
    hole[0, 30, 15] = 0
    assert torch.equal(close(hole)[1], mask)
    alone = torch.zeros(1, *GRID)
    alone[0, 30, 15] = 1
    assert close(alone)[0].sum() == 9
    assert close(alone)[1].sum() == 0


def _require_native(runtime: str, precision: str) -> None:
    from gaitstream.engines.registry import runtime_named

    if precision == "bf16" and precision not in runtime_named(runtime).probe().precisions:
        pytest.skip("this CPU has no native bf16")
