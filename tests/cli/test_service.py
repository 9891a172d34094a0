"""What docs/service.md promises: exit codes, JSON on standard error, health, unit file, compose file."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitstream.cli import build_parser, main

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy" / "gaitstream.service"
COMPOSE = ROOT / "deploy" / "compose.yaml"


@pytest.fixture(autouse=True)
def _hangups_are_heard() -> Iterator[None]:
    """Whoever runs the tests may have them ignored, as under nohup, and children would inherit that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def cams(folder: Path, url: str = "synth://plaza?live=1&width=160&height=90&fps=5", **extra: Any) -> Path:
    path = folder / "cams.yaml"
    data = {
        "cameras": [{"id": "gate", "url": url}],
        "models": {"detector": "demo"},
        "events": {"endpoint": "tcp://127.0.0.1:0"},
        **extra,
    }
    path.write_text(yaml.safe_dump(data))
    return path


def start(path: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gaitstream", "run", "--cameras", str(path), "--json", *options],
        stderr=subprocess.PIPE, text=True, cwd=path.parent,
    )  # fmt: skip


def finish(process: subprocess.Popen[str], lines: list[dict[str, Any]]) -> int:
    """Read the rest of the log, each line of which must be JSON; the exit code. A run is killed in time."""
    assert process.stderr is not None
    late = threading.Timer(60, process.kill)
    late.start()
    try:
        lines += [json.loads(line) for line in process.stderr]
        return process.wait(30)
    finally:
        late.cancel()


def until(process: subprocess.Popen[str], text: str) -> list[dict[str, Any]]:
    """The log up to the line with a text."""
    assert process.stderr is not None
    lines: list[dict[str, Any]] = []
    for line in process.stderr:
        lines.append(json.loads(line))
        if text in lines[-1]["message"]:
            return lines
    raise AssertionError(f"no {text!r} in {lines}")


def wait_ready(address: str) -> Any:
    """The cameras' states once `/readyz` says yes: counters are read once a second."""
    for _ in range(50):
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=10) as answer:
                return json.load(answer)["cameras"]
        except urllib.error.HTTPError:
            time.sleep(0.1)
    raise AssertionError("never ready")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)])
def test_a_signal_ends_a_run_soon_with_its_exit_code_and_a_summary(
    tmp_path: Path, number: int, code: int
) -> None:
    process = start(cams(tmp_path), "--metrics-port", "0")
    lines = until(process, "camera gate: online")
    [address] = [found[0] for line in lines if (found := re.search(r"http://\S+", line["message"]))]
    with urllib.request.urlopen(f"{address}/healthz", timeout=10) as answer:
        assert answer.status == 200
    assert wait_ready(address) == {"gate": "online"}
    process.send_signal(number)
    asked_s = time.monotonic()
    assert finish(process, lines) == code
    assert time.monotonic() - asked_s < 15.0
    assert any("tracks ended" in line["message"] for line in lines)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)])
def test_a_signal_while_models_load_has_the_same_exit_code(tmp_path: Path, number: int, code: int) -> None:
    process = start(cams(tmp_path))
    lines = until(process, "events at")
    process.send_signal(number)
    assert finish(process, lines) == code
    assert any("stopping as soon as the models are loaded" in line["message"] for line in lines)
    assert not any("online" in line["message"] for line in lines)


def test_a_closed_terminal_ends_no_run_that_was_started_with_nohup(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a child inherits it, as from nohup
    try:
        process = start(cams(tmp_path))
    finally:
        signal.signal(signal.SIGHUP, before)
    lines = until(process, "camera gate: online")
    process.send_signal(signal.SIGHUP)
    time.sleep(1.0)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert finish(process, lines) == 0


def test_a_port_in_use_is_an_error_at_run_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(cams(tmp_path), "--metrics-port", str(taken.getsockname()[1]))
        lines: list[dict[str, Any]] = []
        assert finish(process, lines) == 1
    assert "set metrics.port" in lines[-1]["message"]
    assert (lines[-1]["level"], lines[-1]["exit_code"]) == ("critical", 1)


def test_a_wrong_file_is_a_json_line_and_code_2(tmp_path: Path) -> None:
    process = start(cams(tmp_path, metrics={"prot": 1}))
    lines: list[dict[str, Any]] = []
    assert finish(process, lines) == 2
    assert "did you mean 'port'" in lines[-1]["message"]


def test_a_wrong_command_line_is_a_json_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "--json", "--cameras"])
    assert stop.value.code == 2
    line = json.loads(capsys.readouterr().err)
    assert "expected one argument" in line["message"]
    assert line["exit_code"] == 2


def test_what_libraries_write_to_standard_error_becomes_json(tmp_path: Path) -> None:
    """From C, from a child process, from a warning and from a thread that dies."""
    script = """
import logging, os, subprocess, sys, threading, warnings
from gaitstream.telemetry.logs import start_logging
output = start_logging(table=False, as_json=True, verbose=False)
os.write(2, b"from C: \\xff not [red]text\\n")
subprocess.run([sys.executable, "-c", "import sys; print('from a child', file=sys.stderr)"])
warnings.warn("from a warning")
logging.getLogger("somebody.else").error("from a logger")
logging.getLogger("gaitstream.run").info("from us")
thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
os.write(2, b"half a line")
output.close()
print("after", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *lines, after = done.stderr.splitlines()
    said = [json.loads(line)["message"] for line in lines]
    assert after == "after"
    for text in ("from a child", "from a logger", "from us", "half a line"):
        assert said.count(text) == 1
    assert any("not [red]text" in line for line in said)
    assert any("from a warning" in line for line in said)
    assert any("ZeroDivisionError" in line for line in said)


def words(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


def test_the_unit_file_is_one_and_its_command_is_ours(tmp_path: Path) -> None:
    unit = UNIT.read_text()
    [command] = words(unit, "ExecStart")
    program, *options = shlex.split(command)
    assert Path(program).name == "gaitstream"
    assert build_parser().parse_args(options).json
    assert words(unit, "RestartPreventExitStatus") == ["2 3"]
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here: apt-get install systemd")
    here = tmp_path / "gaitstream.service"
    here.write_text(unit.replace(program, shutil.which("true") or "/bin/true"))
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(here)], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if "gaitstream" in line] == []


def test_live_pictures_are_found_beside_the_unit() -> None:
    """Its /tmp is its own."""
    unit = UNIT.read_text()
    assert "PrivateTmp=yes" in unit
    [folder] = re.findall(r"^RuntimeDirectory=(\S+)$", unit, re.MULTILINE)
    assert f"Environment=XDG_RUNTIME_DIR=/run/{folder}\n" in unit
    assert f"`/run/{folder}`" in (ROOT / "docs" / "evidence.md").read_text()


def test_the_unit_leaves_the_service_little(tmp_path: Path) -> None:
    """By systemd's own rating: 0 is a service that may do nothing, 10 one that may do all."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here: apt-get install systemd")
    done = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=29", "--no-pager", str(UNIT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_runs_our_command_and_asks_for_our_health() -> None:
    service = yaml.safe_load(COMPOSE.read_text())["services"]["gaitstream"]
    assert build_parser().parse_args(service["command"]).metrics_port == 9464
    assert "9464/healthz" in service["healthcheck"]["test"][-1]
    compile(service["healthcheck"]["test"][-1], "healthcheck", "exec")
    dockerfile = (ROOT / "Dockerfile").read_text()
    [place] = [volume.partition(":")[2] for volume in service["volumes"] if not volume.startswith(".")]
    made = f"install -d -o gaitstream -g gaitstream {place}\n"
    assert dockerfile.count(made) == 2  # else the volume is root's
    assert f"GAITSTREAM_CACHE={service['environment']['GAITSTREAM_CACHE']}" in dockerfile


def test_the_compose_file_is_one_by_the_specification(tmp_path: Path) -> None:
    """By the schema of Compose itself; a wrong key is noticed."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("stop_grace_period", "stop_grace"))
    assert subprocess.run([*command, str(wrong)], capture_output=True, check=False).returncode == 1


def test_the_page_and_the_commands_say_the_same_exit_codes() -> None:
    page = (ROOT / "docs" / "service.md").read_text()
    table = re.findall(r"^\| (\d+) \| ", page, re.MULTILINE)
    assert table == ["0", "1", "2", "3", "130"]
