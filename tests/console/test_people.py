"""People, matches and the audit log, as programs work with them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from gaitstream.console.desk import FRESH_S
from gaitstream.console.history import EventFilter
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.pages import events as events_page
from gaitstream.console.pages import people as people_page
from gaitstream.console.permissions import Role
from gaitstream.console.site import ConsoleSite
from gaitstream.gallery import Gallery, editing
from gaitstream.gallery.audit import AuditLine, read_audit
from gaitstream.gallery.base import PictureRow
from gaitstream.gallery.confirming import confirm as confirm_elsewhere
from tests.console.conftest import Browser
from tests.console.making import ended, final, stranger


def uid_of(client: TestClient, name: str) -> str:
    people = client.get("/api/v1/people").json()
    return next(str(one["person_id"]) for one in people if one["name"] == name)


def log_of(gallery: Path) -> list[AuditLine]:
    with Gallery(gallery, key="none") as opened, opened.store.reading() as reading:
        return [line for _, line in read_audit(reading, opened.sealer)]


def test_everybody_is_listed_and_a_look_at_one_is_in_the_audit_log(browser: Browser, gallery: Path) -> None:
    client = browser()
    listed = client.get("/api/v1/people").json()
    assert [(one["name"], one["templates"]) for one in listed] == [
        (name, {"gait": 2}) for name in ("Ada", "Ben", "Cleo")
    ]
    details = client.get(f"/api/v1/people/{listed[0]['person_id']}").json()
    assert [one["damaged"] for one in details["each_template"]] == [False, False]
    last = log_of(gallery)[-1]
    assert (last.action, last.person, last.actor) == ("viewed", listed[0]["person_id"], "console:operator")


def test_a_picture_is_shown_and_another_persons_is_not(browser: Browser, gallery: Path) -> None:
    client = browser()
    ada, ben = uid_of(client, "Ada"), uid_of(client, "Ben")
    with Gallery(gallery, key="none") as opened, opened.writing() as writing:
        writing.add_pictures([opened.vault.picture_row(PictureRow(0, ada, 1, 0, b"\xff\xd8jpeg"))])
    [picture] = client.get(f"/api/v1/people/{ada}").json()["pictures"]
    answer = client.get(f"/api/v1/people/{ada}/pictures/{picture['number']}")
    assert (answer.content, answer.headers["content-type"]) == (b"\xff\xd8jpeg", "image/jpeg")
    assert client.get(f"/api/v1/people/{ben}/pictures/{picture['number']}").status_code == 404


def test_a_new_name_is_shown_with_old_events_at_once(browser: Browser, site: ConsoleSite) -> None:
    client = browser()
    ada = uid_of(client, "Ada")
    site.history.add([final(1, person_id=ada, candidate_ids=(ada,))])
    assert client.post(f"/api/v1/people/{ada}/name", json={"name": "Ada Lovelace"}).status_code == 200
    [event] = client.get("/api/v1/events", params={"person": ada}).json()["events"]
    assert event["person"] == "Ada Lovelace"
    assert event["candidates"][0]["person"] == "Ada Lovelace"
    taken = client.post(f"/api/v1/people/{ada}/name", json={"name": "Ben"})
    assert (taken.status_code, "merge" in taken.json()["error"]) == (409, True)


def test_two_become_one_and_one_becomes_two(browser: Browser) -> None:
    client = browser()
    ada, ben = uid_of(client, "Ada"), uid_of(client, "Ben")
    assert client.post(f"/api/v1/people/{ada}/merge", json={"other_id": ben}).json() == {"templates": 2}
    numbers = [one["number"] for one in client.get(f"/api/v1/people/{ada}").json()["each_template"]]
    split = {"templates": numbers[2:], "name": "Ben again"}
    assert client.post(f"/api/v1/people/{ada}/split", json=split).json() == {"templates": 2}
    assert [one["name"] for one in client.get("/api/v1/people").json()] == ["Ada", "Ben again", "Cleo"]
    assert client.get(f"/api/v1/people/{ben}").status_code == 404
    foreign = {"templates": numbers[2:], "name": "Eve"}
    assert client.post(f"/api/v1/people/{ada}/split", json=foreign).status_code == 409


def test_two_who_become_one_keep_both_histories_and_what_waits(
    browser: Browser, site: ConsoleSite, gallery: Path
) -> None:
    client = browser(Role.ADMINISTRATOR)
    ada, ben, cleo = (uid_of(client, name) for name in ("Ada", "Ben", "Cleo"))
    events = [final(at_s, track=at_s, person_id=uid) for at_s, uid in ((1, ada), (2, ben), (3, cleo))]
    site.history.add(events)
    assert client.post(f"/api/v1/people/{ada}/merge", json={"other_id": ben}).status_code == 200

    def of_ada(waits: bool) -> list[str]:
        asked = {"person": ada, "waits": waits}
        return [one["person"] for one in client.get("/api/v1/events", params=asked).json()["events"]]

    assert of_ada(False) == of_ada(True) == ["Ada", "Ada"]
    with Gallery(gallery, key="none") as opened:  # as another program does
        editing.merge(opened, "Ada", "Cleo")
    time.sleep(FRESH_S)
    shown = client.get(f"/api/v1/events/{events[2].event_id}").json()
    assert shown["person"] == "Ada"
    assert of_ada(False) == of_ada(True) == ["Ada"] * 3
    report = client.delete(f"/api/v1/people/{ada}").json()
    assert (report["history"], report["remains"]) == (3, [])
    for uid in (ada, ben, cleo):
        assert client.get("/api/v1/events", params={"person": uid}).json()["events"] == []


def test_terms_are_set_one_by_one_and_lifted(browser: Browser) -> None:
    client = browser()
    path = f"/api/v1/people/{uid_of(client, 'Ada')}/terms"
    limited = client.put(path, json={"days": 30}).json()
    assert limited["expires_ns"] > limited["created_ns"]
    noted = client.put(path, json={"consent": "form 12, signed 2026-03-01"}).json()
    assert noted["consent"] == "form 12, signed 2026-03-01"
    assert noted["expires_ns"] == limited["expires_ns"]
    lifted = client.put(path, json={"days": None}).json()
    assert (lifted["expires_ns"], lifted["consent"]) == (None, noted["consent"])
    assert client.put(path, json={"days": -1}).status_code == 422


def test_a_day_until_which_somebody_is_kept_counts_to_its_end(browser: Browser) -> None:
    client = browser()
    ada = uid_of(client, "Ada")

    def keep_until(day: str) -> int:
        return int(client.post(f"/people/{ada}/terms", data={"expires": day}).status_code)

    def expires() -> datetime:
        return datetime.fromtimestamp(client.get(f"/api/v1/people/{ada}").json()["expires_ns"] / 1e9, UTC)

    today = datetime.now(UTC).date()
    later = today + timedelta(days=90)
    assert keep_until(later.isoformat()) == 303
    assert expires() == datetime.combine(later + timedelta(days=1), datetime.min.time(), UTC)
    page = client.get(f"/people/{ada}").text
    assert f'<input type="date" name="expires" value="{later}">' in page
    assert f'<time datetime="{later}" data-form="date">{later}</time>' in page
    assert keep_until(today.isoformat()) == 303
    for wrong in ((today - timedelta(days=1)).isoformat(), "9999-12-31", "tomorrow", "2027-02-30"):
        assert keep_until(wrong) == 422
    assert keep_until("") == 303


def test_whoever_is_forgotten_is_nowhere_and_the_report_says_what_went(
    browser: Browser, site: ConsoleSite, gallery: Path
) -> None:
    client = browser(Role.ADMINISTRATOR)
    ada = uid_of(client, "Ada")
    event = final(1, person_id=ada, candidate_ids=(ada,), candidates=(("Ada", 0.4),))
    site.history.add([event])
    report = client.delete(f"/api/v1/people/{ada}").json()
    assert (report["person_id"], report["templates"], report["history"]) == (ada, 2, 1)
    assert report["remains"] == []
    shown = client.get(f"/api/v1/events/{event.event_id}").json()
    assert (shown["person"], shown["person_id"]) == ("", "")
    assert shown["candidates"] == [{"person_id": "", "person": "", "distance": 0.4}]
    assert client.get(f"/api/v1/people/{ada}").status_code == 404
    places = [*gallery.parent.rglob("*")]
    assert not [
        one for one in places if one.is_file() and ada.encode() in one.read_bytes() and not _told(one)
    ]
    assert log_of(gallery)[-1].action == "forgotten"


def _told(path: Path) -> bool:
    """The gallery's audit log and its list of changes say by id that somebody was forgotten."""
    return path.name.startswith("people.gallery")


def say(client: TestClient, event_id: str, what: str) -> Any:
    return client.post(f"/api/v1/events/{event_id}/{what}")


def test_a_match_takes_two_people_and_no_token_makes_one_person_two(
    browser: Browser, site: ConsoleSite, app: Any
) -> None:
    one, other = browser(Role.OPERATOR, "one"), browser(Role.OPERATOR, "other")
    event = final(1, person_id=uid_of(one, "Ada"))
    site.history.add([event])
    assert say(one, event.event_id, "confirm").json()["state"] == "proposed"
    assert say(one, event.event_id, "confirm").status_code == 409
    token = site.accounts.new_token("one", "robot", frozenset(_all_of("one", site)))
    robot = TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {token}"})
    assert say(robot, event.event_id, "confirm").status_code == 409
    assert len(one.get("/api/v1/events", params={"waits": "true"}).json()["events"]) == 1
    confirmed = say(other, event.event_id, "confirm").json()
    assert (confirmed["state"], confirmed["confirmed_by"]) == ("confirmed", ["console:one", "console:other"])
    assert one.get("/api/v1/events", params={"waits": "true"}).json()["events"] == []


def _all_of(name: str, site: ConsoleSite) -> frozenset[Any]:
    return site.accounts.require(name).actor().permissions


def test_one_rejection_is_enough_and_stays(browser: Browser, site: ConsoleSite) -> None:
    event = final(1)
    site.history.add([event])
    one, other = browser(Role.OPERATOR, "one"), browser(Role.OPERATOR, "other")
    assert say(one, event.event_id, "reject").json()["state"] == "rejected"
    assert say(other, event.event_id, "confirm").status_code == 409
    assert other.get(f"/api/v1/events/{event.event_id}/match").json()["rejected_by"] == ["console:one"]


def test_what_was_decided_on_the_command_line_waits_no_more(
    browser: Browser, site: ConsoleSite, gallery: Path
) -> None:
    event = final(1)
    site.history.add([event])
    with Gallery(gallery, key="none") as opened:
        for who in ("ann", "bob"):
            confirm_elsewhere(opened, event.event_id, who)
    assert browser().get("/api/v1/events", params={"waits": "true"}).json()["events"] == []
    assert not site.history.page(EventFilter(waits=True), 5).events


@pytest.mark.parametrize("event", [stranger(1), ended(1)])
def test_only_a_final_answer_with_a_name_can_be_confirmed(
    browser: Browser, site: ConsoleSite, event: Any
) -> None:
    site.history.add([event])
    assert say(browser(), event.event_id, "confirm").status_code == 422


def test_of_whoever_was_forgotten_elsewhere_no_match_waits(browser: Browser, site: ConsoleSite) -> None:
    """Their id is in the journals still, from which a history is made anew."""
    event = final(1, person=None, person_id="c" * 20)
    site.history.add([event])
    assert browser().get("/api/v1/events", params={"waits": "true"}).json()["events"] == []
    assert not site.history.page(EventFilter(waits=True), 5).events
    assert 'data-press="c"' not in browser().get(f"/events/{event.event_id}").text


def test_a_viewer_confirms_nothing(browser: Browser, site: ConsoleSite) -> None:
    event = final(1)
    site.history.add([event])
    assert say(browser(Role.VIEWER), event.event_id, "confirm").status_code == 403
    assert site.history.page(EventFilter(waits=True), 5).events


def test_the_audit_log_is_read_backwards_verified_and_exported(browser: Browser, gallery: Path) -> None:
    client = browser(Role.ADMINISTRATOR)
    first = client.get("/api/v1/audit", params={"limit": 2}).json()
    assert [line["number"] for line in first["lines"]] == [first["total"], first["total"] - 1]
    numbers = [line["number"] for line in first["lines"]]
    page = first
    while page["next"]:
        page = client.get("/api/v1/audit", params={"limit": 2, "before": page["next"]}).json()
        numbers += [line["number"] for line in page["lines"]]
    assert numbers == list(range(first["total"], 0, -1))
    assert client.get("/api/v1/audit/verification").json() == {"faults": [], "lines": first["total"]}
    exported = client.get("/api/v1/audit/export")
    assert "attachment" in exported.headers["content-disposition"]
    assert [json.loads(line)["number"] for line in exported.text.splitlines()] == sorted(numbers)
    assert log_of(gallery)[-1].action == "exported"


def test_a_changed_line_is_found(browser: Browser, gallery: Path) -> None:
    with Gallery(gallery, key="none") as opened, opened.writing() as writing:
        writing.clear_audit()
    faults = browser(Role.ADMINISTRATOR).get("/api/v1/audit/verification").json()["faults"]
    assert faults
    assert "missing" in faults[0]


def test_without_a_gallery_it_is_said_in_words(tmp_path: Path) -> None:
    site = ConsoleSite.open(ConsoleOptions(tmp_path / "state"))
    assert "no gallery" in site.desk.problem()
    assert site.desk.name("a" * 20) == ""
    site.close()


def test_thousands_of_people_come_a_hundred_at_a_time_and_are_found_by_name(
    browser: Browser, site: ConsoleSite, gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = np.zeros((1, 16, 32), np.float32)
    with Gallery(gallery, key="none") as opened:
        for number in range(8):
            opened.enroll(f"Guest {number}", "gait", "f" * 64, windows)
    people = {record.name: uid for uid, record in site.desk.people().items()}
    site.history.add(
        [
            final(at_s, camera, at_s, person=name, person_id=people[name])
            for at_s, camera, name in ((1, "gate", "Ada"), (2, "yard", "Ada"), (3, "gate", "Guest 7"))
        ]
    )
    monkeypatch.setattr(people_page, "SHOWN", 4)
    client = browser(Role.OPERATOR, "gatekeeper", frozenset({"gate"}))
    asked: list[str] = []
    monkeypatch.setattr(site.history, "_rows", counted(asked, site.history._rows))  # type: ignore[attr-defined]
    pages = [client.get(f"/people?page={number}").text for number in (1, 2, 3, 99)]
    assert len(asked) < 25
    names = [re.findall(r"<b>([^<]+)</b>", page) for page in pages]
    assert [len(found) for found in names] == [4, 4, 3, 3]
    assert sorted(name for found in names[:3] for name in found) == sorted(people)
    assert "11 people" in pages[0]
    assert "5 to 8 of 11" in pages[1]
    assert "yard" not in pages[0]
    assert re.search(r"gate</a>", pages[0])
    found = client.get("/people?name=guest 7").text
    assert re.findall(r"<b>([^<]+)</b>", found) == ["Guest 7"]
    assert "Nobody has this name" in client.get("/people?name=Xaver").text


def counted(asked: list[str], rows: Callable[..., Any]) -> Callable[..., Any]:
    def note(query: str, values: Sequence[object]) -> Any:
        asked.append(query)
        return rows(query, values)

    return note


def test_of_many_names_a_filter_offers_some_and_those_that_are_typed(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_page, "MOST_NAMES", 2)
    client = browser()
    assert re.findall("<option>([^<]+)", client.get("/events").text)[-2:] == ["Ada", "Ben"]
    assert client.get("/events/persons?person=cle").text.count("<option>Cleo</option>") == 1
    assert "Ada" not in client.get("/events/persons?person=cle").text
    assert browser(Role.VIEWER).get("/events/persons?person=cle").text.strip() == ""
