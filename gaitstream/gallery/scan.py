"""Lower bounds of the distances to all templates, and close bounds of those to a few; see `quantise`.

Compiled where there is a compiler or a wheel; otherwise the same numbers in numpy, some ten times slower.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery.quantise import MOST_WIDTH, Floats, Layout, Probes, fill_records
from gaitstream.kernels.cpu import default_threads
from gaitstream.kernels.scan import (
    CoarseRecord,
    QuantiseRequest,
    RefineRequest,
    ScanProbes,
    scan_library,
    scan_rows,
)

Rows = NDArray[np.void]
_BLOCK = 256
"""Rows that numpy widens at a time."""


def coarse_distances(layout: Layout, rows: Rows, probes: Probes, threads: int | None = None) -> Floats:
    """Coarse distance less the row's slack, of every probe to every row.

    Args:
        layout: of the rows.
        rows: records `[n]`, one after the other in memory.
        probes: `[k]`.
        threads: of the compiled scan; None for one per CPU.

    Returns:
        float32 `[k, n]`; infinite where a row is nobody's.
    """
    library = scan_library() if layout.width <= MOST_WIDTH else None
    if library is None or not len(rows):
        return _coarse_numpy(rows, probes)
    out = np.empty((len(probes.slack), len(rows)), np.float32)
    scan_rows(
        library,
        coarse_record(layout),
        _address(rows),
        len(rows),
        ScanProbes(
            len(probes.slack),
            _address(probes.high),
            _address(probes.low),
            _address(probes.scale),
            _address(probes.norm),
        ),
        _address(probes.shift),
        _address(out),
        threads=threads or default_threads(),
    )
    return out


def coarse_record(layout: Layout) -> CoarseRecord:
    """How records of a layout lie in memory."""
    scale, norm, slack = (_offset(layout.record, name) for name in ("scale", "norm", "slack"))
    return CoarseRecord(layout.record.itemsize, scale, norm, slack, layout.parts, layout.width)


def fine_distances(
    layout: Layout, rows: Rows, planes: Rows, chosen: NDArray[np.int64], probe: Floats
) -> Floats:
    """Fine distance of one probe `[parts, width]` to some rows, float32 `[len(chosen)]`."""
    library = scan_library()
    if library is None or not len(chosen):
        high = rows["high"][chosen].astype(np.int32) - 128
        whole = (256 * high + planes["low"][chosen]).astype(np.float32)
        off = probe - rows["scale"][chosen][:, :, None] * whole
        return np.asarray(np.sqrt(np.einsum("npd,npd->np", off, off)).mean(axis=1), np.float32)
    out = np.empty(len(chosen), np.float32)
    wanted = np.ascontiguousarray(chosen, np.int64)
    padded = np.ascontiguousarray(probe, np.float32)
    library.gaitstream_refine(
        ctypes.byref(
            RefineRequest(
                rows=_address(rows),
                stride=layout.record.itemsize,
                scale_at=_offset(layout.record, "scale"),
                fine=_address(planes),
                chosen=_address(wanted),
                count=len(wanted),
                parts=layout.parts,
                width=layout.width,
                probe=_address(padded),
                out=_address(out),
                threads=default_threads(),
            )
        )
    )
    return out


def quantise(layout: Layout, parts: Floats) -> tuple[Rows, Rows]:
    """Records and fine planes of templates `[n, parts, dim]`."""
    padded = layout.pad(parts)
    records, planes = np.zeros(len(parts), layout.record), np.zeros(len(parts), layout.plane)
    library = scan_library()
    if library is None:
        for start in range(0, len(parts), _BLOCK):
            part = slice(start, start + _BLOCK)
            fill_records(padded[part], records[part], planes[part])
        return records, planes
    record = layout.record
    library.gaitstream_quantise(
        ctypes.byref(
            QuantiseRequest(
                parts=_address(padded),
                count=len(parts),
                rows=_address(records),
                stride=record.itemsize,
                scale_at=_offset(record, "scale"),
                norm_at=_offset(record, "norm"),
                slack_at=_offset(record, "slack"),
                fine_at=_offset(record, "fine"),
                planes=_address(planes),
                parts_each=layout.parts,
                width=layout.width,
            )
        )
    )
    return records, planes


def _coarse_numpy(rows: Rows, probes: Probes) -> Floats:
    out = np.empty((len(probes.slack), len(rows)), np.float32)
    whole = 256.0 * probes.high + probes.low
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        high = block["high"].astype(np.float64) - 128
        # float64 holds these whole numbers exactly, as 32 bits do in the compiled scan.
        products = np.einsum("kpd,npd->knp", whole, high, optimize=True)
        step = 512 * probes.scale[:, None] * block["scale"]
        squares = probes.norm[:, None] + block["norm"] - step * products
        out[:, start : start + _BLOCK] = np.sqrt(np.maximum(squares, 0)).mean(axis=2) - block["slack"]
    return out


def _address(array: NDArray[Any]) -> int:
    return array.ctypes.data


def _offset(record: np.dtype[np.void], name: str) -> int:
    fields = record.fields
    assert fields is not None  # noqa: S101 - for the type checker
    return int(fields[name][1])
