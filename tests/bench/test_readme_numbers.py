"""The script that writes a report's figures into a page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from gaitstream.bench.result import Chart, write_report
from tests.bench.test_compare import report

SCRIPT = Path(__file__).parents[2] / "scripts" / "update_readme_numbers.py"


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_figures_stand_between_the_markers(tmp_path: Path) -> None:
    made = report([7.0, 7.0, 7.0])
    (suite,) = made.suites
    suite.rows[0].figures["tracklet"] = suite.rows[0].figures.pop("latency")
    suite = msgspec.structs.replace(suite, name="recognizer")
    write_report(msgspec.structs.replace(made, suites=[suite]), tmp_path / "report.json")
    page = tmp_path / "README.md"
    page.write_text("# Title\n\n<!-- numbers:begin -->\nold\n<!-- numbers:end -->\n\nThe end.\n")
    assert call(tmp_path / "report.json", page, "--check").returncode == 1
    assert call(tmp_path / "report.json", page).returncode == 0
    text = page.read_text()
    assert "| n | tracklet [ms] |" in text
    assert "| 4 | 7.00 |" in text
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


def test_plots_are_drawn_and_shown_in_the_page_beside_their_folder(tmp_path: Path) -> None:
    made = report([7.0])
    points: list[tuple[str | float, float]] = [(1.0, 2.0), (2.0, 3.0)]
    chart = Chart(
        name="pipeline-scaling", title="Scaling", kind="line", x_label="x", y_label="y", series={"a": points}
    )
    suites = [msgspec.structs.replace(made.suites[0], charts=[chart])]
    write_report(msgspec.structs.replace(made, suites=suites), tmp_path / "report.json")
    page = tmp_path / "benchmarks.md"
    page.write_text(
        "<!-- plots:begin -->\n<!-- plots:end -->\n<!-- numbers:begin -->\n<!-- numbers:end -->\n"
    )
    readme = tmp_path / "README.md"
    readme.write_text("<!-- numbers:begin -->\n<!-- numbers:end -->\n")
    assert call(tmp_path / "report.json", readme, "--images", tmp_path / "images").returncode == 0
    assert "![Scaling](images/pipeline-scaling.png)" in page.read_text()
    assert (tmp_path / "images" / "pipeline-scaling.png").stat().st_size > 1000
