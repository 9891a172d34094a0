"""The CUDA devices of this machine, as the driver itself lists them: this needs no CUDA package."""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gaitstream.errors import EngineError

CAPABILITY_MAJOR = 75
CAPABILITY_MINOR = 76
"""Numbers of the two attributes in the driver's `CUdevice_attribute`."""


@dataclass(frozen=True, slots=True)
class CudaDeviceInfo:
    """One GPU.

    Attributes:
        index: its number.
        name: the driver's name of it.
        capability: compute capability as `sm_89`.
    """

    index: int
    name: str
    capability: str


def driver_version(text: str | None = None) -> str | None:
    """Version of NVIDIA's kernel driver, such as `595.58.03`; None without one.

    Args:
        text: what the driver says of itself; None reads `/proc/driver/nvidia/version`.
    """
    if text is None:
        try:
            text = Path("/proc/driver/nvidia/version").read_text()
        except OSError:
            return None
    found = re.search(r"NVRM version:.*?(\d+\.\d+(?:\.\d+)?)", text)
    return found[1] if found else None


def devices() -> list[CudaDeviceInfo]:
    """The GPUs the driver lists; none without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    return [_describe(driver, index) for index in range(count.value)]


@contextmanager
def current(index: int) -> Iterator[None]:
    """Make a GPU the current one of this thread: libraries that are told of none work on that.

    Raises:
        EngineError: there is no such GPU, or its driver fails.
    """
    driver, context = _primary(index)
    _ask(driver, "cuCtxPushCurrent_v2", context)
    try:
        yield
    finally:
        _ask(driver, "cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))


@functools.cache
def _primary(index: int) -> tuple[ctypes.CDLL, ctypes.c_void_p]:
    """A GPU's primary context, which the libraries of a process share; kept as long as it runs."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise EngineError("there is no CUDA device: NVIDIA's driver is not installed") from error
    handle, context = ctypes.c_int(), ctypes.c_void_p()
    _ask(driver, "cuInit", 0)
    _ask(driver, "cuDeviceGet", ctypes.byref(handle), index)
    _ask(driver, "cuDevicePrimaryCtxRetain", ctypes.byref(context), handle)
    return driver, context


def _ask(driver: ctypes.CDLL, name: str, *arguments: object) -> None:
    code = getattr(driver, name)(*arguments)
    if code:
        raise EngineError(f"CUDA failed: {name} says {code}")


def _describe(driver: ctypes.CDLL, index: int) -> CudaDeviceInfo:
    handle, name = ctypes.c_int(), ctypes.create_string_buffer(128)
    driver.cuDeviceGet(ctypes.byref(handle), index)
    driver.cuDeviceGetName(name, len(name), handle)
    numbers = []
    for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR):
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
        numbers.append(value.value)
    return CudaDeviceInfo(index, name.value.decode(), "sm_{}{}".format(*numbers))
