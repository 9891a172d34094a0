"""Compile the GPU kernels at run time, with NVRTC; needs no toolkit, and no GPU either."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        numbers = _asked(nvrtc.nvrtcGetSupportedArchs())
    except (RuntimeError, OSError) as error:
        raise KernelError(
            f"no NVRTC library: pip install nvidia-cuda-nvrtc, or install the CUDA toolkit ({error})"
        ) from error
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
    # Not by cuda-core, which asks the driver before it makes PTX: what compiles may have none.
    nvrtc = _bindings()
    options = [f"--gpu-architecture={kind}", "--std=c++17", f"--include-path={source.parent}"]
    program = _asked(nvrtc.nvrtcCreateProgram(source.read_bytes(), source.name.encode(), 0, [], []))
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [one.encode() for one in options])
        if int(status):
            log = bytearray(_asked(nvrtc.nvrtcGetProgramLogSize(program)))
            _asked(nvrtc.nvrtcGetProgramLog(program, log))
            words = log.decode(errors="replace").rstrip("\0").strip()
            raise KernelError(f"NVRTC could not compile {source.name} for {kind}:\n{words[-2000:]}")
        measure, get = (
            (nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
            if exact
            else (nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
        )
        code = bytearray(_asked(measure(program)))
        _asked(get(program, code))
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return bytes(code)


def _asked(answer: tuple[Any, ...]) -> Any:
    """What NVRTC answered.

    Raises:
        KernelError: it failed.
    """
    status, *values = answer
    if int(status):
        raise KernelError(f"NVRTC failed: {_bindings().nvrtcGetErrorString(status)[1].decode()}")
    return values[0] if values else None


def _bindings() -> ModuleType:
    try:
        from cuda.bindings import nvrtc
    except ImportError as error:
        raise MissingExtraError("cuda-core", "gpu", "Compiling the GPU kernels") from error
    bindings: ModuleType = nvrtc
    return bindings
