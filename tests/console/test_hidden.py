"""Whoever may see some of the cameras learns nothing of the others, by no page, program, stream or export."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
import pytest
from fastapi import Request
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from gaitstream.console import api, pages
from gaitstream.console.jobs import Job
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.pages.stream import messages
from gaitstream.console.permissions import Role
from gaitstream.console.rendering import iso
from gaitstream.console.site import ConsoleSite
from gaitstream.console.worker import JobResult, Task
from gaitstream.events import CameraHandoff, CameraOnline, Event, IdentityFinal
from gaitstream.gallery import Gallery
from gaitstream.gallery.site import SiteCalibration
from gaitstream.gallery.visitors import keep_apart
from tests.console.conftest import Browser
from tests.console.kept import keep_evidence, keep_minutes
from tests.console.making import SECOND_NS, START_NS, final, publish
from tests.gallery.filled import MODEL, PRINT
from tests.gallery.walking import note, sighting, windows

GATE, VAULT = "gate", "vaultcam"
WALK_AT_S = 7_000_123
"""When the hidden walk was; its number is that of its track, too."""
TRACK = 777_123
JOB = "ab" * 16
CONFIG = f"""\
cameras: [{{id: {GATE}, url: /dev/null}}, {{id: {VAULT}, url: /dev/null}}]
gallery: {{path: people.gallery, key: none, visitors: {{enabled: true, distance: 3.0}}}}
evidence: {{keep: true, minutes: 5}}
"""


@dataclass
class Hidden:
    """A site of which one camera is hidden from whoever looks.

    Attributes:
        events: what is asked for, by the camera.
        values: of the parameters in addresses.
    """

    events: dict[str, Event]
    values: dict[str, list[str]]

    @property
    def visitor(self) -> str:
        """Id of the visitor who was at the hidden camera alone."""
        return self.values["visitor_id"][1]

    @property
    def secrets(self) -> list[str]:
        """What no answer may say unless it was asked for."""
        last_ns = (WALK_AT_S + 5) * SECOND_NS
        return [
            VAULT, str(TRACK), self.events[VAULT].event_id, str(last_ns), iso(last_ns),
            "visitor-2", self.visitor,
        ]  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ConsoleSite]:
    """Ada was enrolled at the hidden camera; one visitor was at both, one at the hidden one alone."""
    cams = tmp_path / "cams.yaml"
    cams.write_text(CONFIG)
    with Gallery(tmp_path / "people.gallery", create=True, key="none") as made:
        made.enroll("Ada", MODEL, PRINT, windows(8, 0), source=f"{VAULT} #{TRACK}")
        made.enroll("Ben", MODEL, PRINT, windows(9, 0))
        note(made, sighting(1, 1), sighting(1, TRACK, VAULT, WALK_AT_S), sighting(2, TRACK + 1, VAULT))
        keep_apart(made, "visitor-1", "visitor-2")
        calibrate(made)
    keep_minutes(cams, VAULT, "", START_NS)
    opened = ConsoleSite.open(ConsoleOptions(tmp_path / "state", cameras=cams))
    yield opened
    opened.close()


def calibrate(gallery: Gallery) -> None:
    """A threshold of the site, and one of the hidden camera."""
    found = SiteCalibration(
        threshold=1.0,
        target=0.01,
        fpir=0.0,
        fpir_range=(0.0, 0.1),
        fnir=None,
        strangers=9,
        people=2,
        time_ns=1,
    )
    found = msgspec.structs.replace(found, cameras={VAULT: found})
    with gallery.writing() as writing:
        place = f"site/{MODEL}"
        writing.set(place, gallery.sealer.seal(msgspec.json.encode(found), place))


@pytest.fixture
def hidden(site: ConsoleSite) -> Hidden:
    people = {record.name: uid for uid, record in site.desk.people().items()}
    who = {"person_id": people["Ada"], "candidate_ids": (people["Ada"],), "candidates": (("Ada", 0.4),)}
    events = {GATE: final(1, GATE, 1, **who), VAULT: final(2, VAULT, TRACK, **who)}
    cameras = site.config_path()
    for event in events.values():
        assert isinstance(event, IdentityFinal)
        keep_evidence(cameras, event, windows(8, 1, 2))
    handoff = publish(
        CameraHandoff(
            run="run-1", time_ns=START_NS, camera=GATE, track=1, person="Ada", person_id=people["Ada"],
            from_camera=VAULT, from_track=TRACK, from_run="run-1", left_ns=START_NS, transit_s=3.0,
        )
    )  # fmt: skip
    site.history.add([*events.values(), handoff])
    for camera in (GATE, VAULT):
        site.health.note(publish(CameraOnline(run="run-1", time_ns=START_NS, camera=camera)))
    found = [
        {"who": "Ada", "person_id": people["Ada"], "camera": camera, "run": "run-1", "track": track,
         "time_ns": START_NS, "distance": 0.5, "same": True}
        for camera, track in ((GATE, 1), (VAULT, TRACK))
    ]  # fmt: skip
    task = Task(kind="search", cameras=str(cameras))
    folder = site.options.state / "jobs" / JOB
    folder.mkdir()
    done = Job(
        JOB, "gatekeeper", task, folder, time.monotonic(), "gatekeeper", "done", JobResult(found=found)
    )
    site.jobs._jobs[JOB] = done
    return Hidden(
        events | {"handoff": handoff},
        {
            "event_id": [event.event_id for event in (*events.values(), handoff)],
            "camera": [GATE, VAULT], "run": ["run-1", "run"], "track": ["1", str(TRACK)],
            "person_id": [people["Ada"], people["visitor-2"]],
            "visitor_id": [people["visitor-1"], people["visitor-2"]],
            "number": ["0", "1"], "job_id": [JOB], "name": ["gatekeeper"], "model": [MODEL],
            "time_ns": [str(START_NS)], "user": ["gatekeeper"], "token": ["none"],
        },
    )  # fmt: skip


@pytest.fixture
def gatekeeper(browser: Browser) -> TestClient:
    return browser(Role.OPERATOR, "gatekeeper", frozenset({GATE}))


def addresses(hidden: Hidden, method: str) -> Iterator[str]:
    """Every address of a method, with every value there is."""
    for path in paths(method):
        names = re.findall(r"{(\w+)", path)
        for values in itertools.product(*(hidden.values[name] for name in names)):
            yield re.sub(r"{(\w+)(?::path)?}", "{}", path).format(*values)


def paths(method: str) -> Iterator[str]:
    """Of all pages and operations that end."""
    for prefix, routers in (("", pages.ROUTERS), (api.PREFIX, api.ROUTERS)):
        for route in itertools.chain.from_iterable(router.routes for router in routers):
            if isinstance(route, APIRoute) and method in (route.methods or ()) and "stream" not in route.path:
                yield prefix + route.path


def asked_with(hidden: Hidden) -> Iterator[str]:
    """Further addresses: what is hidden as a filter."""
    for track in (f"run/{VAULT}/{TRACK}", "run/gate/1"):
        yield f"/search?like={track}&days=3650"
        yield f"/events/of/{track}"
    for page in ("/events", "/events/new", "/events/rows", "/events/timeline", "/api/v1/events"):
        yield f"{page}?camera={VAULT}"
        yield page
    yield "/events?person=visitor-2"
    yield f"/events?person={hidden.visitor}"
    yield f"/enrol/walks?camera={VAULT}&person=Eve"
    yield f"/live/{VAULT}/at?at={START_NS // 10**6}"
    yield f"/calibration?model={MODEL}"
    yield f"/calibration/change?model={MODEL}&threshold=1"
    yield f"/api/v1/events/{hidden.events[GATE].event_id}/alike"


def test_no_answer_tells_of_a_hidden_camera(gatekeeper: TestClient, hidden: Hidden) -> None:
    asked = granted = 0
    for address in (*addresses(hidden, "GET"), *asked_with(hidden)):
        answer = gatekeeper.get(address)
        told = [secret for secret in hidden.secrets if secret not in address and secret in answer.text]
        assert not told, address
        if (
            VAULT in address.partition("?")[0]
            or hidden.visitor in address
            or hidden.events[VAULT].event_id in address
        ):
            assert answer.status_code in (403, 404, 422), address
        asked, granted = asked + 1, granted + (answer.status_code == 200)
    assert asked > 150
    assert granted > 50


def test_nothing_is_done_with_what_is_hidden(gatekeeper: TestClient, hidden: Hidden) -> None:
    event, visitor = hidden.events[VAULT].event_id, hidden.values["visitor_id"][1]
    done = 0
    for address in addresses(hidden, "POST"):
        if event in address or visitor in address:
            data = {"person": "Eve", "other": hidden.values["person_id"][0], "template": ["1"]}
            asked = data | {"other_id": data["other"], "name": "Eve", "templates": [1]}
            body = {"json": asked} if address.startswith("/api") else {"data": data}
            refused = 403 if address.endswith("/forget") else 404  # an administrator's, whoever it is
            assert gatekeeper.post(address, **body).status_code == refused, address
            done += 1
    assert done > 8


def test_nothing_is_done_with_a_hidden_visitor_as_a_person(
    gatekeeper: TestClient, site: ConsoleSite, hidden: Hidden
) -> None:
    before = dict(site.desk.people())
    person, visitor = f"/people/{hidden.visitor}", f"/visitors/{hidden.values['visitor_id'][0]}"
    ada = hidden.values["person_id"][0]
    api_ = "/api/v1"
    for address, body in (
        (f"{api_}{person}/name", {"name": "Eve"}), (f"{api_}{person}/merge", {"other_id": ada}),
        (f"{api_}/people/{ada}/merge", {"other_id": hidden.visitor}),
        (f"{api_}{person}/split", {"name": "Eve", "templates": [1]}),
        (f"{api_}{visitor}/apart", {"other_id": hidden.visitor}),
    ):  # fmt: skip
        assert gatekeeper.post(address, json=body).status_code == 404, address
    terms = {"days": 1.0, "consent": "none"}
    assert gatekeeper.put(f"{api_}{person}/terms", json=terms).status_code == 404
    assert gatekeeper.post(f"{visitor}/apart", data={"other": hidden.visitor}).status_code == 404
    assert gatekeeper.get(f"{person}/pictures/1").status_code == 404
    assert dict(site.desk.people()) == before
    assert gatekeeper.post(f"{api_}{visitor}/apart", json={"other_id": ada}).status_code == 204


def test_whoever_sees_everything_is_told_it(browser: Browser, hidden: Hidden) -> None:
    """The same questions of somebody who may know: the test above would find what it looks for."""
    client = browser(Role.OPERATOR, "watchman")
    for page in (
        "/events", "/health", "/calibration", f"/people/{hidden.values['person_id'][0]}", "/visitors",
        f"/api/v1/events/{hidden.events['handoff'].event_id}",
    ):  # fmt: skip
        assert VAULT in client.get(page).text, page
    for page in ("/events", f"/visitors/{hidden.values['visitor_id'][0]}"):
        assert "visitor-2" in client.get(page).text, page
    assert client.get("/events?person=visitor-2").status_code == 200


def test_the_stream_tells_nothing_of_it(site: ConsoleSite, gatekeeper: TestClient, hidden: Hidden) -> None:
    user = site.accounts.require("gatekeeper")
    stored = [site.history.event(event.event_id) for event in hidden.events.values()]

    async def watch(cameras: frozenset[str] | None) -> str:
        stream = messages(cast(Request, None), site, user.actor(), cameras)
        await anext(stream)
        coming = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        site.hub.publish([event for event in stored if event is not None])
        return await coming

    for cameras in (None, frozenset({GATE, VAULT})):
        text = asyncio.run(watch(cameras))
        assert "camera.handoff" in text
        assert not [secret for secret in hidden.secrets if secret in text]
