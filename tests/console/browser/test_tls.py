"""A console with a certificate of its own, in a real Chromium: what it makes of the session's cookie."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="needs Playwright (dependency group test)")
pytest.importorskip("fastapi", reason="needs the extra [console]")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import Browser, expect

from gaitstream.console.options import ConsoleOptions
from tests.console.browser.conftest import fill_in
from tests.console.world import PASSWORD, console


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of localhost that nobody has signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, private


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
