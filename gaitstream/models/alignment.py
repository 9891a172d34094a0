"""Heatmaps into what a pose recognizer's frame graph takes: turned upright and merged into parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gaitstream.data import Floats
from gaitstream.engines import Engine
from gaitstream.kernels import align
from gaitstream.models.manifest import AlignmentContract
from gaitstream.models.pose import keypoints as peaks
from gaitstream.models.running import run_chunked

FRAMES_AT_ONCE = 8
"""Frames per inference of the graph."""


class HeatmapAligner:
    """Aligns heatmaps as a bundle's contract says, in native code or by the bundle's own graph.

    Args:
        contract: of the bundle.
        graph: the bundle's graph `align`; None for native code, the faster.
    """

    def __init__(self, contract: AlignmentContract, graph: Engine | None = None) -> None:
        self.contract = contract
        self._graph = graph

    def align(
        self, heatmaps: NDArray[Any], keypoints: Floats | None = None, segments: NDArray[Any] | None = None
    ) -> Floats:
        """Parts `[n, 1 + groups, 64, 48]` of joint heatmaps.

        Args:
            heatmaps: `[n, 17, 64, 48]` float32 or float16.
            keypoints: `[n, 17, 3]` in heatmap pixels; None takes the maps' peaks.
            segments: the tracklet of each frame `[n]`, where the contract normalises over tracklets; None
                takes all frames for one.
        """
        if self._graph is not None:
            maps = np.asarray(heatmaps, np.float32)
            points = peaks(maps) if keypoints is None else keypoints
            return run_chunked(
                self._graph, {"heatmaps": maps, "keypoints": points}, ["parts"], FRAMES_AT_ONCE
            )[0]
        contract = self.contract
        return align(
            heatmaps,
            keypoints,
            groups=contract.groups,
            gamma_deg=contract.gamma_deg,
            small_angle=contract.small_angle,
            target_xy=contract.target_xy,
            normalization=contract.normalization,
            segments=segments,
        ).parts

    def close(self) -> None:
        """Free the graph's engine."""
        if self._graph is not None:
            self._graph.close()
