"""What the suites may be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gaitstream.bench.process import Contender
from gaitstream.models.bundle import Bundle

Device = Literal["auto", "cpu", "cuda"]
Extra = Callable[[Bundle, str, bool], list[Contender]]
"""From a bundle, the name of the GPU (empty for the CPU) and `quick` to more contenders."""


def none_extra(bundle: Bundle, gpu: str, quick: bool) -> list[Contender]:  # noqa: ARG001 - an `Extra`
    """The package's own contenders alone."""
    return []


@dataclass(frozen=True)
class Settings:
    """What a suite may be told.

    Attributes:
        quick: fewer settings and repetitions; everything still runs for real.
        say: receives a line about what is running.
        bundles: recognizers to measure instead of ones with random weights.
        minutes: length of the pipeline's long run; 0 measures its speed instead.
        cameras: of the long run.
        people: in the long run's world.
        extra: more contenders of the recognizer suite, such as the ones in `benchmarks/`.
        device: `cpu` or `cuda` for the recognizer, pgha and gallery suites; `auto` takes what is there.
    """

    quick: bool = False
    say: Callable[[str], None] = print
    bundles: Sequence[Path] = field(default_factory=list)
    minutes: float = 0.0
    cameras: int = 4
    people: int = 4
    device: Device = "auto"
    extra: Extra = none_extra
