"""The gallery's scan, compiled: `csrc/scan_cpu.cpp` called through ctypes, without the interpreter's lock.

What a scan on a GPU takes is here as well: `gaitstream.kernels.cuda.Launcher.scan` launches `csrc/scan.cu`.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from gaitstream.errors import KernelError
from gaitstream.kernels.arguments import SCAN_BLOCK_ROWS, SCAN_BLOCKS, ScanParams
from gaitstream.kernels.cpu import available, library

SCAN_FORMS = (4, 16)
"""Probes that the forms of the GPU's kernel take, each reading a row once for all of them."""


@dataclass(frozen=True, slots=True)
class CoarseRecord:
    """How a template's record lies in memory, in bytes from its start, the coarse digits first.

    Attributes:
        stride: from one record to the next; a multiple of 16.
        scale_at: the scale of each part.
        norm_at: the squared size of each part.
        slack_at: what is taken off the distance.
        parts: rows of an embedding.
        width: digits of a part, a multiple of 64.
    """

    stride: int
    scale_at: int
    norm_at: int
    slack_at: int
    parts: int
    width: int


@dataclass(frozen=True, slots=True)
class ScanProbes:
    """Where probes lie: addresses of `[count, parts, width]` digits and `[count, parts]` numbers.

    Attributes:
        count: probes.
        high: int8.
        low: int8.
        scale: float32.
        norm: float32.
    """

    count: int
    high: int
    low: int
    scale: int
    norm: int

    @property
    def addresses(self) -> dict[str, int]:
        """As the argument structs name them."""
        return {"high": self.high, "low": self.low, "scale": self.scale, "norm": self.norm}


@dataclass(frozen=True, slots=True)
class DeviceScan:
    """A scan of device memory; all addresses are the device's.

    Attributes:
        record: how templates lie.
        blocks: pieces of `SCAN_BLOCK_ROWS` records each.
        rows: templates to scan, from the first on.
        probes: up to 16.
        out: float32 `[probes, rows]`.
    """

    record: CoarseRecord
    blocks: Sequence[int]
    rows: int
    probes: ScanProbes
    out: int


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
        ("threads", ctypes.c_int32),
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


def scan_rows(
    loaded: ctypes.CDLL,
    record: CoarseRecord,
    rows: int,
    count: int,
    probes: ScanProbes,
    shift: int,
    out: int,
    *,
    threads: int,
) -> None:
    """Coarse distances on the CPU.

    Args:
        loaded: of `scan_library`.
        record: how templates lie.
        rows: address of the first.
        count: how many there are.
        probes: any number.
        shift: address of int32 `[probes, parts]`, what the offset of the templates' digits adds to a product.
        out: address of float32 `[probes, count]`.
        threads: that share the rows.
    """
    loaded.gaitstream_scan(
        ctypes.byref(
            ScanRequest(
                rows=rows,
                first=0,
                last=count,
                shift=shift,
                probes=probes.count,
                threads=threads,
                out=out,
                **asdict(record),
                **probes.addresses,
            )
        )
    )


def scan_form(job: DeviceScan) -> int:
    """The form of the GPU's kernel that takes so many probes.

    Raises:
        KernelError: a size does not fit.
    """
    fits = job.probes.count <= SCAN_FORMS[-1] and len(job.blocks) <= SCAN_BLOCKS
    if not fits or job.rows > len(job.blocks) * SCAN_BLOCK_ROWS:
        raise KernelError(
            f"a scan of {job.rows} templates in {len(job.blocks)} pieces with {job.probes.count} probes: a "
            f"launch takes {SCAN_FORMS[-1]} probes, and {SCAN_BLOCKS} pieces of {SCAN_BLOCK_ROWS} templates"
        )
    return next(form for form in SCAN_FORMS if job.probes.count <= form)


def scan_params(job: DeviceScan) -> ScanParams:
    """The argument of one launch."""
    params = ScanParams(
        rows=job.rows, probes=job.probes.count, out=job.out, **asdict(job.record), **job.probes.addresses
    )
    params.blocks[: len(job.blocks)] = job.blocks
    return params
