"""A real Chromium, and whoever logs in with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright (dependency group test)")
pytest.importorskip("fastapi", reason="needs the extra [console]")

from playwright.sync_api import Browser, BrowserContext, Locator, Page, StorageState, expect  # noqa: E402

from tests.console.world import PASSWORD, PATIENCE_S, World  # noqa: E402

PATIENCE_MS = PATIENCE_S * 1000
expect.set_options(timeout=PATIENCE_MS)
LogIn = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's browser, headless."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium; scripts/setup.sh installs Debian's")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def sessions() -> dict[str, StorageState]:
    """What the browsers of those who have logged in keep, by user."""
    return {}


@pytest.fixture
def log_in(chromium: Browser, site: World, sessions: dict[str, StorageState]) -> Iterator[LogIn]:
    """Opens the console as somebody, in a browser of their own; a script that fails fails the test."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_as(name: str, **options: Any) -> Page:
        context = chromium.new_context(base_url=site.address, storage_state=sessions.get(name), **options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(f"a script ran: {dialog.message}"))
        if name not in sessions:
            fill_in(page, name, PASSWORD)
            page.wait_for_url("**/live")
            sessions[name] = context.storage_state()
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert not faults


def follow(link: Locator) -> None:
    """Press what leads to another page, and wait for its scripts: before, it hears no key and no press."""
    with link.page.expect_navigation():
        link.click()


def settle(page: Page) -> None:
    """Wait until the page has taken in what it fetched: what is new on it does nothing before."""
    busy = ".htmx-request, .htmx-swapping, .htmx-added, .htmx-settling"
    expect(page.locator(busy)).to_have_count(0)


def fill_in(page: Page, name: str, password: str) -> None:
    """The form of the login, which any address leads to."""
    page.goto("/")
    page.get_by_label("User").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
