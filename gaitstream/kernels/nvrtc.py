"""Compile the GPU kernels at run time, with NVRTC through ctypes; needs no toolkit, and no GPU either."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from gaitstream.errors import KernelError
from gaitstream.kernels.build import GPU_PROGRAM, GPU_SOURCES, HEADERS, SOURCES


def _candidates() -> Iterator[str]:
    roots = [Path(root) for root in (os.environ.get("CUDA_HOME"), "/usr/local/cuda") if root]
    spec = importlib.util.find_spec("nvidia")
    for place in spec.submodule_search_locations if spec and spec.submodule_search_locations else ():
        roots += [*sorted(Path(place).glob("cu*")), Path(place) / "cuda_nvrtc"]
    for root in roots:
        for folder in ("lib", "lib64"):
            yield from (str(path) for path in sorted((root / folder).glob("libnvrtc.so*"), reverse=True))
    found = ctypes.util.find_library("nvrtc")
    if found:
        yield found


@functools.cache
def library() -> ctypes.CDLL:
    """The NVRTC library of a wheel, the toolkit or the system.

    Raises:
        KernelError: none loads.
    """
    for path in _candidates():
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    raise KernelError("no NVRTC library: pip install nvidia-cuda-nvrtc, or install the CUDA toolkit")


def _check(code: int, what: str) -> None:
    if code:
        describe = library().nvrtcGetErrorString
        describe.restype = ctypes.c_char_p
        raise KernelError(f"NVRTC could not {what}: {describe(code).decode()}")


def _log(program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    library().nvrtcGetProgramLogSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    library().nvrtcGetProgramLog(program, text)
    return text.value.decode(errors="replace")


def supported_targets() -> tuple[int, ...]:
    """Compute capabilities this NVRTC makes machine code for, as 75, 80, ..."""
    count = ctypes.c_int()
    _check(library().nvrtcGetNumSupportedArchs(ctypes.byref(count)), "list its targets")
    numbers = (ctypes.c_int * count.value)()
    _check(library().nvrtcGetSupportedArchs(numbers), "list its targets")
    return tuple(numbers)


def compile_program(target: int) -> bytes:
    """Machine code of all kernels for one compute capability, or PTX where NVRTC only knows older ones.

    Args:
        target: such as 90.

    Raises:
        KernelError: no NVRTC, or it failed; with its log.
    """
    names = (*GPU_SOURCES, *HEADERS)
    texts = (ctypes.c_char_p * len(names))(*((SOURCES / name).read_bytes() for name in names))
    includes = (ctypes.c_char_p * len(names))(*(name.encode() for name in names))
    source = (SOURCES / GPU_PROGRAM).read_bytes()
    program = ctypes.c_void_p()
    nvrtc = library()
    _check(
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), source, GPU_PROGRAM.encode(), len(names), texts, includes
        ),
        "take the sources",
    )
    try:
        known = supported_targets()
        exact = target in known
        kind = f"sm_{target}" if exact else f"compute_{max(one for one in known if one <= target)}"
        options = [f"--gpu-architecture={kind}".encode(), b"--std=c++17"]
        code = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        if code:
            raise KernelError(
                f"NVRTC could not compile {GPU_PROGRAM} for {kind}:\n{_log(program).strip()[-2000:]}"
            )
        return _image(program, "CUBIN" if exact else "PTX")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _image(program: ctypes.c_void_p, kind: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(library(), f"nvrtcGet{kind}Size")(program, ctypes.byref(size)), f"size its {kind}")
    image = ctypes.create_string_buffer(size.value)
    _check(getattr(library(), f"nvrtcGet{kind}")(program, image), f"hand over its {kind}")
    return image.raw
