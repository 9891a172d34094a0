"""The section `fleet` of `cams.yaml`: one site on many machines."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field

from gaitstream.config.names import NAME_PATTERN
from gaitstream.config.secret_url import SecretUrl
from gaitstream.config.section import Section

Label = Annotated[str, Field(pattern=NAME_PATTERN)]
Capacity = Annotated[float, Field(gt=0, le=10_000)]


class FleetNode(Section):
    """One machine of the fleet."""

    capacity: Capacity | None = None
    """What each worker on it carries, in usual cameras; null: as `fleet.capacity`."""
    workers: Annotated[int, Field(ge=0, le=64)] | None = None
    """Worker processes on it, none on a head that only keeps Ray's books; null: as `fleet.workers`."""
    gpus: Annotated[float, Field(ge=0, le=64)] | None = None
    """GPUs of each worker, as Ray counts them; null: as `fleet.gpus`."""
    labels: list[Label] = []
    """What cameras may ask for."""


class Placement(Section):
    """Cameras that not every machine can read."""

    cameras: Annotated[str, Field(min_length=1)]
    """Ids they are meant for: `north-*`."""
    labels: Annotated[list[Label], Field(min_length=1)]
    """What the worker's machine must have, all of them."""


class Fleet(Section):
    """One site on many machines, with `gaitstream fleet`; `gaitstream run` does not look at it."""

    url: SecretUrl | None = None
    """The fleet's database: `postgresql://user@host/database`; it may be the gallery's."""
    key: Annotated[str, Field(pattern=r"^(none|(file|env|command):.+)$")] = "env:GAITSTREAM_FLEET_KEY"
    """Where the key comes from with which this file is sealed in the database: `file:PATH`, `env:NAME`,
    `command:WORDS`; every worker needs it. `none` keeps it, and the cameras' passwords, in clear."""
    capacity: Capacity | None = None
    """What a worker carries, in cameras with 15 analysed frames a second and one person in view, as
    `gaitstream plan` says. null: found out by measuring."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Worker processes on each machine."""
    gpus: Annotated[float, Field(ge=0, le=64)] = 0.0
    """GPUs of each worker, as Ray counts them; 0 runs it where there is none."""
    max_lag_ms: Annotated[float, Field(gt=0, le=600_000)] = 2000.0
    """A worker whose 95th percentile from capture to analysis stays above gives cameras back."""
    nodes: dict[str, FleetNode] = {}
    """Machines that differ, by name."""
    placement: list[Placement] = []
    """Cameras that only some machines can read."""

    def worker_count(self, node: str) -> int:
        """Worker processes on a machine."""
        own = self.nodes.get(node, FleetNode()).workers
        return self.workers if own is None else own

    def node(self, name: str) -> FleetNode:
        """What applies to each worker on a machine, its own values in place of the fleet's."""
        own = self.nodes.get(name, FleetNode())
        return own.model_copy(
            update={
                "capacity": self.capacity if own.capacity is None else own.capacity,
                "gpus": self.gpus if own.gpus is None else own.gpus,
            }
        )

    def labels(self, camera: str) -> list[str]:
        """What a camera asks of the machine that reads it."""
        rules = (rule for rule in self.placement if fnmatchcase(camera, rule.cameras))
        return sorted({label for rule in rules for label in rule.labels})
