"""Parts of pages are made once for many, and nobody is shown what is another's, or of before."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

pytest.importorskip("fastapi", reason="needs the extra [console]")

from jinja2 import UndefinedError

from gaitstream.console.history import EventFilter
from gaitstream.console.permissions import PERMISSIONS, Actor, Rights, Role
from gaitstream.console.rendering import render_part
from gaitstream.console.sharing import KEPT_S, MOST, SharedParts
from gaitstream.console.site import ConsoleSite
from gaitstream.events import CameraOnline
from tests.console.conftest import Browser, csrf_of
from tests.console.making import START_NS, final, publish

SHARED = ("/events", "/events/new", "/events/timeline", "/live", "/live/wall", "/live/latest", "/health")
"""Addresses whose answers have parts in common."""


@dataclass
class Changeable:
    """Something that parts are made from."""

    changes: int = 0


class Made:
    """Shared parts, and how often one was made."""

    def __init__(self) -> None:
        self.names, self.history, self.now_s, self.times = Changeable(), Changeable(), 100.0, 0
        self.parts = SharedParts(self.names, self.history, Changeable(), clock=lambda: self.now_s)

    def ask(self, actor: Actor, lag_s: float = 0.0, what: object = "part") -> str:
        return self.parts.of(actor, what, self.make, lag_s)

    def make(self, rights: Rights) -> str:
        self.times += 1
        return f"{self.times}: {sorted(rights.cameras or ())}"


def viewer(name: str, *cameras: str, role: Role = Role.VIEWER) -> Actor:
    return Actor(name=name, role=role, permissions=PERMISSIONS[role], cameras=frozenset(cameras))


def test_a_part_is_made_once_for_whoever_has_the_same_rights() -> None:
    made = Made()
    assert made.ask(viewer("ada", "gate")) == made.ask(viewer("ben", "gate")) == "1: ['gate']"
    assert made.ask(viewer("cleo", "hall")) == "2: ['hall']"
    assert made.ask(viewer("dan", "gate", role=Role.OPERATOR)) == "3: ['gate']"
    assert made.ask(viewer("eve", "gate"), what="another") == "4: ['gate']"


def test_a_part_is_made_anew_after_a_change_and_after_a_while() -> None:
    made, ada = Made(), viewer("ada")
    made.ask(ada)
    made.history.changes += 1
    assert made.ask(ada)[0] == "2"
    made.now_s += KEPT_S
    assert made.ask(ada)[0] == "3"


def test_a_part_may_lag_where_that_is_allowed_but_not_with_its_names() -> None:
    made, ada = Made(), viewer("ada")
    made.ask(ada, 0.5)
    made.history.changes += 1
    assert made.ask(ada, 0.5)[0] == "1"
    made.names.changes += 1
    assert made.ask(ada, 0.5)[0] == "2"
    made.now_s += 0.5
    made.history.changes += 1
    assert made.ask(ada, 0.5)[0] == "3"


def test_who_waits_for_a_part_takes_it_unless_something_changed_since_it_was_begun() -> None:
    made, ada, begun, go = Made(), viewer("ada"), threading.Event(), threading.Event()

    def slowly(rights: Rights) -> str:
        begun.set()
        assert go.wait(20)
        return made.make(rights)

    with ThreadPoolExecutor(8) as browsers:
        first = browsers.submit(made.parts.of, ada, "part", slowly)
        assert begun.wait(20)
        before = [browsers.submit(made.ask, ada) for _ in range(3)]
        made.history.changes += 1
        after = [browsers.submit(made.ask, ada) for _ in range(3)]
        go.set()
        assert first.result()[0] == "1"
        assert {one.result()[0] for one in before} <= {"1", "2"}
        assert {one.result()[0] for one in after} == {"2"}


def test_few_parts_are_kept() -> None:
    made, ada = Made(), viewer("ada")
    for number in range(3 * MOST):
        made.ask(ada, what=number)
    assert len(made.parts._parts) == MOST


def test_a_part_that_cannot_be_made_is_tried_again() -> None:
    made = Made()
    with pytest.raises(ZeroDivisionError):
        made.parts.of(viewer("ada"), "part", lambda _: 1 // 0)
    assert made.ask(viewer("ada")) == "1: []"


def test_parts_have_nothing_of_whoever_asks() -> None:
    with pytest.raises(UndefinedError):
        render_part("base.html")


def fill(site: ConsoleSite) -> None:
    """An event and a camera that is online at the gate and in the hall."""
    for at, camera in enumerate(("gate", "hall")):
        event = final(at, camera, 77_001 + at)
        site.history.add([event])
        for one in (event, publish(CameraOnline(time_ns=START_NS, camera=camera))):
            site.health.note(one)


def test_browsers_of_different_cameras_ask_at_once_and_see_their_own(
    site: ConsoleSite, browser: Browser
) -> None:
    fill(site)
    gate, hall = (browser(Role.VIEWER, name, frozenset({name})) for name in ("gate", "hall"))
    everything = browser(Role.VIEWER, "everything")
    for address in (*SHARED, "/events/new?after_ns=1", "/events?status=known"):
        both = everything.get(address).text
        for client, own, other in ((gate, "gate", "hall"), (hall, "hall", "gate")):
            for _ in range(2):
                page = client.get(address).text
                shown = page.replace(f'<span class="clip">{own}</span><br>', "")  # the user's own name
                assert own in shown, address
                assert other not in shown, address
        assert "gate" in both, address
        assert "hall" in both, address
    for client, status in ((gate, 200), (hall, 404)):
        assert client.get("/live/gate").status_code == status


def test_what_only_some_may_know_is_not_shared_with_others(site: ConsoleSite, browser: Browser) -> None:
    fill(site)
    assert "<option>Ben</option>" in browser(Role.OPERATOR).get("/events").text
    assert "<option>Ben</option>" not in browser(Role.VIEWER).get("/events").text


def test_every_page_has_its_own_browser_s_token(site: ConsoleSite, browser: Browser) -> None:
    fill(site)
    pages = [browser(Role.VIEWER, name).get("/events").text for name in ("ada", "ben")]
    assert len({csrf_of(page) for page in pages}) == 2
    assert [">ada<" in page for page in pages] == [True, False]


def test_a_name_is_never_of_before(site: ConsoleSite, browser: Browser) -> None:
    uid = next(uid for uid, record in site.desk.people().items() if record.name == "Ada")
    site.history.add([final(1, person_id=uid, candidate_ids=(uid, "b" * 20))])
    client = browser()
    assert all(">Ada<" in client.get(address).text for address in ("/events", "/live/latest"))
    assert client.post(f"/people/{uid}/rename", data={"person": "Zoe"}).status_code in (200, 303)
    for address in ("/events", "/live/latest"):
        page = client.get(address).text
        assert ">Zoe<" in page
        assert ">Ada<" not in page


def test_a_new_event_is_there_as_soon_as_it_was_told(site: ConsoleSite, browser: Browser) -> None:
    client = browser()
    for at in range(3):
        site.history.add([final(at, track=88_001 + at)])
        for address in ("/events/new", "/events/timeline", "/live/latest"):
            assert f"#{88_001 + at}" in client.get(address).text, address


def test_changes_of_a_history_are_counted(site: ConsoleSite) -> None:
    event, counted = final(1), [site.history.changes]

    def note() -> None:
        counted.append(site.history.changes)

    site.history.add([event])
    note()
    site.history.settle(event.event_id)
    note()
    site.history.forget("nobody")
    note()
    site.history.prune(START_NS)
    note()
    assert counted == sorted(set(counted))
    site.history.page(EventFilter(), 1)
    note()
    assert counted[-1] == counted[-2]
