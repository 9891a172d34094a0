"""Each contender runs in a process of its own, so that no one inherits another's warm caches or memory."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from gaitstream.bench.result import Row
from gaitstream.errors import GaitstreamError

MARK = "gaitstream-bench-result:"
Contender = tuple[str, Callable[..., list[Row]], dict[str, Any]]
"""Name, function and its arguments."""


class ContenderError(GaitstreamError):
    """A contender failed; the message carries the end of what it printed."""


def run_contender(
    function: Callable[..., list[Row]], arguments: dict[str, Any], *, timeout_s: float = 900
) -> list[Row]:
    """Call `function(**arguments)` in a fresh interpreter.

    Args:
        function: of a module; it is imported there by its name.
        arguments: what can be written as JSON.
        timeout_s: after which the process is killed.

    Raises:
        ContenderError: it failed or took too long.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    command = [
        sys.executable,
        "-m",
        "gaitstream.bench.process",
        name,
        msgspec.json.encode(arguments).decode(),
    ]
    # The working directory is importable in the child, where suites beside the package live.
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    }
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ContenderError(f"{name} took longer than {timeout_s:.0f} s") from error
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            return msgspec.json.decode(line[len(MARK) :], type=list[Row])
    tail = (done.stderr or done.stdout).strip()[-1500:]
    raise ContenderError(f"{name} ended with exit code {done.returncode} and no result:\n{tail}")


def main() -> None:
    """Entry point of the child."""
    function, arguments = sys.argv[1:3]
    module, _, name = function.partition(":")
    rows: list[Row] = getattr(importlib.import_module(module), name)(**msgspec.json.decode(arguments))
    sys.stdout.write(MARK + msgspec.json.encode(rows).decode() + "\n")


if __name__ == "__main__":
    main()
