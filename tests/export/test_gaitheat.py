"""GaitHeat and its alignment against the vectors of the published implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from gaitstream.engines import open_engine
from gaitstream.errors import ConfigError
from gaitstream.models.bundle import Bundle
from gaitstream.models.gaitheat import pgha
from gaitstream.models.gaitheat.alignment import write_align
from gaitstream.models.gaitheat.graphs import write_frame
from gaitstream.models.gaitheat.module import GaitHeat, merge_parts
from gaitstream.models.graphs.writer import with_taps

Array = NDArray[Any]
Golden = Mapping[str, Array]
Relative = Callable[[Any, Any], float]
EXACT = 1e-5
GROUPS = ((0,), (1,))
"""The released model reads channels 0 and 1 as its parts."""
CASES = [("m1", "always"), ("m1", "identity"), ("m2", "always"), ("m2", "identity"), ("c17", "always")]
POLICY: dict[str, Any] = {"always": "align", "identity": "identity"}
RUNTIMES = ("openvino", "onnxruntime")


def heatmaps(golden: Golden, case: str) -> Array:
    if f"{case}/heat_norm" in golden:
        return golden[f"{case}/heat_norm"]
    raw = golden[f"{case}/heat_raw"].astype(np.float32)
    low, high = (getattr(raw, kind)((1, 2, 3, 4), keepdims=True) for kind in ("min", "max"))
    normalised: Array = (raw - low) / (high - low)
    return normalised


def inputs(golden: Golden, case: str) -> tuple[Array, Array]:
    maps = heatmaps(golden, case)
    return maps.reshape(-1, *maps.shape[2:]), golden[f"{case}/keypoints"].reshape(-1, 17, 3)


def aligned(golden: Golden, case: str, matrices: str) -> pgha.AlignedTensors:
    maps, keypoints = inputs(golden, case)
    return pgha.align(
        torch.from_numpy(maps),
        torch.from_numpy(keypoints),
        GROUPS,
        small_angle=POLICY[matrices],
        normalization="none",
    )


def check_alignment(golden: Golden, case: str, matrices: str, found: Mapping[str, Array]) -> None:
    expected = golden[f"{case}/mat_{matrices}"].reshape(-1, 2, 3, 2)
    assert np.abs(found["rotation"] - expected[..., 0]).max() < 1e-6
    assert np.abs(found["translation"] - expected[..., 1]).max() < 1e-6
    for name, stored in (("after_rotation", "aligned1"), ("after_translation", "aligned2")):
        key = f"{case}/f32_{matrices}/{stored}"
        if key in golden:
            assert np.abs(found[name].reshape(golden[key].shape) - golden[key]).max() < 1e-5
        elif f"{key}_f16" in golden:
            rounded = golden[f"{key}_f16"].astype(np.float32)
            assert np.abs(found[name].reshape(rounded.shape) - rounded).max() < 6e-4


@pytest.mark.parametrize(("case", "matrices"), CASES)
def test_module_equals_the_published_embeddings(
    gaitheat: GaitHeat, gaitheat_golden: Golden, relative: Relative, case: str, matrices: str
) -> None:
    result = aligned(gaitheat_golden, case, matrices)
    check_alignment(gaitheat_golden, case, matrices, {k: np.asarray(v) for k, v in vars(result).items()})
    shape = gaitheat_golden[f"{case}/heat_raw"].shape[:2]
    out = gaitheat(result.parts.reshape(*shape, *result.parts.shape[1:]))
    prefix = f"{case}/f32_{matrices}"
    for name, found in (
        ("part_embed_1", out.part.before),
        ("global_embed_1", out.whole.before),
        ("fusion_embed_1", out.fusion.before),
        ("fusion_embed_2", out.fusion.after),
    ):
        if f"{prefix}/{name}" in gaitheat_golden:
            assert relative(found.transpose(1, 2), gaitheat_golden[f"{prefix}/{name}"]) < EXACT


def test_module_equals_the_published_maps(
    gaitheat: GaitHeat, gaitheat_golden: Golden, relative: Relative
) -> None:
    if "m1/f32_always/fusion4_full" not in gaitheat_golden:
        pytest.skip("maps are in the full set of reference vectors alone")
    part, whole, fusion = gaitheat.features(aligned(gaitheat_golden, "m1", "always").parts)
    for name, found, frames in (
        ("part_branch", part, 1),
        ("global_branch", whole, 1),
        ("fusion4", fusion, 2),
    ):
        expected = gaitheat_golden[f"m1/f32_always/{name}_full"][0].transpose(1, 0, 2, 3)
        assert relative(found[:frames], expected) < EXACT


def test_module_embeds_packed_sequences(
    gaitheat: GaitHeat, gaitheat_golden: Golden, relative: Relative
) -> None:
    parts = aligned(gaitheat_golden, "m1", "always").parts[None]
    out = gaitheat(parts, gaitheat_golden["m1/seqL"].tolist()).fusion
    for name, found in (("1", out.before), ("2", out.after)):
        expected = gaitheat_golden[f"m1/f32_always/fusion_embed_{name}_seqL"]
        assert relative(found.transpose(1, 2), expected) < EXACT


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("case", "matrices"), CASES)
def test_align_graph_equals_the_published_alignment(
    gaitheat_golden: Golden, tmp_path: Path, case: str, matrices: str, runtime: str
) -> None:
    maps, keypoints = inputs(gaitheat_golden, case)
    model = write_align(GROUPS, channels=maps.shape[1], small_angle=POLICY[matrices], normalization="none")
    onnx.save(with_taps(model), tmp_path / "align.onnx")
    with open_engine(tmp_path / "align.onnx", runtime, "fp32") as engine:
        found = engine.infer({"heatmaps": maps, "keypoints": keypoints})
    check_alignment(gaitheat_golden, case, matrices, found)
    merged = merge_parts(torch.from_numpy(found["after_translation"]), GROUPS)
    assert np.array_equal(found["parts"], merged)


@pytest.mark.parametrize("normalization", ["fixed", "tracklet", "none"])
@pytest.mark.parametrize("gamma", [0.0, 5.0, 20.0])
def test_align_graph_equals_the_module_on_any_pose(tmp_path: Path, normalization: Any, gamma: float) -> None:
    rng = np.random.default_rng(7)
    maps = rng.uniform(-0.2, 1.4, (24, 17, 64, 48)).astype(np.float32)
    keypoints = rng.uniform((0, 0, 0), (48, 64, 1), (24, 17, 3)).astype(np.float32)
    keypoints[0] = 0  # no joints at all
    keypoints[1, :, 0] = 24  # upright
    keypoints[2, 11:13] = keypoints[2, 5:7]  # neck on hip
    groups = ((0, 1, 2, 3, 4), tuple(range(5, 11)), tuple(range(11, 17)))
    settings: dict[str, Any] = {"gamma_deg": gamma, "normalization": normalization, "target_xy": (20.0, 18.0)}
    onnx.save(write_align(groups, **settings), tmp_path / "align.onnx")
    expected = pgha.align(torch.from_numpy(maps), torch.from_numpy(keypoints), groups, **settings).parts
    with open_engine(tmp_path / "align.onnx", "openvino", "fp32") as engine:
        found = engine.infer({"heatmaps": maps, "keypoints": keypoints})["parts"]
    # Noise at full contrast between neighbours is the worst case for a rounded coordinate.
    assert np.abs(found - expected.numpy()).max() < 1e-4
    assert found.shape == (24, 4, 64, 48)


@pytest.mark.parametrize(
    ("groups", "gamma", "says"),
    [
        ((), 5.0, "no part groups"),
        (((0, 17),), 5.0, "0 to 16"),
        (((),), 5.0, "0 to 16"),
        (((0,),), 90.0, "90"),
    ],
)
def test_align_graph_names_a_setting_out_of_range(groups: Any, gamma: float, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        write_align(groups, gamma_deg=gamma)


@pytest.mark.parametrize(("case", "matrices"), [("m1", "always"), ("m2", "identity"), ("c17", "always")])
@pytest.mark.parametrize(
    ("runtime", "precision", "limit"),
    [
        ("openvino", "fp32", EXACT),
        ("onnxruntime", "fp32", EXACT),
        ("onnxruntime", "fp16", 3e-3),
        ("openvino", "bf16", 2e-2),
    ],
)
def test_graphs_equal_the_published_embedding(
    gaitheat_bundle: Bundle,
    gaitheat_golden: Golden,
    embed: Callable[[Bundle, str, str, Array], Array],
    relative: Relative,
    record_property: Callable[[str, object], None],
    case: str,
    matrices: str,
    runtime: str,
    precision: Any,
    limit: float,
) -> None:
    _require_native(runtime, precision)
    parts = aligned(gaitheat_golden, case, matrices).parts.numpy()
    with open_engine(gaitheat_bundle.graph("frame", precision), runtime, precision) as engine:
        features = engine.infer({"parts": parts})["features"]
    if case == "m1" and "m1/f32_always/fusion4_full" in gaitheat_golden:
        expected = gaitheat_golden["m1/f32_always/fusion4_full"][0].transpose(1, 0, 2, 3)
        assert relative(features[:2], expected) < limit
    shape = gaitheat_golden[f"{case}/heat_raw"].shape[:2]
    pooled = features.reshape(*shape, *features.shape[1:]).max(1)
    found = embed(gaitheat_bundle, runtime, precision, pooled).transpose(0, 2, 1)
    expected = gaitheat_golden[f"{case}/f32_{matrices}/fusion_embed_2"]
    assert relative(found, expected) < limit
    names = [f"{c}/f32_{m}/fusion_embed_2" for c, m in CASES]
    mean = np.concatenate([gaitheat_golden[name] for name in names]).mean(0)
    centred = float(np.linalg.norm(found - expected) / np.linalg.norm(expected - mean))
    record_property("centred", centred)
    # The common part is about 25 times the rest, so this is what the limit leaves of it.
    assert centred < 30 * limit
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3)


def test_a_reduced_model_trains() -> None:
    """Gradients reach every weight of a narrow model with three parts; used for the demo weights."""
    torch.manual_seed(0)
    with torch.enable_grad():
        model = GaitHeat((4, 8, 8, 16), parts=16, dim=8, identities=5)
        out = model(torch.rand(2, 3, 4, 64, 48))
        assert out.fusion.before.shape == (2, 16, 8)
        assert out.fusion.logits.shape == (2, 16, 5)
        sum(branch.logits.square().mean() + branch.before.square().mean() for branch in out).backward()
    missing = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert not missing
    assert model.Backbone1.forward_block.bn1.num_batches_tracked == 1  # type: ignore[union-attr]


def test_further_blocks_are_exported(small_gaitheat: GaitHeat, tmp_path: Path) -> None:
    """The graph of a model with several blocks a stage gives its features."""
    maps = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = small_gaitheat.eval().features(maps)[2].numpy()
    path = tmp_path / "frame.onnx"
    onnx.save(write_frame(small_gaitheat, 2), path)
    with open_engine(path, "openvino", "fp32") as engine:
        found = engine.infer({"parts": maps.numpy()})["features"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def _require_native(runtime: str, precision: str) -> None:
    from gaitstream.engines.registry import runtime_named

    if precision == "bf16" and precision not in runtime_named(runtime).probe().precisions:
        pytest.skip("this CPU has no native bf16")
