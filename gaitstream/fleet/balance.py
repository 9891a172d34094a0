"""Who should have how much: arithmetic over weights, without a clock and without a database.

A camera's weight is its cost in units of the planner's usual camera: 15 analysed frames a second with one
person in view weigh 1. A worker's capacity is in the same unit, so that `gaitstream plan` answers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

USUAL_FPS = 15.0
USUAL_PEOPLE = 1.0
TOLERANCE = 0.25
"""How far above its fair share a worker may stay before cameras move for the sake of evenness."""
ROUNDING = 1e-6


@dataclass(frozen=True)
class Totals:
    """The fleet as a whole.

    Attributes:
        workers: alive and not draining.
        capacity: of those together.
        weight: of the cameras they hold.
        waiting: of the cameras that nobody holds.
        cameras: of both kinds.
    """

    workers: int
    capacity: float
    weight: float
    waiting: float
    cameras: int

    @property
    def unit(self) -> float:
        """Weight of one camera, on average: shares are fractions, and cameras are not."""
        return (self.weight + self.waiting) / self.cameras if self.cameras else 1.0

    def fair_share(self, capacity: float) -> float:
        """What falls to a worker when everybody is loaded to the same share of their capacity."""
        load = self.weight + self.waiting
        return min(capacity, load * capacity / self.capacity) if self.capacity > 0 else 0.0


@dataclass(frozen=True)
class Taker:
    """Somebody who could take a camera over."""

    capacity: float
    weight: float
    labels: frozenset[str]


def camera_weight(fps: float, people: float) -> float:
    """Cost of a camera: a frame costs something, and every person in it as much again."""
    return fps / USUAL_FPS * (1 + people) / (1 + USUAL_PEOPLE)


def room_to_take(held: float, capacity: float, totals: Totals, *, patient: bool) -> float:
    """How much more a worker takes now.

    Args:
        held: weight of its cameras.
        capacity: what it carries.
        totals: of the fleet.
        patient: nobody has waited long: it leaves to the others what is theirs by fair share.
    """
    free = capacity - held
    if not patient:
        return free
    # A camera that begins inside the share is taken whole.
    return min(free, totals.fair_share(capacity) - held + totals.unit * (1 - ROUNDING))


def others_can_take(held: float, capacity: float, totals: Totals) -> bool:
    """Whether there is room elsewhere for all that a worker holds."""
    room = totals.capacity - capacity - (totals.weight - held)
    return room >= held - ROUNDING


def fitting(weights: Iterable[tuple[str, float]], room: float) -> list[str]:
    """Cameras taken in their order as long as there is room; one too large is passed over."""
    chosen = []
    for camera, weight in weights:
        if weight <= room + ROUNDING:
            chosen.append(camera)
            room -= weight
    return chosen


def fewest(weights: Mapping[str, float], excess: float) -> list[str]:
    """The fewest cameras that together weigh at least `excess`, and among these rather light ones."""
    left, chosen = dict(weights), list[str]()
    while excess > ROUNDING and left:
        enough = [camera for camera in left if left[camera] >= excess - ROUNDING]
        camera = min(enough, key=lambda one: left[one]) if enough else max(left, key=lambda one: left[one])
        chosen.append(camera)
        excess -= left.pop(camera)
    return chosen


def surplus(held: float, capacity: float, totals: Totals) -> float:
    """What a worker holds beyond what it should: beyond its capacity, or far beyond its fair share."""
    over = held - capacity
    uneven = held - totals.fair_share(capacity) * (1 + TOLERANCE) - totals.unit
    return max(0.0, over, uneven)


def can_move(weight: float, labels: frozenset[str], takers: Iterable[Taker], totals: Totals) -> bool:
    """Whether somebody else would take a camera without going beyond their fair share, or their room."""
    return any(
        labels <= taker.labels
        and taker.weight + weight
        <= min(taker.capacity, totals.fair_share(taker.capacity) + totals.unit) + ROUNDING
        for taker in takers
    )
