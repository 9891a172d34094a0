"""Visitors, searches and thresholds, as programs work with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gaitstream.console.album import Album
from gaitstream.console.app import create_app
from gaitstream.console.history import EventFilter
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.permissions import Role
from gaitstream.console.site import ConsoleSite
from gaitstream.console.strangers import alike
from gaitstream.events import IdentityFinal
from gaitstream.evidence.reading import EvidenceReader
from gaitstream.evidence.recent import RecentPieces
from gaitstream.evidence.records import RecentFrame, RecentPerson
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.sightings import TrackRef
from tests.console.conftest import BASE, PASSWORD, log_in
from tests.console.kept import keep_evidence
from tests.console.making import START_NS, final, stranger
from tests.gallery.filled import MODEL, PRINT
from tests.gallery.walking import note, sighting, windows

CONFIG = """\
cameras: [{id: gate, url: /dev/null}, {id: hall, url: /dev/null}]
gallery: {path: people.gallery, key: none, visitors: {enabled: true, distance: 3.0}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ConsoleSite]:
    """Two who are enrolled, and two visitors: one came thrice, to two cameras."""
    (tmp_path / "cams.yaml").write_text(CONFIG)
    with Gallery(tmp_path / "people.gallery", create=True, key="none") as made:
        for number, name in ((8, "Ada"), (9, "Ben")):
            made.enroll(name, MODEL, PRINT, windows(number, 0))
        note(made, sighting(1, 1), sighting(1, 2, "hall"), sighting(1, 3, "hall"), sighting(2, 4, "hall"))
    opened = ConsoleSite.open(ConsoleOptions(tmp_path / "state", cameras=tmp_path / "cams.yaml"))
    yield opened
    opened.close()


@pytest.fixture
def app(site: ConsoleSite) -> FastAPI:
    return create_app(site)


def client_of(
    app: FastAPI, site: ConsoleSite, role: Role = Role.OPERATOR, cameras: frozenset[str] | None = None
) -> TestClient:
    site.accounts.add("somebody", PASSWORD, role, cameras)
    client = TestClient(app, base_url=BASE, follow_redirects=False)
    log_in(client, "somebody", PASSWORD)
    return client


def test_visitors_are_listed_the_latest_first_with_their_cameras(app: FastAPI, site: ConsoleSite) -> None:
    client = client_of(app, site)
    listed = client.get("/api/v1/visitors").json()
    assert [(one["name"], one["walks"], one["cameras"]) for one in listed] == [
        ("visitor-2", 1, {"hall": 1}), ("visitor-1", 3, {"gate": 1, "hall": 2}),
    ]  # fmt: skip
    details = client.get(f"/api/v1/visitors/{listed[1]['visitor_id']}").json()
    assert [(one["camera"], one["track"]) for one in details["each_walk"]] == [
        ("gate", 1), ("hall", 2), ("hall", 3),
    ]  # fmt: skip
    assert [one["name"] for one in client.get("/api/v1/people").json()] == ["Ada", "Ben"]


def test_of_visitors_only_walks_on_ones_own_cameras_are_seen(app: FastAPI, site: ConsoleSite) -> None:
    client = client_of(app, site, cameras=frozenset({"gate"}))
    [seen] = client.get("/api/v1/visitors").json()
    assert (seen["name"], seen["walks"], seen["cameras"]) == ("visitor-1", 1, {"gate": 1})
    hidden = next(uid for uid, one in site.desk.people().items() if one.name == "visitor-2")
    assert client.get(f"/api/v1/visitors/{hidden}").status_code == 404
    assert client.post(f"/api/v1/visitors/{hidden}/promote", json={"person": "Eve"}).status_code == 404
    assert client.delete(f"/api/v1/visitors/{hidden}").status_code == 404
    details = client.get(f"/api/v1/visitors/{seen['visitor_id']}").json()
    assert {one["camera"] for one in details["each_walk"]} == {"gate"}


def test_a_visitor_is_named_and_is_a_person_then(app: FastAPI, site: ConsoleSite) -> None:
    client = client_of(app, site)
    visitor = client.get("/api/v1/visitors").json()[1]["visitor_id"]
    done = client.post(f"/api/v1/visitors/{visitor}/promote", json={"person": "Dora"}).json()
    assert (done["visitor"], done["person"], len(done["walks"])) == ("visitor-1", "Dora", 3)
    assert [one["name"] for one in client.get("/api/v1/people").json()] == ["Ada", "Ben", "Dora"]
    assert client.get(f"/api/v1/visitors/{visitor}").status_code == 404


def test_a_visitor_is_kept_apart_and_deleted(app: FastAPI, site: ConsoleSite) -> None:
    client = client_of(app, site)
    other, visitor = (one["visitor_id"] for one in client.get("/api/v1/visitors").json())
    asked = {"other_id": other}
    assert client.post(f"/api/v1/visitors/{visitor}/apart", json=asked).status_code == 204
    assert client.get(f"/api/v1/visitors/{visitor}").json()["apart"] == ["visitor-2"]
    site.history.add([final(1, person_id=visitor, person="visitor-1")])
    assert client.delete(f"/api/v1/visitors/{visitor}").json() == {"walks": 3}
    assert not site.history.page(EventFilter(person=visitor), 5).events


def test_whoever_deletes_a_visitor_deletes_the_pictures_too(app: FastAPI, site: ConsoleSite) -> None:
    cameras = site.config_path()
    cameras.write_text(CONFIG + "evidence: {keep: true, minutes: 5}\n")
    site.album = Album(cameras)
    reader, pieces = EvidenceReader.open(site.config(), cameras), RecentPieces(5)
    walks = {"gate": [1], "hall": [2, 3, 4]}
    for camera, tracks in walks.items():
        for number, track in enumerate(tracks):
            event = stranger(number, camera, track=track, run="run", first_ns=START_NS)
            assert isinstance(event, IdentityFinal)
            keep_evidence(cameras, event, windows(track, 0))
            frame = RecentFrame(number, 640, 360, (RecentPerson(track, (1.0, 2.0, 3.0, 4.0)),), "run")
            pieces.add(reader.folder, camera, np.zeros((36, 64, 3), np.uint8), frame)
    client = client_of(app, site)
    visitor = next(one["visitor_id"] for one in client.get("/api/v1/visitors").json() if one["walks"] == 3)
    assert client.delete(f"/api/v1/visitors/{visitor}").json() == {"walks": 3}
    assert [reader.find(*key) is None for key in (("gate", "run", 1), ("hall", "run", 2))] == [True, True]
    assert reader.find("hall", "run", 4) is not None
    assert reader.recent("gate") == []
    assert [one.track for frame in reader.recent("hall") for one in frame.people] == [4]


def test_walks_like_that_of_an_event_are_found_on_ones_own_cameras(app: FastAPI, site: ConsoleSite) -> None:
    event = final(1, "gate", 1, run="run")
    site.history.add([event])
    client = client_of(app, site)
    found = client.get(f"/api/v1/events/{event.event_id}/alike").json()
    assert {(one["camera"], one["track"]) for one in found if one["same"]} >= {("hall", 2), ("hall", 3)}
    assert {one["person"] for one in found if one["same"]} == {"visitor-1"}
    site.accounts.change("somebody", Role.OPERATOR, frozenset({"gate"}))
    found = client.get(f"/api/v1/events/{event.event_id}/alike").json()
    assert {one["camera"] for one in found} <= {"gate"}


def test_walks_on_other_cameras_take_no_place_of_those_on_ones_own(site: ConsoleSite) -> None:
    user = site.accounts.add("somebody", PASSWORD, Role.OPERATOR, frozenset({"gate"}))
    with Gallery(site.config_path().parent / "people.gallery", key="none") as gallery:
        note(gallery, sighting(1, 5))
        note(gallery, sighting(3, 6))
    [nearest] = alike(site, user.actor(), TrackRef("run", "gate", 6), 0, 1)
    assert (nearest.camera, nearest.track) == ("gate", 6)
    found = alike(site, user.actor(), TrackRef("run", "gate", 5), 0, 2)
    assert [(one.camera, one.track) for one in found] == [("gate", 5), ("gate", 1)]


def test_thresholds_are_shown_and_chosen_by_administrators(app: FastAPI, site: ConsoleSite) -> None:
    client = client_of(app, site, Role.ADMINISTRATOR)
    [shown] = client.get("/api/v1/calibration").json()
    assert (shown["model"], shown["site"]) == (MODEL, None)
    assert shown["threshold"] > 0
    nothing = client.get(f"/api/v1/calibration/{MODEL}/change", params={"threshold": 2})
    assert (nothing.status_code, "no calibration from this site" in nothing.json()["error"]) == (422, True)
    assert client.post(f"/api/v1/calibration/{MODEL}", json={}).json()["threshold"] == shown["threshold"]
    for wrong in ({"from_site": True}, {"keep": False}, {"target_fpir": 0.9}):
        assert client.post(f"/api/v1/calibration/{MODEL}", json=wrong).status_code == 422
    assert client.post("/api/v1/calibration/other", json={}).status_code == 404


def test_a_threshold_of_the_file_is_told_as_the_one_in_use(app: FastAPI, site: ConsoleSite) -> None:
    client = client_of(app, site)
    assert "cams.yaml sets" not in client.get("/calibration").text
    path = site.config_path()
    path.write_text(path.read_text().replace("key: none,", "key: none, threshold: 0.777, margin: 0.055,"))
    page = client.get("/calibration").text
    assert "cams.yaml sets gallery.threshold to 0.777" in page
    assert "in use 0.777" in page
    assert "<dd>0.055</dd>" in page


def test_a_threshold_from_the_site_is_tried_kept_and_asked_about(app: FastAPI, site: ConsoleSite) -> None:
    with Gallery(site.options.state.parent / "people.gallery", key="none") as opened:
        note(opened, *(sighting(number, 100 + number) for number in range(20, 50)))
    client = client_of(app, site, Role.ADMINISTRATOR)
    asked = {"target_fpir": 0.4, "from_site": True, "keep": False}
    tried = client.post(f"/api/v1/calibration/{MODEL}", json=asked)
    assert tried.json()["site"]["target"] == 0.4
    assert client.get("/api/v1/calibration").json()[0]["site"] is None
    client.post(f"/api/v1/calibration/{MODEL}", json=asked | {"keep": True})
    assert client.get("/api/v1/calibration").json()[0]["site"]["strangers"] > 0
    change = client.get(f"/api/v1/calibration/{MODEL}/change", params={"threshold": 1e5}).json()
    assert change["fpir"] == 1.0


def test_the_distances_of_a_gallery_with_more_templates_than_are_searched_for_are_drawn(
    app: FastAPI, site: ConsoleSite, tmp_path: Path
) -> None:
    with Gallery(tmp_path / "people.gallery", key="none") as gallery:
        gallery.enroll_many(
            Enrolment(f"Person {number}", MODEL, PRINT, windows(100 + number, 0)) for number in range(340)
        )
    client = client_of(app, site)
    page = client.get("/calibration", params={"model": MODEL})
    assert (page.status_code, "other people of the gallery" in page.text) == (200, True)
    asked = {"model": MODEL, "threshold": 2}
    assert client.get("/calibration/change", params=asked).status_code == 200
