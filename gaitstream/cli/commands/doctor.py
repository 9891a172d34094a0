"""What `gaitstream doctor` tries and says."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gaitstream import __version__
from gaitstream.engines import cuda
from gaitstream.engines.cache import default_root, trouble
from gaitstream.engines.gpu_check import check_gpu
from gaitstream.engines.registry import RuntimeChoice, RuntimeFinding, choose, ranked
from gaitstream.engines.trial import Trial, try_all
from gaitstream.kernels import cpu
from gaitstream.models.bundle import Bundle

PARTS = (
    ("torch", "export", "exporting a checkpoint to a bundle"),
    ("onnx", "export", "exporting a checkpoint to a bundle"),
    ("pycuda", "gpu", "running TensorRT engines"),
    ("cuda-core", "gpu", "launching the GPU kernels"),
    ("matplotlib", "bench", "plots of benchmarks"),
)
"""Distributions beside the runtimes, the extra that brings each, and what it is for."""
EXTRAS = {"tensorrt": "gpu", "tensorrt-rtx": "rtx", "onnxruntime": "ort", "openvino": ""}


def doctor(args: argparse.Namespace) -> int:
    """Handle `doctor`."""
    if args.gpu:
        return _doctor_gpu(plain=args.json)
    trials = try_all()
    choice = _choice(trials, args.bundle)
    if args.json:
        print(json.dumps(_plain(trials, choice), indent=2))
    else:
        _show(Console(), trials, choice, args.bundle)
    return 0 if choice is not None else 1


def _doctor_gpu(*, plain: bool) -> int:
    """A pass means that the GPU did it: no other runtime is looked at."""
    checks = check_gpu()
    if plain:
        print(json.dumps([{"name": one.name, "passed": one.passed, "said": one.said} for one in checks]))
    else:
        for check in checks:
            print(f"{'pass  ' if check.passed else 'FAILED'}  {check.name:<9} {check.said}")
    return 0 if all(check.passed for check in checks) else 1


def _choice(trials: list[Trial], bundle: str | None) -> RuntimeChoice | None:
    """What `auto` takes among the runtimes that were tried and work."""
    best = ranked([RuntimeFinding(trial.name, trial.probe, None) for trial in trials if trial.error is None])
    if not best:
        return None
    if bundle is None:
        return choose(best[0][0])

    manifest = Bundle.open(bundle).manifest
    return choose(best[0][0], allowed=manifest.allowed_precisions, stored=manifest.graphs.keys())


def _show(console: Console, trials: list[Trial], choice: RuntimeChoice | None, bundle: str | None) -> None:

    gpus = ", ".join(f"{gpu.name} ({gpu.capability})" for gpu in cuda.devices()) or "no CUDA device"
    console.print(
        f"[bold]gaitstream {__version__}[/] on Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, {gpus}",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "runtime", "version", "device", "computes in", "tried"):
        table.add_column(name)
    for trial in trials:
        table.add_row(*(escape(cell) if index else cell for index, cell in enumerate(_row(trial))))
    console.print(table)
    for trial in trials:
        if trial.error is not None and trial.installed:
            console.print(f"[yellow]![/] {escape(str(trial.error))}", highlight=False)
    console.print()
    if choice is None:
        console.print("[red]auto has nothing to pick.[/] Install the CPU runtime: pip install openvino")
    else:
        what = f" for {escape(bundle)}" if bundle else " for a model that allows fp32 alone"
        console.print(f"[bold]auto[/] picks [green]{choice.runtime}, {choice.precision}[/]{what}")
        console.print(f"  because {escape(_because(choice))}", style="dim", highlight=False)
    _show_kernels(console)
    if fault := trouble(default_root()):
        console.print(
            escape(f"! {fault}; until then they are built at every start"), style="yellow", highlight=False
        )
    else:
        console.print(f"engines are kept in {escape(str(default_root()))}", highlight=False)
    for line in _advice(trials):
        console.print(f"  {escape(line)}", highlight=False)


def _show_kernels(console: Console) -> None:
    kind = cpu.kind()
    style = None if kind.compiled else "yellow"
    console.print(("" if kind.compiled else "! ") + escape(kind.said), style=style, highlight=False)


def _row(trial: Trial) -> tuple[str, ...]:
    if trial.error is None and trial.probe is not None:
        probe = trial.probe
        tried = f"right in {trial.seconds * 1000:.0f} ms"
        return (
            "[green]✓[/]",
            trial.name,
            probe.version.split("-")[0],
            probe.description,
            ", ".join(probe.precisions),
            tried,
        )
    mark = "[yellow]![/]" if trial.installed else "[dim]–[/]"
    return mark, trial.name, "", "", "", "cannot run here" if trial.installed else "not installed"


def _because(choice: RuntimeChoice) -> str:
    return choice.reason.replace("is asked for", "is the best that works here", 1)


def _advice(trials: list[Trial]) -> list[str]:
    """What is missing, and the command that brings it."""
    lines = [
        f"for {trial.name}: pip install 'gaitstream[{EXTRAS[trial.name]}]'"
        for trial in trials
        if not trial.installed and EXTRAS[trial.name]
    ]
    for package, extra, purpose in PARTS:
        line = f"for {purpose}: pip install 'gaitstream[{extra}]'"
        if not _installed(package) and not any(f"[{extra}]" in known for known in lines):
            lines.append(line)
    return ["to get more:", *[f"  {line}" for line in lines]] if lines else []


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _plain(trials: list[Trial], choice: RuntimeChoice | None) -> dict[str, Any]:
    return {
        "runtimes": [
            {
                "name": trial.name,
                "installed": trial.installed,
                "works": trial.error is None,
                "version": trial.probe.version if trial.probe else None,
                "device": trial.probe.description if trial.probe else None,
                "precisions": list(trial.probe.precisions) if trial.probe else [],
                "error": str(trial.error) if trial.error else None,
            }
            for trial in trials
        ],
        "cache": {"folder": str(default_root()), "trouble": trouble(default_root()) or None},
        "kernels": {"compiled": cpu.kind().compiled, "said": cpu.kind().said},
        "auto": {"runtime": choice.runtime, "precision": choice.precision} if choice else None,
    }
