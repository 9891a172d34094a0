"""How many machines a site needs, from what its steps cost on one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gaitstream.bench.devices import ACHIEVED, DeviceDatasheet, recognizer_gflop
from gaitstream.bench.rates import CameraScene, MachineRates
from gaitstream.bench.table import format_number

HEADROOM = 0.8
"""Share of a machine that is planned for: people come in groups, and a queue grows long before 100%."""
TOLERANCE = 0.2


@dataclass(frozen=True, slots=True)
class SiteLoad:
    """What is to be watched.

    Attributes:
        cameras: how many.
        fps: analysed per camera.
        people: on average in a picture.
        model: the recognizer.
        megapixels: of a picture.
    """

    cameras: int
    fps: float
    people: float
    model: str
    megapixels: float = 0.9216

    @property
    def scene(self) -> CameraScene:
        """What a camera shows."""
        return CameraScene.of(self.people, self.megapixels)


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of the pipeline.

    Attributes:
        name: of the stage.
        frame_ms: of one frame with its people.
        load: share of one machine's time that the whole site needs.
    """

    name: str
    frame_ms: float
    load: float


@dataclass(frozen=True, slots=True)
class SitePlan:
    """The answer.

    Attributes:
        site: the question.
        steps: largest load first.
        load: of one machine, summed; above 1 it takes more than one.
        decode_cores: cores that decoding takes beside the steps; it is in their measured times.
        cameras_per_machine: at `HEADROOM`.
        machines: needed.
        memory_mib: of each machine's pipeline.
    """

    site: SiteLoad
    steps: tuple[PlannedStep, ...]
    load: float
    decode_cores: float
    cameras_per_machine: int
    machines: int
    memory_mib: float


def make_plan(site: SiteLoad, rates: MachineRates) -> SitePlan:
    """Predict the load from measured costs; nothing is measured here."""
    frames = site.cameras * site.fps / 1e3
    costs = {name: cost.at(site.scene) for name, cost in rates.steps.items()}
    steps = [PlannedStep(name, ms, frames * ms) for name, ms in costs.items()]
    load = sum(step.load for step in steps)
    fits = math.floor(HEADROOM * site.cameras / load) if load else site.cameras
    machines = math.ceil(site.cameras / fits) if fits else math.ceil(load / HEADROOM)
    here = min(site.cameras, max(fits, 1))
    return SitePlan(
        site=site,
        steps=tuple(sorted(steps, key=lambda step: -step.load)),
        load=load,
        decode_cores=frames * rates.decode.at(site.scene),
        cameras_per_machine=fits,
        machines=machines,
        memory_mib=rates.memory_mib + here * rates.camera_mib,
    )


def capacity_fps(rates: MachineRates, scene: CameraScene) -> float:
    """Frames a second at saturation."""
    return 1e3 / rates.cost_ms(scene)


def estimate_gpus(site: SiteLoad, device: DeviceDatasheet) -> tuple[float, int]:
    """Share of a GPU that the recognizer needs, and how many GPUs: from the datasheet, not measured."""
    tflops = site.cameras * site.fps * site.people * recognizer_gflop(site.model) / 1e3
    load = tflops / (device.fp16_tflops * ACHIEVED)
    return load, max(1, math.ceil(load / HEADROOM))


def estimate_host(site: SiteLoad, person_ms: float) -> tuple[float, int]:
    """Share of one thread that the host's work takes where all networks run on GPUs, and how many threads.

    Args:
        site: what is watched.
        person_ms: host time of a person in a frame, measured: `gaitstream bench overhead`.
    """
    load = site.cameras * site.fps * site.people * person_ms / 1e3
    return load, max(1, math.ceil(load / HEADROOM))


def describe_plan(plan: SitePlan, rates: MachineRates) -> str:
    """The plan as text."""
    site = plan.site
    lines = [
        f"{site.cameras} cameras x {site.fps:g} frames/s x {site.people:g} people, {site.megapixels:.2f} "
        f"megapixels, "
        f"{site.model}",
        f"rates: {rates.source}",
        "",
        "| step | ms a frame | load of one machine |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {step.name} | {format_number(step.frame_ms)} | {step.load:.0%} |" for step in plan.steps]
    lines += [
        "",
        f"beside them the cameras' decoding takes {format_number(plan.decode_cores)} cores in all",
        f"one machine like the measured one would be {plan.load:.0%} loaded",
    ]
    if fits := plan.cameras_per_machine:
        lines.append(
            f"it carries {fits} such camera{'s' * (fits > 1)} at {HEADROOM:.0%}: "
            f"{plan.machines} machine{'s' * (plan.machines > 1)}, about {plan.memory_mib / 1024:.1f} GiB each"
        )
    else:
        lines.append(
            f"it does not carry one such camera: lower --fps or choose a faster device; one camera takes "
            f"{plan.load / site.cameras / HEADROOM:.1f} times its speed, all of them {plan.machines} times"
        )
    return "\n".join(lines)


def describe_device(site: SiteLoad, device: DeviceDatasheet, person_ms: float) -> str:
    """The recognizer's load on a GPU, marked as what it is, and the host's beside it.

    Args:
        site: what is watched.
        device: the GPU.
        person_ms: host time of a person in a frame, measured on this machine.
    """
    load, count = estimate_gpus(site, device)
    host, threads = estimate_host(site, person_ms)
    people = site.cameras * site.fps * site.people
    frames = site.cameras * site.fps
    return (
        f"ESTIMATE for {device.name}, not measured: {device.fp16_tflops:g} TFLOP/s FP16 dense, "
        f"{device.memory_gbps:g} GB/s, {device.nvdec} NVDEC ({device.source}); {ACHIEVED:.0%} of the FLOP/s "
        f"assumed "
        "to be reached\n"
        f"recognizer: {recognizer_gflop(site.model):g} GFLOP a person and frame, {load:.1%} of one GPU: "
        f"{count} GPU{'s' * (count > 1)} of {device.memory_gib} GiB, {count * device.watts} W\n"
        f"decoding: {frames:g} frames/s of {site.megapixels:.2f} megapixels on {count * device.nvdec} NVDEC\n"
        f"host: {people:g} people a second at {format_number(person_ms)} ms, measured here with decoding "
        f"left out: {host:.0%} of one thread, {threads} worker{'s' * (threads > 1)}; one "
        f"carries {HEADROOM * 1e3 / person_ms:,.0f} people a second at {HEADROOM:.0%}\n"
        "detection and pose come on top; run 'gaitstream bench' on the device before buying"
    )
