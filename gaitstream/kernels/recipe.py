"""What the kernels are compiled from and with, and what the results are called.

The standard library alone is needed: `hatch_build.py` reads this file by its path, in an environment that
has none of the package's dependencies.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "csrc"
PREBUILT = Path(__file__).parent / "prebuilt"
CPU_SOURCES = ("pgha_cpu.cpp", "crop_cpu.cpp", "track_cpu.cpp", "area_cpu.cpp", "scan_cpu.cpp")
HEADERS = ("pgha_math.cuh", "pgha.cuh", "crop_math.cuh", "peaks_math.cuh", "pool.cuh", "scan.cuh")
GPU_SOURCES = ("pgha.cu", "crop.cu", "peaks.cu", "pool.cu", "scan.cu")
GPU_PROGRAM = "kernels.cu"
GPU_TARGETS = (75, 80, 86, 89, 90, 100, 120)
"""Compute capabilities with machine code in the fatbin."""
PTX_TARGETS = (80, 120)
"""With PTX beside it: the first covers every GPU between the targets, the last what comes after them."""
GPU_FLAGS = ("-std=c++17", "-O3")
CPU_FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-pthread")
# GCC 12 warns about its own AVX-512 headers.
CPU_WARNINGS = ("-Wall", "-Wextra", "-Wno-uninitialized", "-Wno-maybe-uninitialized", "-Wno-psabi")


@dataclass(frozen=True)
class Level:
    """An instruction set that wheels carry a library for.

    Attributes:
        name: in the library's file name.
        options: of the compiler.
        needs: what /proc/cpuinfo must list.
    """

    name: str
    options: tuple[str, ...]
    needs: frozenset[str] = frozenset()


_V3 = frozenset({"avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe"})
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
LEVELS = {
    "x86_64": (
        Level("x86-64-v4-vnni", ("-march=x86-64-v4", "-mavx512vnni"), _V4 | {"avx512_vnni"}),
        Level("x86-64-v4", ("-march=x86-64-v4",), _V4),
        Level("x86-64-v3", ("-march=x86-64-v3",), _V3),
        Level("x86-64", ("-march=x86-64",)),
    ),
    "aarch64": (Level("armv8-a", ("-march=armv8-a",)),),
}
"""Of each architecture wheels are made for, best first; the last one runs on every CPU of it."""


def find_host_compiler(machine: str = "") -> list[str] | None:
    """The C++ compiler's path, and words that go with it.

    It is `$CXX`, which may have words after the program (`ccache g++`), else g++ or c++, or Debian's cross
    compiler for another machine.
    """
    own = os.environ.get("CXX")
    if own and not shutil.which(own):
        program, *words = _words(own)
        found = _first([program])
        return [found, *words] if found else None
    usual = ["g++", "c++"] if machine in ("", platform.machine()) else [f"{machine}-linux-gnu-g++"]
    found = _first([own] if own else usual)
    return [found] if found else None


def find_nvcc() -> str | None:
    """Path of nvcc: `$NVCC`, else that of PATH, then of `$CUDA_HOME/bin`."""
    own, home = os.environ.get("NVCC"), os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return _first([own] if own else ["nvcc", f"{home}/bin/nvcc"])


def _words(command: str) -> list[str]:
    """As a shell splits it; where quotes do not close, one word."""
    try:
        return shlex.split(command) or [command]
    except ValueError:
        return [command]


def _first(names: Sequence[str]) -> str | None:
    return next((found for name in names if name and (found := shutil.which(name))), None)


def digest(names: Sequence[str], words: Sequence[str]) -> str:
    """Changes with the sources `names` and with `words`."""
    found = hashlib.sha256("\0".join(words).encode())
    for name in names:
        found.update((SOURCES / name).read_bytes())
    return found.hexdigest()[:16]


def cpu_command(compiler: Sequence[str], options: Sequence[str]) -> list[str]:
    """The compiler's command line for the CPU library, without its output."""
    sources = [str(SOURCES / name) for name in CPU_SOURCES]
    return [*compiler, *CPU_FLAGS, *CPU_WARNINGS, *options, *sources]


def cpu_file(level: Level) -> str:
    """What a wheel's library for a level is called; another one for other sources."""
    return f"cpu-{level.name}-{digest([*CPU_SOURCES, *HEADERS], [*CPU_FLAGS, *level.options])}.so"


def gpu_command(compiler: str, targets: Sequence[int] = GPU_TARGETS) -> list[str]:
    """Nvcc's command line for one fatbin: machine code for all targets, and PTX for GPUs that are none."""
    codes = [f"-gencode=arch=compute_{sm},code=sm_{sm}" for sm in targets]
    # Of targets with nothing in PTX_TARGETS, the last one's: a file made for one GPU serves newer drivers
    # too.
    portable = [sm for sm in PTX_TARGETS if sm in targets] or [targets[-1]]
    codes += [f"-gencode=arch=compute_{sm},code=compute_{sm}" for sm in portable]
    warnings = ["-Xptxas=-v,--warn-on-spills", "-Werror=cross-execution-space-call"]
    return [compiler, *GPU_FLAGS, "--threads=2", *codes, *warnings, "-fatbin", str(SOURCES / GPU_PROGRAM)]


def gpu_digest() -> str:
    """Changes with every GPU source."""
    return digest([*GPU_SOURCES, GPU_PROGRAM, *HEADERS], GPU_FLAGS)


def gpu_file() -> str:
    """What the fatbin of a wheel or an image is called."""
    return f"gpu-{gpu_digest()}.fatbin"
