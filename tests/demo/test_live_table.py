"""The live table: what it says, and that it fits a terminal."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from gaitstream.data import Decision, Reason, Status
from gaitstream.demo.live_table import cameras_table, people_table
from gaitstream.telemetry.stats import CameraCounters, Snapshot

PEOPLE = [("Ada", True), ("Bela", True), ("Gus", False)]
CAMERAS = ["cam1", "cam2", "cam3"]


def decision(status: Status, person: str | None, distance: float | None, reason: Reason | None) -> Decision:
    return Decision(
        camera="cam1", track=1, time_ns=2, first_ns=1, status=status, person=person, distance=distance,
        margin=None, threshold=0.6, frames=30, windows=1, provisional=False, final=False, reason=reason,
        box=np.zeros(4, np.float32), rejections={}, candidates=(),
    )  # fmt: skip


LATEST = {
    ("Ada", "cam1"): decision(Status.KNOWN, "Ada", 0.414, None),
    ("Ada", "cam2"): decision(Status.KNOWN, "Bela", 0.52, None),
    ("Bela", "cam1"): decision(Status.UNKNOWN, None, 0.77, Reason.BELOW_THRESHOLD),
    ("Bela", "cam2"): decision(Status.INSUFFICIENT, None, None, Reason.TOO_SHORT),
    ("Gus", "cam1"): decision(Status.AMBIGUOUS, None, 0.63, Reason.AMBIGUOUS),
    ("Gus", "cam3"): decision(Status.UNKNOWN, None, 0.93, Reason.BELOW_THRESHOLD),
}


def drawn(
    latest: dict[tuple[str, str], Decision], width: int = 80, *, terminal: bool | None = None
) -> list[str]:
    out = StringIO()
    Console(file=out, width=width, force_terminal=terminal).print(people_table(PEOPLE, CAMERAS, latest))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_every_cell_says_whether_it_is_right(width: int) -> None:
    lines = drawn(LATEST, width)
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
    assert rows["Ada"] == "enrolled ✓ Ada 0.41 ✗ Bela 0.52 ·"
    assert rows["Bela"] == "enrolled · unknown 0.77 · too short ·"
    assert rows["Gus"] == "stranger ✓ ambiguous 0.63 · ✓ unknown 0.93"
    assert len(lines) == 1 + len(PEOPLE)


def test_columns_stay_where_they_are() -> None:
    assert drawn({})[0] == drawn(LATEST)[0]


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert any("\x1b[32m" in line for line in drawn(LATEST, terminal=True))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any("\x1b[3" in line for line in drawn(LATEST, terminal=True))


def test_the_cameras_fit_with_large_numbers() -> None:
    stats = CameraCounters(analysed=123456, dropped=12345, people=12)
    stats.latency.observe(12345.0)
    out = StringIO()
    table = cameras_table(Snapshot(cameras=dict.fromkeys(CAMERAS, stats)), {"cam1": (15.0, 14.96)})
    Console(file=out, width=80).print(table)
    lines = out.getvalue().splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [
        [name, rate, "123456", "12345"] for name, rate in (("cam1", "15.0"), ("cam2", "0.0"), ("cam3", "0.0"))
    ]
    assert "…" not in out.getvalue()
