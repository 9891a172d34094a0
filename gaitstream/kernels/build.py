"""Compile the kernels: the CPU library at first use, the GPU binaries at image or wheel build.

    python -m gaitstream.kernels.build --help

Compiled files lie in the package's `prebuilt/` (made by this command) or in the user's cache under a name
that holds a hash of sources, flags, compiler and CPU, so nothing stale is ever loaded.
"""

from __future__ import annotations

import argparse
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

import filelock

from gaitstream.errors import KernelError, MissingExtraError
from gaitstream.folders import cache_folder
from gaitstream.kernels import nvrtc

SOURCES = Path(__file__).parent / "csrc"
PREBUILT = Path(__file__).parent / "prebuilt"
CPU_SOURCES = ("pgha_cpu.cpp", "crop_cpu.cpp", "track_cpu.cpp", "sharpness_cpu.cpp", "scan_cpu.cpp")
HEADERS = ("pgha_math.cuh", "pgha.cuh", "crop_math.cuh", "peaks_math.cuh", "pool.cuh")
GPU_SOURCES = ("pgha.cu", "crop.cu", "peaks.cu", "pool.cu")
GPU_PROGRAM = "kernels.cu"
GPU_TARGETS = (75, 80, 86, 89, 90, 100, 120)
"""Compute capabilities with machine code in the fatbin."""
PTX_TARGETS = (80, 120)
"""With PTX beside it: the first covers every GPU between the targets, the last what comes after them."""
GPU_FLAGS = ("-std=c++17", "-O3")
CPU_FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-pthread")
# GCC 12 warns about its own AVX-512 headers.
CPU_WARNINGS = ("-Wall", "-Wextra", "-Wno-uninitialized", "-Wno-maybe-uninitialized", "-Wno-psabi")
PORTABLE_CPU = "x86-64-v3"
PORTABLE_FLAGS = {"avx2", "fma", "f16c", "bmi2"}


def kept() -> Path:
    """Where compiled kernels are kept; see `gaitstream.folders`."""
    return cache_folder("kernels")


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
    with filelock.FileLock(path):
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


def build_cpu(target: Path | None = None, march: str = "native", defines: Sequence[str] = ()) -> Path:
    """Compile the CPU library unless it is in the cache already.

    Args:
        target: where to write it; None for the cache.
        march: instruction set, `native` for this machine.
        defines: preprocessor names to define.

    Returns:
        Path of the shared library.

    Raises:
        KernelError: no compiler, or it failed.
    """
    compiler = host_compiler()
    flags = [*CPU_FLAGS, *CPU_WARNINGS, f"-march={march}", *(f"-D{name}" for name in defines)]
    command = [compiler, *flags, *(str(SOURCES / name) for name in CPU_SOURCES)]
    if target is not None:
        run_compiler(command, target)
        return target
    words = [*flags, _compiler_version(compiler), _cpu_identity()]
    return _cached(f"cpu-{_digest([*CPU_SOURCES, *HEADERS], words)}.so", command)


def prebuilt_cpu() -> Path:
    """Where the wheel's CPU library lies; the name changes with the sources."""
    return PREBUILT / f"cpu-{PORTABLE_CPU}-{_digest([*CPU_SOURCES, *HEADERS], CPU_FLAGS)}.so"


def find_cpu() -> Path:
    """The CPU library: compiled for this machine if there is a compiler, else the wheel's.

    Raises:
        KernelError: neither is possible.
    """
    try:
        return build_cpu()
    except KernelError:
        prebuilt = prebuilt_cpu()
        if prebuilt.is_file() and set(_cpu_identity().split()) >= PORTABLE_FLAGS:
            return prebuilt
        raise


def nvcc() -> str:
    """Path of nvcc: `$NVCC`, PATH, then `$CUDA_HOME/bin`.

    Raises:
        KernelError: there is none.
    """
    home = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda"))
    candidates = (os.environ.get("NVCC"), "nvcc", str(home / "bin" / "nvcc"))
    for name in candidates:
        found = shutil.which(name) if name else None
        if found:
            return found
    raise KernelError(
        "no nvcc (NVCC, PATH and CUDA_HOME were searched) to compile the GPU kernels: "
        "install the CUDA toolkit, or 'pip install nvidia-cuda-nvrtc' to have them compiled at run time"
    )


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
    return _digest([*GPU_SOURCES, GPU_PROGRAM, *HEADERS], GPU_FLAGS)


def prebuilt_gpu() -> Path:
    """Where the wheel's or image's fatbin lies."""
    return PREBUILT / f"gpu-{gpu_digest()}.fatbin"


def build_gpu(target: Path, targets: Sequence[int] = GPU_TARGETS) -> str:
    """Compile the GPU kernels with nvcc into one fatbin; returns what ptxas said.

    Raises:
        KernelError: no nvcc, or it failed.
    """
    return run_compiler(gpu_command(nvcc(), targets), target)


def gpu_images(capability: tuple[int, int]) -> Iterator[bytes]:
    """Module images for a GPU, to be tried in turn: the prebuilt fatbin, then one compiled for this GPU.

    The fatbin may hold nothing that a GPU or its driver takes: a capability that came out later, or a driver
    older than the PTX. What is compiled, by NVRTC or nvcc, is kept.

    Args:
        capability: of the GPU, as (major, minor).

    Raises:
        KernelError: the GPU is too old, or nothing here can compile.
    """
    number = 10 * capability[0] + capability[1]
    if number < GPU_TARGETS[0]:
        raise KernelError(
            f"this GPU has compute capability {capability[0]}.{capability[1]}; "
            "the kernels need 7.5 (Turing) or newer: use backend='cpu'"
        )
    prebuilt = prebuilt_gpu()
    if prebuilt.is_file():
        yield prebuilt.read_bytes()
    path = kept() / f"sm{number}-{gpu_digest()}.bin"
    if not path.is_file():
        with _lock(path.with_suffix(".lock")):
            if not path.is_file():
                _compile_for(number, path)
    yield path.read_bytes()


def _compile_for(number: int, path: Path) -> None:
    try:
        image = nvrtc.compile_program(number, SOURCES / GPU_PROGRAM)
    except (KernelError, MissingExtraError) as nvrtc_error:
        try:
            compiler = nvcc()
        except KernelError as nvcc_error:
            raise KernelError(f"{nvcc_error} ({nvrtc_error})") from nvcc_error
        known = max(sm for sm in GPU_TARGETS if sm <= number)
        run_compiler(gpu_command(compiler, [known]), path)
        return
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_bytes(image)
    partial.replace(path)


def _cached(name: str, command: Sequence[str]) -> Path:
    path = kept() / name
    if not path.is_file():
        with _lock(path.with_suffix(".lock")):
            if not path.is_file():
                run_compiler(command, path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m gaitstream.kernels.build", description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="compile the CPU library for this machine")
    parser.add_argument(
        "--wheel", action="store_true", help=f"compile the CPU library for {PORTABLE_CPU} into the package"
    )
    parser.add_argument(
        "--gpu", action="store_true", help="compile the fatbin for every GPU into the package"
    )
    parser.add_argument("--table", action="store_true", help="with --gpu: print registers, memory and spills")
    chosen = parser.parse_args(arguments)
    if not (chosen.cpu or chosen.wheel or chosen.gpu):
        parser.error("nothing to build: give --cpu, --wheel or --gpu")
    try:
        _build_chosen(chosen)
    except KernelError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _build_chosen(chosen: argparse.Namespace) -> None:
    if chosen.cpu:
        sys.stdout.write(f"{build_cpu()}\n")
    if chosen.wheel:
        sys.stdout.write(f"{build_cpu(prebuilt_cpu(), PORTABLE_CPU)}\n")
    if chosen.gpu:
        from gaitstream.kernels.ptxas import as_table, parse_usage

        said = build_gpu(prebuilt_gpu())
        sys.stdout.write(f"{prebuilt_gpu()}\n")
        if chosen.table:
            sys.stdout.write(as_table(parse_usage(said)))


if __name__ == "__main__":
    raise SystemExit(main())
