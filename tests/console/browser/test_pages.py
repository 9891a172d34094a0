"""The console as people use it: a real Chromium, a real bus, a real gallery."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="needs Playwright (dependency group test)")
pytest.importorskip("fastapi", reason="needs the extra [console]")

from playwright.sync_api import Browser, Locator, Page, expect

from gaitstream.config.reading import load_config
from gaitstream.events import CameraOnline
from gaitstream.evidence.bundles import read_bundle
from tests.console.browser.conftest import LogIn, fill_in, follow, settle
from tests.console.kept import keep_evidence, keep_minutes
from tests.console.world import PASSWORD, RUN, SCRIPT, World, walk, world

AXE = Path(__file__).parents[1] / "axe" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
AXE_WHERE = {"exclude": ["tbody tr:nth-child(n+16)", ".queue li:nth-child(n+16)"]}
"""Everything but the far end of lists, whose rows are all of one kind."""
AXE_OPTIONS = {"runOnly": RULES, "resultTypes": ["violations"], "preload": False}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A console with an hour of events."""
    with world(tmp_path_factory.mktemp("site")) as made:
        yield made


def arrival_s(page: Page, site: World) -> float:
    """Seconds from the publication of an event to its line on the open page."""
    event = site.final("yard", "Ada Brandt")
    began_s = time.monotonic()
    site.publish(event)
    expect(newest(page)).to_contain_text(f"#{event.track}")
    return time.monotonic() - began_s


def newest(page: Page) -> Locator:
    return page.locator("#rows tr[data-event]").first


def test_a_wrong_password_is_told_and_a_right_one_leads_in(chromium: Browser, site: World) -> None:
    page = chromium.new_context(base_url=site.address).new_page()
    fill_in(page, "ines", "wrong")
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    page.get_by_label("User").fill("ines")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Live", level=1)).to_be_visible()
    page.context.close()


def test_a_live_event_arrives_within_a_second(log_in: LogIn, site: World) -> None:
    page = log_in("vera")
    page.goto("/events")
    expect(page.locator("[data-link]").last).to_have_text("connected")
    assert any(arrival_s(page, site) < 1.0 for _ in range(8))  # others may want the processor
    expect(newest(page)).to_contain_text("Ada Brandt")
    page.goto("/live")
    expect(page.locator("[data-latest] li").first).to_contain_text("Ada Brandt")


def test_the_wall_tells_of_cameras_that_come_and_keeps_to_what_was_chosen(log_in: LogIn, site: World) -> None:
    site.publish_stats()
    page = log_in("ines")
    page.goto("/live")
    expect(page.locator("[data-link]").last).to_have_text("connected")
    page.get_by_role("button", name="In trouble").click()
    expect(page.locator("[data-camera]:visible")).to_have_count(1)
    site.publish(
        CameraOnline(run=RUN, time_ns=time.time_ns(), camera="annexe", width=640, height=360, fps=15)
    )
    expect(page.locator("#summary")).to_contain_text("6 cameras, 5 online")
    expect(page.locator("[data-camera]:visible")).to_have_count(1)
    page.get_by_role("button", name="All").click()
    expect(page.locator("[data-camera]:visible")).to_have_count(6)


def test_the_wall_keeps_its_pictures_and_the_focus_when_it_is_made_anew(log_in: LogIn, site: World) -> None:
    picture = cv2.imencode(".jpg", np.full((90, 160, 3), 180, np.uint8))[1].tobytes()
    new = ("door.2", "\u202e100% 'of' [it]")
    for name in new:
        online = CameraOnline(run=RUN, time_ns=time.time_ns(), camera=name, width=640, height=360, fps=15)
        site.publish(online)
    site.publish_stats()
    page = log_in("ines", viewport={"width": 1400, "height": 2400})
    page.route("**/frame?*", lambda route: route.fulfill(body=picture, content_type="image/jpeg"))
    page.goto("/live")
    for name in new:  # the console hears of them in its own time
        expect(page.locator("[data-camera]", has_text=name)).to_be_visible()
    page.wait_for_function(ALL_ARE_SHOWN)
    page.locator("[data-camera=yard]").focus()
    page.evaluate(COUNT_WHAT_IS_SHOWN)
    for _ in range(3):
        with page.expect_response("**/live/wall"):
            page.evaluate("document.body.dispatchEvent(new CustomEvent('news:camera'))")
        settle(page)
    assert page.evaluate("fewest") == page.evaluate("before") > 0
    assert page.evaluate("document.activeElement.dataset.camera") == "yard"


ALL_ARE_SHOWN = """() => [...document.querySelectorAll("[data-live]")].every(
  (one) => !one.hidden && one.naturalWidth
)"""
COUNT_WHAT_IS_SHOWN = """() => {
  const there = (one) => !one.hidden && one.naturalWidth;
  const count = () => [...document.querySelectorAll("[data-live]")].filter(there).length;
  window.before = window.fewest = count();
  const look = () => { window.fewest = Math.min(window.fewest, count()); requestAnimationFrame(look); };
  look();
}"""


def test_a_camera_without_a_live_picture_shows_the_last_that_was_kept(log_in: LogIn, site: World) -> None:
    site.publish_stats()
    keep_minutes(site.cameras, "gate-north", site.people["Jonas Iversen"], time.time_ns() - 60 * 10**9)
    page = log_in("ines", viewport={"width": 1400, "height": 2400})
    page.goto("/live")
    tile = page.locator("[data-camera=gate-north]")
    expect(tile.get_by_alt_text("Last kept picture")).to_be_visible()
    expect(tile).to_contain_text("No live picture now: the last one that was kept")
    expect(page.locator("[data-camera=lobby] .view")).to_have_text("No picture yet")
    expect(tile.locator(".view")).to_have_css("background-color", "rgb(11, 14, 18)")
    ground = page.locator("[data-camera=lobby] .view").evaluate("e => getComputedStyle(e).backgroundColor")
    assert ground != "rgb(11, 14, 18)"


def test_two_people_confirm_a_match(log_in: LogIn, site: World) -> None:
    site.publish(event := site.final("lobby", "Mei Tanaka"))
    ines, omar = log_in("ines"), log_in("omar")
    ines.goto("/events")
    follow(ines.get_by_role("row", name=f"#{event.track} ").get_by_role("link"))
    expect(ines.get_by_role("heading", level=1)).to_have_text("Mei Tanaka")
    expect(ines.get_by_role("row", name="Ada Brandt")).to_be_visible()
    ines.get_by_role("button", name="Confirm").click()
    expect(ines.locator("#match")).to_contain_text("Confirmed by ines. Somebody else has to confirm it")
    ines.get_by_role("button", name="Confirm").click()
    expect(ines.locator(".toast.bad")).to_contain_text("already")
    omar.goto("/review")
    expect(omar.locator(".queue a").first).to_contain_text("confirmed by ines")
    omar.keyboard.press("c")
    expect(omar.locator(".queue a").first).not_to_contain_text(f"#{event.track}")
    ines.reload()
    expect(ines.locator("#match")).to_contain_text("Confirmed by ines and omar.")


def test_review_goes_by_the_keyboard_alone(log_in: LogIn, site: World) -> None:
    site.publish(first := site.final("yard", "Jonas Iversen"), second := site.final("yard", "Ada Brandt"))
    page = log_in("omar")
    page.goto("/live")
    with page.expect_navigation():
        page.keyboard.type("gr")
    expect(page.locator(".queue a[aria-current]")).to_contain_text(f"#{second.track}")
    page.keyboard.press("j")
    expect(page.locator(".queue a[aria-current]")).to_contain_text(f"#{first.track}")
    settle(page)
    page.keyboard.press("x")
    expect(page.locator(".queue")).not_to_contain_text(f"#{first.track}")


PRESS_TWICE_AND_WHEN_IT_IS_THERE = """() => {
  const press = () => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "x", bubbles: true }));
  document.addEventListener("htmx:afterSettle", () => setTimeout(press, 1), { once: true });
  press();
  press();
}"""


def test_a_key_that_is_held_decides_on_one_match_alone(log_in: LogIn, site: World) -> None:
    site.publish(*(site.final("lobby", "Jonas Iversen") for _ in range(6)))
    page, sent = log_in("omar"), list[str]()
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.goto("/review")
    first = page.locator(".queue a[aria-current]").get_attribute("href")
    for _ in range(30):  # what a browser makes of a key that is held for a second
        page.keyboard.down("x")
        page.wait_for_timeout(33)
    page.keyboard.up("x")
    expect(page.locator(".queue a[aria-current]")).not_to_have_attribute("href", first or "")
    assert len(sent) == 1
    second = page.locator(".queue a[aria-current]").get_attribute("href")
    page.wait_for_timeout(400)
    page.evaluate(PRESS_TWICE_AND_WHEN_IT_IS_THERE)
    expect(page.locator(".queue a[aria-current]")).not_to_have_attribute("href", second or "")
    page.wait_for_timeout(400)
    assert len(sent) == 2


def test_a_visitor_is_promoted(log_in: LogIn, site: World) -> None:
    visitor = site.note_visitor(88, ("yard", "lobby"))
    page = log_in("ines")
    page.goto("/visitors")
    follow(page.get_by_role("link", name=visitor))
    page.get_by_role("button", name="Promote to a person").click()
    page.get_by_label("Name").fill("Piet Maas")
    page.get_by_role("button", name="Promote", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Piet Maas")
    page.goto("/visitors")
    expect(page.locator("main")).not_to_contain_text(visitor)


def test_of_whoever_is_forgotten_every_picture_is_gone(log_in: LogIn, site: World) -> None:
    event = site.final("lobby", "Lucía Ortega")
    site.publish(event)
    keep_evidence(site.cameras, event, walk(3, 2))
    page = log_in("root")
    page.goto("/events?person=Lucía Ortega")
    follow(page.get_by_role("row", name=f"#{event.track} ").get_by_role("link"))
    picture = page.locator("#pictures img").first.get_attribute("src") or ""
    assert page.request.get(picture).ok
    page.goto("/people")
    follow(page.get_by_role("link", name="Lucía Ortega"))
    page.get_by_role("button", name="Forget").click()
    page.get_by_label("Type the name").fill("Lucía Ortega")
    page.get_by_role("button", name="Forget for ever").click()
    expect(page.locator("main")).to_contain_text("nothing of what was erased was found")
    assert page.request.get(picture).status == 404
    page.goto("/people")
    expect(page.locator("main")).not_to_contain_text("Lucía Ortega")
    page.goto(f"/events/{event.event_id or site.newest_id('lobby')}")
    expect(page.locator("main")).not_to_contain_text("Lucía Ortega")


def test_why_a_camera_cannot_be_seen_is_told(log_in: LogIn, site: World) -> None:
    page = log_in("root")
    page.goto("/cameras/new")
    page.get_by_label("Name").fill("cellar")
    page.get_by_label("Address").fill("rtsp://127.0.0.1:9/stream1")
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_role("alert").first).to_contain_text("127.0.0.1:9")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/cameras")
    expect(page.get_by_role("row", name="cellar")).to_be_visible()
    text = site.cameras.read_text(encoding="utf-8")
    assert "# Kept by the site's owner." in text
    assert load_config(site.cameras).camera("cellar").url.reveal() == "rtsp://127.0.0.1:9/stream1"


def test_a_viewer_is_offered_and_granted_nothing_that_operators_may(log_in: LogIn, site: World) -> None:
    page = log_in("vera")
    page.goto("/live")
    for name in ("Review", "People", "Visitors", "Audit", "Calibration"):
        expect(page.get_by_label("Pages", exact=True).get_by_role("link", name=name)).to_have_count(0)
    refused = page.goto("/people")
    assert refused is not None
    assert refused.status == 403
    expect(page.get_by_role("alert")).to_contain_text("vera is viewer; this takes the role operator")
    page.goto("/events?status=known")
    follow(newest(page).get_by_role("link"))
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("button", name="Confirm")).to_have_count(0)
    address = page.url + "/confirm"
    token = page.locator("meta[name=csrf]").get_attribute("content") or ""
    assert page.request.post(address, headers={"X-CSRF-Token": token}).status == 403


def test_the_last_minutes_of_a_camera_are_gone_through_by_the_keyboard(log_in: LogIn, site: World) -> None:
    page = log_in("ines")
    page.goto("/live")
    expect(page.get_by_alt_text("Last kept picture of stairwell-2")).to_be_visible()
    page.goto("/live/stairwell-2")
    shown = page.get_by_alt_text("Kept picture, 2 people in it")
    last = shown.get_attribute("src")
    page.get_by_label("Time").focus()
    page.keyboard.press("ArrowLeft")
    expect(shown).not_to_have_attribute("src", last or "")
    expect(page.locator("#kept-picture figcaption")).to_contain_text("Ada Brandt, seen (truncated)")
    assert page.request.get(shown.get_attribute("src") or "").ok


def test_the_evidence_of_an_event_is_saved(log_in: LogIn, site: World) -> None:
    page = log_in("ines")
    site.publish(event := site.final("yard", "Ada Brandt"))
    keep_evidence(site.cameras, event, walk(0, 2))
    page.goto("/events?status=known")
    follow(page.get_by_role("row", name=f"#{event.track} ").get_by_role("link"))
    with page.expect_download() as taken:
        page.get_by_role("link", name="Save evidence").click()
    assert read_bundle(Path(taken.value.path())).manifest.event["track"] == event.track


def test_an_administrator_adds_a_user_who_then_logs_in(log_in: LogIn, chromium: Browser, site: World) -> None:
    page = log_in("root")
    page.goto("/users")
    page.get_by_label("Name").fill("nils")
    page.get_by_label("All, also those to come").uncheck()
    page.get_by_label("yard").check()
    page.get_by_role("button", name="Add").click()
    password = page.locator("#users code").inner_text()
    expect(page.get_by_role("row", name="nils")).to_contain_text("yard")
    new = chromium.new_context(base_url=site.address).new_page()
    fill_in(new, "nils", password)
    expect(new.get_by_role("heading", name="Live", level=1)).to_be_visible()
    expect(new.locator("[data-camera]")).to_have_count(1)
    new.context.close()


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kolkata"])
def test_days_and_hours_below_a_timeline_are_those_of_the_reader(
    log_in: LogIn, site: World, zone: str
) -> None:
    page = log_in("ines", timezone_id=zone, viewport={"width": 1400, "height": 900})
    for days, hours in ((7, 24), (1, 6)):
        since = datetime.now(UTC) - timedelta(days=days)
        page.goto(f"/events?since={since:%Y-%m-%dT%H:%M:%SZ}")
        expect(page.locator("[data-link]").last).to_have_text("connected")
        page.wait_for_timeout(600)  # then it is asked for anew, once
        settle(page)
        marks = page.evaluate(MARKS)
        assert len(marks) >= 3
        assert {mark["hour"] % hours for mark in marks} == {0}
        assert all(abs(mark["x"] - mark["place"]) < 0.01 for mark in marks)
        if hours == 24:
            assert not any(":" in mark["text"] for mark in marks)


MARKS = """() => {
  const axis = document.querySelector("svg[data-step]");
  const [since, until] = [new Date(axis.dataset.since), new Date(axis.dataset.until)];
  return [...axis.querySelectorAll("[data-time]")].map((one) => {
    const time = new Date(one.dataset.time);
    return {
      hour: time.getHours() + time.getMinutes() / 60, x: parseFloat(one.getAttribute("x")),
      place: 100 * (time - since) / (until - since), text: one.textContent,
    };
  });
}"""


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kolkata"])
def test_the_day_until_which_somebody_is_kept_is_the_same_in_every_zone(
    log_in: LogIn, site: World, zone: str
) -> None:
    page = log_in("ines", timezone_id=zone, locale="en-GB")
    page.goto(f"/people/{site.people['Jonas Iversen']}")
    page.get_by_role("button", name="Consent and retention").click()
    page.get_by_label("Kept until").fill("2027-03-01")
    page.get_by_role("button", name="Save").click()
    shown = page.locator("dt:text-is('Kept until') + dd")
    expect(shown).to_have_text("1 Mar 2027")
    expect(page.get_by_label("Kept until")).to_have_value("2027-03-01")


def test_a_name_is_text_wherever_it_is_shown(log_in: LogIn, site: World) -> None:
    site.publish(site.final("lobby", SCRIPT))
    page = log_in("ines")
    for path in ("/live", "/events", "/review", "/people"):
        page.goto(path)
        expect(page.locator("main a").filter(has_text=SCRIPT).first).to_be_visible()


PAGES = (
    "live", "live/stairwell-2", "events", "review", "people", "enrol", "visitors", "search", "cameras",
    "cameras/new", "health", "calibration", "audit", "account", "users", "users/ines",
)  # fmt: skip


@pytest.mark.slow
def test_axe_finds_nothing(log_in: LogIn, site: World) -> None:
    page = log_in("root", color_scheme="light", bypass_csp=True)
    found: list[str] = []
    for path in (*PAGES, f"events/{site.newest_id('lobby')}", f"people/{site.people['Ada Brandt']}"):
        page.set_viewport_size({"width": 1440, "height": 900})
        page.emulate_media(color_scheme="light")
        page.goto(f"/{path}")
        page.add_script_tag(path=AXE)
        found += faults_of(page, f"{path} on a desk")
        page.set_viewport_size({"width": 390, "height": 844})
        page.emulate_media(color_scheme="dark")
        found += faults_of(page, f"{path} on a phone, dark")
    assert not found


def faults_of(page: Page, where: str) -> list[str]:
    """What axe finds wrong, and whether the page is wider than its window."""
    result = page.evaluate("([where, options]) => axe.run(where, options)", [AXE_WHERE, AXE_OPTIONS])
    found = [f"{where}: {one['id']}: {one['nodes'][0]['html'][:120]}" for one in result["violations"]]
    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return [*found, f"{where}: {wider} px wider than the window"] if wider > 0 else found
