"""Borrow the memory of someone else's array: torch, cupy, numpy or anything with DLPack.

Nothing here imports those packages. A borrowed array keeps its owner alive.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from gaitstream.errors import KernelError

CPU = 1
CUDA = 2
CUDA_HOST = 3
CUDA_MANAGED = 13


class _Tensor(ctypes.Structure):
    """DLTensor of the DLPack specification."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_KINDS = {0: "i", 1: "u", 2: "f", 6: "u"}
"""DLPack's type codes that numpy has a name for; 6 is bool, one byte."""


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A C-contiguous array somewhere."""

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device_type: int
    owner: object
    """Keeps the memory alive."""


def borrow(array: Any, stream: int | None = None) -> Borrowed:
    """The memory of `array`, without a copy.

    Args:
        array: a `Borrowed` (returned as it is), or anything with `__dlpack__`, `__cuda_array_interface__` or
            (host memory) `__array_interface__`.
        stream: CUDA stream handle that will use the memory; the owner makes its own work visible to it.

    Raises:
        KernelError: it offers none of these, or is not contiguous.
    """
    if isinstance(array, Borrowed):
        return array
    if hasattr(array, "__cuda_array_interface__"):
        return _from_interface(array.__cuda_array_interface__, CUDA, array)
    if hasattr(array, "__dlpack__"):
        return _from_dlpack(array, stream)
    raise KernelError(f"{type(array).__name__} shows no memory: give a torch, cupy or pycuda array")


def _from_interface(interface: dict[str, Any], device_type: int, owner: object) -> Borrowed:
    dtype, shape = np.dtype(interface["typestr"]), tuple(interface["shape"])
    strides = interface.get("strides")
    if strides is not None:
        _check_contiguous(shape, tuple(stride // dtype.itemsize for stride in strides))
    return Borrowed(int(interface["data"][0] or 0), shape, dtype, device_type, owner)


def _from_dlpack(array: Any, stream: int | None) -> Borrowed:
    device_type = int(array.__dlpack_device__()[0])
    # The legacy default stream is 1 in DLPack, where 0 is forbidden as ambiguous.
    capsule = array.__dlpack__(stream=stream or 1) if device_type == CUDA else array.__dlpack__()
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    # The capsule stays unconsumed: its own destructor gives the memory back when the last owner goes.
    tensor = ctypes.cast(get_pointer(capsule, b"dltensor"), ctypes.POINTER(_Tensor)).contents
    if tensor.code not in _KINDS or tensor.lanes != 1:
        raise KernelError(
            f"DLPack type {tensor.code} x {tensor.lanes} is not supported: give floats or integers"
        )
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    if tensor.strides:
        _check_contiguous(shape, tuple(tensor.strides[i] for i in range(tensor.ndim)))
    dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
    pointer = (tensor.data or 0) + tensor.byte_offset
    return Borrowed(pointer, shape, dtype, device_type, (array, capsule))


def _check_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != expected:
            raise KernelError(f"an array of shape {shape} has strides {strides}: make it contiguous first")
        expected *= max(size, 1)
