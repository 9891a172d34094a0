"""Compile the kernels: the CPU library at first use, the GPU binaries at image or wheel build.

    python -m gaitstream.kernels.build --help

Compiled files lie in the package's `prebuilt/` (made by this command) or in the user's cache under a name
that holds a hash of sources, flags, compiler and CPU, so nothing stale is ever loaded.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gaitstream.errors import KernelError

SOURCES = Path(__file__).parent / "csrc"
PREBUILT = Path(__file__).parent / "prebuilt"
CPU_SOURCES = ("pgha_cpu.cpp",)
CPU_HEADERS = ("pgha_math.cuh",)
CPU_FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-pthread")
# GCC 12 warns about its own AVX-512 headers.
CPU_WARNINGS = ("-Wall", "-Wextra", "-Wno-uninitialized", "-Wno-maybe-uninitialized", "-Wno-psabi")
PORTABLE_CPU = "x86-64-v3"


def cache_folder() -> Path:
    """Where compiled kernels are kept: `$GAITSTREAM_CACHE/kernels`, else the user's cache."""
    root = os.environ.get("GAITSTREAM_CACHE")
    if root:
        return Path(root) / "kernels"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gaitstream" / "kernels"


def host_compiler() -> str:
    """Path of the C++ compiler: `$CXX`, else the first of g++, c++, clang++.

    Raises:
        KernelError: there is none.
    """
    wanted = os.environ.get("CXX")
    for name in [wanted] if wanted else ["g++", "c++"]:
        found = shutil.which(name)
        if found:
            return found
    raise KernelError(
        f"no C++ compiler ({'CXX=' + wanted if wanted else 'g++, c++'} is not on PATH) for the CPU kernels: "
        "install g++, set CXX, or go on with backend='numpy'"
    )


def _digest(names: Sequence[str], words: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for name in names:
        digest.update((SOURCES / name).read_bytes())
    return digest.hexdigest()[:16]


def _compiler_version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout


def _cpu_identity() -> str:
    """What `-march=native` depends on: a cache on a shared disk serves different machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_compiler(command: Sequence[str], target: Path) -> str:
    """Run a compiler that writes `target` and move the result into place; returns what it printed.

    Raises:
        KernelError: with the compiler's last lines.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        partial = Path(folder) / target.name
        done = subprocess.run([*command, "-o", str(partial)], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if done.returncode:
            last = "\n".join(said.strip().splitlines()[-20:])
            raise KernelError(f"{Path(command[0]).name} could not compile {target.name}:\n{last}")
        partial.replace(target)
    return said


def build_cpu(target: Path | None = None, march: str = "native") -> Path:
    """Compile the CPU library unless it is in the cache already.

    Args:
        target: where to write it; None for the cache.
        march: instruction set, `native` for this machine.

    Returns:
        Path of the shared library.

    Raises:
        KernelError: no compiler, or it failed.
    """
    compiler = host_compiler()
    flags = [*CPU_FLAGS, *CPU_WARNINGS, *([f"-march={march}"] if platform.machine() != "arm64" else [])]
    command = [compiler, *flags, *(str(SOURCES / name) for name in CPU_SOURCES)]
    if target is not None:
        run_compiler(command, target)
        return target
    words = [*flags, _compiler_version(compiler), _cpu_identity()]
    path = cache_folder() / f"cpu-{_digest([*CPU_SOURCES, *CPU_HEADERS], words)}.so"
    if not path.is_file():
        with _lock(path.with_suffix(".lock")):
            if not path.is_file():
                run_compiler(command, path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m gaitstream.kernels.build", description=__doc__)
    parser.add_argument(
        "--cpu", action="store_true", help="compile the CPU library for this machine into the cache"
    )
    chosen = parser.parse_args(arguments)
    try:
        if chosen.cpu:
            sys.stdout.write(f"{build_cpu()}\n")
    except KernelError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
