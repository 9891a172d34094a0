"""What a walker wears and carries today, and how much of a hurry they are in.

An appearance is drawn independently of the identity, so it tells nothing about who it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Colour = tuple[int, int, int]
"""Blue, green, red, 0..255."""

SKIN: tuple[Colour, ...] = (
    (180, 205, 240), (150, 185, 225), (125, 160, 205), (95, 130, 180), (70, 100, 145), (50, 72, 105),
)  # fmt: skip
HAIR: tuple[Colour, ...] = (
    (25, 25, 28), (35, 45, 60), (45, 65, 95), (80, 120, 165), (150, 150, 150), (60, 70, 120),
)  # fmt: skip
CLOTH: tuple[Colour, ...] = (
    (60, 55, 50), (110, 60, 35), (150, 95, 50), (45, 45, 130), (60, 100, 60), (170, 165, 160),
    (205, 210, 212), (40, 120, 175), (95, 75, 120), (120, 115, 70), (70, 85, 110), (60, 140, 190),
    (135, 125, 180), (35, 70, 45),
)  # fmt: skip
DARK: tuple[Colour, ...] = (
    (55, 48, 42), (95, 62, 42), (130, 92, 62), (70, 76, 84), (62, 82, 105), (90, 100, 112), (45, 45, 48),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Appearance:
    """Clothes, bag and pace of one day."""

    top: Colour
    bottom: Colour
    shoes: Colour
    skin: Colour
    hair: Colour
    sleeves: Literal["long", "short"]
    outfit: Literal["trousers", "shorts", "coat", "skirt"]
    hair_style: Literal["short", "long", "hat"]
    bag: Literal["none", "backpack", "shoulder"]
    bag_colour: Colour
    bulk: float
    """Thickness of the clothes as a factor of the limbs' radii."""
    pace: float
    """Speed as a share of the comfortable one."""


def sample_appearance(seed: int, index: int, day: int = 0) -> Appearance:
    """Draw what person `index` of the crowd `seed` wears on a day; skin and hair stay through the days."""
    body = np.random.default_rng([seed, index, 0xB0])
    rng = np.random.default_rng([seed, index, day, 0xC0])

    def shade(palette: tuple[Colour, ...], source: np.random.Generator, grey: float = 0.0) -> Colour:
        base = np.array(palette[int(source.integers(len(palette)))], dtype=np.float64)
        base = base * source.uniform(0.82, 1.15) + source.uniform(-8, 8, 3)
        base = base * (1 - grey) + base.mean() * grey
        blue, green, red = np.clip(base, 8, 235)
        return int(blue), int(green), int(red)

    outfit = rng.choice(["trousers", "shorts", "coat", "skirt"], p=[0.66, 0.10, 0.16, 0.08])
    return Appearance(
        top=shade(CLOTH, rng, grey=0.35),
        bottom=shade(DARK, rng, grey=0.25),
        shoes=shade(((40, 40, 42), (170, 174, 178), (60, 80, 110)), rng),
        skin=shade(SKIN, body, grey=0.2),
        hair=shade(HAIR, body, grey=0.2),
        sleeves="long" if outfit == "coat" or rng.random() < 0.65 else "short",
        outfit=str(outfit),  # type: ignore[arg-type]
        hair_style=str(rng.choice(["short", "long", "hat"], p=[0.5, 0.35, 0.15])),  # type: ignore[arg-type]
        bag=str(rng.choice(["none", "backpack", "shoulder"], p=[0.6, 0.25, 0.15])),  # type: ignore[arg-type]
        bag_colour=shade(CLOTH, rng, grey=0.5),
        bulk=float(rng.uniform(1.0, 1.14)),
        pace=float(np.clip(rng.normal(1.0, 0.06), 0.86, 1.14)),
    )
