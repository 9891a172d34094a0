"""Thresholds: what they rest on, what another one would do, and choosing anew."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, Field

from gaitstream.console.permissions import Actor
from gaitstream.console.refusals import NotFoundError
from gaitstream.console.site import ConsoleSite
from gaitstream.errors import ConsoleError
from gaitstream.gallery import Gallery
from gaitstream.gallery.gallery import find_model
from gaitstream.gallery.site import (
    SiteCalibration,
    calibrate_site,
    drift_of,
    kept_calibration,
    would_change,
)

T = TypeVar("T")


class ShownSite(BaseModel):
    """A threshold from the site's own walks."""

    threshold: float
    target: float = Field(description="The FPIR it was chosen for.")
    fpir: float = Field(description="Share of strangers' walks that would end with a name.")
    fpir_low: float = Field(description="Of its 95% interval.")
    fpir_high: float
    fnir: float | None = Field(description="Share of known people's walks that would be missed.")
    strangers: int
    people: int
    time_ns: int
    stranger_distances: list[float] = Field(description="Sorted, for a histogram.")
    genuine_distances: list[float]
    cameras: dict[str, float] = Field(description="Thresholds of cameras that have seen enough.")


class ShownCalibration(BaseModel):
    """One model's threshold."""

    model: str
    fingerprint: str
    threshold: float | None
    margin: float | None
    fpir: float | None
    fpir_low: float | None
    fpir_high: float | None
    fnir: float | None
    persons: int
    drift: list[str] = Field(description="What has changed since it was chosen, in words.")
    site: ShownSite | None = Field(description="From the site's own walks, where it was chosen so.")


class ShownChange(BaseModel):
    """What another threshold would do."""

    fpir: float
    fpir_low: float
    fpir_high: float
    fnir: float | None
    gained: int = Field(description="Kept walks of known people that would get their name.")
    named: int = Field(description="Kept walks of strangers that would get a name.")


def list_calibrations(site: ConsoleSite, actor: Actor) -> list[ShownCalibration]:
    """All models' thresholds."""
    return site.desk.call(
        actor.audit_name,
        lambda gallery: [_shown(gallery, actor, model, mark) for model, mark in gallery.models().items()],
    )


def try_threshold(site: ConsoleSite, actor: Actor, model: str, threshold: float) -> ShownChange:
    """What another threshold would do, by the walks that the site's calibration rests on.

    Raises:
        NotFoundError: the gallery has no such model.
        ConsoleError: its threshold does not come from the site.
    """

    def work(gallery: Gallery) -> SiteCalibration | None:
        with gallery.store.reading() as reading:
            _need(find_model(reading, model), model)
            return kept_calibration(gallery, reading, model)

    found = site.desk.call(actor.audit_name, work)
    if found is None:
        raise ConsoleError(f"{model} has no calibration from this site; choose one for a rate first")
    change = would_change(found, threshold)
    low, high = change.fpir_range
    return ShownChange(
        fpir=change.fpir, fpir_low=low, fpir_high=high, fnir=change.fnir, gained=change.gained,
        named=change.named,
    )  # fmt: skip


def choose(
    site: ConsoleSite, actor: Actor, model: str, target: float | None, *, from_site: bool, keep: bool
) -> ShownCalibration:
    """Choose a threshold for a rate of false positives.

    Args:
        site: this console.
        actor: who asks.
        model: whose threshold.
        target: the FPIR to aim for; None for the usual rule, which needs `from_site` to be false.
        from_site: by the site's own walks rather than by the enrolled people alone.
        keep: False computes it and changes nothing; for `from_site` alone.

    Raises:
        NotFoundError: the gallery has no such model.
        ConsoleError: these do not go together.
        GalleryError: too little is kept.
    """
    if from_site and target is None:
        raise ConsoleError("a calibration from the site needs a target, such as 0.01")
    if not keep and not from_site:
        raise ConsoleError("only a calibration from the site can be tried without keeping it")

    def work(gallery: Gallery) -> ShownCalibration:
        fingerprint = _need(gallery.models().get(model), model)
        if not from_site or target is None:
            gallery.calibrate(model, target)
            return _shown(gallery, actor, model, fingerprint)
        found = calibrate_site(gallery, model, target, keep=keep)
        shown = _shown(gallery, actor, model, fingerprint)
        return shown.model_copy(update={"site": _site(found.only(actor.sees))})

    return site.desk.call(actor.audit_name, work)


def _shown(gallery: Gallery, actor: Actor, model: str, fingerprint: str) -> ShownCalibration:
    found = gallery.calibration(model)
    with gallery.store.reading() as reading:
        own = kept_calibration(gallery, reading, model)
    low, high = found.fpir_range if found else (None, None)
    return ShownCalibration(
        model=model, fingerprint=fingerprint, threshold=found.threshold if found else None,
        margin=found.margin if found else None, fpir=found.fpir if found else None, fpir_low=low,
        fpir_high=high, fnir=found.fnir if found else None, persons=found.persons if found else 0,
        drift=drift_of(gallery, model, actor.sees), site=_site(own.only(actor.sees)) if own else None,
    )  # fmt: skip


def _site(found: SiteCalibration) -> ShownSite:
    low, high = found.fpir_range
    return ShownSite(
        threshold=found.threshold, target=found.target, fpir=found.fpir, fpir_low=low, fpir_high=high,
        fnir=found.fnir, strangers=found.strangers, people=found.people, time_ns=found.time_ns,
        stranger_distances=list(found.stranger_distances), genuine_distances=list(found.genuine_distances),
        cameras={camera: one.threshold for camera, one in found.cameras.items()},
    )  # fmt: skip


def _need(found: T | None, model: str) -> T:
    if found is None:
        raise NotFoundError(f"the gallery has no templates of {model[:64]!r}")
    return found
