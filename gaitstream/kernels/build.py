"""Find the kernels' binaries, or compile them: for the CPU at first use, for a GPU here or at first use.

    python -m gaitstream.kernels.build --help

Compiled files lie in the package's `prebuilt/` (a wheel brings them, see `hatch_build.py`) or in the user's
cache, under a name that holds a hash of sources and flags, and in the cache of compiler and CPU, so nothing
stale is ever loaded.
"""

from __future__ import annotations

import argparse
import os
import platform
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
from gaitstream.kernels.recipe import (
    CPU_FLAGS,
    CPU_SOURCES,
    CPU_WARNINGS,
    GPU_PROGRAM,
    GPU_TARGETS,
    HEADERS,
    LEVELS,
    PREBUILT,
    SOURCES,
    Level,
    cpu_command,
    cpu_file,
    digest,
    find_host_compiler,
    find_nvcc,
    gpu_command,
    gpu_digest,
    gpu_file,
)


def kept() -> Path:
    """Where compiled kernels are kept; see `gaitstream.folders`."""
    return cache_folder("kernels")


def host_compiler() -> list[str]:
    """The C++ compiler, `$CXX`, else g++ or c++: its path, and words that go with it.

    Raises:
        KernelError: there is none.
    """
    found = find_host_compiler()
    if found:
        return found
    wanted = os.environ.get("CXX")
    raise KernelError(
        f"no C++ compiler ({'CXX=' + wanted if wanted else 'g++, c++'} is not on PATH) for the CPU kernels: "
        "install g++, set CXX, or go on with backend='numpy'"
    )


def _compiler_version(compiler: Sequence[str]) -> str:
    return subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True).stdout


def cpu_identity() -> str:
    """What `-march=native` depends on: a cache on a shared disk serves different machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path):
            yield
    except OSError as error:
        raise KernelError(
            f"{path.parent} cannot be written ({error.strerror}): set GAITSTREAM_CACHE to a folder of yours"
        ) from error


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
    options = [f"-march={march}", *(f"-D{name}" for name in defines)]
    command = cpu_command(compiler, options)
    if target is not None:
        run_compiler(command, target)
        return target
    words = [*CPU_FLAGS, *CPU_WARNINGS, *options, _compiler_version(compiler), cpu_identity()]
    return _cached(f"cpu-{digest([*CPU_SOURCES, *HEADERS], words)}.so", command)


def runnable_levels() -> list[Level]:
    """Instruction sets of wheels that this CPU has, best first."""
    flags = set(cpu_identity().split())
    return [level for level in LEVELS.get(platform.machine(), ()) if flags >= level.needs]


def prebuilt_cpu() -> Path | None:
    """The best of the package's libraries for this CPU; None where the package has none that it can run."""
    paths = (PREBUILT / cpu_file(level) for level in runnable_levels())
    return next((path for path in paths if path.is_file()), None)


def cpu_libraries() -> Iterator[Path]:
    """Paths of the CPU library, to be tried in turn: the package's own, then one compiled for this machine.

    Raises:
        KernelError: the caller wants the second, and it cannot be compiled.
    """
    prebuilt = prebuilt_cpu()
    if prebuilt is not None:
        yield prebuilt
    yield build_cpu()


def nvcc() -> str:
    """Path of nvcc: `$NVCC`, else that of PATH, then of `$CUDA_HOME/bin`.

    Raises:
        KernelError: there is none.
    """
    found = find_nvcc()
    if found:
        return found
    wanted = os.environ.get("NVCC")
    searched = f"NVCC={wanted} is not there" if wanted else "PATH and CUDA_HOME were searched"
    raise KernelError(
        f"no nvcc ({searched}) to compile the GPU kernels: "
        "install the CUDA toolkit, or 'pip install nvidia-cuda-nvrtc' to have them compiled at run time"
    )


def prebuilt_gpu() -> Path:
    """Where the wheel's or image's fatbin lies."""
    return PREBUILT / gpu_file()


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
        "--gpu", action="store_true", help="compile the fatbin for every GPU into the package"
    )
    parser.add_argument("--table", action="store_true", help="with --gpu: print registers, memory and spills")
    chosen = parser.parse_args(arguments)
    if not (chosen.cpu or chosen.gpu):
        parser.error("nothing to build: give --cpu or --gpu")
    try:
        _build_chosen(chosen)
    except KernelError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _build_chosen(chosen: argparse.Namespace) -> None:
    if chosen.cpu:
        sys.stdout.write(f"{build_cpu()}\n")
    if chosen.gpu:
        from gaitstream.kernels.ptxas import as_table, parse_usage

        said = build_gpu(prebuilt_gpu())
        sys.stdout.write(f"{prebuilt_gpu()}\n")
        if chosen.table:
            sys.stdout.write(as_table(parse_usage(said)))


if __name__ == "__main__":
    raise SystemExit(main())
