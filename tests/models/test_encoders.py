"""Frame encoders, heads and clip encoders over graphs small enough to be computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from gaitstream.engines.cache import EngineCache
from gaitstream.errors import ConfigError, EngineError
from gaitstream.models.bundle import Bundle, write_manifest
from gaitstream.models.inputs import kept_shape, kept_type, pack, unpack
from gaitstream.models.manifest import (
    AlignmentContract,
    ClipContract,
    EmbeddingContract,
    FeatureContract,
    Graphs,
    InputContract,
    InputKind,
    Manifest,
    SkeletonContract,
)
from gaitstream.models.recognizer import Recognizer
from gaitstream.pipeline.embed import fit_rule
from gaitstream.pipeline.pool import WindowRule

SILHOUETTE = InputContract(kind=InputKind.SILHOUETTE, height=8, width=6, channels=1, crop_rule="segment")
SKELETON = InputContract(kind=InputKind.SKELETON_MAP, height=8, width=6, channels=2, crop_rule="pose")
POSE = InputContract(kind=InputKind.POSE, height=64, width=48, channels=17, crop_rule="pose")
CROP = InputContract(kind=InputKind.CROP, height=16, width=8, channels=3, crop_rule="pad_to_aspect")


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "model": "tiny",
        "version": "1",
        "input": SILHOUETTE,
        "feature": FeatureContract(channels=1, height=4, width=3),
        "embedding": EmbeddingContract(parts=4, dim=3, tap="all"),
        "graphs": {"fp32": Graphs(frame="frame.onnx", head="head.onnx")},
        "licence": "test",
        "source": {},
    }
    return Manifest(**{**fields, **changes})


def info(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def save(
    path: Path, nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[Any], **constants: Any
) -> None:
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], **attributes)


def write(root: Path, contract: Manifest) -> Bundle:
    return Bundle(root, write_manifest(contract, root))


def pooled_2x2(name: str, output: str) -> onnx.NodeProto:
    return node("MaxPool", [name], output, kernel_shape=[2, 2], strides=[2, 2])


def two_outputs(root: Path, cache: EngineCache, pooling: str = "max") -> Recognizer:
    """`features` is the silhouette at half size, `mean` its average; the head adds both, frames last."""
    save(
        root / "frame.onnx",
        [pooled_2x2("silhouettes", "features"), node("ReduceMean", ["silhouettes", "axes"], "mean")],
        [info("silhouettes", ["n", 1, 8, 6])],
        [info("features", ["n", 1, 4, 3]), info("mean", ["n", 1, 1, 1])],
        axes=np.array([2, 3]),
    )
    frames: list[int | str] = ["f"] if pooling == "sequence" else []
    last = [node("ReduceSum", ["pooled_mean", "first"], "one")] if frames else []
    save(
        root / "head.onnx",
        [
            *last,
            node("Add", ["pooled", "one" if frames else "pooled_mean"], "sum"),
            node("Squeeze", ["sum", "channel"], "embedding"),
        ],
        [info("pooled", ["n", 1, 4, 3]), info("pooled_mean", ["n", *frames, 1, 1, 1])],
        [info("embedding", ["n", 4, 3])],
        channel=np.array([1]),
        **({"first": np.array([1])} if frames else {}),
    )
    if frames:  # summed over frames without keeping the axis
        model = onnx.load(root / "head.onnx")
        model.graph.node[0].attribute.append(helper.make_attribute("keepdims", 0))
        onnx.save(model, root / "head.onnx")
    extra = FeatureContract(channels=1, height=1, width=1, pooling=pooling)  # type: ignore[arg-type]
    bundle = write(root, manifest(more_features={"mean": extra}))
    return Recognizer.load(bundle, "openvino", "fp32", 1, cache=cache)


def drawn(count: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, channels, 8, 6), dtype=np.uint8)


def halved(silhouettes: np.ndarray) -> np.ndarray:
    shares = silhouettes.astype(np.float32) / 255
    return np.asarray(shares.reshape(-1, 1, 4, 2, 3, 2).max(axis=(3, 5)))


def test_several_outputs_lie_in_one_row_and_pool_together(tmp_path: Path, cache: EngineCache) -> None:
    model = two_outputs(tmp_path, cache)
    silhouettes = drawn(11)
    shares = silhouettes.astype(np.float32) / 255
    rows = model.encode(silhouettes)
    assert rows.shape == (11, *kept_shape(model.manifest)) == (11, 13)
    means = shares.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(rows[:, :12], halved(silhouettes).reshape(11, 12), atol=1e-6)
    np.testing.assert_allclose(rows[:, 12], means, atol=1e-6)
    expected = halved(silhouettes).max(axis=0)[0] + means.max()
    np.testing.assert_allclose(model.embed(silhouettes), expected, atol=1e-6)
    np.testing.assert_allclose(model.embed_windows([model.pool(rows)] * 3)[2], expected, atol=1e-6)
    floats = model.encode(shares)
    np.testing.assert_allclose(floats, rows, atol=1e-6)
    model.close()


def test_a_head_with_temporal_layers_gets_its_frames_in_order(tmp_path: Path, cache: EngineCache) -> None:
    model = two_outputs(tmp_path, cache, "sequence")
    assert model.manifest.keeps == "maps"
    windows = [drawn(7, 1), drawn(4, 2), drawn(7, 3)]
    rows = [model.encode(window) for window in windows]
    found = model.embed_windows(rows)
    for window, embedding in zip(windows, found, strict=True):
        means = (window.astype(np.float32) / 255).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(embedding, halved(window).max(axis=0)[0] + means.sum(), atol=1e-5)
        np.testing.assert_allclose(model.embed(window), embedding, atol=1e-6)
    with pytest.raises(EngineError, match="takes the frames in order"):
        model.pool(rows[0])
    model.close()


def clip_model(
    root: Path, cache: EngineCache, clip: ClipContract, inputs: tuple[InputContract, ...] = (SILHOUETTE,)
) -> Recognizer:
    """The sum over frames of the first channel, and of the mean of every other input."""
    names = {InputKind.SILHOUETTE: "silhouettes", InputKind.SKELETON_MAP: "skeleton_maps"}
    nodes, sums = [], []
    for contract in inputs:
        name = names[contract.kind]
        nodes.append(node("ReduceSum", [name, "time"], f"{name}_sum", keepdims=0))
        nodes.append(node("ReduceMean", [f"{name}_sum", "channel"], f"{name}_flat", keepdims=1))
        sums.append(f"{name}_flat")
    nodes.append(node("Sum", sums, "all"))
    nodes.append(pooled_2x2("all", "small"))
    nodes.append(node("Squeeze", ["small", "channel"], "embedding"))
    save(
        root / "clip.onnx",
        nodes,
        [info(names[one.kind], ["n", one.channels, "s", 8, 6]) for one in inputs],
        [info("embedding", ["n", 4, 3])],
        time=np.array([2]),
        channel=np.array([1]),
    )
    whole = manifest(
        input=inputs[0],
        more_inputs=inputs[1:],
        feature=None,
        clip=clip,
        graphs={"fp32": Graphs(clip="clip.onnx")},
    )
    return Recognizer.load(write(root, whole), "openvino", "fp32", 1, cache=cache)


def summed(silhouettes: np.ndarray) -> np.ndarray:
    total = (silhouettes.astype(np.float32) / 255).sum(axis=0)[0]
    return np.asarray(total.reshape(4, 2, 3, 2).max(axis=(1, 3)))


def test_a_clip_takes_as_many_of_its_last_frames_as_fit(tmp_path: Path, cache: EngineCache) -> None:
    model = clip_model(tmp_path, cache, ClipContract(min_frames=4, max_frames=9, grouping=2))
    windows = [drawn(9, 1), drawn(4, 2), drawn(20, 3), drawn(8, 4)]
    found = model.embed_windows(windows)
    for window, used, embedding in zip(windows, (8, 4, 8, 8), found, strict=True):
        np.testing.assert_allclose(embedding, summed(window[-used:]), atol=1e-5)
    np.testing.assert_allclose(model.embed(windows[0]), found[0], atol=1e-6)
    with pytest.raises(EngineError, match="tiny takes 4 to 9 frames, a multiple of 2; a window has 3"):
        model.embed(drawn(3))
    with pytest.raises(EngineError, match="takes the frames of a window at once"):
        model.encode(windows[0])
    with pytest.raises(EngineError, match="takes the frames of a window at once"):
        model.embed_pooled(np.zeros((1, 4, 3), np.float32))
    model.close()


def test_a_model_of_two_inputs_keeps_both_in_one_row(tmp_path: Path, cache: EngineCache) -> None:
    model = clip_model(tmp_path, cache, ClipContract(), (SILHOUETTE, SKELETON))
    assert model.manifest.needs == {InputKind.SILHOUETTE, InputKind.SKELETON_MAP}
    assert model.manifest.needs_pose
    silhouettes, skeletons = drawn(6, 1), drawn(6, 2, channels=2)
    rows = pack(model.manifest, {"silhouettes": silhouettes, "skeleton_maps": skeletons})
    assert rows.shape == (6, 3 * 48)
    (embedding,) = model.embed_windows([rows])
    both = silhouettes.astype(np.float32) + skeletons.astype(np.float32).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(embedding, summed(both), atol=1e-5)
    with pytest.raises(EngineError, match="tiny needs skeleton_maps; given are silhouettes"):
        pack(model.manifest, {"silhouettes": silhouettes})
    model.close()


def test_pictures_beside_others_may_be_shares_or_bools(tmp_path: Path, cache: EngineCache) -> None:
    model = clip_model(tmp_path, cache, ClipContract(), (SILHOUETTE, SKELETON))
    inside, skeletons = drawn(6, 1) > 127, drawn(6, 2, channels=2)
    expected = model.embed_inputs({"silhouettes": np.uint8(255) * inside, "skeleton_maps": skeletons})
    shares = skeletons / np.float32(255)
    for silhouettes in (inside, inside.astype(np.float32), inside.astype(np.float64)):
        found = model.embed_inputs({"silhouettes": silhouettes, "skeleton_maps": shares})
        np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(
        EngineError, match=r"silhouettes are float32 in 0\.0\.\.255\.0: give uint8 in 0\.\.255"
    ):
        model.embed_inputs({"silhouettes": np.float32(255) * inside, "skeleton_maps": skeletons})
    with pytest.raises(EngineError, match="given are 5 of silhouettes, 6 of skeleton_maps"):
        model.embed_inputs({"silhouettes": inside[:5], "skeleton_maps": skeletons})
    with pytest.raises(EngineError, match=r"takes skeleton_maps \[n, 2, 8, 6\]; given are \[6, 1, 8, 6\]"):
        model.embed_inputs({"silhouettes": inside, "skeleton_maps": skeletons[:, :1]})
    model.close()


@pytest.mark.parametrize("dtype", ["int64", "int16", "float32", "float64"])
def test_pictures_of_another_scale_are_refused(tmp_path: Path, cache: EngineCache, dtype: str) -> None:
    model = two_outputs(tmp_path, cache)
    with pytest.raises(EngineError, match=f"silhouettes are {dtype} in .*: give uint8"):
        model.embed(drawn(4).astype(dtype))
    model.close()


def test_masks_of_0_and_1_as_bytes_are_refused(tmp_path: Path, cache: EngineCache) -> None:
    """They would be all but black, and everybody alike."""
    model = two_outputs(tmp_path, cache)
    masks = (drawn(4) > 127).astype(np.uint8)
    for give in (model.encode, model.embed, lambda given: model.embed_inputs({"silhouettes": given})):
        with pytest.raises(EngineError, match="silhouettes are uint8 of 0 and 1: give 0 and 255, bools"):
            give(masks)
    assert model.embed(masks * np.uint8(0)).shape == model.embed(masks > 0).shape
    model.close()


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5])
def test_pictures_that_are_none_are_refused(tmp_path: Path, cache: EngineCache, value: float) -> None:
    frames, clips = tmp_path / "frames", tmp_path / "clips"
    frames.mkdir()
    clips.mkdir()
    silhouettes = drawn(4) / np.float32(255)
    silhouettes[2, 0, 3, 3] = value
    for model in (two_outputs(frames, cache), clip_model(clips, cache, ClipContract())):
        with pytest.raises(EngineError, match="silhouettes"):
            model.embed(silhouettes)
        with pytest.raises(EngineError, match="silhouettes"):
            model.embed_inputs({"silhouettes": silhouettes})
        model.close()


@pytest.mark.parametrize("pooling", ["max", "sequence"])
def test_nothing_gives_no_embedding(tmp_path: Path, cache: EngineCache, pooling: str) -> None:
    model = two_outputs(tmp_path, cache, pooling)
    assert model.embed_windows([]).shape == (0, 4, 3)
    with pytest.raises(EngineError, match="frames"):
        model.embed(drawn(0))
    with pytest.raises(EngineError, match="no frames"):
        model.embed_windows([model.encode(drawn(0))])
    model.close()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([SILHOUETTE, SKELETON, POSE, CROP]), min_size=1, max_size=3, unique=True),
    st.integers(0, 5),
)
def test_what_is_packed_comes_out_again(inputs: list[InputContract], count: int) -> None:
    """In the type that windows keep it in: heatmaps lose what half precision loses, pictures nothing."""
    contract = manifest(
        input=inputs[0],
        more_inputs=tuple(inputs[1:]),
        feature=None,
        clip=ClipContract(),
        graphs={"fp32": Graphs(clip="c.onnx")},
    )
    rng = np.random.default_rng(count)
    given_: dict[str, np.ndarray] = {
        "crops": rng.integers(0, 256, (count, 3, 16, 8), dtype=np.uint8),
        "heatmaps": rng.random((count, 17, 64, 48), dtype=np.float32),
        "silhouettes": rng.integers(0, 256, (count, 1, 8, 6), dtype=np.uint8),
        "skeleton_maps": rng.integers(0, 256, (count, 2, 8, 6), dtype=np.uint8),
    }
    rows = pack(contract, given_)
    assert rows.shape == (count, *kept_shape(contract))
    back = unpack(contract, rows.astype(kept_type(contract)))
    assert len(back) == len(inputs)
    for name, array in back.items():
        assert array.shape == given_[name].shape
        np.testing.assert_allclose(array, given_[name], atol=1e-3 if name == "heatmaps" else 0)


def test_heatmaps_without_alignment_go_into_the_graph_as_they_are(tmp_path: Path, cache: EngineCache) -> None:
    save(
        tmp_path / "frame.onnx",
        [node("MaxPool", ["heatmaps"], "features", kernel_shape=[16, 16], strides=[16, 16])],
        [info("heatmaps", ["n", 17, 64, 48])],
        [info("features", ["n", 17, 4, 3])],
    )
    save(
        tmp_path / "head.onnx",
        [node("ReduceMax", ["pooled", "channel"], "embedding", keepdims=0)],
        [info("pooled", ["n", 17, 4, 3])],
        [info("embedding", ["n", 4, 3])],
        channel=np.array([1]),
    )
    contract = manifest(input=POSE, feature=FeatureContract(channels=17, height=4, width=3))
    model = Recognizer.load(write(tmp_path, contract), "openvino", "fp32", 1, cache=cache)
    heatmaps = np.random.default_rng(0).random((5, 17, 64, 48), dtype=np.float32)
    np.testing.assert_allclose(
        model.embed(heatmaps), heatmaps.reshape(5, 17, 4, 16, 3, 16).max(axis=(0, 1, 3, 5)), atol=1e-6
    )
    heatmaps[1, 2, 3, 4] = np.nan
    with pytest.raises(EngineError, match="heatmaps hold NaN or infinity"):
        model.embed(heatmaps)
    model.close()


RULE = WindowRule(30, 15, 10, 1.0)


@pytest.mark.parametrize(
    ("clip", "provisional_from"),
    [
        (None, 10),
        (ClipContract(), 10),
        (ClipContract(min_frames=20), 20),
        (ClipContract(min_frames=30, max_frames=30), 30),
        (ClipContract(grouping=3), 10),
    ],
)
def test_windows_give_no_answer_before_a_clip_has_its_frames(
    clip: ClipContract | None, provisional_from: int
) -> None:
    changes: dict[str, Any] = {"feature": None, "clip": clip, "graphs": {"fp32": Graphs(clip="c.onnx")}}
    found = fit_rule("north", manifest(**(changes if clip else {})), RULE)
    assert found == WindowRule(30, 15, provisional_from, 1.0)


@pytest.mark.parametrize(
    ("clip", "says"),
    [
        (ClipContract(min_frames=31), "takes 31 to any number of frames in a window"),
        (ClipContract(max_frames=16), "takes 1 to 16 frames in a window, and tracklets.length is 30"),
        (ClipContract(grouping=4), "takes 1 to any number of frames, a multiple of 4"),
    ],
)
def test_windows_that_do_not_fit_a_clip_are_refused(clip: ClipContract, says: str) -> None:
    contract = manifest(feature=None, clip=clip, graphs={"fp32": Graphs(clip="c.onnx")})
    with pytest.raises(ConfigError, match=says):
        fit_rule("north", contract, RULE)


def test_a_manifest_says_which_fields_it_has(tmp_path: Path) -> None:
    """A bundle of the new kinds is read as it was written."""
    (tmp_path / "clip.onnx").write_bytes(b"c")
    contract = manifest(
        input=POSE,
        more_inputs=(SKELETON,),
        alignment=AlignmentContract(groups=((0, 1),)),
        skeleton=SkeletonContract(sigma_px=6.0),
        feature=None,
        clip=ClipContract(min_frames=2),
        graphs={"fp32": Graphs(clip="clip.onnx")},
    )
    sealed = write_manifest(contract, tmp_path)
    assert Bundle.open(tmp_path).manifest == sealed
    assert msgspec.structs.replace(sealed, fingerprint="") == contract
