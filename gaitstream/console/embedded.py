"""The console beside a run: a process of its own, so that it takes no time from the pipeline."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitstream.config.reading import load_config
from gaitstream.console.accounts import Accounts
from gaitstream.console.serving import check_free
from gaitstream.events.keys import SERVER, allow, new_pair

log = logging.getLogger(__name__)

KEY_NAME = "console"
LOOPBACK = "127.0.0.1"
NICENESS = 5
"""Where both want the processor, the run goes first."""
PATIENCE_S = 5.0
"""How long it may take to end."""


@dataclass(frozen=True)
class Companion:
    """A console that lives as long as a run.

    Attributes:
        cameras: the cams.yaml of both.
        state: the console's folder.
        port: on loopback.
    """

    cameras: Path
    state: Path
    port: int

    @contextmanager
    def beside(self) -> Iterator[str]:
        """Run it for as long as the context lasts; gives its address.

        Raises:
            ConsoleError: the port is taken, or none.
        """
        check_free(LOOPBACK, self.port)
        tell_first_password(self.state)
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        said, over = self.state / "console.log", threading.Event()
        with said.open("ab") as written:
            process = start_behind(self.command(), stdout=written, stderr=written, start_new_session=True)
        threading.Thread(target=_tell_end, args=(process, said, over), daemon=True).start()
        try:
            yield f"http://{LOOPBACK}:{self.port}/"
        finally:
            over.set()
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def command(self) -> list[str]:
        """The command line; keys are made and allowed where the bus asks for them."""
        words = [sys.executable, "-m", "gaitstream", "console", "--cameras", str(self.cameras)]
        words += ["--state", str(self.state), "--port", str(self.port)]
        keys = load_config(self.cameras).events.keys
        return words if keys is None else [*words, *_key_options(keys)]


def _tell_end(process: subprocess.Popen[Any], said: Path, over: threading.Event) -> None:
    """Say so when a console ends before its run does; the run goes on without it."""
    code = process.wait()
    if not over.is_set():
        lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        log.error("the console has ended with code %d; the run goes on without it: %s (%s)", code, last, said)


def start_behind(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a process that gives way to this one; options as for `subprocess.Popen`."""
    process = subprocess.Popen(command, **options)
    with suppress(ProcessLookupError, PermissionError):
        os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    return process


def tell_first_password(state: Path) -> None:
    """Make the first administrator where there is nobody yet, and print the password."""
    accounts = Accounts(state)
    password = accounts.ensure_administrator()
    accounts.close()
    if password is not None:
        print(  # noqa: T201 - nowhere else is it ever shown
            f"console: the user 'admin' was made; the password, shown this once: {password}", flush=True
        )


def _key_options(keys: Path) -> list[str]:
    pair = keys / f"{KEY_NAME}.key"
    if not pair.exists():
        new_pair(keys, KEY_NAME)
        allow(keys, str(keys / f"{KEY_NAME}.pub"), KEY_NAME)
    return ["--events-key", str(pair), "--server-key", str(keys / f"{SERVER}.pub")]
