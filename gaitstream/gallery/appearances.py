"""Earlier appearances of somebody: which of the walks that are kept look like a given one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gaitstream.errors import GalleryError
from gaitstream.gallery import audit
from gaitstream.gallery.gallery import Gallery, name_of
from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.searches import Floats, part_distances
from gaitstream.gallery.sightings import Sighting, TrackRef, everywhere


@dataclass(frozen=True)
class EarlierWalk:
    """One earlier walk.

    Attributes:
        sighting: where and when.
        distance: mean distance of its windows to those that were searched for, in units of the linking
            distance.
        who: name of the person or the visitor it is kept of.
        who_id: their uid.
        same: it is near enough to be the same person.
    """

    sighting: Sighting
    distance: float
    who: str
    who_id: str
    same: bool


def appearances(
    gallery: Gallery,
    like: Mapping[str, Floats],
    rule: LinkRule,
    since_ns: int = 0,
    most: int = 50,
    sees: Callable[[str], bool] = everywhere,
) -> list[EarlierWalk]:
    """The walks nearest to a given one, nearest first; the search is noted in the audit log.

    Args:
        gallery: whose sightings are searched.
        like: windows by model, float32 `[n, parts, dim]`.
        rule: the distances at which two walks are of one person.
        since_ns: only those that ended then or later.
        most: how many are returned.
        sees: whether a camera may be seen; walks on others are left out.
    """
    found: list[EarlierWalk] = []
    models = dict(gallery.models())
    with gallery.store.reading() as reading:
        records = gallery.vault.records(reading)
        for row in reading.sightings(since_ns=since_ns):
            sighting = gallery.vault.sighting(row)
            if not sees(sighting.track.camera):
                continue
            held = sighting.opened({model: kept.fingerprint for model, kept in sighting.windows.items()})
            means = {
                model: float(part_distances(like[model], windows).mean())
                for model, windows in held.items()
                if model in like
                and models.get(model, sighting.windows[model].fingerprint)
                == sighting.windows[model].fingerprint
            }
            score = rule.score(means)
            found.append(EarlierWalk(sighting, score, name_of(records, row.person), row.person, score <= 1))
    with gallery.writing() as writing:
        audit.note(writing, gallery.sealer, "searched", count=len(found), detail="earlier appearances")
    return sorted(found, key=lambda one: one.distance)[:most]


def like_track(gallery: Gallery, track: TrackRef) -> dict[str, Floats]:
    """The windows that are kept of a track.

    Raises:
        GalleryError: nothing is.
    """
    with gallery.store.reading() as reading:
        for row in reading.sightings(since_ns=track.time_ns):
            sighting = gallery.vault.sighting(row)
            if sighting.track.key == track.key:
                return {model: kept.open() for model, kept in sighting.windows.items()}
    raise GalleryError(
        f"nothing is kept of track {track}: visitors are off, it showed nobody for sure, or it is too old"
    )


def like_visitor(gallery: Gallery, name: str) -> dict[str, Floats]:
    """The windows that are kept of a visitor or a person.

    Raises:
        GalleryError: nobody of that name is in the gallery, or nothing was seen of them.
    """
    held: dict[str, list[Floats]] = {}
    with gallery.store.reading() as reading:
        uid, _ = gallery.person(reading, name)
        for row in reading.sightings(uid):
            for model, kept in gallery.vault.sighting(row).windows.items():
                held.setdefault(model, []).append(kept.open())
    if not held:
        raise GalleryError(f"nothing that was seen of {name!r} is kept")
    return {model: np.concatenate(windows) for model, windows in held.items()}


def describe_appearance(one: EarlierWalk) -> dict[str, Any]:
    """An appearance as plain data."""
    track = one.sighting.track
    return {
        "run": track.run,
        "camera": track.camera,
        "track": track.track,
        "first_ns": one.sighting.first_ns,
        "time_ns": track.time_ns,
        "who": one.who,
        "who_id": one.who_id,
        "distance": round(one.distance, 5),
        "same": one.same,
    }
