"""Timing inside one process: warm-up, repetitions, medians with quartiles."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gaitstream.bench.result import Better, Figure


def figure(values: Sequence[float], unit: str, better: Better = "lower") -> Figure:
    """Median and quartiles of repetitions; at least one value."""
    ordered = sorted(float(value) for value in values)
    if len(ordered) == 1:
        low = high = ordered[0]
    else:
        low, _, high = statistics.quantiles(ordered, n=4, method="inclusive")
    return Figure(
        median=statistics.median(ordered), low=low, high=high, unit=unit, better=better, repeats=len(ordered)
    )


def time_ms(
    call: Callable[[], object],
    *,
    repeats: int,
    warmup: int = 1,
    warmup_s: float = 0.0,
    min_total_s: float = 0.0,
) -> list[float]:
    """Wall time of each call in milliseconds.

    Args:
        call: what is measured.
        repeats: the least number of measured calls.
        warmup: calls before the measured ones.
        warmup_s: goes on with these until they took this long together.
        min_total_s: goes on repeating until the measured calls took this long together.
    """
    begun, calls = time.perf_counter(), 0
    while calls < warmup or time.perf_counter() - begun < warmup_s:
        call()
        calls += 1
    times: list[float] = []
    total_s = 0.0
    while len(times) < repeats or total_s < min_total_s:
        start = time.perf_counter()
        call()
        elapsed_s = time.perf_counter() - start
        times.append(elapsed_s * 1e3)
        total_s += elapsed_s
    return times


def peak_memory() -> dict[str, Figure]:
    """Peak resident memory of this process so far, as the figure `memory`; none where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return {}
    # Not ru_maxrss, which a child inherits from the process that started it.
    peaks = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    peak_kib = next(peaks, None) or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"memory": figure([peak_kib / 1024], "MiB")}
