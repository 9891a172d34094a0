"""Where files lie that a configuration does not name, and where in a fleet a worker stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gaitstream.addresses import FREE_ENDPOINT
from gaitstream.config.schema import Config


def journal_folder(config: Config, path: str | Path) -> Path:
    """Where the journal of a configuration lies: `events.journal`, else beside the file at `path`."""
    return config.events.journal or Path(path).resolve().parent / f"{Path(path).stem}.journal"


def evidence_folder(config: Config, path: str | Path) -> Path:
    """Where the evidence of a configuration lies: `evidence.folder`, else beside the file at `path`."""
    return config.evidence.folder or Path(path).resolve().parent / f"{Path(path).stem}.evidence"


@dataclass(frozen=True)
class WorkerPlace:
    """A worker's place in a fleet; what belongs to the machine and not to the site.

    Attributes:
        url: of the fleet's database, with credentials.
        key: where the key of the fleet's configuration comes from, as `fleet.key`.
        node: the machine.
        slot: number of the worker on it.
        capacity: what it carries, in usual cameras; None finds out.
        labels: what cameras may ask for.
        endpoint: address of its publisher.
        journal: folder of its journal.
        keys: folder of the publisher's keys.
        address: by which others reach its publisher; empty: as the database sees this machine.
        lease_s: how long its leases last without being renewed.
    """

    url: str
    key: str
    node: str
    slot: int = 0
    capacity: float | None = None
    labels: tuple[str, ...] = ()
    endpoint: str = FREE_ENDPOINT
    journal: Path | None = None
    keys: Path | None = None
    address: str = ""
    lease_s: float = 5.0

    @property
    def name(self) -> str:
        """Of the worker; the same after every restart."""
        return f"{self.node}-{self.slot}"

    def __repr__(self) -> str:
        """Without the URL's credentials."""
        return f"WorkerPlace({self.name})"
