"""A console with a certificate of its own, in a real Chromium: what it makes of the session's cookie."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="needs Playwright (dependency group test)")
pytest.importorskip("fastapi", reason="needs the extra [console]")

from playwright.sync_api import Browser, expect

from gaitstream.console.options import ConsoleOptions
from tests.console.browser.conftest import fill_in
from tests.console.certificate import make_certificate
from tests.console.world import PASSWORD, console


def test_a_browser_takes_and_gives_up_the_session_of_a_console_with_tls(
    chromium: Browser, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    options = ConsoleOptions(tmp_path / "state", port=0, certificate=certificate, certificate_key=key)
    with (
        console(options, ("vera",)) as (address, _),
        chromium.new_context(base_url=address, ignore_https_errors=True) as context,
    ):
        page = context.new_page()
        fill_in(page, "vera", PASSWORD)
        expect(page.get_by_role("heading", name="Live", level=1)).to_be_visible()
        [cookie] = context.cookies()
        assert (cookie["name"], cookie["path"]) == ("__Host-gaitstream_session", "/")
        assert cookie["secure"]
        assert cookie["httpOnly"]
        page.get_by_text("viewer").click()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("button", name="Log in")).to_be_visible()
        [stranger] = context.cookies()
        assert stranger["value"] != cookie["value"]
