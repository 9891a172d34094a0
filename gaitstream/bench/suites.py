"""The suites by name, and the run of some of them into a report."""

from __future__ import annotations

import difflib
import importlib
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from gaitstream.bench.machine import describe
from gaitstream.bench.process import ContenderError
from gaitstream.bench.result import Report, Suite
from gaitstream.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]
SUITES = {
    "recognizer": "gaitstream.bench.recognizer",
    "pgha": "gaitstream.bench.pgha",
    "pipeline": "gaitstream.bench.pipeline",
    "comparison": "gaitstream.bench.comparison",
    "overhead": "gaitstream.bench.overhead",
    "events": "gaitstream.bench.events",
    "gallery": "gaitstream.bench.gallery",
}
"""Modules with `run(settings: Settings)` that gives a suite, or several."""


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
        device: `cpu` or `cuda` for the recognizer and pgha suites; `auto` takes what is there.
    """

    quick: bool = False
    say: Callable[[str], None] = print
    bundles: Sequence[Path] = field(default_factory=list)
    minutes: float = 0.0
    cameras: int = 4
    people: int = 4
    device: Device = "auto"


def run_suites(names: Sequence[str], settings: Settings) -> Report:
    """Run suites one after the other.

    Args:
        names: of `SUITES`, or `all`.
        settings: of every suite.

    Raises:
        ConfigError: an unknown name.
    """
    wanted = list(SUITES) if "all" in names else list(names)
    for name in wanted:
        if name not in SUITES:
            near = difflib.get_close_matches(name, [*SUITES, "all", "compare"], 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ConfigError(f"no benchmark suite '{name}'{hint}; there are {', '.join(SUITES)} and all")
    if settings.minutes and "pipeline" not in wanted:
        raise ConfigError("--minutes is for the pipeline suite: gaitstream bench pipeline --minutes N")
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    machine = describe()
    suites: list[Suite] = []
    for name in wanted:
        settings.say(f"suite {name}")
        suites += run_suite(name, settings)
    return Report(command=command, started_utc=started, machine=machine, suites=suites)


def run_suite(name: str, settings: Settings) -> list[Suite]:
    """One module's suites; a contender that breaks down is a failure of its suite, not of the others."""
    try:
        found: Suite | list[Suite] = importlib.import_module(SUITES[name]).run(settings)
    except ContenderError as error:
        return [Suite(name=name, title=name.capitalize(), rows=[], failures=[str(error)])]
    return found if isinstance(found, list) else [found]
