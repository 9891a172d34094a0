"""What the commands `models` do."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from gaitstream import zoo
from gaitstream.bench.one_model import measure_network
from gaitstream.errors import ConfigError, GaitstreamError, ZooError
from gaitstream.zoo import fetched
from gaitstream.zoo.catalogue import CatalogueModel, catalogue, find_model, look_up
from gaitstream.zoo.fetched import Receipt, Speed

WIDE = 120
"""Columns of a terminal that has room for what a model is."""


def list_models(args: argparse.Namespace) -> int:
    """Handle `models list`."""
    if args.json:
        for model in catalogue():
            print(json.dumps(_plain(model)))
        return 0
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "name", "task", "size", "licence", "speed here"):
        table.add_column(column, no_wrap=True)
    if console.width >= WIDE:
        table.add_column("what")
    for entry in zoo.entries():
        cells = ("[green]✓[/]", entry.name, entry.kind, "", entry.licence, "", f"packaged: {entry.summary}")
        table.add_row(*cells[: len(table.columns)])
    for model in catalogue():
        table.add_row(*_row(model)[: len(table.columns)])
    console.print(table)
    console.print("* asks for your consent: --accept", style="dim", highlight=False)
    if any(_look(model)[1] for model in catalogue()):
        console.print("! damaged: 'gaitstream models verify' says what to do", highlight=False)
    return 0


def get(args: argparse.Namespace) -> int:
    """Handle `models get`."""
    model = _find(args.name)
    if not args.force and fetched.is_here(model):
        print(f"{model.name} is here already: {fetched.folder_of(model)}; --force fetches it again")
        return 0
    receipt = _fetch(model, args)
    print(f"{model.name}: {receipt.size / 1e6:.1f} MB in {fetched.folder_of(model)}")
    print(_trust(receipt))
    if model.manifest is not None and not args.no_measure:
        _measure(model)
    print(_next_step(model, receipt))
    return 0


def info(args: argparse.Namespace) -> int:
    """Handle `models info`."""
    plain = _plain(_find(args.name))
    if args.json:
        print(json.dumps(plain))
        return 0
    for key, value in plain.items():
        if value not in (None, "", [], False):
            print(f"{key:<11} {value if isinstance(value, str | int) else json.dumps(value)}")
    return 0


def verify_models(args: argparse.Namespace) -> int:
    """Handle `models verify`."""
    damaged = 0
    for model in [_find(name) for name in args.names] or catalogue():
        try:
            receipt = fetched.receipt_of(model)
            if receipt is None:
                if args.names:
                    raise ZooError(f"{model.name} was not fetched: {fetched.command(model)}")
                continue
            fetched.verify(model, receipt)
            print(f"ok      {model.name}  {receipt.sha256}")
        except ZooError as error:
            damaged += 1
            print(f"FAILED  {model.name}  {error}")
    return 1 if damaged else 0


def _find(name: str) -> CatalogueModel:
    """The model of the catalogue; of a packaged one, which `list` has too, it is said that it is here."""
    kinds = [
        f"{one.kind} ({one.family})" if one.family else one.kind for one in zoo.entries() if one.name == name
    ]
    if kinds and look_up(name) is None:
        raise ConfigError(f"{name!r} is packaged, as {', '.join(kinds)}: it is here and needs no fetching")
    return find_model(name)


def _fetch(model: CatalogueModel, args: argparse.Namespace) -> Receipt:
    accepted = args.accept or _agrees(model)
    if args.place is not None:
        return fetched.take(model, args.place, accepted=accepted, pinned=args.sha256)
    columns = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(model.name, total=model.size)
        return fetched.download(
            model,
            url=args.url,
            accepted=accepted,
            pinned=args.sha256,
            report=lambda done, total: progress.update(task, completed=done, total=total),
            say=lambda line: print(f"{model.name}: {line}", file=sys.stderr),
        )


def _agrees(model: CatalogueModel) -> bool:
    """Ask whoever sits at the terminal; nobody there has not agreed."""
    if not model.consent or not sys.stdin.isatty():
        return False
    print(f"{model.name}: {model.consent}.\nLicence: {model.licence}, {model.terms}")
    try:
        return input("Do you agree? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        print()
        return False


def _trust(receipt: Receipt) -> str:
    sha256 = receipt.made_from or receipt.sha256
    if receipt.compared_with:
        made = "; the graph was made of it here" if receipt.made_from else ""
        return f"sha256 {sha256}, as known from: {receipt.compared_with}{made}"
    return (
        f"sha256 {sha256}, compared with nothing: the catalogue knows no sum of it. Compare it "
        "with one that you trust; --sha256 does"
    )


def _measure(model: CatalogueModel) -> None:
    """Note the speed; a network that does not run here is still fetched."""
    try:
        speed = measure_network(model.task, fetched.manifest_path(model))
        if speed is not None:
            fetched.keep_speed(model, speed)
    except GaitstreamError as error:
        print(f"its speed was not measured: {error}", file=sys.stderr)
        return
    if speed is not None:
        print(_speed_text(speed))


def _next_step(model: CatalogueModel, receipt: Receipt) -> str:
    if model.usage:
        return f"next: {model.usage.format(path=fetched.folder_of(model) / receipt.file)}"
    return f"next: in cams.yaml, models: {{{model.task}: {model.name}}}"


def _speed_text(speed: Speed) -> str:
    return (
        f"{speed.milliseconds:g} ms a {speed.of} ({speed.runtime}, {speed.precision}) on {speed.machine}, "
        "one at a time"
    )


def _row(model: CatalogueModel) -> tuple[str, ...]:
    receipt, damage = _look(model)
    speed = receipt.speed if receipt else None
    return (
        "[green]✓[/]" if receipt else "[red]![/]" if damage else "",
        model.name,
        model.task,
        f"{model.size / 1e6:.1f} MB" if model.size else "",
        escape(model.licence) + (" [yellow]*[/]" if model.consent else ""),
        f"{speed.milliseconds:g} ms/{speed.of}" if speed else "",
        escape(model.summary),
    )


def _plain(model: CatalogueModel) -> dict[str, Any]:
    """All that is known of a model, for machines and for `info`."""
    receipt, damage = _look(model)
    plain: dict[str, Any] = msgspec.to_builtins(model)
    return plain | {
        "size": model.size,
        "folder": str(fetched.folder_of(model)) if receipt else None,
        "fetched": msgspec.to_builtins(receipt),
        "damage": damage,
    }


def _look(model: CatalogueModel) -> tuple[Receipt | None, str]:
    """A fetched model's receipt, and what is wrong with it where it cannot be read."""
    try:
        return fetched.receipt_of(model), ""
    except ZooError as error:
        return None, str(error)
