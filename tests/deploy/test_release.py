"""What `scripts/release.sh` refuses before it makes anything."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "release.sh"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script in a repository where everything is committed."""
    root = tmp_path / "the repository"
    (root / "scripts").mkdir(parents=True)
    shutil.copy(SCRIPT, root / "scripts")
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "All"]):
        subprocess.run([*git, *command], check=True)
    return root / "scripts" / "release.sh"


def refused(script: Path, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        ["bash", str(script), *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.mark.parametrize("arguments", [[], [""], ["--help"], ["-h"], ["a", "b"]])
def test_other_than_one_folder_shows_the_usage(script: Path, arguments: list[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert "usage: scripts/release.sh OUT" in refused(script, *arguments, cwd=tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_folder_is_looked_for_where_the_script_is_called(script: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("")
    assert f"{tmp_path / 'full'} is not empty" in refused(script, "full", cwd=tmp_path)
    assert "notes.txt is no folder" in refused(script, "full/notes.txt", cwd=tmp_path)


def test_what_is_in_no_commit_is_not_released(script: Path, tmp_path: Path) -> None:
    (script.parent / "draft.py").write_text("")
    assert "scripts/draft.py" in refused(script, "out", cwd=tmp_path)
    assert not (tmp_path / "out").exists()
