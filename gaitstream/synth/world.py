"""A site: floor plan, camera mounts, and the people who walk there."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace

import numpy as np

from gaitstream.errors import SourceError
from gaitstream.synth.appearance import Appearance, sample_appearance
from gaitstream.synth.cameras import Array, PinholeCamera, look_at
from gaitstream.synth.gait import LEAD, pose
from gaitstream.synth.identity import WalkerIdentity, sample_identity
from gaitstream.synth.paths import Route, Schedule, Stop
from gaitstream.synth.skeleton import JOINTS
from gaitstream.synth.truth import Truth, observe

GOLDEN = 0.6180339887498949
EDGE_M = 0.7
"""Nobody turns nearer to the edge of the floor."""
NEAREST_TARGET_M = 6.5
"""Between a camera and the spot of the floor it looks at."""
ATTEMPTS = 300
"""At a route; each allows sharper turns by one degree. The corridor takes about 50, the terminal 55."""


@dataclass(frozen=True, slots=True)
class Site:
    """A floor plan in metres, x along and y across, with the looks of its floor."""

    name: str
    width: float
    depth: float
    floor: str
    """`paving`, `tiles`, `asphalt` or `carpet`."""
    backdrop: str
    """`walls` or `street`."""
    row_m: float | None = None
    """The cameras stand in a row along the floor, so far apart, and look across; None puts them around it."""

    def camera(self, number: int, mount: float | None = None, **changes: float) -> PinholeCamera:
        """Camera `number`, counted from 1: mounted at the edge, looking over the floor.

        Args:
            number: any positive number gives a camera; the first four stand at the sides, or in a row one
                after the other.
            mount: height over the floor in metres; the camera still looks at the same spot.
            changes: fields of `PinholeCamera` to set instead, such as `width` or `tilt_deg`.
        """
        rng = np.random.default_rng([sum(self.name.encode()), number])
        place = self._around if self.row_m is None else self._in_row
        outside, target = place(number, rng)
        height = float(rng.uniform(2.8, 3.6))
        camera = look_at(
            f"cam{number}",
            (float(outside[0]), float(outside[1]), mount or height),
            (float(target[0]), float(target[1]), 0.75),
            fov_deg=float(rng.uniform(48, 57)),
        )
        return replace(camera, **changes)  # type: ignore[arg-type]

    def _in_row(self, number: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Where a camera of a row stands, and the spot of the floor it looks at."""
        along = ((number - 0.5) * (self.row_m or 0.0)) % self.width
        target = np.array([along + rng.uniform(-0.5, 0.5), self.depth / 2])
        return np.array([along, self.depth / 2 - NEAREST_TARGET_M]), target

    def _around(self, number: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Where a camera at the edge stands, and the spot of the floor it looks at."""
        turn = ((number - 1) * 0.25 if number <= 4 else (number * GOLDEN) % 1.0) + 0.06
        angle = 2 * np.pi * turn
        half = np.array([self.width / 2, self.depth / 2])
        direction = np.array([np.cos(angle), np.sin(angle)])
        edge = direction / np.max(np.abs(direction) / half)
        outside = half + edge + direction * 1.8
        # Nearer to its target than this, a camera looks down so steeply that it cuts off heads.
        reach = max(NEAREST_TARGET_M, float(np.linalg.norm(edge * 0.65 + direction * 1.8)))
        target = outside - direction * reach + rng.uniform(-0.08, 0.08, 2) * half
        return outside, target


SITES = {
    site.name: site
    for site in (
        Site("plaza", 13.0, 9.0, "paving", "street"),
        Site("lobby", 12.0, 8.0, "tiles", "walls"),
        Site("corridor", 16.0, 4.0, "carpet", "walls"),
        Site("yard", 15.0, 10.0, "asphalt", "street"),
        Site("terminal", 160.0, 6.0, "tiles", "walls", row_m=10.0),
    )
}


def find_site(name: str) -> Site:
    """The site of a name.

    Raises:
        SourceError: there is no such site.
    """
    if name not in SITES:
        near = difflib.get_close_matches(name, SITES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise SourceError(f"no synthetic site '{name}'; there are {', '.join(SITES)}{hint}")
    return SITES[name]


class Walker:
    """One person on their closed route, for all times."""

    def __init__(
        self, identity: WalkerIdentity, appearance: Appearance, site: Site, rng: np.random.Generator
    ) -> None:
        self.identity = identity
        self.appearance = appearance
        self.girth = identity.build * appearance.bulk
        speed = identity.speed * appearance.pace
        self.stride = 2 * identity.step_length(speed)
        corners = _corners(site, rng)
        strides = max(4, round(Route(corners).length / self.stride))
        self.route = Route(corners, length=strides * self.stride)
        stops = tuple(
            Stop((int(lap) + LEAD) * self.stride, float(rng.uniform(1.5, 5.0)))
            for lap in np.flatnonzero(rng.random(strides) < 1.2 / strides)
        )
        self.schedule = Schedule(self.route.length, speed, stops)
        self.offset = float(rng.uniform(0, self.schedule.period))

    def joints(self, times: Array) -> tuple[Array, Array]:
        """Joints in metres `[t, joints, 3]` and standing 0..1 `[t]` at world times in seconds `[t]`."""
        s, standing = self.schedule.at(times + self.offset)
        return pose(self.identity, self.route, s, standing, self.stride, times), standing


class World:
    """The people of a site. Everything follows from the arguments and the time.

    Args:
        site: where.
        people: how many walkers.
        seed: of the crowd and of their routes.
        day: 0, 1, 2, ...: other clothes, bags, pace and routes of the same people.
        only: indices of the people who are there; all when None.
    """

    def __init__(
        self, site: Site, people: int = 8, seed: int = 7, day: int = 0, only: tuple[int, ...] | None = None
    ) -> None:
        self.site = site
        self.seed = seed
        self.day = day
        self.indices = tuple(range(people)) if only is None else only
        self.walkers = [
            Walker(
                sample_identity(seed, index),
                sample_appearance(seed, index, day),
                site,
                np.random.default_rng([seed, index, day, sum(site.name.encode())]),
            )
            for index in self.indices
        ]
        self.names = tuple(walker.identity.name for walker in self.walkers)
        self.stature = np.array([walker.identity.stature for walker in self.walkers])
        self.girth = np.array([walker.girth for walker in self.walkers])

    def joints(self, times: Array) -> tuple[Array, Array]:
        """Joints in metres `[t, people, joints, 3]` and standing `[t, people]` at times in seconds."""
        if not self.walkers:
            return np.zeros((len(times), 0, len(JOINTS), 3)), np.zeros((len(times), 0))
        pairs = [walker.joints(times) for walker in self.walkers]
        return np.stack([joints for joints, _ in pairs], 1), np.stack([still for _, still in pairs], 1)

    def truth(self, camera: PinholeCamera, joints: Array, standing: Array, time_ns: int = 0) -> Truth:
        """Ground truth of one picture from one time's `joints` `[people, joints, 3]`.

        `Truth.people` counts in the crowd, whoever is there.
        """
        truth = observe(camera, joints, self.stature, self.girth, standing, self.names, time_ns)
        return replace(truth, people=np.asarray(self.indices, dtype=np.int64)[truth.people])


def _corners(site: Site, rng: np.random.Generator) -> Array:
    """Corners `[n, 2]` of a closed route: legs of some length, hairpins only on a narrow floor.

    Raises:
        SourceError: the floor is too small to walk on.
    """
    shortest = 0.45 * min(6.0, site.width / 2)
    for attempt in range(ATTEMPTS):
        corners = _draw_route(site, rng, shortest, min(125.0 + attempt, 180.0))
        if corners:
            return np.array(corners)
    raise SourceError(
        f"site '{site.name}' of {site.width:g} x {site.depth:g} m leaves no room for walks with legs of "
        f"{shortest:.1f} m; make it larger"
    )


def _draw_route(
    site: Site, rng: np.random.Generator, shortest: float, sharpest: float
) -> list[tuple[float, float]]:
    """One attempt at a route; empty when it does not close."""
    # Plain floats: narrow floors take thousands of draws, and arrays of two cost ten times as much.
    corners = [_spot(site, rng)]
    for _ in range(60):
        point = _spot(site, rng)
        if math.dist(point, corners[-1]) > shortest and _gentle([*corners[-2:], point], sharpest):
            corners.append(point)
        if len(corners) >= 7 and math.dist(corners[0], corners[-1]) > shortest:
            closed = [*corners, corners[0], corners[1]]
            if all(_gentle(closed[i : i + 3], sharpest) for i in range(len(corners))):
                return corners
        if len(corners) > 12:
            break
    return []


def _spot(site: Site, rng: np.random.Generator) -> tuple[float, float]:
    """Anywhere on the floor but near its edge."""
    return rng.uniform(EDGE_M, site.width - EDGE_M), rng.uniform(EDGE_M, site.depth - EDGE_M)


def _gentle(points: list[tuple[float, float]], sharpest: float) -> bool:
    """Whether the last of three points turns by at most `sharpest` degrees; fewer do not turn."""
    if len(points) < 3:
        return True
    (x0, y0), (x1, y1), (x2, y2) = points
    first, second = (x1 - x0, y1 - y0), (x2 - x1, y2 - y1)
    product = first[0] * second[0] + first[1] * second[1]
    return product / (math.hypot(*first) * math.hypot(*second) + 1e-9) >= math.cos(math.radians(sharpest))
