"""The scaling table is written into its page, and only there."""

from __future__ import annotations

from pathlib import Path

from gaitstream.bench.measure import figure
from gaitstream.bench.result import Row, write_report
from gaitstream.bench.scaling import BEGIN, END, main
from tests.bench.test_planning import report, stages

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_is_written_between_the_markers(tmp_path: Path) -> None:
    probe = Row(contender="match", setting={"persons": 1000}, figures={"probe": figure([5.0], "ms")})
    write_report(report(("stages", stages()), ("gallery", probe)), tmp_path / "report.json")
    page = tmp_path / "page.md"
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    assert main([str(tmp_path / "report.json"), str(page)]) == 0
    text = page.read_text()
    # 10 ms a frame with one person at 15 frames/s: 15% of a machine a camera, 80% of each used.
    assert "| 100 | 19 | 400 | 100 | 50.0 |" in text
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    assert "old" not in text


def test_a_report_without_the_gallery_is_refused(tmp_path: Path) -> None:
    write_report(report(("stages", stages())), tmp_path / "report.json")
    assert main([str(tmp_path / "report.json")]) == 2
    assert main([str(tmp_path / "nothing.json")]) == 2
    assert main([]) == 2


def test_the_page_has_its_markers() -> None:
    page = (DOCS / "scaling.md").read_text()
    assert (page.count(BEGIN), page.count(END)) == (1, 1)
