"""The pages' handlers and drawings, without a browser."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("fastapi", reason="needs the extra [console]")

from jinja2 import Environment

from gaitstream.console.menu import menu_of, tabs_of
from gaitstream.console.pages.drawing import S_NS, Span, scale, time_marks
from gaitstream.console.pages.events import read_time
from gaitstream.console.permissions import PERMISSIONS, Actor, Role
from gaitstream.console.rendering import STATIC, templates
from gaitstream.errors import ConsoleError
from tests.console.conftest import Browser

MOST_SCRIPT_BYTES = 300_000
TEMPLATES = sorted(path.name for path in (STATIC.parent / "templates").glob("*.html"))


def actor(role: Role) -> Actor:
    return Actor(name="somebody", role=role, permissions=PERMISSIONS[role])


@pytest.mark.parametrize(
    ("distances", "top", "last"), [([0.5, 0.84], 0.924, 0.8), ([None, 2.0], 2.2, 2.0), ([], 1.1, 1.0)]
)
def test_a_scale_has_room_for_everything(distances: list[float | None], top: float, last: float) -> None:
    made = scale(distances)
    assert made.top == pytest.approx(top)
    assert made.ticks[0] == 0
    assert made.ticks[-1] == pytest.approx(last)


@pytest.mark.parametrize(
    "length_s", [1, 59, 600, 3600, 86_400, 7 * 86_400 + 60, 30 * 86_400, 40_000 * 86_400]
)
def test_a_timeline_has_a_few_round_times(length_s: int) -> None:
    span = Span(1_800_000_123 * S_NS, (1_800_000_123 + length_s) * S_NS)
    marks = time_marks(span)
    assert (3 if length_s > 60 else 0) <= len(marks) <= 8
    assert all(0 <= mark.left <= 100 for mark in marks)
    assert all(mark.time_ns % (10 * S_NS) == 0 for mark in marks)
    assert {mark.form for mark in marks} <= {"day" if length_s >= 7 * 86_400 else "clock"}


def test_places_stay_inside_the_drawing() -> None:
    span = Span(100, 200)
    assert [span.place(time_ns) for time_ns in (50, 100, 150, 200, 300)] == [0, 0, 50, 100, 100]


def test_a_time_is_read_in_utc_and_a_wrong_one_is_told() -> None:
    assert read_time("") is None
    assert read_time("2026-03-02T08:00:00Z") == read_time("2026-03-02T08:00:00")
    assert read_time("2026-03-02T09:00:00+01:00") == read_time("2026-03-02T08:00:00Z")
    with pytest.raises(ConsoleError, match="yesterday"):
        read_time("yesterday")


def test_the_menu_offers_what_may_be_seen() -> None:
    viewer = {page.name for group in menu_of(actor(Role.VIEWER)) for page in group.pages}
    assert viewer == {"live", "events", "cameras", "health"}
    everything = [page for group in menu_of(actor(Role.ADMINISTRATOR)) for page in group.pages]
    assert len({page.key for page in everything}) == len(everything) == 11
    assert [page.name for page in tabs_of(actor(Role.VIEWER))] == ["live", "events", "health"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_template_brings_script_or_style_of_its_own(name: str) -> None:
    text = (STATIC.parent / "templates" / name).read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|\|\s*safe\b", text)
    assert not re.search(r"https?://(?!www\.w3\.org)", text)
    environment: Environment = templates().env
    environment.parse(text)


def test_scripts_are_few_and_need_no_network() -> None:
    scripts = list(STATIC.rglob("*.js"))
    assert sum(path.stat().st_size for path in scripts) < MOST_SCRIPT_BYTES
    for path in (*scripts, *STATIC.glob("*.css")):
        assert not re.search(r"""["'(]https?://(?!www\.w3\.org)""", path.read_text(encoding="utf-8")), path


def test_every_icon_that_is_used_is_drawn() -> None:
    drawn = set(re.findall(r'symbol id="([a-z_]+)"', (STATIC / "icons.svg").read_text(encoding="utf-8")))
    text = "".join((STATIC.parent / "templates" / name).read_text(encoding="utf-8") for name in TEMPLATES)
    used = set(re.findall(r'icon\("([a-z_]+)"\)', text))
    pages = {page.name for group in menu_of(actor(Role.ADMINISTRATOR)) for page in group.pages}
    assert used | pages <= drawn


def test_who_may_not_is_refused_by_every_page(browser: Browser) -> None:
    viewer = browser(Role.VIEWER)
    for page in (
        "people",
        "review",
        "visitors",
        "search",
        "calibration",
        "audit",
        "users",
        "enrol",
        "cameras/new",
    ):
        path = f"/{page}"
        answer = viewer.get(path)
        assert answer.status_code == 403, path
        assert "viewer" in answer.text
    for path in (
        "/people/x/forget",
        "/people/x/rename",
        "/visitors/x/promote",
        "/cameras/new",
        "/calibration/aim",
        "/users/root/password",
    ):
        assert viewer.post(path, data={"person": "x", "model": "x", "fpir": 1}).status_code == 403, path


def test_a_page_of_nothing_is_a_page(browser: Browser) -> None:
    everything = browser(Role.ADMINISTRATOR)
    for path in ("/live", "/events", "/review", "/people", "/visitors", "/search", "/cameras", "/health"):
        answer = everything.get(path)
        assert answer.status_code == 200, path
        assert "<h1>" in answer.text


def test_whoever_may_not_see_people_learns_of_no_name_whether_somebody_has_it(browser: Browser) -> None:
    """Names are told to operators; to others the answer to all of them is the same."""
    client = browser(Role.VIEWER)
    for page in ("/events", "/events/rows", "/events/new", "/events/timeline"):
        answers = [client.get(page, params={"person": name}) for name in ("Ada", "Nobody X")]
        assert [answer.status_code for answer in answers] == [200, 200], page
        texts = [
            answer.text.replace("Ada", "X").replace("Nobody+X", "X").replace("Nobody X", "X")
            for answer in answers
        ]
        assert len(texts[0]) == len(texts[1]), page
    operator = browser(Role.OPERATOR)
    assert operator.get("/events", params={"person": "Ada"}).status_code == 200
    assert operator.get("/events", params={"person": "Nobody X"}).status_code == 422
