"""That overlapping windows which share chunks give what whole windows do."""

from __future__ import annotations

import numpy as np

from gaitstream.engines.base import Engine
from gaitstream.export.compare import Distance, measure
from gaitstream.export.running import BundleRunner
from gaitstream.models.bundle import Role
from gaitstream.models.chunks import ChunkedWindows
from gaitstream.models.encoders import ClipEncoder
from gaitstream.models.graphs.windows import draw
from gaitstream.models.inputs import WHITE, pack

WINDOWS = 3
"""Drawn ones of two chunks each; every one begins with the last chunk of the one before."""


def measure_chunks(runner: BundleRunner) -> Distance | None:
    """How far windows that share chunks are from whole ones, on one runtime; None without a chunk graph."""
    bundle, precision = runner.bundle, runner.precision
    manifest, clip = bundle.manifest, bundle.manifest.clip
    if clip is None or clip.context is None or not bundle.holds("chunk", precision):
        return None
    stride = 2 * clip.context
    drawn, _ = draw(manifest.inputs, (WINDOWS + 1) * stride)
    rows = pack(manifest, {name: np.rint(one * WHITE).astype(np.uint8) for name, one in drawn.items()})
    windows = [rows[start : start + 2 * stride] for start in range(0, WINDOWS * stride, stride)]

    def opened(role: Role) -> Engine:
        return runner.open(bundle.graph(role, precision))

    whole = ClipEncoder(manifest, opened("clip"))
    shared = ChunkedWindows(opened("chunk"), opened("head"), stride)
    chunked = ClipEncoder(manifest, whole.engine, shared=shared)
    try:
        found = np.concatenate([chunked.embed_windows([window]) for window in windows])
        return measure(found, whole.embed_windows(windows), embedding=True)
    finally:
        chunked.close()
