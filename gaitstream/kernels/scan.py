"""The gallery's scan, compiled: `csrc/scan_cpu.cpp` called through ctypes, without the interpreter's lock."""

from __future__ import annotations

import ctypes
import functools

from gaitstream.errors import KernelError
from gaitstream.kernels.cpu import available, library


class ScanRequest(ctypes.Structure):
    """`struct ScanRequest` of csrc/scan_cpu.cpp, field by field."""

    _fields_ = (
        ("rows", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("scale_at", ctypes.c_int64),
        ("norm_at", ctypes.c_int64),
        ("slack_at", ctypes.c_int64),
        ("first", ctypes.c_int64),
        ("last", ctypes.c_int64),
        ("parts", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("high", ctypes.c_void_p),
        ("low", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("norm", ctypes.c_void_p),
        ("shift", ctypes.c_void_p),
        ("probes", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("out", ctypes.c_void_p),
    )


class RefineRequest(ctypes.Structure):
    """`struct RefineRequest` of csrc/scan_cpu.cpp, field by field."""

    _fields_ = (
        ("rows", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("scale_at", ctypes.c_int64),
        ("fine", ctypes.c_void_p),
        ("chosen", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("parts", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("probe", ctypes.c_void_p),
        ("out", ctypes.c_void_p),
    )


class QuantiseRequest(ctypes.Structure):
    """`struct QuantiseRequest` of csrc/scan_cpu.cpp, field by field."""

    _fields_ = (
        ("parts", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("rows", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("scale_at", ctypes.c_int64),
        ("norm_at", ctypes.c_int64),
        ("slack_at", ctypes.c_int64),
        ("fine_at", ctypes.c_int64),
        ("planes", ctypes.c_void_p),
        ("parts_each", ctypes.c_int32),
        ("width", ctypes.c_int32),
    )


_SIZES = (ScanRequest, RefineRequest, QuantiseRequest)


@functools.cache
def scan_library() -> ctypes.CDLL | None:
    """The compiled library; None on a machine that has none and cannot compile it.

    Raises:
        KernelError: it is of another version.
    """
    if not available():
        return None
    loaded = library()
    loaded.gaitstream_scan_request_bytes.restype = ctypes.c_int64
    expected = sum(ctypes.sizeof(one) * 1000 ** (2 - index) for index, one in enumerate(_SIZES))
    if loaded.gaitstream_scan_request_bytes() != expected:
        raise KernelError("the CPU kernels are of another version of gaitstream; delete them to compile anew")
    loaded.gaitstream_scan.argtypes = [ctypes.POINTER(ScanRequest)]
    loaded.gaitstream_scan.restype = None
    loaded.gaitstream_refine.argtypes = [ctypes.POINTER(RefineRequest)]
    loaded.gaitstream_refine.restype = None
    loaded.gaitstream_quantise.argtypes = [ctypes.POINTER(QuantiseRequest)]
    loaded.gaitstream_quantise.restype = None
    return loaded
