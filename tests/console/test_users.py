"""Administrators and the accounts of others, on the pages and in REST."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gaitstream.console.permissions import Permission, Role
from gaitstream.console.site import ConsoleSite
from tests.console.conftest import BASE, PASSWORD, Browser, log_in
from tests.console.test_people import log_of


@pytest.fixture
def root(browser: Browser) -> TestClient:
    return browser(Role.ADMINISTRATOR, "root")


def shown_once(page: str) -> str:
    """The secret that a page shows."""
    [found] = re.findall(r"<code>([^<]+)</code>", page)
    return str(found)


def test_a_user_is_added_with_a_password_that_is_shown_once(
    root: TestClient, anonymous: TestClient, site: ConsoleSite, gallery: Path
) -> None:
    form = {"name": "ines", "role": "operator", "camera": ["gate", "yard"]}
    password = shown_once(root.post("/users", data=form).text)
    assert password not in root.get("/users").text
    assert log_in(anonymous, "ines", password) == 303
    assert site.accounts.require("ines").cameras == frozenset({"gate", "yard"})
    assert log_of(gallery)[-1].detail == "ines: operator, gate yard"


def test_role_and_cameras_change_at_once(root: TestClient, browser: Browser, site: ConsoleSite) -> None:
    ines = browser(Role.OPERATOR, "ines")
    assert ines.get("/people").status_code == 200
    root.post("/users/ines", data={"role": "viewer", "everywhere": "true"})
    assert ines.get("/people").status_code == 403
    assert site.accounts.require("ines").cameras is None
    root.post("/users/ines", data={"role": "viewer"})
    assert site.accounts.require("ines").cameras == frozenset()


def test_another_password_ends_the_sessions_of_before(
    root: TestClient, browser: Browser, anonymous: TestClient
) -> None:
    ines = browser(Role.OPERATOR, "ines")
    password = shown_once(root.post("/users/ines/password").text)
    assert ines.get("/events").status_code == 303
    assert log_in(anonymous, "ines", PASSWORD) == 401
    assert log_in(anonymous, "ines", password) == 303


def test_another_password_revokes_the_tokens_of_before_and_ones_own_tells_of_them(
    root: TestClient, browser: Browser, app: FastAPI, site: ConsoleSite
) -> None:
    ines = browser(Role.OPERATOR, "ines")

    def program() -> TestClient:
        token = site.accounts.new_token("ines", "export", frozenset({Permission.EVENTS_READ}))
        return TestClient(app, base_url=BASE, headers={"Authorization": f"Bearer {token}"})

    before = program()
    form = {"old": PASSWORD, "new": "another horse battery"}
    said = unquote(ines.post("/account/password", data=form).cookies["said"])
    assert "1 of your tokens" in unquote(said)
    assert before.get("/api/v1/events").status_code == 200
    assert "1 token is revoked" in root.post("/users/ines/password").text
    assert before.get("/api/v1/events").status_code == 401
    before = program()
    new = {"password": "yet another battery"}
    assert root.put("/api/v1/users/ines/password", json=new).status_code == 204
    assert before.get("/api/v1/events").status_code == 401


def test_a_token_of_somebody_is_made_with_scopes_and_revoked(
    root: TestClient, browser: Browser, app: FastAPI
) -> None:
    browser(Role.VIEWER, "robot")
    page = root.post("/users/robot/tokens", data={"name": "export", "scope": ["events:read"]}).text
    headers = {"Authorization": f"Bearer {shown_once(page)}"}
    program = TestClient(app, base_url=BASE, headers=headers)
    assert program.get("/api/v1/events").status_code == 200
    assert program.get("/api/v1/health").status_code == 403
    more = root.post("/users/robot/tokens", data={"name": "more", "scope": ["people:read"]})
    assert more.status_code == 422
    assert "export" in root.get("/users/robot").text
    root.post("/users/robot/tokens/export/revoke")
    assert program.get("/api/v1/events").status_code == 401


def test_a_removed_user_is_out_and_the_last_administrator_stays(root: TestClient, browser: Browser) -> None:
    ines = browser(Role.OPERATOR, "ines")
    assert root.post("/users/ines/remove").status_code == 303
    assert ines.get("/events").status_code == 303
    assert root.post("/users/root/remove").status_code == 422
    assert root.post("/users/root", data={"role": "viewer"}).status_code == 422


def test_programs_do_the_same_and_give_no_more_than_they_hold(
    root: TestClient, app: FastAPI, site: ConsoleSite, gallery: Path
) -> None:
    user = {"name": "ines", "role": "administrator", "password": PASSWORD}
    assert root.post("/api/v1/users", json=user).status_code == 201
    token = site.accounts.new_token("root", "hr", frozenset({Permission.ACCOUNTS_WRITE}))
    program = TestClient(app, base_url=BASE, headers={"Authorization": f"Bearer {token}"})
    asked = {"name": "x", "scopes": ["people:forget"]}
    assert program.post("/api/v1/users/ines/tokens", json=asked).status_code == 403
    made = root.post("/api/v1/users/ines/tokens", json={"name": "x", "scopes": ["health:read"]})
    assert (made.status_code, made.json()["user"]) == (201, "ines")
    assert [one["name"] for one in root.get("/api/v1/users/ines/tokens").json()] == ["x"]
    assert root.delete("/api/v1/users/ines/tokens/x").status_code == 204
    new = {"password": "another horse battery"}
    assert root.put("/api/v1/users/ines/password", json=new).status_code == 204
    assert site.accounts.check("ines", new["password"]) is not None
    actions = [line.action for line in log_of(gallery)]
    assert actions[-4:] == ["user.added", "token.added", "token.removed", "user.password"]
