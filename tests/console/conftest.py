"""A console in this process: a real application, history and gallery, and browsers of its users."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra [console]")

from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gaitstream.console import accounts
from gaitstream.console.app import create_app
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.permissions import Role
from gaitstream.console.site import ConsoleSite
from gaitstream.gallery import Gallery

PASSWORD = "correct horse battery"
BASE = "http://localhost"
Browser = Callable[..., TestClient]


@pytest.fixture(autouse=True)
def _quick_passwords(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords hashed in a millisecond: the tests log in a hundred times."""
    if "real_passwords" not in request.fixturenames:
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        monkeypatch.setattr(accounts, "_hasher", lambda: hasher)
        accounts._nobody.cache_clear()


@pytest.fixture
def real_passwords() -> None:
    """Passwords hashed as the console does."""
    accounts._nobody.cache_clear()


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Three people with two templates each."""
    path = tmp_path / "people.gallery"
    random = np.random.default_rng(7)
    with Gallery(path, create=True, key="none") as made:
        for name in ("Ada", "Ben", "Cleo"):
            centre = random.normal(size=(16, 32))
            made.enroll(
                name,
                "gait",
                "f" * 64,
                (centre + random.normal(scale=0.01, size=(2, 16, 32))).astype(np.float32),
            )
    return path


@pytest.fixture
def site(tmp_path: Path, gallery: Path) -> Iterator[ConsoleSite]:
    """An opened console without a bus."""
    made = ConsoleSite.open(ConsoleOptions(tmp_path / "state", gallery=gallery, key="none"))
    yield made
    made.close()


@pytest.fixture
def app(site: ConsoleSite) -> FastAPI:
    """The application of that console."""
    return create_app(site)


@pytest.fixture
def anonymous(app: FastAPI) -> TestClient:
    """A browser nobody has logged in with."""
    return TestClient(app, base_url=BASE, follow_redirects=False)


@pytest.fixture
def browser(site: ConsoleSite, app: FastAPI) -> Browser:
    """Makes browsers that somebody of a role, and of cameras, has logged in with."""

    def make(role: Role = Role.OPERATOR, name: str = "", cameras: frozenset[str] | None = None) -> TestClient:
        user = name or role.value
        if site.accounts.find(user) is None:
            site.accounts.add(user, PASSWORD, role, cameras)
        client = TestClient(app, base_url=BASE, follow_redirects=False)
        log_in(client, user, PASSWORD)
        return client

    return make


def log_in(client: TestClient, name: str, password: str) -> int:
    """Fill in the form as a browser does; the status of the answer."""
    page = client.get("/login").text
    answer = client.post("/login", data={"csrf": csrf_of(page), "name": name, "password": password})
    if answer.status_code == 303:
        client.headers["X-CSRF-Token"] = csrf_of(client.get("/events").text)
    return int(answer.status_code)


def csrf_of(page: str) -> str:
    """The token that a page's forms carry."""
    match = re.search(r'name="csrf" (?:content|value)="([0-9a-f]{64})"', page)
    assert match is not None
    return match[1]
