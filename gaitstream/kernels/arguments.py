"""The argument structs of the compiled kernels, as ctypes sees them: CPU and CUDA from the same fields."""

from __future__ import annotations

import ctypes
from typing import Any

from gaitstream.kernels.contract import MAX_CHANNELS, NORMALIZATIONS, SAMPLINGS, SPINE, AlignmentOptions

LAUNCH_GROUPS = 4
"""Part groups of one launch of the general CUDA kernel."""

POOL_ENTRIES = 64
"""Rows of one launch of the pooling kernel."""

SCAN_BLOCKS = 256
"""Pieces of memory that hold the templates of one scan."""

SCAN_BLOCK_ROWS = 1 << 14
"""Templates in each."""

Fields = tuple[tuple[str, type[Any]], ...]


def _each(kind: type[Any], *names: str) -> Fields:
    return tuple((name, kind) for name in names)


_MAPS = _each(ctypes.c_void_p, "heatmaps", "keypoints", "segments")
_RESULTS = _each(ctypes.c_void_p, "parts", "angle_deg", "aligned", "neck", "hip", "score")
_ANGLES = _each(ctypes.c_double, "gamma_deg", "target_x", "target_y")
_RULES = _each(ctypes.c_int32, "normalization", "sampling", "align_small")
_JOINTS = ("joints", ctypes.c_int32 * len(SPINE))


class PghaRequest(ctypes.Structure):
    """`struct PghaRequest` of csrc/pgha_cpu.cpp, field by field."""

    _fields_ = (
        *_MAPS,
        ("groups", ctypes.c_void_p),
        *_RESULTS,
        ("n", ctypes.c_int64),
        *_each(ctypes.c_int32, "channels", "group_count", "is_half"),
        *_RULES,
        ("threads", ctypes.c_int32),
        _JOINTS,
        *_ANGLES,
    )


class PghaParams(ctypes.Structure):
    """`struct PghaParams` of csrc/pgha.cuh, field by field."""

    _fields_ = (
        *_MAPS,
        ("ranges", ctypes.c_void_p),
        *_RESULTS,
        ("groups", ctypes.c_uint64 * LAUNCH_GROUPS),
        *_ANGLES,
        *_each(ctypes.c_int32, "n", "channels", "group_count", "total_parts", "first_part"),
        *_RULES,
        *_each(ctypes.c_int32, "half_parts", "float_aligned"),
        _JOINTS,
        ("order", ctypes.c_uint8 * MAX_CHANNELS),
    )


class CropParams(ctypes.Structure):
    """`struct CropParams` of csrc/crop.cu, field by field."""

    _fields_ = (
        *_each(ctypes.c_void_p, "pictures", "windows", "crops"),
        *_each(ctypes.c_float * 3, "gain", "bias"),
        *_each(ctypes.c_int32, "height", "width"),
    )


class PoolParams(ctypes.Structure):
    """`struct PoolParams` of csrc/pool.cuh, field by field."""

    _fields_ = (
        ("rows", ctypes.c_void_p * POOL_ENTRIES),
        ("slots", ctypes.c_void_p * POOL_ENTRIES),
        ("size", ctypes.c_longlong),
        *_each(ctypes.c_int32, "count", "half_rows"),
        ("fresh", ctypes.c_uint8 * POOL_ENTRIES),
    )


class ScanParams(ctypes.Structure):
    """`struct ScanParams` of csrc/scan.cuh, field by field."""

    _fields_ = (
        ("blocks", ctypes.c_void_p * SCAN_BLOCKS),
        *_each(ctypes.c_void_p, "high", "low", "scale", "norm", "out"),
        *_each(ctypes.c_int32, "stride", "scale_at", "norm_at", "slack_at"),
        *_each(ctypes.c_int32, "rows", "parts", "width", "probes"),
    )


def rules(options: AlignmentOptions) -> dict[str, Any]:
    """The fields that say how frames are aligned, the same in both structs."""
    return {
        "normalization": NORMALIZATIONS[options.normalization],
        "sampling": SAMPLINGS[options.sampling],
        "align_small": int(options.small_angle == "align"),
        "joints": (ctypes.c_int32 * len(SPINE))(*SPINE),
        "gamma_deg": options.gamma_deg,
        "target_x": options.target_xy[0],
        "target_y": options.target_xy[1],
    }
