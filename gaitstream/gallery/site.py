"""A threshold from the site itself: from walks of people and of strangers that its cameras have seen.

Two kinds of searches tell how near strangers come. A visitor's walk is searched for among everybody. A known
person's walk is searched for among everybody else: who is next behind the right one is as near as a stranger
would be. The share of these searches at or under a threshold, every visitor and person counting the same,
estimates the false positive identification rate (FPIR) of whole tracks at this site; `calibration` estimates
that of single windows from the enrolled alone. Distances are computed anew from what is kept, so that the
gallery is the one of today.

What this cannot see: a stranger who was given a name counts as that person until somebody rejects it, and an
enrolled person who was missed counts as a visitor until somebody promotes the visitor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from gaitstream.errors import GalleryError
from gaitstream.gallery import audit
from gaitstream.gallery.base import ModelRow, Reading
from gaitstream.gallery.calibration import fpir_at, fpir_interval, largest_threshold, least_aim, per_person
from gaitstream.gallery.gallery import Gallery, find_model
from gaitstream.gallery.searches import Floats, part_distances
from gaitstream.gallery.sightings import everywhere

ENOUGH = 30
"""Strangers of a camera from which on it gets a threshold of its own, when the rate can be told from none."""
_KEPT = 2000
_DRIFT = 1.95
"""Samples of one distribution differ by more than this, by Kolmogorov and Smirnov, in 1 of 1000 cases."""


@dataclass(frozen=True, slots=True)
class SiteSearch:
    """One walk searched for.

    Attributes:
        owner: uid of the visitor, or of the person it is.
        camera: where it was.
        stranger: fused distance to the nearest of all others.
        genuine: to the person's own templates; None for a visitor.
        time_ns: when it ended.
    """

    owner: str
    camera: str
    stranger: float
    genuine: float | None
    time_ns: int


class SiteCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold, and what it can be trusted with.

    Attributes:
        threshold: largest fused distance at which a person is known.
        target: the FPIR it was chosen for.
        fpir: estimated at the threshold.
        fpir_range: its 95% interval.
        fnir: share of known people's walks over the threshold; walks that were not recognised at the time are
            not among them.
        strangers: visitors and people behind the FPIR.
        people: enrolled then.
        time_ns: when.
        stranger_distances: of the searches by strangers, sorted; at most some thousand, spread evenly.
        genuine_distances: of those by known people, likewise.
        cameras: of each camera that has seen enough.
    """

    threshold: float
    target: float
    fpir: float
    fpir_range: tuple[float, float]
    fnir: float | None
    strangers: int
    people: int
    time_ns: int
    stranger_distances: tuple[float, ...] = ()
    genuine_distances: tuple[float, ...] = ()
    cameras: dict[str, SiteCalibration] = {}

    def only(self, sees: Callable[[str], bool]) -> SiteCalibration:
        """The same without the thresholds of cameras that may not be seen."""
        kept = {camera: one for camera, one in self.cameras.items() if sees(camera)}
        return msgspec.structs.replace(self, cameras=kept)


_CALIBRATION = msgspec.json.Decoder(SiteCalibration)


@dataclass(frozen=True)
class WouldChange:
    """What another threshold would do.

    Attributes:
        fpir: estimated there.
        fpir_range: its 95% interval.
        fnir: share of known people's walks that would be missed; None without any.
        gained: walks of known people that would get their name, of those kept; fewer are negative.
        named: walks of strangers that would get a name, of those kept.
    """

    fpir: float
    fpir_range: tuple[float, float]
    fnir: float | None
    gained: int
    named: int


def site_searches(gallery: Gallery, model: str, since_ns: int = 0) -> list[SiteSearch]:
    """Every kept walk of a model's, searched for in the gallery of now."""
    with gallery.store.reading() as reading:
        row = find_model(reading, model)
        if row is None:
            return []
        people = {
            uid: np.stack(list(held.values()))
            for uid, held in gallery.tuner.gather(reading, row, gallery.url).items()
        }
        return _search(gallery, reading, row, people, since_ns)


def conclude_site(
    searches: Sequence[SiteSearch], target: float, people: int, now_ns: int, *, by_camera: bool = True
) -> SiteCalibration:
    """Choose a threshold; see the module.

    Raises:
        GalleryError: too few strangers were seen to tell such a rate from none.
    """
    owners = np.array([one.owner for one in searches])
    distances = np.array([one.stranger for one in searches], np.float32)
    count, weights = per_person(owners)
    if count * target < 1:
        raise GalleryError(
            f"a false positive rate of {target:.2%} cannot be told from none with the {count} strangers and "
            f"people seen here: wait for {math.ceil(1 / target)}{least_aim(count)}"
        )
    threshold = largest_threshold(distances, weights, target)
    share = fpir_at(distances, weights, threshold)
    genuine = sorted(one.genuine for one in searches if one.genuine is not None)
    return SiteCalibration(
        threshold=threshold,
        target=target,
        fpir=share,
        fpir_range=fpir_interval(share, _independent(searches)),
        fnir=float(np.mean(np.array(genuine) > threshold)) if genuine else None,
        strangers=count,
        people=people,
        time_ns=now_ns,
        stranger_distances=_thin(sorted(distances.tolist())),
        genuine_distances=_thin(genuine),
        cameras=_by_camera(searches, target, people, now_ns) if by_camera else {},
    )


def calibrate_site(gallery: Gallery, model: str, target: float, *, keep: bool = True) -> SiteCalibration:
    """Choose a model's threshold from the walks that are kept, and decide by it from now on.

    Args:
        gallery: whose.
        model: name of the recognizer.
        target: the FPIR to aim for.
        keep: False only tells.

    Raises:
        GalleryError: too few strangers were seen.
    """
    searches = site_searches(gallery, model)
    people = len(gallery.persons())
    found = conclude_site(searches, target, people, time.time_ns())
    if keep:
        with gallery.writing() as writing:
            place = f"site/{model}"
            writing.set(place, gallery.sealer.seal(msgspec.json.encode(found), place))
            writing.note_change("")  # readers take the limits over with any change
            audit.note(writing, gallery.sealer, "calibrated", model=model, detail=f"{target} from the site")
    return found


def kept_calibration(gallery: Gallery, reading: Reading, model: str) -> SiteCalibration | None:
    """What `calibrate_site` kept; None before, and after `forget_site`."""
    place = f"site/{model}"
    kept = reading.setting(place)
    if kept is None:
        return None
    return _CALIBRATION.decode(gallery.sealer.open(kept, place))


def would_change(found: SiteCalibration, threshold: float) -> WouldChange:
    """What another threshold would do, by the walks a calibration rests on."""
    strangers, genuine = np.array(found.stranger_distances), np.array(found.genuine_distances)
    share = float(np.mean(strangers <= threshold)) if len(strangers) else 0.0
    return WouldChange(
        fpir=share,
        fpir_range=fpir_interval(share, found.strangers),
        fnir=float(np.mean(genuine > threshold)) if len(genuine) else None,
        gained=int((genuine <= threshold).sum()) - int((genuine <= found.threshold).sum()),
        named=int((strangers <= threshold).sum()),
    )


def drift(found: SiteCalibration, strangers: Sequence[float], people: int) -> str:
    """How a site differs from what it was calibrated by, in words; empty when it does not.

    Args:
        found: the calibration.
        strangers: distances of strangers since then to the nearest person.
        people: enrolled now.
    """
    if found.people and abs(people - found.people) > max(2, 0.2 * found.people):
        return f"{people} people are enrolled, {found.people} were: calibrate again"
    before, now = np.sort(found.stranger_distances), np.sort(np.asarray(strangers, np.float64))
    if min(len(before), len(now)) < ENOUGH:
        return ""
    grid = np.concatenate([before, now])
    ranks = [np.searchsorted(one, grid, side="right") / len(one) for one in (before, now)]
    gap = float(np.abs(ranks[0] - ranks[1]).max())
    if gap <= _DRIFT * math.sqrt((len(before) + len(now)) / (len(before) * len(now))):
        return ""
    share = float(np.mean(now <= found.threshold))
    nearer = "nearer" if np.median(now) < np.median(before) else "further"
    return (
        f"strangers are {nearer} than when the threshold was chosen ({share:.1%} of {len(now)} walks are "
        f"within it, {found.fpir:.1%} were): calibrate again"
    )


def _search(
    gallery: Gallery, reading: Reading, row: ModelRow, people: Mapping[str, Floats], since_ns: int
) -> list[SiteSearch]:
    order = list(people)
    if len(order) < 2:
        return []
    templates = np.concatenate([people[uid] for uid in order])
    starts = np.cumsum([0, *(len(people[uid]) for uid in order)])[:-1]
    found = []
    for kept in reading.sightings(since_ns=since_ns):
        sighting = gallery.vault.sighting(kept)
        windows = sighting.opened({row.name: row.fingerprint}).get(row.name)
        if windows is None:
            continue
        each = np.minimum.reduceat(part_distances(windows, templates), starts, axis=1).mean(axis=0)
        own = order.index(sighting.known) if sighting.known in people else None
        genuine = None
        if own is not None:
            genuine = float(each[own])
            each[own] = np.inf
        track = sighting.track
        found.append(SiteSearch(kept.person, track.camera, float(each.min()), genuine, track.time_ns))
    return found


def _by_camera(
    searches: Sequence[SiteSearch], target: float, people: int, now_ns: int
) -> dict[str, SiteCalibration]:
    found = {}
    for camera in sorted({one.camera for one in searches}):
        mine = [one for one in searches if one.camera == camera]
        strangers = len({one.owner for one in mine})
        if strangers >= ENOUGH and strangers * target >= 1:
            found[camera] = conclude_site(mine, target, people, now_ns, by_camera=False)
    return found


def _independent(searches: Sequence[SiteSearch]) -> float:
    """How many strangers count in an interval: two who are enrolled are near to each other at once."""
    known = {one.owner for one in searches if one.genuine is not None}
    return len({one.owner for one in searches} - known) + len(known) / 2


def _thin(values: Sequence[float]) -> tuple[float, ...]:
    if len(values) <= _KEPT:
        return tuple(values)
    chosen = np.linspace(0, len(values) - 1, _KEPT).round().astype(int)
    return tuple(values[index] for index in chosen)


def describe_site(found: SiteCalibration) -> list[str]:
    """What the threshold aims for and what it rests on, a sentence a line."""
    low, high = found.fpir_range
    lines = [
        f"chosen for a false positive rate (FPIR) of {found.target:.1%} of strangers' tracks at this site",
        f"FPIR {found.fpir:.1%}, 95% interval {low:.1%} to {high:.1%}, from {found.strangers} who are "
        "strangers or count as such",
    ]
    if found.fnir is not None:
        lines.append(f"{found.fnir:.1%} of the walks that were recognised once would be missed")
    lines += [
        f"camera {camera}: threshold {one.threshold:.4f}, FPIR {one.fpir_range[0]:.1%} to "
        f"{one.fpir_range[1]:.1%}, from {one.strangers} strangers and people"
        for camera, one in found.cameras.items()
    ]
    return lines


def drift_of(gallery: Gallery, model: str, sees: Callable[[str], bool] = everywhere) -> list[str]:
    """What is kept of a site's calibration, and how the site differs from it by now, a line each.

    Args:
        gallery: whose.
        model: whose threshold.
        sees: which cameras may be told of.
    """
    with gallery.store.reading() as reading:
        found = kept_calibration(gallery, reading, model)
    if found is None:
        return []
    since = site_searches(gallery, model, found.time_ns)
    said = drift(found, [one.stranger for one in since], len(gallery.persons()))
    told = f"this site decides by a threshold of its own, {found.threshold:.4f}"
    return [told, *describe_site(found.only(sees)), *([f"WARNING: {said}"] if said else [])]
