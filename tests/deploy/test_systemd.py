"""The unit file under a real systemd: set up as the page says, ready, killed, stopped, misconfigured.

systemd is PID 1 of namespaces of its own (`boot_systemd.sh`), on a copy-on-write view of this machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOOT = Path(__file__).with_name("boot_systemd.sh")
SYSTEMD = Path("/lib/systemd/systemd")
NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--kill-child")
PATIENCE_S = 90.0
PASSWORD = "s3cret-of-the-yard"
CAMS = """\
cameras:
- {id: gate, url: "synth://plaza?live=1&width=160&height=90&fps=5"}
- {id: yard, url: "rtsp://viewer:${RTSP_PASSWORD}@127.0.0.1:9/main"}
events: {journal: /var/lib/gaitstream/events}
gallery: {path: /var/lib/gaitstream/people.gallery}
"""


def _possible() -> bool:
    if os.geteuid() != 0 or not SYSTEMD.exists() or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not _possible(), reason="needs systemd (apt-get install systemd), root and namespaces"
    ),
]


class Machine:
    """What runs under the booted systemd; commands run beside it, in its namespaces."""

    def __init__(self, process: int) -> None:
        self._enter = ["nsenter", "--target", str(process), "--mount", "--pid", "--net", "--uts", "--ipc"]

    def run(self, command: str, *, check: bool = True, folder: str = "/site") -> str:
        words = [*self._enter, "bash", "-ec", f"cd {folder}; {command}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def show(self, key: str) -> str:
        return self.run(f"systemctl show gaitstream --property={key} --value").strip()

    def get(self, path: str) -> str:
        """What the health endpoint answers; empty while it does not say yes."""
        code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464{path}').read().decode())"
        return self.run(f'/usr/bin/python3 -c "{code}"', check=False)

    def until(self, met: Callable[[], object], what: str) -> None:
        begun_s = time.monotonic()
        while not met():
            log = self.run("journalctl -u gaitstream --no-pager | tail -20", check=False)
            assert time.monotonic() - begun_s < PATIENCE_S, f"not {what}: {log}"
            time.sleep(0.3)

    def log(self) -> list[str]:
        return self.run("journalctl -u gaitstream -o cat --no-pager").splitlines()


@contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """A machine with the site's files in /site and the checkout in /opt/gaitstream."""
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "cams.yaml").write_text(CAMS)
    program = folder / "gaitstream"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH=/opt/gaitstream:/opt/gaitstream/.venv/lib/{version}/site-packages "
        f'exec /opt/python/bin/{version} -m gaitstream "$@"\n'
    )
    program.chmod(0o755)
    command = ["unshare", *NAMESPACES, str(BOOT), str(folder), str(ROOT), sys.prefix, sys.base_prefix]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            machine = Machine(_child_of(process.pid))
            begun_s = time.monotonic()
            while "running" not in machine.run("systemctl is-system-running", check=False, folder="/"):
                if process.poll() is not None or time.monotonic() - begun_s > 20:
                    pytest.skip("systemd does not boot in these namespaces")
                time.sleep(0.2)
            yield machine
        finally:
            process.kill()


def _child_of(process: int) -> int:
    for _ in range(50):
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.1)
    raise AssertionError("unshare started nothing")


def set_up() -> str:
    """The commands of the page, but for the one that follows the log for ever."""
    page = (ROOT / "docs" / "service.md").read_text()
    [block] = re.findall(r"```sh\n(useradd .*?)```", page, re.DOTALL)
    lines = (line for line in block.splitlines() if not line.startswith("journalctl"))
    return "\n".join(lines).replace("RTSP_PASSWORD=...", f"RTSP_PASSWORD={PASSWORD}")


def test_the_service_as_the_page_sets_it_up(tmp_path: Path) -> None:
    with booted(tmp_path / "machine") as machine:
        machine.run(set_up())
        machine.until(lambda: machine.get("/readyz"), "ready")
        assert json.loads(machine.get("/readyz"))["cameras"]["gate"] == "online"
        assert json.loads(machine.get("/healthz"))
        assert machine.run("systemctl is-enabled gaitstream").strip() == "enabled"
        assert _user_of(machine) == "gaitstream"
        owners = machine.run(
            "find /var/lib/gaitstream -ignore_readdir_race -printf '%u %m\\n' | sort -u"
        ).split()
        assert set(owners[::2]) == {"gaitstream"}
        assert all(
            int(mode, 8) & 0o077 == 0 for path, mode in _files(machine) if path != "/var/lib/gaitstream"
        )
        assert not any(PASSWORD in line for line in machine.log())

        before = machine.show("MainPID")
        machine.run(f"kill -KILL {before}")
        machine.until(lambda: machine.show("NRestarts") == "1" and machine.get("/readyz"), "restarted")
        assert machine.show("MainPID") not in (before, "0")

        begun_s = time.monotonic()
        machine.run("systemctl stop gaitstream")
        assert time.monotonic() - begun_s < 15
        assert [machine.show(key) for key in ("ActiveState", "Result", "ExecMainStatus")] == [
            "inactive", "success", "0"
        ]  # fmt: skip
        said = [json.loads(line) for line in machine.log() if line.startswith("{")]
        assert any("tracks ended" in one["message"] for one in said)
        program = "/opt/gaitstream/.venv/bin/gaitstream"
        events = machine.run(f"{program} events export --journal /var/lib/gaitstream/events --out -")
        assert json.loads(events.splitlines()[-1])["type"] == "run.stopped"

        machine.run("echo 'camras: []' > /etc/gaitstream/cams.yaml")
        machine.run("systemctl start gaitstream", check=False)
        machine.until(lambda: machine.show("ActiveState") == "failed", "failed")
        time.sleep(6)  # longer than RestartSec
        assert [machine.show(key) for key in ("ActiveState", "ExecMainStatus", "NRestarts")] == [
            "failed", "2", "0"
        ]  # fmt: skip

        rating = machine.run("systemd-analyze security gaitstream --no-pager", check=False)
        [exposure] = re.findall(r"exposure level for gaitstream.service: (\S+)", rating)
        assert float(exposure) < 3.0, rating


def _user_of(machine: Machine) -> str:
    return machine.run(f"ps -o user= -p {machine.show('MainPID')}").strip()


def _files(machine: Machine) -> list[tuple[str, str]]:
    lines = machine.run("find /var/lib/gaitstream -ignore_readdir_race -printf '%p %m\\n'").splitlines()
    return [(path, mode) for path, mode in (line.rsplit(" ", 1) for line in lines)]
