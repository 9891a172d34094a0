"""The script that writes a report's figures into a page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gaitstream.bench.result import write_report
from tests.bench.test_compare import report

SCRIPT = Path(__file__).parents[2] / "scripts" / "update_readme_numbers.py"


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_figures_stand_between_the_markers(tmp_path: Path) -> None:
    made = report([7.0, 7.0, 7.0])
    row = made.suites[0].rows[0]
    row.figures["tracklet"] = row.figures.pop("latency")
    write_report(made, tmp_path / "report.json")
    page = tmp_path / "README.md"
    page.write_text("# Title\n\n<!-- numbers:begin -->\nold\n<!-- numbers:end -->\n\nThe end.\n")
    assert call(tmp_path / "report.json", page, "--check").returncode == 1
    assert call(tmp_path / "report.json", page).returncode == 0
    text = page.read_text()
    assert "| ours | n 4 | tracklet 7.00 ms |" in text
    assert "old" not in text
    assert text.startswith("# Title\n\n<!-- numbers:begin -->")
    assert text.endswith("<!-- numbers:end -->\n\nThe end.\n")
    assert call(tmp_path / "report.json", page, "--check").returncode == 0


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    write_report(report([7.0]), tmp_path / "report.json")
    page = tmp_path / "README.md"
    page.write_text("# Title\n")
    done = call(tmp_path / "report.json", page)
    assert done.returncode == 2
    assert "needs one line <!-- numbers:begin -->" in done.stderr
    assert page.read_text() == "# Title\n"
