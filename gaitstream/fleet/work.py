"""`gaitstream worker`: everything around the runner of a fleet's worker."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import platformdirs

from gaitstream.config.places import WorkerPlace
from gaitstream.fleet.runner import read_site
from gaitstream.pipeline.base import RunOptions
from gaitstream.runners.launch import run_site

log = logging.getLogger("gaitstream.fleet")

TRY_AGAIN_S = 2.0


def work(
    place: WorkerPlace,
    *,
    json_logs: bool = False,
    metrics_port: int | None = None,
    insecure: bool = False,
    verbose: bool = False,
) -> int:
    """Run cameras of a fleet until it is stopped; `run_site` says what is returned.

    Args:
        place: the worker's.
        json_logs: log lines as JSON.
        metrics_port: overrides `metrics.port`.
        insecure: publish to other machines without keys.
        verbose: also what a developer wants to know.

    Raises:
        GaitstreamError: as for `run_site`.
    """
    config = read_site(place)
    node = config.fleet.node(place.node)
    place = replace(
        place,
        capacity=place.capacity if place.capacity is not None else node.capacity,
        labels=(*place.labels, *node.labels),
        journal=place.journal or default_journal(place.name),
        keys=place.keys or config.events.keys,
    )
    options = RunOptions(
        config=Path(place.name),
        fleet=place,
        table=False,
        json_logs=json_logs,
        metrics_port=metrics_port,
        insecure=insecure,
        verbose=verbose,
    )
    return run_site(options, config)


def default_journal(worker: str) -> Path:
    """Where a worker's journal lies unless it is told."""
    return Path(platformdirs.user_data_dir("gaitstream")) / "fleet" / worker
