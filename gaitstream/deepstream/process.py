"""The DeepStream process seen from outside: start, tell, hear, end.

What it writes comes through here, line by line: DeepStream and GStreamer print cameras' URLs as they are.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import msgspec
import zmq

from gaitstream.config.secret_url import SecretUrl
from gaitstream.deepstream.spec import Command, Spec, encode_spec

STOP_S = 8.0
"""How long a process may take to end by itself."""
OUTPUT_S = 1.0
"""How long the last lines of a process that has ended are waited for."""

ENVIRONMENT = {
    # The muxer with width and height: crops come from frames of one size.
    "USE_NEW_NVSTREAMMUX": "no",
}


class ChildProcess:
    """Starts one process at a time and receives what it sends.

    Args:
        environ: added to the process's environment.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(environ or {})
        # Only this user can reach the socket: what comes through it becomes identities.
        self._folder = tempfile.TemporaryDirectory(prefix="gaitstream-")
        self.endpoint = f"ipc://{Path(self._folder.name) / 'features'}"
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PULL)
        self._socket.rcvhwm = 4
        self._socket.bind(self.endpoint)
        self._process: subprocess.Popen[bytes] | None = None
        self._output: threading.Thread | None = None
        self._urls: set[SecretUrl] = set()

    def start(self, spec: Spec) -> None:
        """Start a process; one that still runs is ended first."""
        self.end()
        while self._socket.poll(0):
            self._socket.recv_multipart()
        environ = {**os.environ, **ENVIRONMENT, **self._environ}
        command = [sys.executable, "-m", "gaitstream.deepstream.child"]
        self._urls = {SecretUrl(uri) for uri in spec.uris.values()}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environ
        )
        self._output = threading.Thread(
            target=self._pass_on, args=(self._process.stdout,), name="deepstream-output", daemon=True
        )
        self._output.start()
        self._write(encode_spec(spec))

    def tell(self, command: Command) -> None:
        """Send a command; one that comes too late is dropped."""
        if command.uri:
            self._urls = {*self._urls, SecretUrl(command.uri)}
        self._write(msgspec.json.encode(command))

    def receive(self, wait_s: float) -> list[Any] | None:
        """The parts of the next message, None when there is none in time."""
        if not self._socket.poll(int(wait_s * 1000)):
            return None
        return [frame.buffer for frame in self._socket.recv_multipart(copy=False)]

    @property
    def exit_code(self) -> int | None:
        """What the process ended with; None while it runs or when there is none."""
        code = None if self._process is None else self._process.poll()
        if code is not None and self._output is not None:
            self._output.join(OUTPUT_S)
        return code

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return None if self._process is None else self._process.pid

    def end(self) -> None:
        """End the process: politely, then not."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None and process.stdin is not None:
            try:
                process.stdin.write(msgspec.json.encode(Command(do="stop")) + b"\n")
                process.stdin.close()
            except OSError:
                pass  # it is on its way out
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        if self._output is not None:
            self._output.join(OUTPUT_S)

    def close(self) -> None:
        """End the process and remove the socket."""
        self.end()
        self._socket.close(0)
        self._context.term()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pass_on(self, output: IO[bytes]) -> None:
        """Write the process's lines where ours go, without passwords."""
        with output:
            for line in output:
                text = line.decode(errors="replace")
                for url in self._urls:
                    text = url.scrub(text)
                with contextlib.suppress(OSError, ValueError):  # reading goes on, or DeepStream stands still
                    sys.stderr.write(text)
                    sys.stderr.flush()

    def _write(self, line: bytes) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except OSError:
            pass  # the process has ended; its exit code tells
