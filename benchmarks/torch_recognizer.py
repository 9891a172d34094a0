"""PyTorch as a contender of the recognizer suite: eager and compiled, on CPU and GPU."""

from __future__ import annotations

import os
import shutil

from gaitstream.bench.flops import graph_gflop
from gaitstream.bench.measure import figure, peak_memory, time_ms
from gaitstream.bench.process import Contender
from gaitstream.bench.recognizer import (
    FRAMES,
    batch_rates,
    frame_gflop,
    make_inputs,
    make_module,
    rate_gflops,
)
from gaitstream.bench.result import Row
from gaitstream.models.bundle import Bundle
from gaitstream.models.spec import FAMILIES, find_family


def measure_torch(bundle: str, repeats: int, device: str, half: bool, compiled: bool) -> list[Row]:
    """The package's PyTorch module, every frame of the tracklet in one batch.

    Args:
        bundle: whose model is built, with random weights.
        repeats: measured calls.
        device: `cpu` or `cuda`.
        half: under autocast to fp16.
        compiled: through torch.compile; its first call is a figure of its own.
    """
    import torch

    manifest = Bundle.open(bundle).manifest
    name = f"PyTorch {'fp16' if half else 'fp32'}, {'compiled' if compiled else 'eager'}"
    setting: dict[str, str | int | float] = {"model": manifest.model}
    if device == "cuda" and not torch.cuda.is_available():
        return [
            Row(contender=name, setting=setting, figures={}, note=f"torch {torch.__version__} sees no GPU")
        ]
    if compiled and device == "cpu" and not has_compiler():
        return [Row(contender=name, setting=setting, figures={}, note="no C++ compiler: install g++")]
    module = make_module(manifest.model).to(device)
    module = torch.compile(module) if compiled else module
    frames = [torch.from_numpy(one)[None].to(device) for one in make_inputs(manifest).values()]

    def embed(n: int = FRAMES) -> None:
        with torch.inference_mode(), torch.autocast(device, torch.float16, enabled=half):
            module(*(one[:, :n] for one in frames))
        if device == "cuda":
            torch.cuda.synchronize()

    first = time_ms(embed, repeats=1, warmup=0)
    tracklet = time_ms(embed, repeats=repeats)
    # Every other batch would be compiled anew.
    by_batch = {} if compiled else batch_rates(embed, repeats)
    memory = peak_memory()
    gflop = graph_gflop(Bundle.open(bundle).graph("frame", "fp32"))
    floor = FRAMES * gflop / rate_gflops("fp16" if half else "fp32", device) * 1e3
    return [
        Row(
            contender=name,
            setting=setting,
            figures={
                "tracklet": figure(tracklet, "ms"),
                "frame": figure([value / FRAMES for value in tracklet], "ms"),
                **memory,
                "first call": figure(first, "ms", "neither"),
                **by_batch,
            },
            floor={"tracklet": floor, "frame": floor / FRAMES},
            note=f"first call {first[0] / 1e3:.0f} s" if compiled else f"{torch.get_num_threads()} threads",
        )
    ]


def has_compiler() -> bool:
    """Whether torch.compile finds what it compiles CPU code with."""
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    return any(shutil.which(name) for name in names if name)


def contenders(bundle: Bundle, gpu: str, quick: bool) -> list[Contender]:
    """PyTorch in fp32, on a GPU under fp16 autocast too, eager and compiled."""
    model = bundle.manifest.model
    if not is_published_size(bundle):
        return []
    # Compiling BigGait takes minutes on a small machine: a quick run leaves it out.
    modes = (False,) if quick and model == "biggait" else (False, True)
    found: list[Contender] = []
    for half in (False, True) if gpu else (False,):
        for compiled in modes:
            name = f"PyTorch {'fp16' if half else 'fp32'}, {'compiled' if compiled else 'eager'}"
            arguments = {"device": "cuda" if gpu else "cpu", "half": half, "compiled": compiled}
            found.append((name, measure_torch, arguments))
    return found


def is_published_size(bundle: Bundle) -> bool:
    """Whether the PyTorch module of `make_module` does the same work as a bundle."""
    family = bundle.manifest.model
    published = find_family(family).gflop if family in FAMILIES.names() else 0.0
    return published > 0 and abs(frame_gflop(bundle) / published - 1) < 0.05
