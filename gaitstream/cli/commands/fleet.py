"""`gaitstream worker` and `gaitstream fleet`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from rich.console import Console

from gaitstream.cli.commands.journals import publish_from
from gaitstream.config.places import WorkerPlace
from gaitstream.errors import ConfigError
from gaitstream.fleet.collect import Collector
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.demo import run_demo
from gaitstream.fleet.directory import Served, register
from gaitstream.fleet.ray_actors import RayCluster, WorkerOptions
from gaitstream.fleet.site import SiteDocument, SiteStore
from gaitstream.fleet.status import read_status, status_json, status_table
from gaitstream.fleet.work import default_journal, work
from gaitstream.parent import end_with_parent

URL = "GAITSTREAM_FLEET"
WATCH_S = 1.0


def worker(args: argparse.Namespace) -> int:
    """Run cameras of a fleet until it is stopped."""
    if args.with_parent:
        end_with_parent()
    node = args.node or socket.gethostname()
    place = WorkerPlace(
        url=_url(args),
        key=args.key,
        node=node,
        slot=args.slot,
        capacity=args.capacity,
        labels=tuple(args.label),
        endpoint=args.endpoint,
        journal=args.journal or default_journal(f"{node}-{args.slot}"),
        keys=args.keys,
        address=args.address,
    )
    return work(
        place,
        json_logs=args.json,
        metrics_port=args.metrics_port,
        insecure=args.insecure,
        verbose=args.verbose,
    )


def up(args: argparse.Namespace) -> int:
    """Put a site into the fleet; with an address, start its workers."""
    document, config = SiteDocument.read(args.cameras)
    url = _url(args, config.fleet.url.reveal() if config.fleet.url else None)
    database = FleetDatabase(url, create=True)
    version = SiteStore(database, config.fleet.key).put(document, config, replace=args.replace)
    print(f"{database.url}: version {version} of the site, {len(config.cameras)} cameras")
    if config.gallery.path is not None:
        print(
            "gallery.path is a file: every node needs it at the same place; gallery.url is shared",
            file=sys.stderr,
        )
    if args.address is not None:
        options = WorkerOptions(url, config.fleet.key, args.listen, args.state, args.insecure)
        cluster = RayCluster(args.address)
        for name in cluster.start(config.fleet, options):
            print(f"worker {name}")
        for told in cluster.exposed():
            print(told, file=sys.stderr)
    database.close()
    return 0


def down(args: argparse.Namespace) -> int:
    """Stop every camera, and the workers on Ray."""
    database = FleetDatabase(_url(args))
    # Joined first: where it lets nobody in, no camera is stopped either.
    cluster = None if args.address is None else RayCluster(args.address)
    SiteStore(database, "none").stop()
    database.close()
    if cluster is not None:
        for name in cluster.stop():
            print(f"stopped {name}")
    return 0


def status(args: argparse.Namespace) -> int:
    """Show who has what."""
    database = FleetDatabase(_url(args))
    console = Console()
    while True:
        found = read_status(database)
        if args.json:
            print(status_json(found), flush=True)
        else:
            console.print(status_table(found, console.width))
        if not args.watch:
            return 0
        time.sleep(WATCH_S)


def drain(args: argparse.Namespace) -> int:
    """Empty a node, or let it take cameras again."""
    database = FleetDatabase(_url(args))
    known = [row[0] for row in database.rows("SELECT DISTINCT node FROM fleet.worker ORDER BY node")]
    if args.node not in known:
        raise ConfigError(f"{args.node!r} is no node of this fleet; there are: {', '.join(known) or 'none'}")
    if args.undo:
        database.run("DELETE FROM fleet.draining WHERE node = %s", (args.node,), tell=True)
    else:
        insert = "INSERT INTO fleet.draining VALUES (%s) ON CONFLICT DO NOTHING"
        database.run(insert, (args.node,), tell=True)
    return 0


def collect(args: argparse.Namespace) -> int:
    """Write everything into one journal."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with Collector(_url(args), args.journal, topics=args.topic or ("",), key=args.key) as collector:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: collector.stop())
        collector.run(args.seconds)
        print(f"{collector.collected} events in {args.journal}")
    return 0


def serve(args: argparse.Namespace) -> int:
    """Serve a journal whose worker is gone, until Ctrl-C or SIGTERM."""
    if not Path(args.journal).is_dir():
        raise ConfigError(
            f"--journal: {args.journal} is no folder; give the journal of the worker that is gone"
        )
    database = FleetDatabase(_url(args))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with publish_from(args, args.endpoint) as publisher:
        address = args.address or database.my_address() or ""
        served = Served.of(publisher, socket.gethostname(), address, args.keys)
        register(database, served)
        print(f"journal {served.journal} at {served.endpoint}", flush=True)
        stop.wait()
    return 0


def demo(args: argparse.Namespace) -> int:
    """Four nodes on this machine, one of which dies."""
    return run_demo(args.fleet or os.environ.get(URL), args.folder, args.seconds)


def _url(args: argparse.Namespace, otherwise: str | None = None) -> str:
    url: str | None = args.fleet or otherwise or os.environ.get(URL)
    if not url:
        raise ConfigError(f"which fleet? give --fleet postgresql://user@host/database, or set {URL}")
    return url
