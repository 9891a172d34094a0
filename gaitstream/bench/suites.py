"""The suites by name, and the run of some of them into a report."""

from __future__ import annotations

import difflib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gaitstream.bench import events, gallery, overhead, pgha, pipeline, recognizer
from gaitstream.bench.machine import describe
from gaitstream.bench.process import ContenderError
from gaitstream.bench.result import Report, Suite
from gaitstream.bench.settings import Settings
from gaitstream.errors import ConfigError, GaitstreamError

Run = Callable[[Settings], Suite | list[Suite]]
SUITES: Mapping[str, Run] = {
    "recognizer": recognizer.run,
    "pgha": pgha.run,
    "pipeline": pipeline.run,
    "overhead": overhead.run,
    "events": events.run,
    "gallery": gallery.run,
}


class SuitesInterrupt(KeyboardInterrupt):
    """Ctrl-C while a later suite ran; the report holds those that were through."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report


def run_suites(names: Sequence[str], settings: Settings, suites: Mapping[str, Run] = SUITES) -> Report:
    """Run suites one after the other.

    Args:
        names: of `suites`, or `all`.
        settings: of every suite.
        suites: what there is, by name.

    Raises:
        ConfigError: an unknown name.
        GaitstreamError: the first suite cannot run; that of a later one is its failure.
        OSError: likewise, such as a disk that is full.
        SuitesInterrupt: Ctrl-C while a later suite ran.
    """
    wanted = list(suites) if "all" in names else list(dict.fromkeys(names))
    for name in wanted:
        if name in ("compare", "profile"):
            raise ConfigError(f"'{name}' is no suite and stands alone: gaitstream bench {name}")
        if name not in suites:
            near = difflib.get_close_matches(name, [*suites, "all", "compare", "profile"], 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ConfigError(f"no benchmark suite '{name}'{hint}; there are {', '.join(suites)} and all")
    if settings.minutes and "pipeline" not in wanted:
        raise ConfigError("--minutes is for the pipeline suite: gaitstream bench pipeline --minutes N")
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = shlex.join([*_program(Path(sys.argv[0])), *sys.argv[1:]])
    machine = describe()
    found: list[Suite] = []
    report = Report(command=command, started_utc=started, machine=machine, suites=found)
    for at, name in enumerate(wanted):
        settings.say(f"suite {name}")
        try:
            found += run_suite(name, suites[name], settings)
        except (GaitstreamError, OSError) as error:
            if not found:
                raise
            found.append(_failed(name, str(error)))  # what was measured before is not lost
        except KeyboardInterrupt as interrupt:
            if not found:
                raise
            left = f"; not begun: {', '.join(wanted[at + 1 :])}" * (at + 1 < len(wanted))
            found.append(_failed(name, f"interrupted{left}"))
            raise SuitesInterrupt(report) from interrupt
    return report


def _program(path: Path) -> list[str]:
    """How a program was called: by its name, or as a package."""
    return ["python", "-m", path.parent.name] if path.name == "__main__.py" else [path.name]


def run_suite(name: str, run: Run, settings: Settings) -> list[Suite]:
    """One module's suites; a contender that breaks down is a failure of its suite, not of the others."""
    try:
        found = run(settings)
    except ContenderError as error:
        return [_failed(name, str(error))]
    return found if isinstance(found, list) else [found]


def _failed(name: str, failure: str) -> Suite:
    return Suite(name=name, title=name.capitalize(), rows=[], failures=[failure])
