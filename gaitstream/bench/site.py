"""What a site's own configuration costs on this machine: its models and limits on synthetic pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gaitstream.bench.clips import cameras_on, make_clips
from gaitstream.bench.drive import measure
from gaitstream.bench.plan import SiteLoad
from gaitstream.bench.process import run_contender
from gaitstream.bench.rates import CELLS, MachineRates, fit, measured_here
from gaitstream.bench.result import Row
from gaitstream.bench.stages import FRAME, stage_rows
from gaitstream.config.gallery_section import Retention, Visitors
from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.errors import ConfigError

GUESSED_FPS = 25.0
GUESSED_PEOPLE = 4.0
GUESSED_MEGAPIXELS = 0.9216
LEAST_ENCODED = 0.5
"""People a frame in the busiest run below which costs of a person rest on too little."""


@dataclass(frozen=True, slots=True)
class SiteQuestion:
    """What a configuration says of the load, and what had to be guessed.

    Attributes:
        site: the load.
        detect_share: share of the analysed frames that are detected on.
        guesses: what the configuration does not say, in words.
    """

    site: SiteLoad
    detect_share: float
    guesses: tuple[str, ...]


def read_site(config: Config, people: float | None, megapixels: float | None) -> SiteQuestion:
    """The load of a configuration's enabled cameras.

    Args:
        config: the site's.
        people: on average in a picture; guessed when None.
        megapixels: of a picture; from `region_size`, else guessed, when None.

    Raises:
        ConfigError: no camera is enabled, or no recognizer is configured.
    """
    cameras = [camera for camera in config.cameras if camera.enabled]
    if not cameras:
        raise ConfigError("no camera is enabled: set enabled: true on one")
    if not config.models.recognizers:
        raise ConfigError("no recognizer is configured: set models.recognizers")
    guesses = []
    if people is None:
        guesses.append(
            f"people in a picture are not in a configuration: {GUESSED_PEOPLE:g} assumed; --people N"
        )
    unpaced = [camera.id for camera in cameras if camera.fps is None]
    if unpaced:
        guesses.append(
            f"{', '.join(unpaced)} analyse every frame (fps: null): {GUESSED_FPS:g} a second assumed; set fps"
        )
    sizes = [size[0] * size[1] / 1e6 for camera in cameras if (size := camera.region_size)]
    if megapixels is None and len(sizes) < len(cameras):
        guesses.append("sizes of pictures are not in the configuration: 1280x720 assumed; --size WxH")
        sizes += [GUESSED_MEGAPIXELS] * (len(cameras) - len(sizes))
    site = SiteLoad(
        cameras=len(cameras),
        fps=sum(camera.fps or GUESSED_FPS for camera in cameras) / len(cameras),
        people=GUESSED_PEOPLE if people is None else people,
        model=" + ".join(config.models.recognizers),
        megapixels=sum(sizes) / len(sizes) if megapixels is None else megapixels,
    )
    return SiteQuestion(
        site, sum(1 / camera.detect_every for camera in cameras) / len(cameras), tuple(guesses)
    )


def measure_site(
    path: Path, question: SiteQuestion, say: Callable[[str], None], seconds: float = 6.0
) -> tuple[MachineRates, list[str]]:
    """Costs of a site's steps on this machine, and warnings about them.

    Args:
        path: its cams.yaml.
        question: what `read_site` says of it.
        say: told what is being measured.
        seconds: of each run.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gaitstream-plan-") as folder:
        for people, size in CELLS:
            say(f"measuring the models of {path} on {people} people at {size[0]}x{size[1]}")
            clips = make_clips(Path(folder), people, size, seconds)
            arguments = {
                "cams": str(path.resolve()),
                "clips": [str(clip) for clip in clips],
                "seconds": seconds,
                "people": people,
                "size": list(size),
            }
            rows += run_contender(unpaced_site, arguments)
    rates = fit(rows, f"the models of {path}, {measured_here()}")
    detect = rates.steps.get("detect")
    if detect is not None and question.detect_share < 1:
        share = question.detect_share
        cheaper = msgspec.structs.replace(
            detect, frame_ms=detect.frame_ms * share, megapixel_ms=detect.megapixel_ms * share,
            person_ms=detect.person_ms * share,
        )  # fmt: skip
        rates = msgspec.structs.replace(rates, steps=rates.steps | {"detect": cheaper})
    return rates, list(_doubts(rows))


def unpaced_site(cams: str, clips: list[str], seconds: float, people: int, size: list[int]) -> list[Row]:
    """Stage rows of a site's configuration on clips, as fast as it goes."""
    own = config_on(load_config(cams), [Path(clip) for clip in clips])
    setting: dict[str, str | int | float] = {"people": people, "size": f"{size[0]}x{size[1]}"}
    with tempfile.TemporaryDirectory() as folder:
        load = measure(own, Path(folder), seconds=seconds, realtime=False)
    return stage_rows(load, setting, size[0] * size[1], None)


def config_on(config: Config, clips: list[Path]) -> Config:
    """A site's models and limits on other pictures, which leave nothing in its gallery."""
    gallery = config.gallery.model_copy(update={"visitors": Visitors(), "retention": Retention()})
    return config.model_copy(
        update={
            "cameras": cameras_on(clips, 4, 240.0, loop=True),
            "events": config.events.model_copy(update={"journal": None}),
            "gallery": gallery,
        }
    )


def _doubts(rows: list[Row]) -> list[str]:
    """Where the measured costs rest on little."""
    whole = [row.figures for row in rows if row.contender == FRAME]
    encoded = max(figures["people"].median for figures in whole)
    seen = max(figures["seen"].median for figures in whole)
    if encoded >= LEAST_ENCODED:
        return []
    return [
        f"of the synthetic people the detector finds {seen:.1f} in a picture, and {encoded:.1f} are fit "
        "for its recognizers: what a person costs rests on little; trust 'gaitstream run' on the cameras more"
    ]
