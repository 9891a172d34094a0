"""Where people walk: closed routes over the floor, and how far along them they are at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SPACING_M = 0.05


class Path(Protocol):
    """A curve over the floor, by arc length."""

    def at(self, s: Array) -> tuple[Array, Array]:
        """Floor positions `[t, 2]` in metres and headings `[t]` in radians at arc lengths `[t]`."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """A straight path."""

    origin: tuple[float, float]
    heading: float

    def at(self, s: Array) -> tuple[Array, Array]:
        """See `Path.at`."""
        direction = np.array([np.cos(self.heading), np.sin(self.heading)])
        return np.asarray(self.origin) + s[:, None] * direction, np.full(s.shape, self.heading)


class Route:
    """A closed, smooth route through corners; arc lengths wrap around.

    Attributes:
        length: metres once around.
    """

    def __init__(self, corners: Array, length: float | None = None, radius: float = 0.9) -> None:
        """Round the corners `[n, 2]` off and, when `length` is given, scale to exactly that length."""
        points = _resample(_rounded(corners, radius))
        total = _lengths(points)[-1]
        if length is not None:
            centre = points.mean(axis=0)
            points = centre + (points - centre) * (length / total)
        self._s = _lengths(points)
        self.length = float(self._s[-1])
        step = np.diff(points, axis=0)
        heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
        heading = _smooth_closed(heading, turns=round((heading[-1] - heading[0]) / (2 * np.pi)))
        self._xy = points
        self._mid = (self._s[1:] + self._s[:-1]) / 2
        self._heading = heading

    def at(self, s: Array) -> tuple[Array, Array]:
        """See `Path.at`."""
        wrapped = np.mod(s, self.length)
        xy = np.stack([np.interp(wrapped, self._s, self._xy[:, axis]) for axis in (0, 1)], axis=-1)
        cos = np.interp(wrapped, self._mid, np.cos(self._heading))
        sin = np.interp(wrapped, self._mid, np.sin(self._heading))
        return xy, np.arctan2(sin, cos)


@dataclass(frozen=True, slots=True)
class Stop:
    """A pause on a route."""

    s: float
    """Metres along the route."""
    seconds: float


RAMP_S = 0.9
"""How long slowing down to a stop, or setting off again, takes."""


class Schedule:
    """Progress along a closed route: constant speed, with smooth stops.

    Attributes:
        period: seconds once around.
    """

    def __init__(self, length: float, speed: float, stops: tuple[Stop, ...] = ()) -> None:
        self.length = length
        times, distances, stands = [0.0], [0.0], [0.0]
        now, done = 0.0, 0.0
        ramp_m = speed * RAMP_S / 2
        for stop in sorted(stops, key=lambda stop: stop.s):
            if stop.s - ramp_m <= done + 0.01 or stop.s + ramp_m >= length:
                continue
            now += (stop.s - ramp_m - done) / speed
            ramp = np.linspace(0, 1, 13)
            down = now + ramp * RAMP_S
            times += list(down)
            distances += list(stop.s - ramp_m + ramp_m * (2 * ramp - ramp**2))
            stands += list(_smoothstep(np.clip(ramp * 1.4 - 0.4, 0, 1)))
            now += RAMP_S + stop.seconds
            times += list(now + ramp * RAMP_S)
            distances += list(stop.s + ramp_m * ramp**2)
            stands += list(1 - _smoothstep(np.clip(ramp * 1.4, 0, 1)))
            now += RAMP_S
            done = stop.s + ramp_m
        self.period = now + (length - done) / speed
        self._t = np.array([*times, self.period])
        self._s = np.array([*distances, length])
        self._w = np.array([*stands, 0.0])

    def at(self, t: Array) -> tuple[Array, Array]:
        """Metres walked `[t]` and how much each moment is standing, 0..1 `[t]`, at times `[t]` in seconds."""
        lap = np.floor(t / self.period)
        local = t - lap * self.period
        s = lap * self.length + np.interp(local, self._t, self._s)
        return s, np.interp(local, self._t, self._w)


def _smoothstep(x: Array) -> Array:
    return x * x * (3 - 2 * x)


def _lengths(points: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def _rounded(corners: Array, radius: float) -> Array:
    """Quadratic arcs in place of the corners; closed, first point repeated at the end."""
    ramp = np.linspace(0, 1, 12)[:, None]
    pieces = []
    count = len(corners)
    for index, corner in enumerate(corners):
        before, after = corners[index - 1], corners[(index + 1) % count]
        cut = [min(radius * 1.6, 0.45 * float(np.linalg.norm(other - corner))) for other in (before, after)]
        start = corner + (before - corner) / np.linalg.norm(before - corner) * cut[0]
        end = corner + (after - corner) / np.linalg.norm(after - corner) * cut[1]
        pieces.append((1 - ramp) ** 2 * start + 2 * ramp * (1 - ramp) * corner + ramp**2 * end)
    return np.concatenate([*pieces, pieces[0][:1]])


def _resample(points: Array) -> Array:
    s = _lengths(points)
    even = np.linspace(0, s[-1], max(8, int(s[-1] / SPACING_M)))
    return np.stack([np.interp(even, s, points[:, axis]) for axis in (0, 1)], axis=-1)


def _smooth_closed(heading: Array, turns: int) -> Array:
    """Moving average over 0.5 m of a heading that ends `turns` revolutions from where it began."""
    half = 5
    head, tail = heading[-half:] - turns * 2 * np.pi, heading[:half] + turns * 2 * np.pi
    kernel = np.full(2 * half + 1, 1 / (2 * half + 1))
    return np.convolve(np.concatenate([head, heading, tail]), kernel, mode="valid")
