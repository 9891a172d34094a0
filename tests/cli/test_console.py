"""The console's commands, in processes of their own."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gaitstream.cli import main

pytest.importorskip("fastapi", reason="needs the extra [console]")

PATIENCE_S = 60.0
CAMS = """\
cameras: [{{id: gate, url: "synth://plaza?live=1&width=160&height=90&fps=5"}}]
events: {{endpoint: "tcp://127.0.0.1:{port}"}}
"""


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gaitstream(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command here; its exit code, and what it says on both outputs."""

    def run(*words: str, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        code = main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "gaitstream", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def said(process: subprocess.Popen[str], pattern: str) -> str:
    """What a line says, once it comes."""
    for line in process.stdout or ():
        if match := re.search(pattern, line):
            return match[1]
    raise AssertionError(f"nothing was said like {pattern}")


def answers(url: str) -> int:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        try:
            return int(httpx.get(url).status_code)
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


def test_users_and_tokens_come_and_go(gaitstream: Run, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path))
    added = gaitstream(
        "console", "users", "add", "ben", "--camera", "gate", *state, typed="a long password\n"
    )
    assert added == (0, "added ben, viewer\n", "")
    _, made, _ = gaitstream("console", "users", "add", "eve", "--role", "administrator", *state)
    assert "shown this once: " in made
    assert gaitstream("console", "users", "change", "ben", "--role", "operator", *state)[0] == 0
    _, token, _ = gaitstream("console", "tokens", "add", "ben", "robot", "--scope", "events:read", *state)
    assert token.startswith("gst_")
    _, listed, _ = gaitstream("console", "users", "list", *state)
    assert listed == "ben  operator  all cameras\neve  administrator  all cameras\n"
    wrong, _, words = gaitstream("console", "tokens", "add", "ben", "t", "--scope", "everything", *state)
    assert (wrong, "events:read" in words) == (2, True)
    assert gaitstream("console", "users", "remove", "ben", *state)[0] == 0
    assert gaitstream("console", "tokens", "list", *state)[1] == ""
    last, _, words = gaitstream("console", "users", "remove", "eve", *state)
    assert (last, "last administrator" in words) == (1, True)


def test_other_machines_without_tls_are_refused(gaitstream: Run, tmp_path: Path) -> None:
    refused, _, words = gaitstream("console", "--host", "0.0.0.0", "--state", str(tmp_path))
    assert (refused, "--tls-certificate" in words) == (1, True)


@pytest.mark.slow
def test_the_first_start_prints_a_password_once(tmp_path: Path) -> None:
    words = ("console", "--state", str(tmp_path), "--port", str(free_port()))
    with running(*words) as first:
        assert len(said(first, r"shown this once: (\S+)")) == 20
        address = said(first, r"console at (http://\S+)")
        assert answers(f"{address}login") == 200
    with running(*words) as second:
        output = []
        for line in second.stdout or ():
            output.append(line)
            if "console at" in line:
                break
    assert not any("shown this once" in line for line in output)


@pytest.mark.slow
def test_a_run_has_its_console_beside_it_and_takes_it_along(tmp_path: Path) -> None:
    cams = tmp_path / "cams.yaml"
    cams.write_text(CAMS.format(port=free_port()))
    port = free_port()
    words = ("run", "--cameras", str(cams), "--console", "--console-port", str(port), "--no-table")
    with running(*words) as run:
        password = said(run, r"shown this once: (\S+)")
        assert answers(f"http://127.0.0.1:{port}/login") == 200
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            _log_in(client, password)
            end_s = time.monotonic() + PATIENCE_S
            while not client.get("/api/v1/events", params={"type": "run.started"}).json()["events"]:
                assert time.monotonic() < end_s
                time.sleep(0.2)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port}/login")
    assert os.path.exists(tmp_path / "console" / "history.db")


def _log_in(client: httpx.Client, password: str) -> None:
    match = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get("/login").text)
    assert match is not None
    form = {"csrf": match[1], "name": "admin", "password": password}
    assert client.post("/login", data=form).status_code == 303


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--port", "99999"), "1 to 65535"),
        (("--port", "{taken}"), "cannot be listened on"),
        (("--events", "nonsense"), "give addresses as tcp://127.0.0.1:5556"),
    ],
)
def test_a_console_that_cannot_begin_says_what_to_give_instead(
    gaitstream: Run, tmp_path: Path, words: tuple[str, str], told: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused, _, said = gaitstream(
            "console", *(word.format(taken=port) for word in words), "--state", str(tmp_path),
            *(() if "--port" in words else ("--port", "0")),
        )  # fmt: skip
    assert (refused, told in said) == (1, True), said
