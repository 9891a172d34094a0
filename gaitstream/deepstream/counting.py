"""DeepStream's counts in the statistics: those of frames go where the native front end has them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gaitstream.deepstream.translate import JudgedFrame
from gaitstream.telemetry.stats import Stats


def count_handled(stats: Stats, counters: Mapping[str, Mapping[str, int]]) -> None:
    """What the process had to handle, by camera (empty name: none) and kind."""
    for name, counts in counters.items():
        camera = stats.camera(name) if name else None
        for what, number in counts.items():
            if camera is None:
                stats.now.front[what] += number
            elif what == "frames_skipped":
                camera.skipped += number
                camera.decoded += number
            elif what == "frames_dropped":
                camera.dropped += number
                camera.decoded += number
            else:
                camera.front[what] += number


def count_frames(stats: Stats, seen: Iterable[JudgedFrame], now_ns: int, files: Collection[str]) -> None:
    """Analysed frames and how long ago they were captured.

    Args:
        stats: what is counted in.
        seen: frames; those that only say that a camera left are no frames.
        now_ns: the clock.
        files: cameras that are files, whose capture lies in the past.
    """
    for one in seen:
        if one.frame_index < 0:
            continue
        camera = stats.camera(one.camera)
        camera.decoded += 1
        camera.analysed += 1
        if one.camera not in files:
            camera.latency.observe(max(0.0, (now_ns - one.time_ns) / 1e6))
