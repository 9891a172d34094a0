"""Copies a tensor out of a batch through DLPack, without PyTorch: it is not in DeepStream's image.

Layouts of the structures: dlpack.h of DLPack 1.0, `DLTensor`, `DLManagedTensor`, `DLManagedTensorVersioned`.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.deepstream.api import Tensor
from gaitstream.errors import EngineError

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13

CopyFromDevice = Callable[[int, int, int], None]
"""Copies device memory to the host: target address, source address, bytes."""

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

_DEVICE_TO_HOST = 2


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


def copy_to_host(tensor: Tensor, out: NDArray[Any] | None, copy: CopyFromDevice) -> NDArray[Any]:
    """Copy a tensor, wherever it lies.

    The capsule is not consumed: it is destroyed with this call's end, and the memory stays the batch's.

    Args:
        tensor: anything with `__dlpack__`; dense, C order.
        out: where to copy to, of the tensor's size and type; a new array when None.
        copy: used for memory on the GPU.

    Raises:
        EngineError: an element type or device that nothing here produces, or another size than `out`.
    """
    capsule = tensor.__dlpack__()
    view = _view(capsule)
    kind = _TYPES.get((view.type.code, view.type.bits))
    if kind is None or view.type.lanes != 1:
        raise EngineError(f"a tensor of DLPack type {view.type.code}/{view.type.bits} came out of an encoder")
    shape = tuple(view.shape[i] for i in range(view.rank))
    _require_dense(view, shape)
    if out is None:
        out = np.empty(shape, kind)
    if out.size != prod(shape) or out.dtype != kind or not out.flags.c_contiguous:
        raise EngineError(f"an encoder gave {shape} {np.dtype(kind)}, {out.shape} {out.dtype} was expected")
    source = (view.data or 0) + view.offset
    if view.device.kind in (CPU, CUDA_HOST):
        ctypes.memmove(out.ctypes.data, source, out.nbytes)
    elif view.device.kind in (CUDA, CUDA_MANAGED):
        copy(out.ctypes.data, source, out.nbytes)
    else:
        raise EngineError(f"a tensor lies on DLPack device {view.device.kind}; CPU and CUDA are known")
    return out


def cuda_copier(gpu: int) -> CopyFromDevice:
    """`cudaMemcpy` of the installed CUDA runtime, loaded with the first copy.

    The runtime's API uses the device's primary context, as nvinfer does. The copy raises EngineError when
    there is no runtime, or it fails.
    """

    def copy(target: int, source: int, size: int) -> None:
        runtime = _runtime()
        # The device is a property of the calling thread, and DeepStream's streaming threads come and go.
        error = runtime.cudaSetDevice(gpu) or runtime.cudaMemcpy(
            ctypes.c_void_p(target), ctypes.c_void_p(source), ctypes.c_size_t(size), _DEVICE_TO_HOST
        )
        if error:
            raise EngineError(f"cudaMemcpy of {size} bytes failed with error {error}")

    return copy


@functools.cache
def _runtime() -> ctypes.CDLL:
    for name in ("libcudart.so.13", "libcudart.so.12", "libcudart.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise EngineError("no CUDA runtime (libcudart.so.13 or .12) was found; use the image gaitstream:gpu")


def _view(capsule: object) -> _Tensor:
    name = _name(capsule)
    address = _pointer(capsule, name)
    if name == b"dltensor_versioned":
        tensor: _Tensor = _Versioned.from_address(address).tensor
        return tensor
    if name != b"dltensor":
        raise EngineError(f"a DLPack capsule named {name!r} came out of an encoder; it was consumed before")
    return _Tensor.from_address(address)


def _require_dense(view: _Tensor, shape: tuple[int, ...]) -> None:
    if not view.strides:
        return
    expected = 1
    for size, stride in zip(
        reversed(shape), reversed([view.strides[i] for i in range(view.rank)]), strict=True
    ):
        if size != 1 and stride != expected:
            raise EngineError("an encoder gave a tensor with gaps; dense outputs are expected")
        expected *= size
