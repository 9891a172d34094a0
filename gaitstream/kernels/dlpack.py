"""Borrow the memory of someone else's array: torch, cupy, numpy or anything with DLPack.

cuda.core reads the protocols and puts the borrower's stream behind the owner's, whichever of DLPack and the
CUDA array interface the owner speaks. A borrowed array keeps its owner alive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gaitstream.errors import KernelError, MissingExtraError

NO_ORDER = -1
"""What the protocols take in a stream's place when nothing has to be ordered."""
HOST, GPU = 1, 2
"""DLPack's numbers of plain host memory and of a GPU's own."""


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A C-contiguous array somewhere."""

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    on_device: bool
    owner: object
    """Keeps the memory alive."""
    gpu: int | None = None
    """Number of the GPU whose memory it is; None where nobody says."""


def borrow(array: Any, stream: int | None = None) -> Borrowed:
    """The memory of `array`, without a copy.

    Args:
        array: a `Borrowed` (returned as it is), a `gaitstream.engines.device.DeviceArray`, or anything with
            `__dlpack__`, `__cuda_array_interface__` or (host memory) `__array_interface__`.
        stream: CUDA stream handle that will use the memory, 0 for the default stream; it is made to wait
            for the owner's. None orders nothing.

    Raises:
        KernelError: it offers none of these, or is not contiguous.
        MissingExtraError: cuda-core, which reads the protocols, is not installed.
    """
    if isinstance(array, Borrowed):
        return array
    if hasattr(array, "pointer"):  # a DeviceArray: its maker has ordered the streams
        return Borrowed(array.pointer, array.shape, np.dtype(array.dtype), True, array)
    try:
        from cuda.core.utils import StridedMemoryView
    except ImportError as error:
        raise MissingExtraError("cuda-core", "gpu", "Borrowing device arrays") from error
    # The default stream is 1 in both protocols, where 0 is forbidden as ambiguous.
    consumer = NO_ORDER if stream is None or _place(array)[0] == HOST else stream or 1
    try:
        view = StridedMemoryView.from_any_interface(array, stream_ptr=consumer)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise KernelError(
            f"{type(array).__name__} shows no memory ({error}): give a torch, cupy or pycuda array"
        ) from error
    shape = tuple(view.shape)
    _check_contiguous(shape, view.strides)
    kind, gpu = _place(array)
    owner = (array, view)
    return Borrowed(
        view.ptr,
        shape,
        np.dtype(view.dtype),
        bool(view.is_device_accessible),
        owner,
        gpu if kind == GPU else None,
    )


def _place(array: Any) -> tuple[int | None, int | None]:
    """Kind of memory and number of the device, as an array says; the host's owners refuse streams."""
    tell = getattr(array, "__dlpack_device__", None)
    if tell is None:
        return None, None
    kind, number = tell()
    return int(kind), int(number)


def _check_contiguous(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> None:
    if strides is None:
        return
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != expected:
            raise KernelError(f"an array of shape {shape} has strides {strides}: make it contiguous first")
        expected *= max(size, 1)
