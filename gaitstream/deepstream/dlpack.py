"""Where a tensor of a batch lies, read from DLPack without PyTorch: it is not in DeepStream's image.

Layouts of the structures: dlpack.h of DLPack 1.0, `DLTensor`, `DLManagedTensor`, `DLManagedTensorVersioned`.
Libraries that read them (cuda-python, CuPy) take the capsule over and make an array of each tensor; here only
addresses are wanted, so that the tensors of a hundred people become a few copies.
"""

from __future__ import annotations

import ctypes
import functools
from math import prod
from typing import NamedTuple

import numpy as np

from gaitstream.deepstream.api import Tensor
from gaitstream.errors import EngineError

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13

_TYPES: dict[tuple[int, int], type[np.generic]] = {
    (2, 16): np.float16,
    (2, 32): np.float32,
    (2, 64): np.float64,
    (0, 8): np.int8,
    (0, 32): np.int32,
    (0, 64): np.int64,
    (1, 8): np.uint8,
}
"""By DLPack type code (0 int, 1 unsigned, 2 float) and bits."""


class Location(NamedTuple):
    """A dense tensor in memory."""

    address: int
    size: int
    """Bytes."""
    on_device: bool
    """On the GPU, not in the host's memory."""


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("number", ctypes.c_int32))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("rank", ctypes.c_int32),
        ("type", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_uint32), ("minor", ctypes.c_uint32))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("version", _Version),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_name = ctypes.pythonapi.PyCapsule_GetName
_name.restype, _name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def locate(tensor: Tensor, shape: tuple[int, ...], dtype: type[np.generic]) -> Location:
    """Where a tensor lies, after checking that it is what was promised.

    The capsule is not consumed: it is destroyed with this call's end, and the memory stays the batch's.

    Args:
        tensor: anything with `__dlpack__`; dense, C order.
        shape: expected, but for ones in front.
        dtype: expected.

    Raises:
        EngineError: another type or shape, a tensor with gaps, or a device that nothing here produces.
    """
    capsule = tensor.__dlpack__()
    view = _view(capsule)
    kind = _TYPES.get((view.type.code, view.type.bits)) if view.type.lanes == 1 else None
    found = tuple(view.shape[: view.rank])
    count = _count(shape)
    if kind is not dtype or _count(found) != count:
        told = np.dtype(kind) if kind else f"DLPack type {view.type.code}/{view.type.bits}"
        raise EngineError(f"an encoder gave {found} {told}, {shape} {np.dtype(dtype)} was expected")
    if view.strides and not _is_dense(found, tuple(view.strides[: view.rank])):
        raise EngineError("an encoder gave a tensor with gaps; dense outputs are expected")
    if view.device.kind not in (CPU, CUDA_HOST, CUDA, CUDA_MANAGED):
        raise EngineError(f"a tensor lies on DLPack device {view.device.kind}; CPU and CUDA are known")
    on_device = view.device.kind in (CUDA, CUDA_MANAGED)
    return Location((view.data or 0) + view.offset, count * np.dtype(dtype).itemsize, on_device)


@functools.cache
def _count(shape: tuple[int, ...]) -> int:
    """Values. Kept, as there is one shape for each layer and hundreds of tensors in a buffer."""
    return prod(shape)


@functools.cache
def _is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _view(capsule: object) -> _Tensor:
    name = _name(capsule)
    address = _pointer(capsule, name)
    if name == b"dltensor_versioned":
        tensor: _Tensor = _Versioned.from_address(address).tensor
        return tensor
    if name != b"dltensor":
        raise EngineError(f"a DLPack capsule named {name!r} came out of an encoder; it was consumed before")
    return _Tensor.from_address(address)
