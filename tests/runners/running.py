"""`gaitstream run` as a process of its own, on a small world that needs no file beside the repository's."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from gaitstream.events import Event, Received, Subscriber
from tests.pipeline.walkers import free_port

LOAD_S = 120.0
"""Time for imports and engines on a busy machine."""
WORLD = "synth://corridor?people=6&fps=8&width=320&height=180"


class Site:
    """A folder with a cams.yaml of synthetic cameras, and where its events are."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.folder = folder
        self.bundle = bundle
        self.path = folder / "cams.yaml"
        port = free_port()
        self.endpoint, self.replay = f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}"

    def write(self, *cameras: str, **sections: Any) -> None:
        """Put these cameras into the file, in one step."""
        content = {
            "cameras": [
                {"id": name, "url": f"{WORLD}&seed={number}", "fps": 8}
                for number, name in enumerate(cameras, 1)
            ],
            "models": {"detector": "demo", "biggait": f"{self.bundle}/"},
            "tracklets": {"length": 10, "stride": 5, "provisional_from": 5},
            "quality": {"min_sharpness": 0, "min_motion": 0, "min_height_px": 24},
            "events": {"endpoint": self.endpoint},
            "runtime": {"threads": 1},
            **sections,
        }
        self.replace(yaml.safe_dump(content))

    def replace(self, text: str) -> None:
        """Put a text in place of the file."""
        new = self.folder / ".cams.yaml.new"
        new.write_text(text)
        new.replace(self.path)

    @contextmanager
    def subscribe(self) -> Iterator[Subscriber]:
        with Subscriber(self.endpoint, self.replay, since="beginning") as subscriber:
            yield subscriber


class Run:
    """The process; its output is read as it comes."""

    def __init__(self, site: Site, *arguments: str) -> None:
        command = [sys.executable, "-m", "gaitstream", "run", "--cameras", str(site.path), "--no-table"]
        self.process = subprocess.Popen(
            [*command, "--realtime", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a process group of its own, as under a service manager
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def says(self, text: str, timeout_s: float = LOAD_S) -> str:
        """The first line with a text, waited for."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if text in line:
                    return line
            time.sleep(0.05)
        raise AssertionError(f"nothing said of {text!r} within {timeout_s} s:\n{self.output}")

    def largest_file(self, size: int) -> None:
        """Let the process and its bus (not its workers) write no file beyond a size, as on a full disk.

        -1 lifts it.
        """
        for pid in (self.process.pid, *self._children(b"apart_process")):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def workers(self) -> list[int]:
        """Process ids of the worker processes."""
        return self._children(b"spawn_main")

    def _children(self, command: bytes) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent == self.process.pid and command in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return found

    def terminate(self, within_s: float = LOAD_S) -> None:
        """Ask it to end as a service manager does."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there {within_s} s after SIGTERM:\n{self.output}") from None
        self._reader.join(LOAD_S)

    def close(self) -> None:
        for pid in (*self.workers(), self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def hear(
    subscriber: Subscriber, kind: type[Event], timeout_s: float = LOAD_S, **fields: Any
) -> list[Received]:
    """Events up to the first of a kind with these fields."""
    heard: list[Received] = []
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        received = subscriber.receive(0.5)
        if received is None:
            continue
        heard.append(received)
        event = received.event
        if isinstance(event, kind) and all(getattr(event, key) == value for key, value in fields.items()):
            return heard
    raise AssertionError(f"no {kind.__name__} {fields} within {timeout_s} s: {[one.event for one in heard]}")


def of(heard: Sequence[Received], kind: type[Event]) -> list[Any]:
    """The events of one kind."""
    return [one.event for one in heard if isinstance(one.event, kind)]
