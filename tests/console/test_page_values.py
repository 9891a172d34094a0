"""Every page asked with values that nobody means: an answer in words, never a failure inside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from gaitstream.console import jobs, pages
from gaitstream.console.app import create_app
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.permissions import Role
from gaitstream.console.site import ConsoleSite
from tests.console.conftest import BASE, PASSWORD, log_in
from tests.console.making import final, stranger

HOSTILE = (
    "", "-1", "9" * 25, "..", "a\x00b\r\nX-Bad: 1", "<script>alert(1)</script>{{7*7}}' OR 1=1 --",
    "[" * 20_000, "a/b/" + "9" * 30, "9999-12-31T23:59:59Z", "0001-01-01", "[[[NaN,1],[2,3],[4,5]]]",
)  # fmt: skip
KNOWN = {
    "id": "gate", "url": "synth://plaza", "role": "viewer", "model": "gait", "by": "gallery", "fpir": "1",
    "camera": "gate", "run": "run-1", "track": "1", "threshold": "1", "at": "1", "days": "7",
}  # fmt: skip
"""What else is said, so that one value alone is wrong; ids come with the site."""


@pytest.fixture
def known(
    tmp_path: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ConsoleSite, dict[str, str]]]:
    """A site with a little of everything, and values that are right there."""
    monkeypatch.setattr(jobs, "MOST_WAITING", 0)  # trials of cameras start processes
    cams = tmp_path / "cams.yaml"
    cams.write_text(f"cameras: [{{id: gate, url: /dev/null}}]\ngallery: {{path: {gallery}, key: none}}\n")
    site = ConsoleSite.open(ConsoleOptions(tmp_path / "state", cameras=cams))
    event = final(1)
    site.history.add([event, stranger(2)])
    ada = next(uid for uid, record in site.desk.people().items() if record.name == "Ada")
    yield site, KNOWN | {"event_id": event.event_id, "person_id": ada}
    site.close()


@pytest.fixture
def client(known: tuple[ConsoleSite, dict[str, str]]) -> Iterator[TestClient]:
    """An administrator's browser, with one event loop for all that it asks."""
    site, _ = known
    site.accounts.add("boss", PASSWORD, Role.ADMINISTRATOR)
    app = create_app(site)
    with TestClient(app, base_url=BASE, follow_redirects=False, raise_server_exceptions=False) as browser:
        log_in(browser, "boss", PASSWORD)
        yield browser


def pages_that_end() -> Iterator[tuple[str, APIRoute]]:
    """Every page, and every form that is sent to one."""
    for router in pages.ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and "stream" not in route.path and route.path != "/logout":
                yield from ((method, route) for method in sorted(route.methods or ()))


def requests_of(
    method: str, route: APIRoute, known: dict[str, str]
) -> Iterator[tuple[str, str, dict[str, str]]]:
    """One request for each field and value: method, address, and the form."""
    own_query, own_form = (
        fields_of(route.dependant, "query_params"),
        fields_of(route.dependant, "body_params"),
    )
    names = re.findall(r"{(\w+)", route.path)
    for own in (*names, *own_query, *own_form):
        for value in HOSTILE:
            values = {name: known.get(name, "x") for name in (*names, *own_query, *own_form)} | {own: value}
            path = route.path.replace(":path", "").format(
                **{name: quote(values[name], safe="") for name in names}
            )
            query = {name: values[name] for name in own_query if name in known or name == own}
            yield method, f"{path}?{urlencode(query)}", {name: values[name] for name in own_form}


def fields_of(dependant: Dependant, kind: str) -> list[str]:
    """Names of the fields that a handler and what it depends on take."""
    own = [field.alias for field in getattr(dependant, kind)]
    return own + [name for one in dependant.dependencies for name in fields_of(one, kind)]


def test_no_value_breaks_a_page(client: TestClient, known: tuple[ConsoleSite, dict[str, str]]) -> None:
    asked, broken = 0, []
    for method, route in pages_that_end():
        for how, address, form in requests_of(method, route, known[1]):
            answer = client.request(how, address, data=form or None)
            asked += 1
            if answer.status_code >= 500 or "X-Bad" in answer.headers or "<script>alert" in answer.text:
                broken.append((how, address[:120], {k: v[:30] for k, v in form.items()}, answer.status_code))
    assert not broken
    assert asked > 1000
