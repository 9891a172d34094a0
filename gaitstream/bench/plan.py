"""How many machines a site needs, from what its steps cost on one."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from gaitstream.bench.devices import ACHIEVED, GFLOP, Device
from gaitstream.bench.rates import Model, Rates
from gaitstream.bench.table import format_number

HEADROOM = 0.8
"""Share of a machine that is planned for: people come in groups, and a queue grows long before 100%."""
PER_CAMERA_MIB = 40.0
"""Memory of one more camera: decoder, queue of frames, tracks; estimated."""
TOLERANCE = 0.2


@dataclass(frozen=True, slots=True)
class Site:
    """What is to be watched.

    Attributes:
        cameras: how many.
        fps: analysed per camera.
        people: on average in a picture.
        model: the recognizer.
    """

    cameras: int
    fps: float
    people: float
    model: Model


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the pipeline.

    Attributes:
        name: of the stage.
        unit_ms: cost for a frame or for a person in it.
        per: `frame` or `person`.
        load: share of one machine's time that the whole site needs.
    """

    name: str
    unit_ms: float
    per: str
    load: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer.

    Attributes:
        site: the question.
        steps: largest load first.
        load: of one machine, summed; above 1 it takes more than one.
        cameras_per_machine: at `HEADROOM`.
        machines: needed.
        memory_mib: of each machine's pipeline.
    """

    site: Site
    steps: tuple[Step, ...]
    load: float
    cameras_per_machine: int
    machines: int
    memory_mib: float


def make_plan(site: Site, rates: Rates) -> Plan:
    """Predict the load from measured costs; nothing is measured here."""
    frames = site.cameras * site.fps / 1e3
    steps = [Step(name, ms, "frame", frames * ms) for name, ms in rates.frame_ms.items()]
    steps += [Step(name, ms, "person", frames * site.people * ms) for name, ms in rates.person_ms.items()]
    load = sum(step.load for step in steps)
    fits = math.floor(HEADROOM * site.cameras / load) if load else site.cameras
    machines = math.ceil(site.cameras / fits) if fits else math.ceil(load / HEADROOM)
    here = min(site.cameras, max(fits, 1))
    return Plan(
        site=site,
        steps=tuple(sorted(steps, key=lambda step: -step.load)),
        load=load,
        cameras_per_machine=fits,
        machines=machines,
        memory_mib=rates.memory_mib + here * PER_CAMERA_MIB,
    )


def capacity_fps(rates: Rates, people: float) -> float:
    """Frames a second at saturation."""
    return 1e3 / rates.cost_ms(people)


def estimate_gpus(site: Site, device: Device) -> tuple[float, int]:
    """Share of a GPU that the recognizer needs, and how many GPUs: from the datasheet, not measured."""
    tflops = site.cameras * site.fps * site.people * GFLOP[site.model] / 1e3
    load = tflops / (device.fp16_tflops * ACHIEVED)
    return load, max(1, math.ceil(load / HEADROOM))


def describe_plan(plan: Plan, rates: Rates) -> str:
    """The plan as text."""
    site = plan.site
    lines = [
        f"{site.cameras} cameras x {site.fps:g} frames/s x {site.people:g} people, {site.model}",
        f"rates: {rates.source} ({len(os.sched_getaffinity(0))} cores here)",
        "",
        "| step | cost | load of one machine |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {step.name} | {format_number(step.unit_ms)} ms a {step.per} | {step.load:.0%} |"
        for step in plan.steps
    ]
    lines += ["", f"one machine like the measured one would be {plan.load:.0%} loaded"]
    if plan.cameras_per_machine:
        lines.append(
            f"it carries {plan.cameras_per_machine} such cameras at {HEADROOM:.0%}: "
            f"{plan.machines} machine{'s' * (plan.machines > 1)}, about {plan.memory_mib / 1024:.1f} GiB each"
        )
    else:
        lines.append(
            f"it does not carry one such camera: lower --fps, choose a faster device, or take about "
            f"{plan.machines} times its speed"
        )
    return "\n".join(lines)


def describe_device(site: Site, device: Device) -> str:
    """The recognizer's load on a GPU, marked as what it is."""
    load, count = estimate_gpus(site, device)
    return (
        f"ESTIMATE for {device.name}, not measured: {device.fp16_tflops:g} TFLOP/s FP16 dense by datasheet, "
        f"{ACHIEVED:.0%} of it assumed to be reached\n"
        f"recognizer: {GFLOP[site.model]:g} GFLOP a person and frame, {load:.1%} of one GPU: "
        f"{count} GPU{'s' * (count > 1)} of {device.memory_gib} GiB, {count * device.watts} W\n"
        "decoding, detection and pose come on top; run 'gaitstream bench' on the device before buying"
    )
