"""People who walk between cameras, drawn at random: what a gait model says of them is drawn, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.handoff_record import Heard, Record, Shown
from gaitstream.events import Event, IdentityDecided, IdentityFinal, TrackEnded, TrackStarted, encode
from gaitstream.synth.address import EPOCH_NS

S = 1_000_000_000
LOST_S = 0.5


@dataclass(frozen=True)
class SimulatedSite:
    """A site of cameras in a ring; each leads to its two neighbours, and sometimes to any other.

    Attributes:
        seed: of everything.
        hours: how long.
        cameras: how many.
        people: who walk, the enrolled first.
        enrolled: how many of them are in the gallery.
        threshold: largest distance at which a camera names somebody.
        margin: smallest lead over the second nearest that it asks for.
        genuine: mean and standard deviation of a track's distance to its own person.
        impostor: of that to somebody else.
    """

    seed: int = 1
    hours: float = 4.0
    cameras: int = 6
    people: int = 30
    enrolled: int = 24
    threshold: float = 1.0
    margin: float = 0.03
    genuine: tuple[float, float] = (0.78, 0.16)
    impostor: tuple[float, float] = (1.35, 0.17)


@dataclass(frozen=True)
class _Visit:
    person: int
    camera: int
    first_s: float
    last_s: float


def simulate(site: SimulatedSite, slower_from: float | None = None) -> Record:
    """Draw what the cameras of a site say.

    Args:
        site: which.
        slower_from: share of the time after which every way takes twice as long.
    """
    rng = np.random.default_rng(site.seed)
    ways_s = rng.uniform(8.0, 40.0, (site.cameras, site.cameras))
    change_s = site.hours * 3600 * slower_from if slower_from is not None else np.inf
    visits = [visit for person in range(site.people) for visit in _walk(site, person, ways_s, change_s, rng)]
    visits.sort(key=lambda visit: visit.first_s)
    names = [f"person {number}" for number in range(site.people)]
    events: list[Heard] = []
    shown: list[Shown] = []
    for track, visit in enumerate(visits):
        events += _say(site, track, visit, names, rng)
        frames = round((visit.last_s - visit.first_s) * 15)
        shown.append(Shown("sim", f"cam{visit.camera + 1}", track, names[visit.person], frames))
    events.sort(key=lambda heard: heard.arrived_ns)
    return Record(names[: site.enrolled], events, shown)


def _walk(
    site: SimulatedSite, person: int, ways_s: NDArray[np.float64], change_s: float, rng: np.random.Generator
) -> list[_Visit]:
    """Where one person is seen, and when."""
    visits = []
    now_s, camera = float(rng.uniform(0, 120)), int(rng.integers(site.cameras))
    pace = rng.lognormal(0, 0.12)
    while now_s < site.hours * 3600:
        stay_s = float(rng.lognormal(np.log(6.0), 0.3))
        visits.append(_Visit(person, camera, now_s, now_s + stay_s))
        step = 1 if rng.random() < 0.5 else -1
        there = (camera + step) % site.cameras if rng.random() < 0.9 else int(rng.integers(site.cameras))
        way_s = float(ways_s[camera, there] * pace * rng.lognormal(0, 0.2))
        now_s += stay_s + way_s * (2.0 if now_s > change_s else 1.0)
        if rng.random() < 0.1:
            now_s += float(rng.exponential(300.0))  # out, or in a room without cameras
        camera = there
    return visits


def _say(
    site: SimulatedSite,
    track: int,
    visit: _Visit,
    names: list[str],
    rng: np.random.Generator,
) -> list[Heard]:
    """The events of one track, as its camera decides alone."""
    distances = rng.normal(*site.impostor, site.enrolled)
    if visit.person < site.enrolled:
        distances[visit.person] = rng.normal(*site.genuine)
    order = np.argsort(distances)[:5]
    nearest, second = (float(distances[one]) for one in order[:2])
    is_known = nearest <= site.threshold and second - nearest >= site.margin
    first_ns, last_ns = (EPOCH_NS + round(at * S) for at in (visit.first_s, visit.last_s))
    camera = f"cam{visit.camera + 1}"
    status = "known" if is_known else "ambiguous" if nearest <= site.threshold else "unknown"
    base: dict[str, Any] = {"run": "sim", "camera": camera, "track": track}
    said = base | {
        "status": status,
        "person": names[order[0]] if is_known else None,
        "person_id": f"id-{order[0]}" if is_known else None,
        "distance": nearest,
        "margin": second - nearest,
        "threshold": site.threshold,
        "first_ns": first_ns,
        "windows": 1,
        "candidates": tuple((names[one], float(distances[one])) for one in order),
        "candidate_ids": tuple(f"id-{one}" for one in order),
    }
    decided_ns = min(last_ns, first_ns + 2 * S)
    ended_ns = last_ns + round(LOST_S * S)
    spoken: list[tuple[int, Event]] = [
        (first_ns, TrackStarted(time_ns=first_ns, **base)),
        (decided_ns, IdentityDecided(time_ns=decided_ns, **said)),
        (ended_ns, IdentityFinal(time_ns=last_ns, **said)),
        (ended_ns, TrackEnded(
            time_ns=last_ns, **base, cause="lost", first_ns=first_ns, seen=1, accepted=1, outcome=status,
        )),
    ]  # fmt: skip
    return [Heard(at, msgspec.Raw(encode(event))) for at, event in spoken]
