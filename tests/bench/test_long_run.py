"""Growth over a long run is told from warming up and from noise."""

from __future__ import annotations

import pytest

from gaitstream.bench.long_run import Sample, growth, quarters, run
from gaitstream.bench.suites import Settings
from gaitstream.errors import ConfigError


def samples(memory: list[float], threads: float = 8.0, files: float = 20.0) -> list[Sample]:
    return [{"memory": value, "threads": threads, "open files": files} for value in memory]


def test_warming_up_is_no_growth() -> None:
    assert growth(samples([100.0 + 40 * min(i, 20) for i in range(100)])) == []


def test_a_leak_is_growth() -> None:
    assert growth(samples([500.0 + 2 * i for i in range(100)])) == ["memory grew from 574 to 674 MiB"]


def test_a_file_lost_now_and_then_is_growth() -> None:
    steady = samples([500.0] * 100)
    leaking = [sample | {"open files": 20.0 + index // 10} for index, sample in enumerate(steady)]
    assert growth(leaking) == ["open files grew from 23 to 28 files"]


def test_quarters_of_a_short_list() -> None:
    assert quarters([1.0]) == (1.0, 1.0)


def test_too_short_a_run_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--minutes 0\.1 is too short"):
        run(Settings(minutes=0.1))
