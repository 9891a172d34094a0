"""The shape of a benchmark's result, as it stands in the JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from gaitstream.errors import ConfigError

SCHEMA = 1

Better = Literal["lower", "higher", "neither"]


class Figure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measured quantity over several repetitions."""

    median: float
    low: float
    """First quartile over the repetitions."""
    high: float
    """Third quartile."""
    unit: str
    better: Better = "lower"
    repeats: int = 1


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One contender under one setting."""

    contender: str
    setting: dict[str, str | int | float] = {}
    figures: dict[str, Figure]
    floor: dict[str, float] = {}
    """By figure: the least this machine could need, in the figure's unit."""
    note: str = ""

    @property
    def key(self) -> str:
        """Names the row across reports."""
        setting = " ".join(f"{name}={value}" for name, value in sorted(self.setting.items()))
        return f"{self.contender} {setting}".strip()


class Chart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A picture of some rows: what is drawn, not how."""

    name: str
    """File name without extension."""
    title: str
    kind: Literal["line", "bar", "stacked"]
    x_label: str
    y_label: str
    series: dict[str, list[tuple[str | float, float]]]
    """Points by series; a stacked bar stacks the series over the same x."""
    log_x: bool = False
    log_y: bool = False


class Suite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One benchmark."""

    name: str
    title: str
    rows: list[Row]
    columns: list[str] = []
    """Figures that the table shows; all of them when empty."""
    notes: list[str] = []
    charts: list[Chart] = []
    failures: list[str] = []
    """What the suite found wrong, such as memory that grows; the command fails then."""


class Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where it ran."""

    cpu: str
    cores: int
    instruction_sets: list[str]
    memory_gib: float
    system: str
    gpu: str
    driver: str
    versions: dict[str, str]
    load: float = 0.0
    """Load average over the last minute when the run began."""

    def is_same(self, other: Machine) -> bool:
        """Whether figures of both can be compared: the same processor, cores and GPU."""
        return (self.cpu, self.cores, self.gpu) == (other.cpu, other.cores, other.gpu)

    @property
    def disturbed(self) -> bool:
        """Whether other work was going on."""
        return self.load > 0.25 * self.cores


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run of `gaitstream bench`."""

    schema: int = SCHEMA
    command: str
    started_utc: str
    machine: Machine
    suites: list[Suite]


def write_report(report: Report, path: Path) -> None:
    """Write the JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def read_report(path: Path) -> Report:
    """Read a JSON file written by `write_report`.

    Raises:
        ConfigError: no such file, or not a report of this schema.
    """
    if not path.is_file():
        raise ConfigError(f"no benchmark report at {path}; make one with 'gaitstream bench all --out DIR'")
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not a benchmark report: {error}") from error
    if report.schema != SCHEMA:
        raise ConfigError(f"{path} has schema {report.schema}; this version reads {SCHEMA}")
    return report
