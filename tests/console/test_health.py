"""What the console says of runs and cameras, while they speak and when they do not any more."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from gaitstream.console.health import SILENT_S, HealthBoard
from gaitstream.console.permissions import Role
from gaitstream.console.site import ConsoleSite
from gaitstream.events import CameraOffline, CameraOnline, CameraStats, Event, PipelineStats
from tests.console.conftest import Browser
from tests.console.making import START_NS, publish

S_NS = 10**9
NAME = "\u202enight <b>gate</b> " + "x" * 90


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> HealthBoard:
    return HealthBoard(clock)


def stats(at_s: float, publisher: str = "site-1", fps: float = 15.0, **cameras: str) -> Event:
    """Statistics of a run, of cameras by their state."""
    now_ns = START_NS + int(at_s * S_NS)
    each = {name: CameraStats(state=state, fps=fps, people=2, frames=9) for name, state in cameras.items()}
    told = PipelineStats(run=f"run of {publisher}", time_ns=now_ns, uptime_s=at_s, cameras=each)
    return msgspec.structs.replace(publish(told), publisher=publisher)


def test_cameras_of_a_run_that_died_are_silent_after_three_periods(board: HealthBoard, clock: Clock) -> None:
    for second in (3, 13, 23):
        clock.now_s = 1000.0 + second
        board.note(stats(second, gate="online", yard="connecting", film="ended"))
        board.note(stats(second, "site-2", hall="online"))
    clock.now_s = 1023.0 + 29
    board.note(stats(52, "site-2", hall="online"))
    assert [board.state_of(name) for name in ("gate", "yard", "hall")] == ["online", "connecting", "online"]
    clock.now_s = 1023.0 + 31
    assert [board.state_of(name) for name in ("gate", "yard")] == ["silent", "silent"]
    assert [board.state_of(name) for name in ("film", "hall", "other")] == ["ended", "online", ""]
    board.note(stats(55, gate="online"))
    assert [board.state_of(name) for name in ("gate", "yard")] == ["online", "silent"]


def test_before_a_period_is_known_more_patience_is_had(board: HealthBoard, clock: Clock) -> None:
    board.note(stats(3, gate="online"))
    clock.now_s += SILENT_S - 1
    assert board.state_of("gate") == "online"
    clock.now_s += 2
    assert board.state_of("gate") == "silent"


def test_a_camera_that_is_offline_stays_so_and_runs_without_statistics_are_not_doubted(
    board: HealthBoard, clock: Clock
) -> None:
    board.note(stats(3, gate="offline"))
    board.note(publish(CameraOffline(run="r", time_ns=START_NS, camera="gate", cause="error", detail="")))
    quiet = CameraOnline(run="r", time_ns=START_NS, camera="yard", width=640, height=360, fps=15)
    board.note(msgspec.structs.replace(publish(quiet), publisher="site-3"))
    clock.now_s += 10 * SILENT_S
    assert (board.state_of("gate"), board.state_of("yard")) == ("offline", "online")


def test_whoever_is_silent_is_not_counted_and_the_reason_is_told(browser: Browser, site: ConsoleSite) -> None:
    clock = Clock()
    site.health = HealthBoard(clock)
    for second in (3, 13):
        site.health.note(stats(second, gate="online", hall="online"))
    client = browser(Role.ADMINISTRATOR)
    assert "2 cameras, 2 online, 4 people in sight" in client.get("/live").text
    clock.now_s += 60
    time.sleep(1.1)  # what is shared by many is as old at most
    page = client.get("/live").text
    assert "2 cameras, 0 online, 0 people in sight" in page
    assert "its run says nothing of it any more" in page
    shown = client.get("/api/v1/health").json()["cameras"]
    assert {(one["state"], one["fps"], one["people"]) for one in shown} == {("silent", 0.0, 0)}
    assert "gate is silent" in client.get("/health").text


def test_names_and_rates_are_readable_whatever_they_are(browser: Browser, site: ConsoleSite) -> None:
    site.health.note(stats(3, fps=120.0, **{NAME: "online"}))
    site.health.note(stats(3, fps=0.24, hall="online"))
    page = browser().get("/live").text
    assert "<bdi>\u202enight &lt;b&gt;gate&lt;/b&gt; " in page
    assert ("120 fps" in page, "0.2 fps" in page, "e+02" in page) == (True, True, False)


def test_a_tile_without_a_picture_says_why(browser: Browser, site: ConsoleSite, tmp_path: Path) -> None:
    site.health.note(stats(3, gate="online"))
    page = browser().get("/live").text
    assert "The run offers no live picture" in page
    assert "<img" not in page[page.index("data-wall") :]
