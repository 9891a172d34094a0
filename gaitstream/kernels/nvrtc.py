"""Compile the GPU kernels at run time, with NVRTC through cuda.core; needs no toolkit, and no GPU either."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.errors import KernelError, MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType


def supported_targets() -> tuple[int, ...]:
    """Compute capabilities the installed NVRTC makes machine code for, as 75, 80, ...

    Raises:
        KernelError: there is no NVRTC.
        MissingExtraError: cuda-core, which brings its bindings, is not installed.
    """
    nvrtc = _bindings()
    try:
        code, numbers = nvrtc.nvrtcGetSupportedArchs()
    except (RuntimeError, OSError) as error:
        raise KernelError(
            f"no NVRTC library: pip install nvidia-cuda-nvrtc, or install the CUDA toolkit ({error})"
        ) from error
    if int(code):
        raise KernelError(f"NVRTC does not list its targets: {nvrtc.nvrtcGetErrorString(code)[1].decode()}")
    return tuple(int(number) for number in numbers)


def compile_program(target: int, source: Path) -> bytes:
    """Machine code of all kernels for one compute capability, or PTX where NVRTC only knows older ones.

    Args:
        target: such as 90.
        source: the program; what it includes lies beside it.

    Raises:
        KernelError: no NVRTC, or it failed; with its log.
        MissingExtraError: cuda-core is not installed.
    """
    known = supported_targets()
    exact = target in known
    kind = f"sm_{target if exact else max(one for one in known if one <= target)}"
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(
        name=source.name, std="c++17", arch=kind, include_path=str(source.parent), use_libdevice=False
    )
    try:
        program = Program(source.read_text(), "c++", options)
        code = program.compile("cubin" if exact else "ptx").code
    except (RuntimeError, ValueError) as error:
        raise KernelError(
            f"NVRTC could not compile {source.name} for {kind}:\n{str(error).strip()[-2000:]}"
        ) from error
    return bytes(code)


def _bindings() -> ModuleType:
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise MissingExtraError("cuda-core", "gpu", "Compiling the GPU kernels") from error
    bindings: ModuleType = nvrtc
    return bindings
