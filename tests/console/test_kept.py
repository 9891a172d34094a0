"""What a run kept, for pages and programs: an event's bundle, and a camera's last minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gaitstream.cli import main
from gaitstream.config.reading import load_config
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.permissions import Role
from gaitstream.console.site import ConsoleSite
from gaitstream.events import CameraOffline, IdentityFinal, Journal
from gaitstream.events.codec import encode
from gaitstream.evidence.bundles import read_bundle
from gaitstream.evidence.reading import EvidenceReader
from gaitstream.evidence.recent import RecentPieces
from gaitstream.evidence.records import RecentFrame, RecentPerson
from gaitstream.gallery import Gallery
from tests.console.conftest import Browser
from tests.console.kept import MODEL, S_NS, UPSTREAM, keep_evidence, keep_minutes
from tests.console.making import START_NS, final, stranger
from tests.console.test_people import log_of

EVIDENCE = "/api/v1/events/{}/evidence"


@dataclass
class Kept:
    """A site with evidence: Ada walked past the gate, somebody past the yard.

    Attributes:
        ada: her id in the gallery.
        event: of her walk.
    """

    cameras: Path
    gallery: Path
    ada: str
    event: IdentityFinal


@pytest.fixture
def kept(tmp_path: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    cameras = tmp_path / "cams.yaml"
    cameras.write_text(
        "cameras: [{id: gate, url: /dev/null}, {id: yard, url: /dev/null}]\n"
        f"gallery: {{path: {gallery}, key: none}}\nevidence: {{keep: true, minutes: 5}}\n"
    )
    with Gallery(gallery, key="none") as opened:
        ada = next(entry.uid for entry in opened.persons() if entry.name == "Ada")
    event = final(
        5, first_ns=START_NS, person_id=ada, candidates=(("Ada", 0.4),), candidate_ids=(ada,), windows=2
    )
    assert isinstance(event, IdentityFinal)
    windows = np.random.default_rng(3).normal(size=(2, 16, 32)).astype(np.float32)
    keep_evidence(cameras, event, windows)
    Journal(tmp_path / "cams.journal").append(event.topic, encode(event))
    keep_minutes(cameras, "gate", ada, START_NS)
    return Kept(cameras, gallery, ada, event)


@pytest.fixture
def site(tmp_path: Path, kept: Kept) -> Iterator[ConsoleSite]:
    made = ConsoleSite.open(ConsoleOptions(tmp_path / "state", cameras=kept.cameras))
    made.history.add([kept.event])
    yield made
    made.close()


def test_the_bundle_of_an_event_is_whole_and_in_the_log(browser: Browser, kept: Kept, tmp_path: Path) -> None:
    answer = browser().get(f"/events/{kept.event.event_id}/evidence")
    assert answer.headers["content-disposition"].endswith(f'"{kept.event.event_id}.evidence.zip"')
    path = tmp_path / "taken.zip"
    path.write_bytes(answer.content)
    assert main(["evidence", "verify", str(path), "--cameras", str(kept.cameras)]) == 0
    assert read_bundle(path).manifest.exported_by == "console:operator"
    [line] = [line for line in log_of(kept.gallery) if line.action == "evidence.exported"]
    assert (line.actor, line.person) == ("console:operator", kept.ada)


def test_whose_templates_go_along_is_asked(browser: Browser, kept: Kept, tmp_path: Path) -> None:
    path = tmp_path / "taken.zip"
    answer = browser().get(EVIDENCE.format(kept.event.event_id), params={"templates": "none"})
    path.write_bytes(answer.content)
    assert read_bundle(path).manifest.templates_of == "none"
    refused = browser().get(EVIDENCE.format(kept.event.event_id), params={"templates": "everybody"})
    assert refused.status_code == 422


def test_a_bundle_is_for_operators_who_may_see_the_camera(browser: Browser, kept: Kept) -> None:
    address = EVIDENCE.format(kept.event.event_id)
    assert browser(Role.VIEWER).get(address).status_code == 403
    elsewhere = browser(Role.OPERATOR, "elsewhere", frozenset({"yard"}))
    assert elsewhere.get(address).status_code == 404
    assert "evidence.exported" not in [line.action for line in log_of(kept.gallery)]
    page = browser(Role.VIEWER).get(f"/events/{kept.event.event_id}").text
    assert "Save evidence" not in page


def test_an_event_of_which_nothing_is_kept_has_no_bundle(browser: Browser, site: ConsoleSite) -> None:
    site.history.add([other := stranger(9, "yard", track=4)])
    answer = browser().get(EVIDENCE.format(other.event_id))
    assert (answer.status_code, "no journal" in answer.json()["error"]) == (404, True)


def test_the_last_minutes_are_listed_with_the_names_of_now(browser: Browser, kept: Kept) -> None:
    client = browser()
    frames = client.get("/api/v1/cameras/gate/recent").json()
    assert [frame["time_ns"] - START_NS for frame in frames] == [second * S_NS for second in range(30)]
    known, rejected = frames[3]["people"]
    assert (known["person"], known["box"][0]) == ("Ada", 30.0)
    assert (rejected["status"], rejected["reason"]) == ("", "truncated")
    since = {"since_ns": START_NS + 10 * S_NS, "until_ns": START_NS + 12 * S_NS}
    assert len(client.get("/api/v1/cameras/gate/recent", params=since).json()) == 3
    picture = client.get(f"/api/v1/cameras/gate/recent/{frames[3]['time_ns']}")
    assert (picture.headers["content-type"], picture.content[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    assert client.get("/api/v1/cameras/gate/recent/7").status_code == 404


def test_a_camera_page_goes_through_its_last_minutes(browser: Browser, site: ConsoleSite) -> None:
    site.health.note(CameraOffline(run="r", time_ns=START_NS, camera="gate", cause="error", detail="away"))
    client = browser()
    page = client.get("/live/gate").text
    assert "30 of the last minutes" in page
    at = {"at": START_NS // 10**6 + 4_300}
    shown = client.get("/live/gate/at", params=at).text
    assert f"/live/gate/at/{START_NS + 4 * S_NS}" in shown
    assert "Ada" in shown
    assert client.get(f"/live/gate/at/{START_NS + 4 * S_NS}").content[:3] == b"\xff\xd8\xff"
    assert client.get("/live/gate/at", params={"at": 1}).status_code == 404
    assert 'src="/live/gate/last"' in client.get("/live").text
    assert client.get("/live/gate/last").headers["location"].endswith(str(START_NS + 29 * S_NS))


def test_a_camera_that_was_read_to_its_end_is_in_no_trouble(browser: Browser, site: ConsoleSite) -> None:
    site.health.note(
        CameraOffline(run="r", time_ns=START_NS, camera="gate", cause="end_of_stream", detail="")
    )
    client = browser()
    [shown] = client.get("/api/v1/health").json()["cameras"]
    assert (shown["state"], shown["fps"], shown["outages"]) == ("ended", 0.0, 0)
    assert "is offline" not in client.get("/health").text


def test_whoever_is_enrolled_from_an_event_has_its_pictures_beside_the_templates(
    browser: Browser, kept: Kept
) -> None:
    client = browser(Role.ADMINISTRATOR)
    answer = client.post(f"/events/{kept.event.event_id}/enrol", data={"person": "Dora"})
    assert answer.status_code == 303
    [dora] = [one for one in client.get("/api/v1/people").json() if one["name"] == "Dora"]
    address = f"/api/v1/people/{dora['person_id']}"
    shown = client.get(address).json()
    numbers = [one["number"] for one in shown["pictures"]]
    assert len(numbers) == 8
    assert [one["picture"] for one in shown["each_template"]] == [numbers[0], numbers[4]]
    assert client.get(f"{address}/pictures/{numbers[4]}").content[:3] == b"\xff\xd8\xff"
    page = client.get(f"/people/{dora['person_id']}").text
    assert f"/pictures/{numbers[4]}" in page
    assert "far from the others" in page  # the two windows are noise
    with Gallery(kept.gallery, key="none") as gallery:
        assert UPSTREAM in gallery.upstream(MODEL)
    report = client.delete(address).json()
    assert (report["pictures"], report["remains"]) == (8, [])


HIDDEN = (
    "/live/gate/at?at=1", f"/live/gate/at/{START_NS}", "/live/gate/last", "/live/gate/frame",
    "/live/gate/stream", "/api/v1/cameras/gate/recent", f"/api/v1/cameras/gate/recent/{START_NS}",
    "/api/v1/cameras/gate/live", "/api/v1/cameras/gate/live/stream",
)  # fmt: skip


def test_a_camera_that_may_not_be_seen_shows_nothing(browser: Browser) -> None:
    client = browser(Role.OPERATOR, "elsewhere", frozenset({"yard"}))
    assert [client.get(address).status_code for address in HIDDEN] == [404] * len(HIDDEN)


def test_a_site_whose_gallery_is_made_later_shows_what_is_kept_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A console beside a first run opens before the run has made the gallery."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    cameras, where = tmp_path / "cams.yaml", tmp_path / "people.gallery"
    cameras.write_text(
        "cameras: [{id: gate, url: /dev/null}]\n"
        f"gallery: {{path: {where}, key: none}}\nevidence: {{keep: true, minutes: 5}}\n"
    )
    site = ConsoleSite.open(ConsoleOptions(tmp_path / "state", cameras=cameras))
    with closing(site):
        assert not site.album.newest_piece("gate")
        Gallery(where, create=True, key="none").close()
        keep_minutes(cameras, "gate", "", START_NS)
        assert site.album.newest_piece("gate")


def test_forgetting_takes_pictures_of_tracks_that_the_history_alone_names(
    browser: Browser, kept: Kept, site: ConsoleSite
) -> None:
    named = final(40, "yard", track=31, person_id=kept.ada, candidates=(), candidate_ids=(), run="run-8")
    site.history.add([named])
    reader, pieces = EvidenceReader.open(load_config(kept.cameras), kept.cameras), RecentPieces(5)
    for second, track in enumerate((31, 31, 32)):
        people = (RecentPerson(track, (1.0, 2.0, 3.0, 4.0)),)
        frame = RecentFrame(START_NS + second * S_NS, 640, 360, people, "run-8")
        pieces.add(reader.folder, "yard", np.zeros((36, 64, 3), np.uint8), frame)
    client = browser(Role.ADMINISTRATOR)
    report = client.delete(f"/api/v1/people/{kept.ada}").json()
    assert report["remains"] == []
    assert client.get("/api/v1/cameras/gate/recent").json() == []
    [left] = client.get("/api/v1/cameras/yard/recent").json()
    assert [one["track"] for one in left["people"]] == [32]
    assert reader.find(kept.event.camera, kept.event.run, kept.event.track) is None
