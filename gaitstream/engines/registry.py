"""Names of runtimes, and which one `auto` takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from gaitstream.engines import cuda
from gaitstream.engines.base import PRECISIONS, Probe, Runtime
from gaitstream.errors import EngineError, GaitstreamError

log = logging.getLogger(__name__)


def _tensorrt() -> Runtime:
    from gaitstream.engines.tensorrt import tensorrt

    return tensorrt()


def _tensorrt_rtx() -> Runtime:
    from gaitstream.engines.tensorrt_rtx import tensorrt_rtx

    return tensorrt_rtx()


def _onnxruntime() -> Runtime:
    from gaitstream.engines.onnxruntime import OnnxRuntime

    return OnnxRuntime()


def _openvino() -> Runtime:
    from gaitstream.engines.openvino import OpenVino

    return OpenVino()


RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "tensorrt": _tensorrt,
    "tensorrt-rtx": _tensorrt_rtx,
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
}
"""Factories by name, in the order `auto` prefers them on one kind of device; a GPU comes before a CPU."""

FOR_CPUS = ("openvino", "onnxruntime")
"""Those of them that need no GPU."""


@dataclass(frozen=True, slots=True)
class RuntimeFinding:
    """What came of probing one runtime: a probe, or the error that says why it cannot be used."""

    name: str
    probe: Probe | None
    error: GaitstreamError | None


@dataclass(frozen=True, slots=True)
class RuntimeChoice:
    """A runtime and precision to use, and why."""

    runtime: str
    precision: str
    reason: str


def runtime_named(name: str) -> Runtime:
    """The runtime of this name.

    Raises:
        EngineError: there is no such runtime.
    """
    if name not in RUNTIMES:
        raise EngineError(f"there is no runtime {name!r}: use auto, {', '.join(RUNTIMES)}")
    return RUNTIMES[name]()


def survey(device: str | None = None) -> list[RuntimeFinding]:
    """Probe every runtime, for this machine or for a target."""
    return [_find(name, device) for name in RUNTIMES]


def _find(name: str, device: str | None = None) -> RuntimeFinding:
    try:
        return RuntimeFinding(name, runtime_named(name).probe(device), None)
    except GaitstreamError as error:
        return RuntimeFinding(name, None, error)


def ranked(findings: list[RuntimeFinding]) -> list[tuple[str, Probe]]:
    """The runtimes that can be used, best first: GPUs, then CPUs, each in the order of `RUNTIMES`."""
    usable = [(finding.name, finding.probe) for finding in findings if finding.probe is not None]
    return sorted(usable, key=lambda pair: not pair[1].accelerator)


def candidates(runtime: str = "auto") -> Iterator[str]:
    """Names of the runtimes to try in turn: the one named, or for `auto` those that can be used, best first.

    Without a GPU each is probed when its turn comes: libraries that nothing runs on take 120 MB of memory.
    """
    if runtime != "auto":
        yield runtime
    elif cuda.devices():
        yield from (name for name, _ in ranked(survey()))
    else:
        yield from (name for name in FOR_CPUS if _find(name).probe is not None)


def choose(
    runtime: str = "auto",
    precision: str = "auto",
    *,
    allowed: Collection[str] = ("fp32",),
    stored: Collection[str] = ("fp32",),
    device: str | None = None,
) -> RuntimeChoice:
    """Settle runtime and precision for a model.

    A precision lower than fp32 is taken by itself only where the model's parity report allows it and the
    device computes it natively: fp16 on a GPU; int8, or else bf16, on a CPU.

    Args:
        runtime: a name, or `auto`.
        precision: `fp32`, `fp16`, `bf16`, `int8`, or `auto`.
        allowed: what the model's parity report lets `auto` pick.
        stored: precisions the model has graphs of; bf16 needs none.
        device: a target to compile for instead of this machine's own.

    Raises:
        MissingExtraError: the runtime named is not installed.
        EngineError: an unknown name, or nothing works on this machine.
    """
    if runtime != "auto":
        probe, why = runtime_named(runtime).probe(device), "asked for"
        name = runtime
    else:
        findings = survey(device)
        best = next(iter(ranked(findings)), None)
        if best is None:
            reasons = "; ".join(f"{finding.name}: {finding.error}" for finding in findings)
            if device is not None:
                raise EngineError(f"no runtime here compiles for {device!r} ({reasons})")
            raise EngineError(f"no runtime works on this machine ({reasons}): pip install openvino")
        name, probe = best
        why = f"the best that {'works here' if device is None else 'compiles for it'} ({probe.description})"
    if precision != "auto":
        if precision not in PRECISIONS:
            raise EngineError(f"there is no precision {precision!r}: use auto, {', '.join(PRECISIONS)}")
        return RuntimeChoice(name, precision, f"{name} is {why}; {precision} is asked for")
    chosen, because = _precision(probe, allowed, stored)
    return RuntimeChoice(name, chosen, f"{name} is {why}; {because}")


def _precision(probe: Probe, allowed: Collection[str], stored: Collection[str]) -> tuple[str, str]:
    # On a GPU int8 is taken by name alone: what it costs and gains was measured on a CPU.
    if not probe.accelerator and all("int8" in have for have in (probe.precisions, allowed, stored)):
        return "int8", "int8 because the device computes it and the model's parity report allows it"
    lower = "fp16" if probe.accelerator else "bf16"
    if lower not in probe.precisions:
        return "fp32", f"fp32 because this device has no native {lower}"
    if lower not in allowed:
        return "fp32", f"fp32 because the model's parity report does not allow {lower}"
    if lower == "fp16" and lower not in stored:
        return "fp32", "fp32 because the model has no fp16 graphs"
    return lower, f"{lower} because the device computes it and the model's parity report allows it"
