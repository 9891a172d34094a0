"""A PostgreSQL server of one's own, for the demo and for tests: its own folder and port, as an ordinary user.

Nothing of it outlives `close`; it can be killed and brought back.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from gaitstream.errors import FleetError, MissingExtraError

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
USER = "postgres"


def can_run() -> bool:
    """Whether there is a server to start."""
    return bool(BINARIES)


class PostgresServer:
    """One server on the loopback interface.

    Args:
        connections: most at a time.

    Attributes:
        folder: of its data and its log.

    Raises:
        FleetError: no server is installed.
    """

    def __init__(self, connections: int = 30) -> None:
        if not can_run():
            raise FleetError(
                "PostgreSQL is not installed here: apt-get install postgresql, or give --fleet URL"
            )
        self._connections = connections
        self.folder = Path(tempfile.mkdtemp(prefix="gaitstream-postgres-"))
        # The server refuses to run as root.
        self._user = USER if os.getuid() == 0 else None
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self._password = secrets.token_hex(8)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        secret = self.folder / "password"
        secret.write_text(self._password)
        secret.chmod(0o644)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "gait", "-A", "scram-sha-256",
                  f"--pwfile={secret}", "-E", "UTF8", "--no-sync", "--no-locale")  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start it, or bring it back, and wait until it answers."""
        options = {
            "port": self._port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder,
            "shared_buffers": "16MB", "max_connections": self._connections,
        }  # fmt: skip
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(BINARIES[-1] / "postgres"), "-D", str(self.folder / "data"), *words],
                user=self._user, group=self._user, stdout=log, stderr=log, cwd=self.folder,
                extra_groups=[] if self._user else None,
            )  # fmt: skip
        psycopg = _psycopg()
        deadline_s = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline_s or self._process.poll() is not None:
                    raise
                time.sleep(0.1)

    def kill(self) -> None:
        """End it as a power failure would: every process of it at once."""
        if self._process is None:
            return
        children = subprocess.run(
            ["ps", "--ppid", str(self._process.pid), "-o", "pid="],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.split()
        for pid in [str(self._process.pid), *children]:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()

    def url(self, database: str) -> str:
        """How to reach a database."""
        return f"postgresql://gait:{self._password}@127.0.0.1:{self._port}/{database}"

    def new_database(self, encoding: str = "UTF8") -> str:
        """An empty database's URL."""
        name = f"gait_{secrets.token_hex(4)}"
        with _psycopg().connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'".encode())
        return self.url(name)

    def close(self) -> None:
        """Stop it and delete its folder."""
        if self._process is not None and self._process.poll() is None:
            self.kill()  # nothing of it is kept
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [str(BINARIES[-1] / program), *words], user=self._user, group=self._user, cwd=self.folder,
            extra_groups=[] if self._user else None, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtraError("psycopg", "cluster", "a server of one's own") from error
    return psycopg
