"""Bundles come to their place whole, and what lies there stays until then."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from gaitstream.errors import ExportError
from gaitstream.export.placing import UNPROVED, check_destination, check_sources, put, unproved

MANIFEST = "manifest.json"


def write(folder: Path, **files: str) -> Path:
    """A folder with files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**files, MANIFEST: "{}"}.items():
        (folder / name).write_text(text)
    return folder


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_that_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a disk of its own, or the one somebody works in."""
    out = tmp_path / "out"
    out.mkdir()
    number = out.stat().st_ino
    monkeypatch.chdir(out)
    for overwrite in (False, True):
        with unproved(out) as root:
            assert root.parent.parent == out
            put(write(root, frame=str(overwrite)), out, overwrite=overwrite)
        assert read(out) == {"frame": str(overwrite), MANIFEST: "{}"}
        assert out.stat().st_ino == Path.cwd().stat().st_ino == number
        (out / "of before").touch()


def test_a_new_one_is_made_beside_its_place(tmp_path: Path) -> None:
    out = tmp_path / "models" / "out"
    with unproved(out) as root:
        assert not out.exists()
        put(write(root, frame="new"), out, overwrite=False)
    assert read(out) == {"frame": "new", MANIFEST: "{}"}
    assert list(out.parent.iterdir()) == [out]


def replace(out: Path, **files: str) -> None:
    with unproved(out) as root:
        put(
            write(root, **{root.parent.name if name == "same" else name: files[name] for name in files}),
            out,
            overwrite=True,
        )


def test_what_lies_there_is_back_when_it_cannot_be_replaced(tmp_path: Path) -> None:
    out = write(tmp_path / "out", frame="old", head="old")
    with pytest.raises(ExportError, match="out was not made"):
        replace(out, frame="new", same="a folder has this name")
    assert read(out) == {"frame": "old", "head": "old", MANIFEST: "{}"}


def make_two_at_once(out: Path) -> None:
    with unproved(out) as root:
        write(out, frame="another's")
        put(write(root, frame="mine"), out, overwrite=False)


def test_one_that_came_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="holds a bundle already"):
        make_two_at_once(tmp_path / "out")
    assert read(tmp_path / "out")["frame"] == "another's"


def test_what_a_killed_export_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f"{UNPROVED}killed" / "bundle").mkdir(parents=True)
    check_destination(tmp_path, overwrite=False)


def test_sources_are_not_replaced_by_what_is_made_of_them(tmp_path: Path) -> None:
    out = write(tmp_path / "out", weights="precious")
    (tmp_path / "link").symlink_to(out / "weights")
    check_sources(out, [tmp_path / "else", Path("synth")])
    with pytest.raises(ExportError, match=r"link lies in .*out, of which everything is replaced: move it"):
        check_sources(out, [tmp_path / "link"])


def make_without_room(out: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with unproved(out) as root:
            (root / "frame.onnx").write_bytes(bytes(4096))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"out was not made: .* see that its disk has room"):
        make_without_room(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
