"""Which of the detectors at hand finds most of this site's people and is carried by this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from supervision import box_iou_batch

from gaitstream.bench.plan import HEADROOM
from gaitstream.config.schema import Config
from gaitstream.data import Floats
from gaitstream.errors import GaitstreamError, ZooError
from gaitstream.models.detector import DetectorModel
from gaitstream.pipeline.runner import load_detector
from gaitstream.tune.finding import Finding
from gaitstream.tune.load import MeasuredLoad
from gaitstream.tune.seen import SampledPicture, SiteSeen
from gaitstream.zoo.catalogue import CatalogueModel, catalogue
from gaitstream.zoo.fetched import receipt_of

ENOUGH_BOXES = 20
"""People in the kept pictures below which detectors are not told apart."""
SAME = 0.5
"""Overlap at which two boxes show one person."""
MISSED = 0.05
"""Share of the people of the configured detector that another may miss."""
MORE = 1.1
"""How many times as many people another must find to take its place."""
MEASURED_S = 1.0


@dataclass(frozen=True, slots=True)
class DetectorTried:
    """A detector on the site's pictures.

    Attributes:
        model: as in cams.yaml.
        size: width and height it looks at.
        picture_ms: of one picture, median.
        found: people of usable height in all pictures.
        again: share of those who are evidence now that it finds too; None where nobody is.
    """

    model: str
    size: tuple[int, int]
    picture_ms: float
    found: int
    again: float | None


def detectors_here(config: Config, further: Sequence[str] = ()) -> list[str]:
    """The configured detector, those that were asked for, and those that were fetched by name."""
    fetched = [one.name for one in catalogue() if one.task == "detector" and _was_fetched(one)]
    return list(dict.fromkeys([config.models.detector.model, *further, *fetched]))


def _was_fetched(model: CatalogueModel) -> bool:
    """Whether a model is here, be it damaged: that is said where it is tried."""
    try:
        return receipt_of(model) is not None
    except ZooError:
        return True


def try_detectors(site: SiteSeen, models: Sequence[str]) -> tuple[list[DetectorTried], list[Finding]]:
    """Run each detector over the pictures that were kept; what does not open or run is said and left out."""
    shots = [(shot, _least_px(site, name)) for name, seen in site.cameras.items() for shot in seen.shots]
    tried, faults = [], []
    for model in models if shots else ():
        try:
            with closing(load_detector(_with_detector(site.config, model))) as detector:
                tried.append(_try(model, detector, shots, site.config.models.detector.score))
        except GaitstreamError as error:
            faults.append(Finding(("models", "detector"), f"{model} was not tried: {error}"))
    return tried, faults


def advise_detector(
    tried: Sequence[DetectorTried], load: MeasuredLoad | None, *, unfit: bool = False
) -> Iterator[Finding]:
    """The detectors in figures, and another one to set where it is plainly better or the only one carried.

    Args:
        tried: the configured one first.
        load: of the site with the configured one.
        unfit: the configured one is known not to be made for these cameras, whatever it finds.
    """
    at = ("models", "detector", "model")
    shares = {one.model: _share(one, tried[0], load) for one in tried} if load is not None else {}
    for one in tried:
        yield Finding(at[:2], _describe(one, shares.get(one.model)))
    if load is None or len(tried) < 2:
        return
    others = tried[1:] if unfit else tried
    if max(one.found for one in others) < ENOUGH_BOXES:
        yield Finding(at[:2], f"fewer than {ENOUGH_BOXES} people are in the pictures: too few to choose by")
        return
    best = _most([one for one in others if _fits(one, shares)]) if unfit else _choose(tried, shares)
    if best is None:
        now = f"{tried[0].model} is not made for these cameras, and none of the others"
        who = now if unfit else "none of them"
        yield Finding(at[:2], f"{who} leaves this machine under {HEADROOM:.0%} at these rates")
    elif best is not tried[0]:
        yield Finding(at, _why(best, tried[0], shares, unfit=unfit), best.model)


def _share(one: DetectorTried, now: DetectorTried, load: MeasuredLoad) -> float:
    """Of this machine with a detector: as much dearer in the run as it is alone."""
    return load.share(detect_ms=load.detect_ms * one.picture_ms / now.picture_ms)


def _choose(tried: Sequence[DetectorTried], shares: Mapping[str, float]) -> DetectorTried | None:
    """The one that finds most of those that fit; the configured one unless another is plainly better."""
    now = tried[0]
    fit = [one for one in tried if _fits(one, shares)]
    sure = [one for one in fit if one.again is None or one.again >= 1 - MISSED]
    if now in fit:
        better = [one for one in sure if one.found >= max(MORE * now.found, ENOUGH_BOXES)]
        return _most(better) or now
    return _most(sure)


def _fits(one: DetectorTried, shares: Mapping[str, float]) -> bool:
    return shares[one.model] <= HEADROOM


def _most(tried: Sequence[DetectorTried]) -> DetectorTried | None:
    return max(tried, key=lambda one: one.found, default=None)


def _why(best: DetectorTried, now: DetectorTried, shares: Mapping[str, float], *, unfit: bool) -> str:
    share = shares[best.model]
    if unfit:
        return f"{now.model} is not made for these cameras; this finds {best.found} people, at {share:.0%}"
    if shares[now.model] > HEADROOM:
        return f"at {share:.0%} of this machine it is carried, which {now.model} is not"
    return f"finds {best.found} people where {now.model} finds {now.found}, and is carried ({share:.0%})"


def _describe(one: DetectorTried, share: float | None) -> str:
    said = f"{one.model}: {one.size[0]} x {one.size[1]}, {one.picture_ms:.1f} ms a picture"
    if share is not None:
        said += f", {share:.0%} of this machine with the rest"
    again = "" if one.again is None else f", and {one.again:.0%} of those who are evidence now"
    return f"{said}; finds {one.found} people in the kept pictures{again}"


def _with_detector(config: Config, model: str) -> Config:
    """A configuration with another detector; a layout given by name belongs to the configured one alone."""
    now = config.models.detector
    layout = now.layout if model == now.model else "auto"
    chosen = now.model_copy(update={"model": model, "layout": layout})
    return config.model_copy(update={"models": config.models.model_copy(update={"detector": chosen})})


def _least_px(site: SiteSeen, camera: str) -> float:
    return site.config.quality_for(site.config.camera(camera)).min_height_px


def _try(
    model: str, detector: DetectorModel, shots: Sequence[tuple[SampledPicture, float]], score: float
) -> DetectorTried:
    found, again, known = 0, 0, 0
    for shot, least_px in shots:
        boxes = detector.detect([shot.image], score)[0].boxes
        found += int((boxes[:, 3] - boxes[:, 1] >= least_px).sum())
        known += len(shot.boxes)
        again += found_again(shot.boxes, boxes)
    height, width = detector.size
    return DetectorTried(
        model, (width, height), _picture_ms(detector, shots, score), found, again / known if known else None
    )


def found_again(known: Floats, boxes: Floats) -> int:
    """How many of the known boxes `[n, 4]` another detector's boxes `[m, 4]` show too."""
    if not len(known) or not len(boxes):
        return 0
    return int((box_iou_batch(known, boxes).max(axis=1) >= SAME).sum())


def _picture_ms(
    detector: DetectorModel, shots: Sequence[tuple[SampledPicture, float]], score: float
) -> float:
    """Median time of a picture, warm; for at least a second."""
    times: list[float] = []
    begun_s = time.perf_counter()
    while not times or time.perf_counter() - begun_s < MEASURED_S:
        for shot, _ in shots:
            started_s = time.perf_counter()
            detector.detect([shot.image], score)
            times.append((time.perf_counter() - started_s) * 1e3)
    return float(np.median(times))
