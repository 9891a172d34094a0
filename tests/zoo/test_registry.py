"""Names, paths, checksums and size of the packaged models."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from gaitstream import zoo
from gaitstream.errors import ConfigError
from gaitstream.models.bundle import Bundle
from gaitstream.zoo import registry


@pytest.mark.parametrize("entry", zoo.ENTRIES, ids=lambda entry: entry.family or entry.kind)
def test_every_entry_is_there_with_its_card(entry: zoo.ZooEntry) -> None:
    assert zoo.find(entry.name, entry.kind, entry.family) == zoo.demo_folder() / entry.path
    assert (zoo.demo_folder() / entry.path).exists()
    assert (zoo.demo_folder() / entry.card).read_text().startswith("# Demo")


def test_all_weights_are_listed_and_take_at_most_8_mb() -> None:
    folder = zoo.demo_folder()
    listed = msgspec.json.decode((folder / registry.CHECKSUMS).read_bytes(), type=dict[str, str])
    graphs = {str(path.relative_to(folder)) for path in folder.rglob("*.onnx")}
    assert graphs <= listed.keys()
    assert sum((folder / name).stat().st_size for name in listed) <= 8e6


def test_a_changed_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(zoo.demo_folder(), folder)
    with (folder / "pose.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\0damage")
    monkeypatch.setattr(registry, "demo_folder", lambda: folder)
    with pytest.raises(ConfigError, match=r"pose\.onnx is .* it was changed or damaged"):
        zoo.find("demo", "detector")


def test_wrong_names_are_met_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no packaged pose is called 'dmeo' \(did you mean 'demo'\?\)"):
        zoo.find("dmeo", "pose")
    with pytest.raises(ConfigError, match="no packaged gaitheat is called 'mine'; there is demo"):
        zoo.find("mine", "recognizer", "gaitheat")
    with pytest.raises(ConfigError, match="export a checkpoint with 'gaitstream export biggait'"):
        zoo.find("demo", "recognizer", "biggait")
    with pytest.raises(ConfigError, match="no packaged segmenter is called 'mine'; there is demo"):
        zoo.find("mine", "segmenter")


@pytest.mark.parametrize("families", [("gaitheat",), ("gaitbase",), ("gaitheat", "gaitbase")])
def test_the_advice_belongs_to_the_packaged_bundles(families: tuple[str, ...]) -> None:
    bundles = [Bundle.open(zoo.find("demo", "recognizer", family)) for family in sorted(families)]
    advice = zoo.advice(*families)
    assert advice.fingerprint == "+".join(bundle.fingerprint for bundle in bundles)
    assert 0 < advice.margin < advice.threshold
    assert all(bundle.parity() for bundle in bundles)


def test_without_a_name_the_advice_is_of_the_demo_s_model() -> None:
    assert zoo.demo_family() == "gaitheat"
    assert zoo.advice() == zoo.advice("gaitheat")
    with pytest.raises(ConfigError, match="nothing is recommended for gaitset; there is advice for gaitheat"):
        zoo.advice("gaitset")


@pytest.mark.parametrize("content", [None, b"{", b'{"gaitheat": {"threshold": "low"}}', b"{}"])
def test_advice_that_is_missing_or_damaged_is_an_error(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "demo_folder", lambda: tmp_path)
    if content is not None:
        (tmp_path / registry.ADVICE).write_bytes(content)
    with pytest.raises(ConfigError, match=r"advice\.json cannot be read .* threshold, margin.*install"):
        zoo.advice()


def test_the_advice_of_another_package_belongs_to_its_bundle() -> None:
    if "gaitjoints" not in zoo.advised():
        pytest.skip("needs the package in weights/")
    own = Bundle.open(zoo.find("walkers", "recognizer")).fingerprint
    assert zoo.advice("gaitjoints").fingerprint == own
    assert zoo.advice("gaitjoints", "gaitheat").fingerprint == f"{zoo.advice().fingerprint}+{own}"
