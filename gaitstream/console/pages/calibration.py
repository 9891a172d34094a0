"""How near is near enough: distances, the threshold and what it can be trusted with, what would change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Form, Query, Request
from numpy.typing import NDArray
from starlette.responses import Response

from gaitstream.config.gallery_section import GallerySection
from gaitstream.console.access import CalibrationReader, CalibrationWriter, CurrentSite
from gaitstream.console.calibrating import choose
from gaitstream.console.pages.drawing import DistanceScale, scale
from gaitstream.console.pages.moving import go_to
from gaitstream.console.permissions import Actor
from gaitstream.console.rendering import render
from gaitstream.console.site import ConsoleSite
from gaitstream.gallery import Gallery
from gaitstream.gallery.calibration import describe, fpir_at, fpir_interval, per_person
from gaitstream.gallery.searches import search_all
from gaitstream.gallery.site import SiteCalibration, describe_site, drift_of, kept_calibration

router = APIRouter()
Floats = NDArray[np.float64]
BARS = 48
TALLEST = 84.0
"""Per cent of the drawing's height; the axis lies at 90."""
AXIS = 90.0
Model = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True)
class ThresholdRates:
    """What a threshold lets through and what it misses.

    Attributes:
        threshold: the distance.
        fpir: share of strangers who would get a name; None where no stranger was seen.
        fpir_range: its 95% interval.
        fnir: share of known people's searches that would miss them; None without any.
        named: searches of strangers that would get a name.
        found: searches of known people that would find them.
    """

    threshold: float
    fpir: float | None
    fpir_range: tuple[float, float]
    fnir: float | None
    named: int
    found: int


@dataclass(frozen=True)
class Distances:
    """Searches that a threshold rests on.

    Attributes:
        genuine: distances of people to themselves.
        strangers: distances of strangers to the nearest person.
        owners: of whom each stranger's search is.
        independent: strangers that do not depend on each other.
        words: what the strangers are.
    """

    genuine: Floats
    strangers: Floats
    owners: NDArray[np.str_]
    independent: float
    words: str

    def at(self, threshold: float) -> ThresholdRates:
        """What a threshold would do."""
        rates = ThresholdRates(threshold, None, (0.0, 1.0), None, 0, int((self.genuine <= threshold).sum()))
        if len(self.strangers):
            _, weights = per_person(self.owners)
            share = fpir_at(self.strangers.astype(np.float32), weights, threshold)
            rates = ThresholdRates(
                threshold, share, fpir_interval(share, self.independent), None,
                int((self.strangers <= threshold).sum()), rates.found,
            )  # fmt: skip
        missed = float((self.genuine > threshold).mean()) if len(self.genuine) else None
        return ThresholdRates(threshold, rates.fpir, rates.fpir_range, missed, rates.named, rates.found)


@dataclass(frozen=True)
class HistogramBar:
    """A bar of the histogram, in per cent of the drawing."""

    tone: str
    left: float
    width: float
    top: float
    height: float


@dataclass(frozen=True)
class CalibrationView:
    """What the page shows.

    Attributes:
        models: that the gallery has templates of.
        model: the one that is shown; empty where there is none.
        distances: what the threshold rests on; None where there is nothing yet.
        bars: the histogram.
        scale: of the distances.
        now: what the threshold in use does.
        margin: lead over the second person that is asked for.
        change: what another threshold would do.
        sentences: what the threshold aims for and rests on.
        fixed: what cams.yaml says in the place of the calibration; empty where it says nothing.
        warning: how the site differs from what it was calibrated by; empty when it does not.
        cameras: thresholds of their own, by camera.
    """

    models: list[str]
    model: str
    distances: Distances | None
    bars: list[HistogramBar]
    scale: DistanceScale
    now: ThresholdRates | None
    margin: float | None
    change: ThresholdRates | None
    sentences: list[str]
    fixed: str
    warning: str
    cameras: dict[str, SiteCalibration]


@router.get("/calibration")
def show(
    request: Request,
    site: CurrentSite,
    actor: CalibrationReader,
    model: Model = "",
    threshold: Annotated[float | None, Query(ge=0, le=100)] = None,
) -> Response:
    """The page."""
    return render(request, "calibration.html", _view(site, actor, model, threshold))


@router.get("/calibration/change")
def change(
    request: Request,
    site: CurrentSite,
    actor: CalibrationReader,
    threshold: Annotated[float, Query(ge=0, le=100)],
    model: Model = "",
) -> Response:
    """What another threshold would do."""
    return render(request, "calibration_change.html", _view(site, actor, model, threshold))


@router.post("/calibration/aim")
def aim(
    request: Request,
    site: CurrentSite,
    actor: CalibrationWriter,
    model: Annotated[str, Form(max_length=200)],
    fpir: Annotated[float, Form(gt=0, le=50)],
    by: Annotated[str, Form(pattern="^(gallery|site)$")] = "gallery",
) -> Response:
    """Choose the threshold for a rate, in per cent, by the enrolled people or by the walks of the site."""
    choose(site, actor, model, fpir / 100, from_site=by == "site", keep=True)
    return go_to(request, "/calibration", f"The threshold aims at {fpir:g} % from now on")


def _view(site: ConsoleSite, actor: Actor, model: str, threshold: float | None) -> CalibrationView:
    set_here = site.config().gallery if site.options.cameras is not None else GallerySection()
    return site.desk.call(actor.audit_name, lambda gallery: _read(gallery, actor, set_here, model, threshold))


def _read(
    gallery: Gallery, actor: Actor, set_here: GallerySection, asked: str, threshold: float | None
) -> CalibrationView:
    models = gallery.models()
    model = asked if asked in models else next(iter(models), "")
    kept = gallery.calibration(model) if model else None
    if kept is None:
        return CalibrationView(list(models), model, None, [], scale([]), None, None, None, [], "", "", {})
    with gallery.store.reading() as reading:
        by_site = kept_calibration(gallery, reading, model)
    by_site = by_site and by_site.only(actor.sees)
    distances = _of_site(by_site) if by_site else _of_gallery(gallery, model, models[model])
    calibrated = by_site.threshold if by_site else kept.threshold
    own = set_here.threshold if len(models) == 1 else None  # with several it is no distance of one
    in_use = calibrated if own is None else own
    drawn = scale([in_use, *distances.genuine.tolist(), *distances.strangers.tolist()])
    tried = in_use if threshold is None else threshold
    return CalibrationView(
        models=list(models),
        model=model,
        distances=distances,
        bars=_bars(distances, drawn.top),
        scale=drawn,
        now=distances.at(in_use),
        margin=kept.margin if set_here.margin is None else set_here.margin,
        change=distances.at(tried),
        sentences=describe_site(by_site) if by_site else describe(kept),
        fixed=_fixed(own, calibrated),
        warning=next((one[9:] for one in drift_of(gallery, model) if one.startswith("WARNING: ")), ""),
        cameras=by_site.cameras if by_site else {},
    )


def _fixed(own: float | None, calibrated: float) -> str:
    if own is None:
        return ""
    return (
        f"cams.yaml sets gallery.threshold to {own:.3f}: runs decide by it, and not by the calibrated "
        f"{calibrated:.3f}. Take it out of the file to decide by what is chosen here."
    )


def _of_gallery(gallery: Gallery, model: str, fingerprint: str) -> Distances:
    """Searches of templates spread over the gallery among everybody else's."""
    matcher = gallery.matcher(model, fingerprint)
    searches = search_all(matcher, range(len(matcher.templates))).found
    strangers = [one for one in searches if one.others]
    owners = np.array([one.person for one in strangers])
    return Distances(
        genuine=np.array([one.genuine for one in searches if one.genuine is not None], np.float64),
        strangers=np.array([one.others[0][0] for one in strangers], np.float64),
        owners=owners,
        independent=max(len(set(owners.tolist())) / 2, 0.5),
        words="other people of the gallery",
    )


def _of_site(found: SiteCalibration) -> Distances:
    """Walks that the site's cameras have seen; each stranger counts the same by what is kept of them."""
    return Distances(
        genuine=np.array(found.genuine_distances),
        strangers=np.array(found.stranger_distances),
        owners=np.arange(len(found.stranger_distances)).astype(np.str_),
        independent=max(found.strangers, 0.5),
        words="strangers of this site",
    )


def _bars(distances: Distances, top: float) -> list[HistogramBar]:
    """Both histograms on one axis, each as tall as the other."""
    width = 100 / BARS
    bars = []
    for values, tone in ((distances.strangers, "calm"), (distances.genuine, "good")):
        counts = np.histogram(values, BARS, (0, top))[0]
        for index, count in enumerate(counts.tolist()):
            if count:
                height = round(TALLEST * count / counts.max(), 2)
                bars.append(
                    HistogramBar(tone, round(index * width, 3), round(0.92 * width, 3), AXIS - height, height)
                )
    return bars
