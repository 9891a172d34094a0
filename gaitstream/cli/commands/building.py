"""What `gaitstream build` does and shows: a bar for every graph, then a table of what came out."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from gaitstream.engines.base import Batch, BuildRequest, Precision
from gaitstream.engines.cache import CachedEngine, Sidecar
from gaitstream.engines.opening import build_engine, settle_precision
from gaitstream.engines.proof import Proof
from gaitstream.engines.registry import choose, runtime_named
from gaitstream.models.bundle import Bundle
from gaitstream.models.recognizer import sizes_for


@dataclass(frozen=True)
class BuildRow:
    """One graph's outcome."""

    graph: Path
    found: CachedEngine
    seconds: float


def build(args: argparse.Namespace) -> int:
    """Compile, record the proof with the bundle, and print a table."""
    sizes = Batch.parse(args.batch) if args.batch is not None else None
    console = Console()
    bundle = None if args.model.endswith(".onnx") else Bundle.open(args.model)
    if bundle is None:
        choice = choose(args.runtime, args.precision, device=args.device)
        probe = runtime_named(choice.runtime).probe(args.device)
        settled = settle_precision(Path(args.model), args.precision, probe)
        graphs = {"graph": (Path(args.model), settled)}
    else:
        manifest = bundle.manifest
        choice = choose(
            args.runtime,
            args.precision,
            device=args.device,
            allowed=manifest.allowed_precisions,
            stored=manifest.graphs.keys(),
        )
        settled = choice.precision
        asked = cast("Precision", settled)
        graphs = {
            role: (bundle.graph(role, asked), bundle.computed_in(role, asked)) for role in manifest.roles
        }
    console.print(f"{choice.reason}", highlight=False, style="dim")
    rows = {}
    for role, (graph, precision) in graphs.items():
        request = BuildRequest(graph, precision, args.device, sizes_for(role, sizes), args.threads)
        rows[role] = _build(console, request, choice.runtime)
        if bundle is not None:
            _record(bundle, role, rows[role].found)
    console.print(_table(rows, choice.runtime, settled, args.device))
    for role, row in rows.items():
        if row.found.reason:
            console.print(f"{role} was built because {row.found.reason}", highlight=False, style="dim")
    return 0


def _build(console: Console, request: BuildRequest, runtime: str) -> BuildRow:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[graph]}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.description}"),
    )
    started = time.monotonic()
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("starting", total=1.0, graph=request.graph.name)

        def report(phase: str, done: float) -> bool:
            bars.update(task, completed=done, description=phase)
            return True

        found = build_engine(request, runtime, progress=report)
    return BuildRow(request.graph, found, time.monotonic() - started)


def _record(bundle: Bundle, role: str, found: CachedEngine) -> None:
    """Keep the proof in `parity.json`, beside the model's own."""
    if found.sidecar is None:
        return
    sidecar = msgspec.json.decode(found.sidecar.read_bytes(), type=Sidecar)
    key = sidecar.key
    bundle.record_engine(
        f"{role}/{key.runtime}/{key.device}/{key.precision}",
        {"runtime_version": key.version, "graph_sha256": key.graph_sha256, **sidecar.proof.to_dict()},
    )


def _integers(proof: Proof) -> str:
    return f", int8 {proof.matrix_int8_share:.0%}" if proof.matrix_int8_share else ""


def _table(rows: dict[str, BuildRow], runtime: str, precision: str, device: str | None) -> Table:
    table = Table(title=f"{runtime}, {precision}, {device or 'this machine'}", title_justify="left")
    for name in ("graph", "half precision", "of products", "size", "time", ""):
        table.add_column(name, justify="right" if name in ("size", "time") else "left")
    for role, row in rows.items():
        proof = row.found.built.proof
        blob = row.found.built.blob
        layers = sum(proof.layers.values())
        table.add_row(
            role,
            f"{proof.half_share:.0%} of {layers} layers",
            f"{proof.matrix_half_share:.0%} of {sum(proof.matrix_layers.values())}{_integers(proof)}",
            f"{len(blob) / 2**20:.1f} MiB" if blob is not None else "compiled on load",
            f"{row.seconds:.1f} s",
            "built" if row.found.reason else "in the cache",
        )
    notes = {row.found.built.proof.note for row in rows.values()} - {""}
    source = next(iter(rows.values())).found.built.proof.source
    table.caption = "; ".join([f"precision read from {source}", *sorted(notes)])
    return table
