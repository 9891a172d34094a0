"""Which addresses a program and its children speak to, from their system calls."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

STRACE = shutil.which("strace")
CALLS = "connect,sendto,sendmsg,sendmmsg"
_PLACE = re.compile(r'(?:inet_addr\(|inet_pton\(AF_INET6, )"(?P<host>[^"]+)"')
_PORT = re.compile(r"sin6?_port=htons\((?P<port>\d+)\)")


def traced(command: list[str], trace: Path) -> list[str]:
    """A command whose socket calls, and its children's, are written to a file."""
    options = ["-f", "--seccomp-bpf", "-qq", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(trace)]
    return [str(STRACE), *options, "--", *command]


def spoken_to(trace: Path) -> list[str]:
    """Addresses beyond this machine, and name servers anywhere, in such a file."""
    return [place for line in trace.read_text().splitlines() if (place := _beyond(line))]


def _beyond(line: str) -> str:
    """The address in a traced call, if it is not this machine's; any name server counts as beyond."""
    place, port = _PLACE.search(line), _PORT.search(line)
    if place is None:
        return ""
    number = int(port["port"]) if port else 0
    here = place["host"].startswith("127.") or place["host"] in ("::1", "0.0.0.0", "::")
    return "" if here and number != 53 else f"{place['host']}:{number}"
