"""Thresholds."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from gaitstream.console import calibrating
from gaitstream.console.access import CalibrationReader, CalibrationWriter, CurrentSite
from gaitstream.console.calibrating import ShownCalibration, ShownChange

router = APIRouter(prefix="/calibration", tags=["calibration"])
Model = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


class CalibrationRequest(BaseModel):
    """How a threshold is to be chosen."""

    target_fpir: Annotated[float | None, Field(gt=0, lt=0.5)] = None
    from_site: bool = Field(default=False, description="By the site's own walks; needs `target_fpir`.")
    keep: bool = Field(default=True, description="False only tells what would come out; from the site.")


@router.get("")
def list_calibrations(site: CurrentSite, actor: CalibrationReader) -> list[ShownCalibration]:
    """All models' thresholds, and what they rest on."""
    return calibrating.list_calibrations(site, actor)


@router.get("/{model}/change")
def try_threshold(
    site: CurrentSite,
    actor: CalibrationReader,
    model: Model,
    threshold: Annotated[float, Query(gt=0, lt=1e6)],
) -> ShownChange:
    """What another threshold would do, by the walks that were kept."""
    return calibrating.try_threshold(site, actor, model, threshold)


@router.post("/{model}")
def choose(
    site: CurrentSite, actor: CalibrationWriter, model: Model, asked: CalibrationRequest
) -> ShownCalibration:
    """Choose a threshold for a rate of false positives."""
    return calibrating.choose(
        site, actor, model, asked.target_fpir, from_site=asked.from_site, keep=asked.keep
    )
