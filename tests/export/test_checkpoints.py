"""What is read from checkpoints, and what is said of those that do not fit."""

from __future__ import annotations

import dataclasses
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gaitstream.errors import CheckpointError, ConfigError, ExportError
from gaitstream.export.api import ExportOptions, export_bundle
from gaitstream.models.biggait.checkpoint import load_module as load_biggait
from gaitstream.models.biggait.module import BigGait
from gaitstream.models.deepgaitv2.module import DeepGaitV2
from gaitstream.models.gaitbase.module import GaitBase
from gaitstream.models.gaitgraph2.module import GaitGraph2
from gaitstream.models.gaitheat.checkpoint import load_module as load_gaitheat
from gaitstream.models.gaitheat.module import GaitHeat
from gaitstream.models.gaitset.module import GaitSet
from gaitstream.models.gaittr.module import GaitTR
from gaitstream.models.graphs.checkpoint import MismatchError, looks_like, read_state, recognise_checkpoint
from gaitstream.models.graphs.vit import VisionTransformer, tap_blocks
from gaitstream.models.graphs.weights import seeded
from gaitstream.models.spec import find_family

State = dict[str, Tensor]
Save = Callable[..., Path]


def same_weights(found: torch.nn.Module, expected: torch.nn.Module) -> bool:
    theirs = expected.state_dict()
    mine = found.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in theirs)


def turned(value: Tensor) -> Tensor:
    """The same tensor, which lies in memory in another order."""
    axes = tuple(reversed(range(value.ndim)))
    return value.permute(axes).contiguous().permute(axes)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "optimizer": {"state": {}}, "scheduler": {"last": 1}, "iteration": 3},
        lambda state: state,
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 4},
        lambda state: {key: value.half().float() for key, value in state.items()},
        lambda state: {"model": {f"_orig_mod.{key}": value for key, value in state.items()}},
        lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
        lambda state: {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {"state": {}}},
        lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()}},
        lambda state: {"model": {"name": "GaitHeat"}, "state_dict": state, "step": torch.tensor(3)},
        lambda state: {"model": state, "state_dict": state, "ema": {k: 2 * v for k, v in state.items()}},
        lambda state: {"model": state, "best": np.float64(0.9), "epoch": np.int64(4), "seen": [np.bool_(1)]},
        lambda state: {key: value.double() for key, value in state.items()},
        lambda state: {key: turned(value) for key, value in state.items()},
        lambda state: {"n_averaged": torch.tensor(3), **{f"module.{k}": v for k, v in state.items()}},
    ],
    ids=[
        "opengait", "bare", "distributed", "nested", "rounded", "compiled", "compiled and distributed",
        "tutorial", "lightning", "beside a configuration", "twice the same", "numpy", "double", "transposed",
        "averaged",
    ],
)  # fmt: skip
def test_every_usual_form_loads(small_gaitheat: GaitHeat, save: Save, wrap: Callable[[State], Any]) -> None:
    state = small_gaitheat.state_dict()
    loaded = load_gaitheat(save(wrap(state)))
    assert not loaded.training
    assert all(
        torch.allclose(value.float(), state[key].float(), atol=1e-3)
        for key, value in loaded.state_dict().items()
    )


def test_safetensors_load(small_biggait: BigGait, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(small_biggait.state_dict(), tmp_path / "model.safetensors")
    assert same_weights(load_biggait(tmp_path / "model.safetensors"), small_biggait)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_biggait(tmp_path / "cut.safetensors")


def test_sizes_come_from_the_checkpoint(small_biggait: BigGait, save: Save) -> None:
    loaded = load_biggait(save({"model": small_biggait.state_dict()}))
    assert same_weights(loaded, small_biggait)
    assert loaded.backbone.taps == (5, 11, 17, 23)


def test_the_backbone_may_come_from_its_own_file(small_biggait: BigGait, save: Save) -> None:
    state = small_biggait.state_dict()
    backbone = {
        key.removeprefix("backbone."): value for key, value in state.items() if "backbone." in key[:9]
    }
    chunked = {
        key.replace("blocks.", f"blocks.{int(key.split('.')[1]) // 6}.")
        if key.startswith("blocks.")
        else key: v
        for key, v in backbone.items()
    }
    gait = save({"model": {key: v for key, v in state.items() if not key.startswith("backbone.")}})
    for name, own in (("dinov2.pth", backbone), ("chunked.pth", chunked)):
        assert same_weights(load_biggait(gait, save(own, name)), small_biggait)
    with pytest.raises(CheckpointError, match="--dinov2"):
        load_biggait(gait)
    with pytest.raises(CheckpointError, match="belongs after --dinov2"):
        load_biggait(save(backbone, "swapped.pth"))
    with pytest.raises(CheckpointError, match="is not a DINOv2 backbone: it looks like BigGait"):
        load_biggait(gait, gait)
    other = {**backbone, "norm.weight": backbone["norm.weight"] + 1}
    with pytest.raises(CheckpointError, match=r"differs from .*norm\.weight"):
        load_biggait(save({"model": state}, "whole.pt"), save(other, "other.pth"))


def test_classifiers_of_any_size_are_tolerated(small_gaitheat: GaitHeat, save: Save) -> None:
    state = small_gaitheat.state_dict()
    for key in [key for key in state if key.startswith("BNNecks") and key.endswith("fc_bin")]:
        del state[key]
    del state["Backbone1.forward_block.bn1.num_batches_tracked"]
    load_gaitheat(save({"model": state}))
    state["BNNecks_part.fc_bin"] = torch.zeros(16, 8, 77)
    load_gaitheat(save({"model": state}))


def test_one_error_lists_every_key_with_the_nearest_name(small_gaitheat: GaitHeat, save: Save) -> None:
    state = small_gaitheat.state_dict()
    state["Backbone2.forward_block.layer2.0.conv1.weigth"] = state.pop(
        "Backbone2.forward_block.layer2.0.conv1.weight"
    )
    state["extra_head.bias"] = torch.zeros(3)
    state["FCs_part.fc_bin"] = torch.zeros(16, 16, 9)
    with pytest.raises(MismatchError) as caught:
        load_gaitheat(save({"model": state}))
    assert caught.value.missing == ["Backbone2.forward_block.layer2.0.conv1.weight"]
    assert set(caught.value.unexpected) == {
        "Backbone2.forward_block.layer2.0.conv1.weigth",
        "extra_head.bias",
    }
    assert caught.value.misshapen == [("FCs_part.fc_bin", (16, 16, 8), (16, 16, 9))]
    message = str(caught.value)
    assert "weigth (nearest: Backbone2.forward_block.layer2.0.conv1.weight)" in message
    assert "FCs_part.fc_bin: [16, 16, 9], needs [16, 16, 8]" in message


def test_another_models_checkpoint_is_named(
    small_gaitheat: GaitHeat, small_biggait: BigGait, save: Save
) -> None:
    heat, big = save(small_gaitheat.state_dict(), "heat.pt"), save(small_biggait.state_dict(), "big.pt")
    with pytest.raises(
        CheckpointError, match="looks like GaitHeat; export it with 'gaitstream export gaitheat'"
    ):
        load_biggait(heat)
    with pytest.raises(
        CheckpointError, match="looks like BigGait; export it with 'gaitstream export biggait'"
    ):
        load_gaitheat(big)
    heads = {"FCs.fc_bin": (31, 512, 256), "BNNecks.bn1d.weight": (7936,)}
    assert looks_like(heads) == "another OpenGait model"
    assert looks_like({"layer.weight": (1,)}) == "an unknown model (1 tensors, such as layer.weight)"


@pytest.mark.parametrize("keep", [0.3, 0.999])
def test_a_truncated_file_says_so(small_gaitheat: GaitHeat, save: Save, keep: float) -> None:
    path = save({"model": small_gaitheat.state_dict()})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        load_gaitheat(path)


def test_a_file_that_its_disk_does_not_give_back_says_so() -> None:
    """Of one's own memory the first page is nobody's."""
    with pytest.raises(
        CheckpointError, match=r"/proc/self/mem cannot be read .Input/output error.: see to its"
    ):
        read_state("/proc/self/mem")


def test_files_that_are_no_checkpoints_say_so(tmp_path: Path, save: Save) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_state(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(CheckpointError, match="not a PyTorch checkpoint"):
        read_state(tmp_path / "text.pt")
    (tmp_path / "noise.pt").write_bytes(b"\x80\x02" + bytes(range(60)))
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_state(tmp_path / "noise.pt")
    with pytest.raises(
        CheckpointError, match=r"holds no tensors by name: a dict with epoch; .* under model or"
    ):
        read_state(save({"epoch": 3}))


@pytest.mark.parametrize(
    ("names", "said"), [(("net", "ema"), "net and ema"), (("model", "state_dict"), "model and state_dict")]
)
def test_of_several_models_in_a_file_none_is_taken_unasked(
    names: tuple[str, str], said: str, save: Save
) -> None:
    one = {"FCs.fc_bin": torch.ones(2, 3, 4)}
    both = dict(zip(names, (one, {"FCs.fc_bin": torch.zeros(2, 3, 4)}), strict=True))
    with pytest.raises(CheckpointError, match=f"several models, under {said}: save the one you want"):
        read_state(save(both))


def test_a_family_whose_own_keys_begin_as_a_frameworks_keeps_them(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = find_family("gaitset")
    other = dataclasses.replace(
        family, recognises=lambda shapes: any(key.startswith("net.") for key in shapes)
    )
    path = save({"net.FCs.fc_bin": torch.ones(2, 3, 4)})
    assert list(read_state(path)) == ["FCs.fc_bin"]
    monkeypatch.setattr("gaitstream.models.graphs.checkpoint.recognise", lambda shapes: [
        one for one in (family, other) if one.recognises(shapes)
    ])  # fmt: skip
    assert list(read_state(path)) == ["net.FCs.fc_bin"]


@pytest.mark.parametrize(
    ("identities", "options", "tap"),
    [(100, {}, "after"), (3000, {}, "before"), (250, {}, "before"), (3000, {"tap": "after"}, "after")],
)
def test_the_embedding_of_skeletongait_is_that_of_its_data_set(
    identities: int, options: dict[str, str], tap: str, save: Save
) -> None:
    """CCPG alone takes it after the neck; the classifier tells whose people it was trained on."""
    model = seeded(DeepGaitV2(inputs=2, channels=(4, 4, 4, 4), dim=8, identities=identities), 1)
    loaded = find_family("skeletongait").load(save({"model": model.state_dict()}), **options)
    assert loaded.describe()["embedding"].tap.startswith(f"{tap} the neck")


def test_a_program_is_not_said_to_be_damaged(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "program.pt")
    with zipfile.ZipFile(tmp_path / "program.pt", "a") as archive:
        archive.writestr("program/constants.pkl", b"")
    with pytest.raises(CheckpointError, match=r"TorchScript program, .* save the weights alone"):
        read_state(tmp_path / "program.pt")


class Payload:
    """What a pickle would run on loading."""

    def __reduce__(self) -> Any:
        return (print, ("ran",))


def test_code_in_a_checkpoint_is_never_run(
    save: Save, small_gaitheat: GaitHeat, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save({"model": small_gaitheat.state_dict(), "config": Payload()})
    with pytest.raises(CheckpointError, match=r"more than tensors and numbers.*it names \S*print"):
        load_gaitheat(path)
    assert "ran" not in capsys.readouterr().out


def test_values_that_are_not_finite_are_refused(small_gaitheat: GaitHeat, save: Save) -> None:
    state = {key: value.clone() for key, value in small_gaitheat.state_dict().items()}
    state["FCs_fusion.fc_bin"][0, 0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"not finite in FCs_fusion\.fc_bin"):
        load_gaitheat(save(state))


@pytest.mark.parametrize(
    ("dim", "depth", "weights", "taps"),
    [(384, 12, 22_056_576, (2, 5, 8, 11)), (1024, 24, 304_368_640, (5, 11, 17, 23))],
    ids=["vit-s", "vit-l"],
)
def test_backbones_have_the_published_sizes(
    dim: int, depth: int, weights: int, taps: tuple[int, ...]
) -> None:
    """Parameter counts of dinov2_vits14 and dinov2_vitl14."""
    with torch.device("meta"):
        model = VisionTransformer(dim, depth)
    assert sum(value.numel() for value in model.parameters()) == weights
    assert tap_blocks(depth) == taps
    assert model.state_dict()[f"blocks.{depth - 1}.attn.qkv.weight"].shape == (3 * dim, dim)


def test_a_large_backbone_is_recognised_by_its_tensors(save: Save) -> None:
    """The released layout of BigGait over ViT-L, which takes 1024 and 4096 channels into its branches."""
    with torch.device("meta"):
        large = BigGait(dim=1024, depth=24).state_dict()
    # Tensors of one element expanded have the shapes of ViT-L without its memory.
    state = {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in large.items()}
    state["backbone.norm.bias"] = torch.zeros(7)
    with pytest.raises(MismatchError) as caught:
        load_biggait(save({"model": state}))
    assert caught.value.misshapen == [("backbone.norm.bias", (1024,), (7,))]
    assert not caught.value.missing
    assert not caught.value.unexpected


def gaitbase(parts: int = 16) -> State:
    return dict(seeded(GaitBase((8, 16, 24, 32), 12, parts, 7), 3).state_dict())


def changed(part: str, change: Callable[[Tensor], Tensor]) -> State:
    return {key: change(value) if part in key else value for key, value in gaitbase().items()}


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (
            lambda: changed("FCs", lambda v: v.to(torch.complex64)),
            r"no plain arrays .* FCs.fc_bin \(complex64\)",
        ),
        (lambda: changed("FCs", lambda v: v.to_sparse()), r"no plain arrays .* FCs.fc_bin \(sparse_coo\)"),
        (lambda: changed("FCs", lambda v: v.to("meta")), r"no plain arrays .* FCs.fc_bin \(on meta"),
        (
            lambda: changed("conv1.weight", lambda v: v.long()),
            r"whole numbers for weights: .*conv1.weight \(int64\)",
        ),
        (lambda: changed("FCs", lambda v: v.double() * 1e60), r"not finite in FCs.fc_bin"),
        (
            lambda: changed("layer2.0.bn1.running_var", lambda v: v - 9),
            r"negative variances in Backbone.forward_block.layer2.0.bn1.running_var",
        ),
        (
            lambda: changed("FCs", lambda v: v[:15]),
            r"FCs.fc_bin has 15 parts: only the published pooling is supported, 16 parts .* or 31 parts",
        ),
    ],
    ids=["complex", "sparse", "meta", "integer", "huge", "variance", "parts"],
)
def test_tensors_that_no_model_can_be_filled_with_are_named(
    save: Save, state: Callable[[], State], says: str
) -> None:
    with pytest.raises(CheckpointError, match=says):
        find_family("gaitbase").load(save(state()))


def test_floats_of_four_bits_are_named(tmp_path: Path) -> None:
    header = b'{"w": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}'
    path = tmp_path / "small.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(CheckpointError, match=r"no plain arrays .* w \(float4_e2m1fn_x2\)|is not a whole"):
        read_state(path)


def test_tensors_larger_than_their_file_take_no_memory(save: Save) -> None:
    """One number that is all values of a tensor of terabytes: to look at them all would end the machine."""
    path = save({"Head.fc": torch.ones(3, 3), "x": torch.zeros(1).expand(10**6, 10**6)})
    with pytest.raises(CheckpointError, match=r"tensors of \d{13}, the largest x \[1000000, 1000000\]"):
        read_state(path)


def test_gaitbase_may_have_a_pyramid_of_five_levels(save: Save) -> None:
    """Mean and maximum of 16, 8, 4, 2 and 1 equal pieces of the rows, in this order."""
    loaded = find_family("gaitbase").load(save(gaitbase(31)))
    assert loaded.describe()["embedding"].parts == 31
    pooled = torch.rand(2, 32, 16, 11, generator=torch.Generator().manual_seed(1))
    pieces = [piece for bins in (16, 8, 4, 2, 1) for piece in pooled.chunk(bins, 2)]
    levels = torch.stack([piece.mean((2, 3)) + piece.amax((2, 3)) for piece in pieces], 1)
    wanted = torch.einsum("npc,pcd->npd", levels, gaitbase(31)["FCs.fc_bin"])
    torch.testing.assert_close(loaded.module.embed(pooled), wanted)  # type: ignore[operator]


def test_networks_of_one_part_a_row_have_no_pyramid(save: Save) -> None:
    state = dict(seeded(DeepGaitV2("2d", channels=(8, 8, 8, 8), parts=31), 3).state_dict())
    with pytest.raises(CheckpointError, match=r"31 parts: only .* 16 parts \(bin_num: \[16\]\)$"):
        find_family("deepgaitv2").load(save(state))


def test_eight_bit_floats_are_widened(save: Save) -> None:
    small = changed("FCs", lambda value: value.to(torch.float8_e4m3fn))
    loaded = find_family("gaitbase").load(save(small)).module.state_dict()
    assert torch.equal(loaded["FCs.fc_bin"], small["FCs.fc_bin"].float())


def test_a_dict_that_holds_itself_is_no_checkpoint(save: Save) -> None:
    round_: dict[str, Any] = {}
    round_["model"] = round_
    with pytest.raises(CheckpointError, match="holds no tensors by name"):
        read_state(save(round_))


@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_first_convolution_without_axes_is_nobodys(save: Save, shape: tuple[int, ...]) -> None:
    path = save({"layer0.forward_block.0.weight": torch.ones(shape)})
    with pytest.raises(CheckpointError, match="is no checkpoint of a gait model known here"):
        recognise_checkpoint(path)


def test_positions_are_a_class_and_a_square(small_biggait: BigGait, save: Save) -> None:
    state = dict(small_biggait.state_dict())
    state["backbone.pos_embed"] = state["backbone.pos_embed"][:, :299]
    with pytest.raises(
        CheckpointError, match=r"backbone.pos_embed has 299 positions: .* one more than a square"
    ):
        load_biggait(save(state))


def test_a_pickle_that_pytorch_did_not_write_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"model": print}, protocol=4))
    with pytest.raises(CheckpointError, match="may hold code, which is never run"):
        read_state(tmp_path / "old.pt")


def test_safetensors_in_capitals_are_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a.weight": torch.ones(2)}, tmp_path / "MODEL.SAFETENSORS")
    assert read_state(tmp_path / "MODEL.SAFETENSORS").keys() == {"a.weight"}


def test_a_model_that_tells_nobody_apart_is_not_proved(save: Save, tmp_path: Path) -> None:
    """Its graphs compute what it does, which is the same for everybody."""
    model = seeded(GaitSet((4, 5, 6), 8), 1)
    model.Head.fc_bin.zero_()
    with pytest.raises(
        ExportError, match=r"every drawn walker the same embedding: Head\.fc_bin hold nothing"
    ):
        export_bundle("auto", save({"model": model.state_dict()}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("window", [0, -5])
def test_a_window_has_frames(save: Save, tmp_path: Path, window: int) -> None:
    options = ExportOptions(window=window)
    with pytest.raises(ConfigError, match=f"a window of {window} frames: give 1 or more"):
        export_bundle("gaitbase", save(gaitbase()), tmp_path / "out", options=options)


def test_places_that_cannot_be_used_are_named(save: Save, tmp_path: Path) -> None:
    path = save(gaitbase())
    (tmp_path / "file").touch()
    with pytest.raises(
        ExportError, match=r"nothing can be written to .*: Not a directory; choose another --out"
    ):
        export_bundle("gaitbase", path, tmp_path / "file" / "x" / "out")
    for source, says in (
        ("nope", "there is no calibration source nope"),
        ("", "'' names nobody, so that no precision can be judged by it"),
        (path, "names nobody, so that no precision can be judged by it"),
    ):
        with pytest.raises(ExportError, match=says):
            export_bundle("gaitbase", path, tmp_path / "out", options=ExportOptions(calibration=source))


@pytest.mark.parametrize("option", ["version", "licence"])
def test_a_note_that_no_manifest_can_hold_is_refused(option: str, tmp_path: Path) -> None:
    text = "caf\udce9"  # as a terminal of another encoding gives it
    options = ExportOptions(version=text) if option == "version" else ExportOptions(licence=text)
    with pytest.raises(ConfigError, match=rf"the {option} 'caf.*' is no text in UTF-8: write it in letters"):
        export_bundle("gaitbase", tmp_path / "none.pt", tmp_path / "out", options=options)


def test_widths_that_no_network_has_are_named(save: Save) -> None:
    state = GaitTR((32, 32, 32, 32), 8).state_dict()
    state["backbone.1.st.bn.weight"] = torch.ones(12)
    with pytest.raises(CheckpointError, match="multiples of 32, 12 is none"):
        find_family("gaittr").load(save(state))
    state = GaitGraph2((8, 8, 16, 32), 8, 4).state_dict()
    state["ResGCN.backbone.1.scn.bn_down.weight"] = torch.ones(0)
    with pytest.raises(CheckpointError, match=r"wrong shape ResGCN\.backbone\.1\.scn\.bn_down\.weight"):
        find_family("gaitgraph2").load(save(state))
