"""Bundles: opened, checked, and their edits found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gaitstream.errors import BundleError
from gaitstream.models.bundle import MANIFEST, PARITY, Bundle, compute_fingerprint, write_manifest
from gaitstream.models.manifest import (
    AlignmentContract,
    ClipContract,
    CropContract,
    EmbeddingContract,
    FeatureContract,
    Graphs,
    InputContract,
    InputKind,
    Manifest,
    SkeletonContract,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A bundle of two graphs; the files need not be graphs for what is tested here."""
    root = tmp_path / "bundle"
    root.mkdir()
    (root / "frame.onnx").write_bytes(b"frame")
    (root / "head.onnx").write_bytes(b"head")
    write_manifest(
        Manifest(
            model="biggait",
            version="1",
            input=InputContract(
                kind=InputKind.CROP, height=256, width=128, channels=3, crop_rule="pad_to_aspect"
            ),
            feature=FeatureContract(channels=512, height=16, width=8),
            embedding=EmbeddingContract(parts=16, dim=256, tap="before the neck"),
            graphs={"fp32": Graphs(frame="frame.onnx", head="head.onnx")},
            licence="test",
            source={},
        ),
        root,
    )
    return root


def edit(root: Path, **changes: object) -> None:
    path = root / MANIFEST
    data = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode({**data, **changes}))


def test_opens_and_finds_its_graphs(root: Path) -> None:
    bundle = Bundle.open(str(root))
    assert bundle.graph("frame", "fp32") == root / "frame.onnx"
    assert bundle.graph("head", "bf16") == root / "head.onnx"
    assert len(bundle.fingerprint) == 64


def test_fingerprint_does_not_depend_on_the_place(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "elsewhere")
    assert Bundle.open(tmp_path / "elsewhere").fingerprint == Bundle.open(root).fingerprint


@pytest.mark.parametrize("name", ["frame.onnx", "head.onnx"])
def test_edited_graph_is_found(root: Path, name: str) -> None:
    (root / name).write_bytes(b"edited")
    with pytest.raises(BundleError, match="a graph or the contract was changed after export"):
        Bundle.open(root)
    assert Bundle.open(root, verify=False).manifest.model == "biggait"


def test_edited_contract_is_found(root: Path) -> None:
    edit(root, window=15)
    with pytest.raises(BundleError, match="changed after export"):
        Bundle.open(root)


def test_what_auto_may_pick_is_not_the_models_identity(root: Path) -> None:
    before = Bundle.open(root).fingerprint
    edit(root, allowed_precisions=["fp32", "bf16"])
    after = Bundle.open(root)
    assert after.fingerprint == before
    assert after.manifest.allowed_precisions == ("fp32", "bf16")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": 99}, "has schema 99, this version reads 1"),
        ({"window": "long"}, "is not a manifest of schema 1"),
        ({"colour": "red"}, "unknown field `colour`"),
    ],
)
def test_other_manifests_are_explained(root: Path, changes: dict[str, object], says: str) -> None:
    edit(root, **changes)
    with pytest.raises(BundleError, match=says):
        Bundle.open(root)


def test_a_manifest_with_bytes_that_are_no_text_is_explained(root: Path) -> None:
    path = root / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"licence": "', b'"licence": "\xff'))
    with pytest.raises(BundleError, match="is not a manifest of schema 1: 'utf-8' codec can't decode"):
        Bundle.open(root)


def test_missing_pieces(root: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(root)
    with pytest.raises(BundleError, match=r"has no fp16 graphs .*--precision fp16"):
        bundle.graph("frame", "fp16")
    with pytest.raises(BundleError, match="has no align graph"):
        bundle.graph("align", "fp32")
    (root / "head.onnx").unlink()
    with pytest.raises(BundleError, match=r"head\.onnx is missing"):
        Bundle.open(root)
    with pytest.raises(BundleError, match=r"is not a model bundle: it has no manifest\.json"):
        Bundle.open(tmp_path)


def test_proofs_of_engines_are_added_to_the_report(root: Path) -> None:
    bundle = Bundle.open(root)
    assert bundle.parity() == {}
    (root / PARITY).write_text('{"verdict": "equal"}')
    bundle.record_engine("frame/tensorrt/sm_89/fp16", {"half_share": 0.9})
    bundle.record_engine("head/tensorrt/sm_89/fp16", {"half_share": 0.5})
    assert bundle.parity() == {
        "verdict": "equal",
        "engines": {
            "frame/tensorrt/sm_89/fp16": {"half_share": 0.9},
            "head/tensorrt/sm_89/fp16": {"half_share": 0.5},
        },
    }
    assert Bundle.open(root).fingerprint == bundle.fingerprint
    assert sorted(path.name for path in root.iterdir()) == [
        "frame.onnx", "head.onnx", MANIFEST, PARITY
    ]  # fmt: skip


def test_builds_side_by_side_lose_no_proof(root: Path) -> None:
    record = (
        "import sys; from gaitstream.models.bundle import Bundle; bundle = Bundle.open(sys.argv[1]); "
        "[bundle.record_engine(f'{sys.argv[2]}/{index}', {}) for index in range(40)]"
    )
    command = [sys.executable, "-c", record, str(root)]
    running = [subprocess.Popen([*command, str(number)]) for number in range(3)]
    assert [one.wait(60) for one in running] == [0, 0, 0]
    wanted = {f"{number}/{index}" for number in range(3) for index in range(40)}
    assert set(Bundle.open(root).parity()["engines"]) == wanted


@pytest.mark.parametrize("engines", ["null", "[1]", '"frame"'])
def test_a_report_whose_engines_are_none_is_damaged(root: Path, engines: str) -> None:
    (root / PARITY).write_text(f'{{"engines": {engines}}}')
    with pytest.raises(BundleError, match=r"parity.json is damaged.*export the bundle again"):
        Bundle.open(root).record_engine("frame/tensorrt/sm_89/fp16", {"half_share": 0.9})
    assert (root / PARITY).read_text() == f'{{"engines": {engines}}}'


def test_a_bundle_on_a_read_only_file_system_keeps_the_report_it_has(root: Path) -> None:
    (root / PARITY).write_text("{}")
    inside = ["unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*inside, "true"], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -c "$3" "$1"'
    record = (
        "import sys; from gaitstream.models.bundle import Bundle; "
        "Bundle.open(sys.argv[1]).record_engine('frame/tensorrt/sm_89/fp16', {})"
    )
    command = [*inside, "sh", "-c", mount, "sh", str(root), sys.executable, record]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Bundle.open(root).parity() == {}


DEMO = Path(__file__).parents[2] / "gaitstream/zoo/demo/gaitheat"


def test_a_bundle_of_the_first_version_keeps_its_fingerprint_and_its_text(tmp_path: Path) -> None:
    bundle = Bundle.open(DEMO)
    assert bundle.manifest.shape == "frame"
    assert bundle.manifest.keeps == "maximum"
    assert bundle.manifest.needs == {InputKind.POSE}
    copy = tmp_path / "copy"
    shutil.copytree(DEMO, copy)
    assert write_manifest(bundle.manifest, copy).fingerprint == bundle.fingerprint
    assert msgspec.json.decode((copy / MANIFEST).read_bytes()) == msgspec.json.decode(
        (DEMO / MANIFEST).read_bytes()
    )


def test_every_later_field_is_part_of_the_identity(root: Path) -> None:
    manifest = Bundle.open(root).manifest
    silhouettes = InputContract(
        kind=InputKind.SILHOUETTE, height=64, width=44, channels=1, crop_rule="segment"
    )
    variants = [
        msgspec.structs.replace(manifest, more_inputs=(silhouettes,)),
        msgspec.structs.replace(manifest, skeleton=SkeletonContract(sigma_px=4.0)),
        msgspec.structs.replace(
            manifest, more_features={"early": FeatureContract(channels=8, height=16, width=8)}
        ),
        msgspec.structs.replace(manifest, nvinfer=CropContract(height=96, width=72, rule="segment")),
        msgspec.structs.replace(
            manifest, feature=FeatureContract(channels=512, height=16, width=8, pooling="sequence")
        ),
    ]
    prints = {compute_fingerprint(variant, root) for variant in (manifest, *variants)}
    assert len(prints) == len(variants) + 1


def clip_manifest(root: Path, **changes: Any) -> Manifest:
    (root / "clip.onnx").write_bytes(b"clip")
    fields: dict[str, Any] = {
        "model": "toy-3d",
        "version": "1",
        "input": InputContract(
            kind=InputKind.SILHOUETTE, height=64, width=44, channels=1, crop_rule="segment"
        ),
        "clip": ClipContract(min_frames=8, max_frames=30, grouping=2, context=4),
        "embedding": EmbeddingContract(parts=16, dim=8, tap="before the neck"),
        "graphs": {"fp32": Graphs(clip="clip.onnx")},
        "licence": "test",
        "source": {},
    }
    return Manifest(**{**fields, **changes})


def test_a_clip_bundle_says_what_it_needs_and_keeps(root: Path) -> None:
    write_manifest(clip_manifest(root), root)
    bundle = Bundle.open(root)
    assert (bundle.manifest.shape, bundle.manifest.keeps) == ("clip", "inputs")
    assert bundle.manifest.needs == {InputKind.SILHOUETTE}
    assert bundle.manifest.clip == ClipContract(min_frames=8, max_frames=30, grouping=2, context=4)
    assert bundle.graph("clip", "fp32") == root / "clip.onnx"
    with pytest.raises(BundleError, match="has no frame graph"):
        bundle.graph("frame", "fp32")


def test_both_spellings_of_a_kind_are_read(root: Path) -> None:
    path = root / MANIFEST
    data = msgspec.json.decode(path.read_bytes())
    before = Bundle.open(root).fingerprint
    data["input"]["kind"] = "crop"
    path.write_bytes(msgspec.json.encode(data))
    assert Bundle.open(root).fingerprint == before
    data["input"]["kind"] = "smell"
    path.write_bytes(msgspec.json.encode(data))
    with pytest.raises(BundleError, match="Invalid enum value 'smell'"):
        Bundle.open(root)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"feature": None}, "either `feature`, for frame and head graphs, or `clip`"),
        ({"clip": {}}, "either `feature`, for frame and head graphs, or `clip`"),
        ({"graphs": {"fp32": {"frame": "frame.onnx"}}}, "`graphs.fp32` has no head graph"),
        ({"model": "My Model"}, "matching regex"),
    ],
)
def test_contradictions_are_explained(root: Path, changes: dict[str, object], says: str) -> None:
    edit(root, **changes)
    with pytest.raises(BundleError, match=says):
        Bundle.open(root)


def test_pooling_decides_what_is_kept(root: Path) -> None:
    manifest = Bundle.open(root).manifest
    two = {"early": FeatureContract(channels=8, height=16, width=8)}
    assert msgspec.structs.replace(manifest, more_features=two).keeps == "maximum"
    whole = {"early": FeatureContract(channels=8, height=16, width=8, pooling="sequence")}
    assert msgspec.structs.replace(manifest, more_features=whole).keeps == "maps"
    by_window = AlignmentContract(groups=((0,),), normalization="tracklet")
    assert msgspec.structs.replace(manifest, alignment=by_window).keeps == "inputs"
