"""Scripts beside the package: what is missing is one line that names it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [path for folder in ("training", "scripts") for path in sorted((ROOT / folder).glob("*.py"))]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_ends_in_one_way(script: Path) -> None:
    text = script.read_text()
    if "\ndef main()" in text:
        assert text.endswith('\n\nif __name__ == "__main__":\n    run_script(main)\n')


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (
            ["training/write_labels.py", "--rendered", "{}", "--out", "{}.npz"],
            2,
            "{}/parts.npy: No such file",
        ),
        (
            ["training/draw_walks.py", "--mocap", "{}", "--out", "{}.png"],
            2,
            "{}: No such file or directory; give",
        ),
        (["training/fit_walks.py", "--mocap", "{}", "--women", "{}", "--men", "{}"], 2, "{}: No such file"),
        (
            ["training/fit_head.py", "--gait", "{}", "--rendered", "{}", "--held", "{}", "--out", "{}"],
            1,
            "{}",
        ),
        (["scripts/compact_golden.py", "{}", "{}.out"], 2, "{}/biggait_A.npz: No such file"),
        (["scripts/evaluate_video.py", "walk.mp4", "--gait", "{}"], 2, "{} does not exist; give a bundle"),
        (["scripts/derive_limits.py", "--video", "{}"], 1, "{}: no such file; give a video"),
    ],
)
def test_what_is_missing_is_named_in_one_line(words: list[str], code: int, says: str, tmp_path: Path) -> None:
    if words[0].endswith("fit_head.py"):
        pytest.importorskip("torch", reason="training needs the extra 'export'")
    gone = str(tmp_path / "gone")
    command = [sys.executable, str(ROOT / words[0]), *(word.format(gone) for word in words[1:])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{Path(words[0]).name}: ")
    assert says.format(gone) in line
    if "No such file" in says:
        assert f"'python {ROOT / words[0]} --help' says what every option takes" in line
