"""The least a frame could cost here: multiply-adds over the matrix rate, bytes over the bandwidth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gaitstream.bench.flops import graph_gflop
from gaitstream.bench.machine import matrix_rate_gflops, memory_bandwidth_gbps
from gaitstream.config.schema import Config
from gaitstream.engines import open_engine
from gaitstream.models.detector import find_detector
from gaitstream.models.pose import read_contract
from gaitstream.pipeline.encode import Encoder

CROP_BYTES = 256 * 192 * 3
HEATMAP_BYTES = 17 * 64 * 48 * 4
DECODE_BYTES = 1.5 + 1.5 + 3
"""Per pixel: YUV 4:2:0 written, read again, BGR written."""
READ_BYTES = 3
"""Per pixel: the detector's resizing reads BGR."""


@dataclass(frozen=True, slots=True)
class FrameWork:
    """What a frame asks of its stages.

    Attributes:
        pixels: of the picture.
        posed: persons who go through the pose model, on average.
        encoded: persons who go through the recognizer.
    """

    pixels: int
    posed: float
    encoded: float


@dataclass(frozen=True, slots=True)
class Floors:
    """What the graphs ask and the machine gives.

    Attributes:
        gflop: of each engine's graph, for one frame (`detect`) or person (others).
        rate: GFLOP a second of a large matrix product on all cores, in the precision that engine runs in.
        bandwidth: GB a second of a copy.
    """

    gflop: Mapping[str, float]
    rate: Mapping[str, float]
    bandwidth: float

    def stages_ms(self, work: FrameWork) -> dict[str, float]:
        """Least time by stage for one frame, ms; stages without an entry compute next to nothing."""
        moved = {
            "decode": DECODE_BYTES * work.pixels,
            "detect": READ_BYTES * work.pixels,
            "crop": CROP_BYTES * work.posed,
            "keypoints": HEATMAP_BYTES * work.posed,
        }
        found = {name: size / self.bandwidth / 1e6 for name, size in moved.items()}
        for name, gflop in self.gflop.items():
            times = {"detect": 1.0, "pose": work.posed}.get(name, work.encoded)
            found[name] = found.get(name, 0.0) + times * gflop / self.rate[name] * 1e3
        return found

    def frame_ms(self, work: FrameWork) -> float:
        """Least time of a frame, decoding included, ms."""
        return sum(self.stages_ms(work).values())


def find_limits(config: Config, encoder: Encoder) -> Floors:
    """Count the graphs of a configuration and measure the machine; takes a few seconds."""
    detector = find_detector(config.models.detector.model)[0]
    with open_engine(detector, config.runtime.name, config.runtime.precision) as engine:
        precisions = {"detect": engine.precision}
    graphs: dict[str, Path] = {"detect": detector}
    if encoder.pose is not None:
        chosen = config.models.pose
        graphs["pose"] = read_contract(chosen.model if chosen else "demo")[0]
        precisions["pose"] = encoder.pose.engine.precision
    for kind, recognizer in encoder.recognizers.items():
        graphs[kind] = recognizer.bundle.graph("frame", "fp32")
        precisions[kind] = recognizer.precision
    rates = {precision: matrix_rate_gflops(precision) for precision in set(precisions.values())}
    return Floors(
        gflop={name: graph_gflop(graph) for name, graph in graphs.items()},
        rate={name: rates[precision] for name, precision in precisions.items()},
        bandwidth=memory_bandwidth_gbps(),
    )
