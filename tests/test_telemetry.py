"""The libraries gaitstream starts call nobody."""

import os
import subprocess
import sys
from pathlib import Path

WATCHED = """
import sys, threading, time
def watch(event, args):
    if event in ("socket.getaddrinfo", "socket.connect", "os.fork", "os.posix_spawn", "subprocess.Popen"):
        print("seen:", event, args, flush=True)
sys.addaudithook(watch)
FIRST
import openvino
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(2)
"""
"""Says when a process is started or a name looked up, also in processes that are forked."""


def seen(first: str, home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.replace("FIRST", first)],
        capture_output=True, text=True, check=True, timeout=120,
        env={name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(home)},
    )  # fmt: skip
    return done.stdout


def test_openvino_reports_nothing_to_its_maker(tmp_path: Path) -> None:
    assert seen("import gaitstream", tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
