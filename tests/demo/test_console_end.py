"""The demo's world in the console: its figures, its events, and an end by Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("fastapi", reason="needs the extra [console]")

import httpx

from gaitstream.events import Journal, Publisher
from tests.console.world import CAMERAS, CAMS, LOOPBACK, final, make_gallery
from tests.demo.test_score import record, track

OPEN = """
import sys
from pathlib import Path
import msgspec
from rich.console import Console
from gaitstream.demo.console_end import open_console
from gaitstream.demo.record import DemoRecord
root = Path(sys.argv[1])
record = msgspec.json.decode((root / "record.json").read_bytes(), type=DemoRecord)
open_console(root, record, 0, Console(width=200))
"""


def leave_a_world(root: Path) -> None:
    """What a demo leaves, by hand."""
    people = make_gallery(root / "people.gallery")
    lines = "\n".join(f"  - {{id: {camera}, url: 'synth://plaza'}}" for camera in CAMERAS)
    (root / "cams.yaml").write_text(CAMS.format(cameras=lines), encoding="utf-8")
    with Publisher(Journal(root / "journal"), LOOPBACK, LOOPBACK) as publisher:
        publisher.publish(final(people, "lobby", 5, time.time_ns(), "Mei Tanaka"))
    (root / "record.json").write_bytes(msgspec.json.encode(record([track(person="Ada")])))


def test_the_console_is_open_on_what_the_demo_left(tmp_path: Path) -> None:
    leave_a_world(tmp_path)
    command = [sys.executable, "-c", OPEN, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        password = address = ""
        while not address:
            line = process.stdout.readline()
            assert line, "it ended"
            password = (re.search(r"shown this once: (\S+)", line) or ["", password])[1]
            address = (re.search(r"Console: (http://\S+/)", line) or ["", ""])[1]
        look(address, password)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, -signal.SIGINT, 130)


def look(address: str, password: str) -> None:
    """Log in, and see the figures and the events."""
    transport = httpx.HTTPTransport(retries=20)
    with httpx.Client(base_url=address, follow_redirects=True, transport=transport, timeout=20) as browser:
        csrf = re.search(r'name="csrf" (?:content|value)="(\w+)"', browser.get("/login").text)
        assert csrf is not None
        form = {"csrf": csrf[1], "name": "admin", "password": password}
        assert browser.post("/login", data=form).url.path == "/live"
        figures = browser.get("/demo").text
        assert "enrolled people recognised" in figures
        assert 'href="/demo"' in figures
        until_s = time.monotonic() + 10
        while "Mei Tanaka" not in browser.get("/events").text:
            assert time.monotonic() < until_s
            time.sleep(0.1)
