"""The timeline of the page of events: it shows the time that is asked for, however much happened in it."""

from __future__ import annotations

import re
from html import unescape

import pytest

pytest.importorskip("fastapi", reason="needs the extra [console]")

from fastapi.testclient import TestClient

from gaitstream.console.permissions import Role
from gaitstream.console.site import ConsoleSite
from tests.console.conftest import Browser
from tests.console.making import final, stranger

DAY_S = 86_400
BAR = re.compile(r'<a href="([^"]+)" aria-label="([^"]+)">')
WEEK = "since=2026-03-02T08:00:00Z&until=2026-03-09T08:00:00Z"
"""From the time on that the tests' events count their seconds from."""


def bars(client: TestClient, address: str) -> list[tuple[str, str]]:
    """Where the bars of a page's timeline lead, and what they say."""
    page = client.get(address)
    assert page.status_code == 200
    return [(unescape(url), unescape(title)) for url, title in BAR.findall(page.text)]


def busy_week(site: ConsoleSite) -> None:
    """A track a quarter of an hour on two cameras; on one of them every third is a stranger."""
    quarters = range(0, 7 * DAY_S, 900)
    site.history.add([final(at, "gate", at) for at in quarters])
    site.history.add([(stranger if at % 2700 == 0 else final)(at + 1, "yard", track=at) for at in quarters])


def test_a_time_with_few_tracks_has_a_bar_for_each(site: ConsoleSite, browser: Browser) -> None:
    site.history.add([final(2 * 3600, track=1), stranger(3 * DAY_S, track=2), final(8 * DAY_S, track=3)])
    drawn = bars(browser(Role.ADMINISTRATOR), f"/events?{WEEK}")
    assert [title for _, title in drawn] == [
        "unknown, gate #2, 2026-03-05 08:00:00 UTC", "known, gate #1, 2026-03-02 10:00:00 UTC",
    ]  # fmt: skip


def test_a_time_with_many_tracks_is_counted_whole_and_each_part_leads_into_it(
    site: ConsoleSite, browser: Browser
) -> None:
    busy_week(site)
    client = browser(Role.ADMINISTRATOR)
    drawn = bars(client, f"/events?{WEEK}")
    assert len(drawn) == 2 * 29  # of six hours each, the first and the last cut off
    assert drawn[0][1] == "gate, 2026-03-02 06:00:00 to 2026-03-02 12:00:00 UTC: 16 known"
    assert drawn[29][1] == "yard, 2026-03-02 06:00:00 to 2026-03-02 12:00:00 UTC: 10 known, 6 unknown"
    assert (
        sum(int(count) for _, title in drawn for count in re.findall(r"(\d+) (?:kn|unkn)own", title)) == 1344
    )
    part = bars(client, drawn[29][0])
    assert len(part) == 16
    assert all("yard #" in title for _, title in part)


def test_filters_hold_for_what_is_counted_and_for_where_it_leads(site: ConsoleSite, browser: Browser) -> None:
    busy_week(site)
    site.history.add([final(at + 2, "hall", at) for at in range(0, 7 * DAY_S, 900)])
    client = browser(Role.OPERATOR, "kept", frozenset({"gate", "yard"}))
    assert {url.partition("&")[0] for url, _ in bars(client, f"/events?{WEEK}")} == {
        "/events?camera=gate", "/events?camera=yard",
    }  # fmt: skip
    drawn = bars(client, f"/events?{WEEK}&status=known")
    assert {re.findall("&status=(.*?)&", url)[0] for url, _ in drawn} == {"known"}
    assert not any("unknown" in title for _, title in drawn)
    assert len(bars(client, f"/events?{WEEK}&camera=yard&reason=below_threshold")) == 224  # one for each
    assert bars(client, f"/events?{WEEK}&camera=hall") == []


def test_where_no_beginning_is_asked_for_the_newest_tracks_are_in_sight(
    site: ConsoleSite, browser: Browser
) -> None:
    site.history.add([final(0, track=1), final(3 * DAY_S, track=2)])
    client = browser(Role.ADMINISTRATOR)
    for address in ("/events", "/events/timeline", "/events?until=2026-06-01T00:00:00Z"):
        assert [title.split(",")[1] for _, title in bars(client, address)] == [" gate #2", " gate #1"]


def test_a_time_up_to_now_is_one_press_away_and_keeps_the_filters(browser: Browser) -> None:
    page = browser(Role.ADMINISTRATOR).get("/events?camera=gate&until=2026-03-09T08:00:00Z").text
    offered = re.findall(r'<a href="([^"]+)">(Hour|Day|Week|Month)</a>', page)
    assert [name for _, name in offered] == ["Hour", "Day", "Week", "Month"]
    assert all(re.fullmatch(r"/events\?camera=gate&amp;since=[^&]+", url) for url, _ in offered)


@pytest.mark.parametrize(
    "time", ["since=2026-03-09T08:00:00Z&until=2026-03-02T08:00:00Z", "since=1970-01-01T00:00:00Z"]
)
def test_no_time_is_too_long_or_ends_too_soon(site: ConsoleSite, browser: Browser, time: str) -> None:
    busy_week(site)
    assert len(bars(browser(Role.ADMINISTRATOR), f"/events?{time}")) in (0, 2, 4)
