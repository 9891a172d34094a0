"""Bundles: opened, checked, and their edits found."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from gaitstream.errors import BundleError
from gaitstream.models.bundle import (
    MANIFEST,
    PARITY,
    Bundle,
    EmbeddingContract,
    FeatureContract,
    Graphs,
    InputContract,
    Manifest,
    write_manifest,
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
            input=InputContract(kind="crops", height=256, width=128, channels=3, crop_rule="pad_to_aspect"),
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
