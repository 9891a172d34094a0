"""What is tried against consoles, tried against this one; docs/console.md lists it."""

from __future__ import annotations

import html
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from gaitstream.console.guards import MOST_BYTES
from gaitstream.console.history import EventFilter
from gaitstream.console.permissions import Role
from gaitstream.console.site import ConsoleSite
from gaitstream.events import CameraOffline, CameraOnline, IdentityFinal
from gaitstream.gallery import Gallery
from tests.console.conftest import Browser
from tests.console.making import ADA, final, publish, stranger

SCRIPT = "<script>alert(1)</script>"
INJECTIONS = (
    "' OR 1=1 --",
    '"; DROP TABLE event; --',
    "1) UNION SELECT password FROM user --",
    "%",
    "\x00",
    "‮",
)


def fill(site: ConsoleSite) -> None:
    site.history.add([final(1, "gate"), stranger(2, "vault"), final(3, "vault", 2)])


@pytest.mark.parametrize("field", ["camera", "person", "status", "reason", "type"])
def test_filters_are_values_and_never_statements(browser: Browser, site: ConsoleSite, field: str) -> None:
    fill(site)
    client = browser()
    for text in INJECTIONS:
        answer = client.get("/api/v1/events", params={field: text})
        assert (answer.status_code, answer.json()["events"]) == (200, []), text
    assert len(client.get("/api/v1/events").json()["events"]) == 3


def test_cursors_and_ids_are_read_strictly(browser: Browser, site: ConsoleSite) -> None:
    fill(site)
    client = browser()
    for text in (*INJECTIONS, "1-1; DROP TABLE event", "../../etc/passwd"):
        assert client.get("/api/v1/events", params={"before": text}).status_code == 422, text
        for kind in ("events", "people", "jobs", "cameras"):
            path = f"/api/v1/{kind}/{quote(text, safe='')}"
            assert client.get(path).status_code in (404, 422), path


def test_a_name_that_is_a_script_is_shown_as_text(browser: Browser, site: ConsoleSite, gallery: Path) -> None:
    with Gallery(gallery, key="none") as opened:
        uid = next(one.uid for one in opened.persons() if one.name == "Ada")
    client = browser()
    assert client.post(f"/api/v1/people/{uid}/name", json={"name": SCRIPT}).status_code == 200
    site.history.add([final(1, person_id=uid, candidates=((SCRIPT, 0.4),), candidate_ids=(uid,))])
    page = client.get("/events").text
    assert SCRIPT not in page
    assert html.escape(SCRIPT) in page
    answer = client.get("/api/v1/events")
    assert answer.json()["events"][0]["person"] == SCRIPT
    assert answer.headers["content-type"] == "application/json"


def test_whatever_a_run_says_is_shown_as_text(browser: Browser, site: ConsoleSite) -> None:
    evil = f"\"'>{SCRIPT}</script>{{{{7*7}}}}\r\nX-Bad: 1"
    event = stranger(1, evil, reason=evil, run=evil, rejections={evil: 3}, models={evil: evil})
    assert isinstance(event, IdentityFinal)
    site.history.add([event])
    site.health.note(publish(CameraOnline(run=evil, time_ns=1, camera=evil)))
    site.health.note(event)
    site.health.note(publish(CameraOffline(run=evil, time_ns=2, camera=evil, cause=evil, detail=evil)))
    client = browser(Role.ADMINISTRATOR)
    pages = ("live", "events", "health", "cameras", "enrol", "users", f"events/{event.event_id}",
             f"events?camera={quote(evil, safe='')}")  # fmt: skip
    for page in pages:
        answer = client.get(f"/{page}")
        assert answer.status_code == 200, page
        assert SCRIPT not in answer.text, page
        assert html.escape(SCRIPT) in answer.text, page
        assert "X-Bad" not in answer.headers


def test_words_of_errors_are_shown_as_text(browser: Browser) -> None:
    for page in (
        browser().get("/events", params={"since": SCRIPT}),
        browser().get("/api/v1/events", params={"limit": SCRIPT}),
    ):
        assert page.status_code == 422
        assert SCRIPT not in page.text or page.headers["content-type"] == "application/json"


def test_a_camera_that_may_not_be_seen_is_not_seen_by_any_way(browser: Browser, site: ConsoleSite) -> None:
    fill(site)
    for event in [final(4, "vault", 7), final(5, "gate", 7)]:
        site.health.note(event)
    hidden = [e.event_id for e in site.history.page(EventFilter(), 10).events if e.camera == "vault"]
    client = browser(Role.OPERATOR, "gatekeeper", frozenset({"gate"}))
    for params in (
        {},
        {"camera": "vault"},
        {"camera": ["gate", "vault"]},
        {"person": ADA},
        {"waits": "true"},
    ):
        found = client.get("/api/v1/events", params=params).json()["events"]
        assert {event["camera"] for event in found} <= {"gate"}, params
    for event_id in hidden:
        assert client.get(f"/api/v1/events/{event_id}").status_code == 404
        assert client.get(f"/api/v1/events/{event_id}/track").status_code == 404
        assert client.get(f"/api/v1/events/{event_id}/match").status_code == 404
        assert client.post(f"/api/v1/events/{event_id}/confirm").status_code == 404
        assert client.post(f"/api/v1/events/{event_id}/reject").status_code == 404
    assert [one["camera"] for one in client.get("/api/v1/health").json()["cameras"]] == ["gate"]
    assert [one["camera"] for one in client.get("/api/v1/cameras").json()] == ["gate"]
    assert client.get("/api/v1/cameras/vault").status_code == 404
    assert "vault" not in client.get("/events").text


def test_the_same_answer_for_what_is_hidden_and_what_is_not_there(
    browser: Browser, site: ConsoleSite
) -> None:
    fill(site)
    client = browser(Role.OPERATOR, "gatekeeper", frozenset({"gate"}))
    [hidden] = [e for e in site.history.page(EventFilter(), 10).events if e.track == 2]
    missing = "018f0000-0000-7000-8000-000000000000"
    answers = [client.get(f"/api/v1/events/{one}").json()["error"] for one in (hidden.event_id, missing)]
    assert answers[0].replace(hidden.event_id, "") == answers[1].replace(missing, "")


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/%2e%2e/errors.py", "/static//etc/passwd",
     "/static/....//app.py", "/static/vendor/../../accounts.py",
     "/api/v1/jobs/..%2f..%2faccounts.db/pictures/x"],
)  # fmt: skip
def test_no_path_leads_out_of_what_is_offered(browser: Browser, path: str) -> None:
    answer = browser(Role.ADMINISTRATOR).get(path)
    assert answer.status_code in (404, 422)
    assert "import annotations" not in answer.text


def test_somebody_elses_job_is_not_there(browser: Browser, site: ConsoleSite, tmp_path: Path) -> None:
    cams = tmp_path / "cams.yaml"
    cams.write_text("cameras: [{id: gate, url: /dev/null}]\n")
    object.__setattr__(site.options, "cameras", cams)
    one, other = browser(Role.OPERATOR, "one"), browser(Role.OPERATOR, "other")
    job = one.post("/api/v1/clips/identify", content=b"no video").json()["job_id"]
    assert one.get(f"/api/v1/jobs/{job}").status_code == 200
    assert other.get(f"/api/v1/jobs/{job}").status_code == 404


def test_bodies_are_bounded_with_and_without_a_length(browser: Browser) -> None:
    client = browser(Role.ADMINISTRATOR)
    large = b'{"name": "' + b"x" * MOST_BYTES + b'"}'
    assert client.post("/api/v1/users", content=large).status_code == 413
    pieces = (b"x" * 10_000 for _ in range(MOST_BYTES // 10_000 + 2))
    kind = {"Content-Type": "application/json"}
    assert client.post("/api/v1/users", content=pieces, headers=kind).status_code == 413
    superscript = {**kind, "Content-Length": "²".encode("latin-1")}
    assert client.post("/api/v1/users", content=b"{}", headers=superscript).status_code == 413


def test_a_deep_document_is_an_error_and_no_crash(browser: Browser) -> None:
    deep = b"[" * 30_000 + b"]" * 30_000
    answer = browser(Role.ADMINISTRATOR).post(
        "/api/v1/users", content=deep, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 413, 422)


def test_what_breaks_inside_is_told_to_the_log_alone(
    anonymous: TestClient, browser: Browser, site: ConsoleSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = browser()
    monkeypatch.setattr(site.history, "page", lambda *_: 1 / 0)
    quiet = TestClient(anonymous.app, base_url="http://localhost", raise_server_exceptions=False)
    quiet.cookies = client.cookies
    for path in ("/api/v1/events", "/events?camera=gate"):
        answer = quiet.get(path)
        assert answer.status_code == 500
        assert "ZeroDivision" not in answer.text
        assert "log says" in answer.text
