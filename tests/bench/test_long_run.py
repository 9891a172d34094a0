"""Growth over a long run is told from warming up and from noise."""

from __future__ import annotations

import mmap
import os
import random

import pytest

from gaitstream.bench.long_run import Sample, growth, look, run, trend
from gaitstream.bench.settings import Settings
from gaitstream.errors import ConfigError


def samples(memory: list[float], threads: float = 8.0, files: float = 20.0) -> list[Sample]:
    return [{"memory": value, "threads": threads, "open files": files} for value in memory]


def test_warming_up_is_no_growth() -> None:
    assert growth(samples([100.0 + 40 * min(i, 20) for i in range(100)])) == []


def test_noise_is_no_growth() -> None:
    rng = random.Random(0)
    for _ in range(20):
        assert growth(samples([500.0 + rng.gauss(0, 15) for _ in range(120)])) == []


def test_a_leak_is_growth() -> None:
    assert growth(samples([500.0 + 2 * i for i in range(100)])) == ["memory grew from 550 to 698 MiB"]


def test_a_slow_leak_is_found_in_noise() -> None:
    rng = random.Random(0)
    half_an_hour = [500.0 + i / 60 + rng.gauss(0, 3) for i in range(1800)]
    assert growth(samples(half_an_hour))[0].startswith("memory grew")


def test_a_file_lost_now_and_then_is_growth() -> None:
    steady = samples([500.0] * 100)
    leaking = [sample | {"open files": 20.0 + index // 10} for index, sample in enumerate(steady)]
    assert [text.partition(" grew")[0] for text in growth(leaking)] == ["open files"]


def test_a_planted_leak_of_this_process_is_found() -> None:
    kept: list[tuple[mmap.mmap, int]] = []
    steady = [look() for _ in range(40)]
    assert growth(steady) == []
    leaking = []
    for _ in range(40):
        kept.append((mmap.mmap(-1, 2**23), os.open(os.devnull, os.O_RDONLY)))
        kept[-1][0].write(bytes(2**23))
        leaking.append(look())
    for _, file in kept:
        os.close(file)
    assert [text.partition(" grew")[0] for text in growth(leaking)] == ["memory", "open files"]


def test_a_line_needs_two_samples() -> None:
    assert trend([1.0]) == (1.0, 0.0, 0.0)
    assert trend([]) == (0.0, 0.0, 0.0)


def test_too_short_a_run_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--minutes 0\.1 is too short"):
        run(Settings(minutes=0.1))
