"""Who a walker is: body proportions and gait style, drawn around published normative values.

Sources of the central values and spreads:

- Segment lengths as fractions of stature: Drillis and Contini (1966), in Winter, *Biomechanics and Motor
  Control of Human Movement*, fig. 4.1.
- Comfortable walking speed: Bohannon and Andrews (2011), *Physiotherapy* 97(3), 182-189 (1.34..1.43 m/s for
  adults under 60).
- Walk ratio (step length over cadence) as a person's constant across speeds: Sekiya and Nagasaki (1998),
  *Gait & Posture* 7(3), 225-227 (about 0.0065 m per step/min).
- Step length, step width and toe-out: Oberg, Karsznia and Oberg (1993), *J. Rehabil. Res. Dev.* 30(2),
  210-223; Murray, Drought and Kory (1964), *J. Bone Joint Surg.* 46-A, 335-360.

Where a source gives no spread between persons, a plausible one was chosen; the spreads of limb ratios are
deliberately on the wide side, since a small synthetic crowd has to stay tellable apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from gaitstream.errors import ConfigError
from gaitstream.synth.walk_space import WalkStyle, sample_body, sample_style, walk_ratio

WalkKind = Literal["formula", "learned"]
"""How walkers move: harmonics with parameters from the literature, or walks learned from motion capture."""

NAMES = (
    "Ada", "Bela", "Cleo", "Dara", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jun", "Kai", "Lea", "Milo", "Nia",
    "Otto", "Pia", "Quin", "Rosa", "Sami", "Tea", "Uma", "Vito", "Wes", "Xena", "Yara", "Zeno",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WalkerIdentity:
    """One person's body and gait. Lengths in metres, angles in degrees, times in shares of a gait cycle.

    Nothing here changes with clothes, camera, day or speed; what does is in `Appearance`.
    """

    name: str
    stature: float
    thigh: float
    shank: float
    ankle_height: float
    foot: float
    trunk: float
    """Hip line to shoulder line."""
    neck: float
    """Shoulder line to chin."""
    head: float
    """Chin to vertex."""
    shoulder_width: float
    """Between the shoulder joints."""
    hip_width: float
    """Between the hip joints."""
    upper_arm: float
    forearm: float
    build: float
    """Girth factor; 1 is average."""
    speed: float
    """Comfortable speed, m/s."""
    walk_ratio: float
    """Step length over cadence, m per step/min."""
    stance: float
    """Share of the cycle a foot is on the ground."""
    step_width: float
    step_asymmetry: float
    """How much later than half a cycle the right foot strikes."""
    bob: float
    """Half the vertical travel of the pelvis."""
    sway: float
    """Half the sideways travel of the pelvis."""
    crouch: float
    """How far the leg stays from full extension, as a share of its length."""
    foot_lift: float
    push_off: float
    """Foot pitch at toe-off."""
    toe_out: tuple[float, float]
    """Left, right."""
    pelvis_yaw: float
    pelvis_list: float
    trunk_lean: float
    trunk_yaw: float
    trunk_roll: float
    head_pitch: float
    head_forward: float
    arm_swing: tuple[float, float]
    arm_offset: float
    elbow: tuple[float, float]
    elbow_swing: float
    arm_abduction: tuple[float, float]
    arm_lag: float
    style: WalkStyle | None = None
    """How a learned walk looks. Where None, people walk by the formula of `gait`, with the traits above."""

    def once(self, rng: np.random.Generator, bag: str) -> WalkerIdentity:
        """The same person on one walk, carrying a bag: nobody walks the same way twice.

        The formula of `gait` knows no such difference, and gives the same identity.
        """
        return self if self.style is None else replace(self, style=self.style.once(rng, bag))

    @property
    def leg(self) -> float:
        """Hip joint to ankle joint."""
        return self.thigh + self.shank

    def step_length(self, speed: float) -> float:
        """Step length in metres at a speed in m/s: the walk ratio stays, so both it and cadence grow."""
        return float(np.sqrt(60.0 * self.walk_ratio * speed))

    def cadence(self, speed: float) -> float:
        """Steps per minute at a speed in m/s."""
        return 60.0 * speed / self.step_length(speed)


SPREAD = 2.0
"""How much wider than the spreads below people differ, build, stature and comfortable speed excepted.

Ordinary people differ by less than a pixel in most traits at the size surveillance cameras show them.
"""


def sample_identity(seed: int, index: int, walk: WalkKind = "formula") -> WalkerIdentity:
    """Draw person `index` of the crowd `seed`; the same arguments give the same person.

    Raises:
        ConfigError: there is no such kind of walk.
    """
    if walk not in get_args(WalkKind):
        raise ConfigError(f"no walk {walk!r}; there are {', '.join(get_args(WalkKind))}")
    drawn = _by_formula(seed, index)
    return drawn if walk == "formula" else _learned(drawn, np.random.default_rng([seed, index, 0x1E]))


def _learned(drawn: WalkerIdentity, rng: np.random.Generator) -> WalkerIdentity:
    """Another body and walk, with the spreads of people, for a name and a comfortable speed."""
    body = sample_body(rng, man=bool(rng.random() < 0.5))
    style = sample_style(rng)
    leg = body["thigh"] + body["shank"]
    return replace(
        drawn,
        stature=body["stature"],
        thigh=body["thigh"],
        shank=body["shank"],
        ankle_height=body["ankle_height"],
        foot=body["foot"],
        trunk=body["shoulder_height"] - body["hip_height"],
        neck=body["stature"] - body["shoulder_height"] - body["head"],
        head=body["head"],
        shoulder_width=body["shoulder_width"],
        hip_width=body["hip_width"],
        upper_arm=body["upper_arm"],
        forearm=body["forearm"],
        build=body["build"],
        walk_ratio=walk_ratio(style, leg),
        style=style,
    )


def _by_formula(seed: int, index: int) -> WalkerIdentity:
    rng = np.random.default_rng([seed, index, 0x1D])

    def draw(mean: float, sd: float, spread: float = SPREAD) -> float:
        return float(mean + spread * sd * np.clip(rng.standard_normal(), -2.0, 2.0))

    def pair(mean: float, sd: float, side_sd: float) -> tuple[float, float]:
        centre = draw(mean, sd)
        return centre + draw(0, side_sd), centre + draw(0, side_sd)

    man = rng.random() < 0.5
    height = draw(1.756, 0.07, 1.0) if man else draw(1.625, 0.066, 1.0)
    leg = height * 0.491 * draw(1, 0.028)
    thigh_share = draw(0.499, 0.013)
    build = draw(1.0, 0.11, 1.0)
    return WalkerIdentity(
        name=NAMES[index % len(NAMES)] + (str(index // len(NAMES) + 1) if index >= len(NAMES) else ""),
        stature=height,
        thigh=leg * thigh_share,
        shank=leg * (1 - thigh_share),
        ankle_height=0.042 * height,
        foot=height * 0.152 * draw(1, 0.04),
        trunk=height * 0.288 * draw(1, 0.035),
        neck=height * 0.052 * draw(1, 0.12, 1.2),
        head=height * 0.130 * draw(1, 0.04),
        shoulder_width=height * (0.226 if man else 0.212) * draw(1, 0.06),
        hip_width=height * (0.108 if man else 0.114) * draw(1, 0.07),
        upper_arm=height * 0.178 * draw(1, 0.04),
        forearm=height * 0.146 * draw(1, 0.04),
        build=build,
        speed=max(0.95, draw(1.36 if man else 1.32, 0.10, 1.0)),
        walk_ratio=(0.0067 if man else 0.0060) * (height / 1.70) * draw(1, 0.06),
        stance=draw(0.615, 0.012),
        step_width=max(0.03, draw(0.10, 0.03)),
        step_asymmetry=draw(0, 0.008),
        bob=max(0.008, draw(0.022, 0.006)),
        sway=max(0.006, draw(0.021, 0.008)),
        crouch=max(0.003, draw(0.012, 0.007)),
        foot_lift=max(0.005, draw(0.035, 0.018)),
        push_off=draw(58, 6),
        toe_out=pair(7, 4.5, 1.5),
        pelvis_yaw=max(1.0, draw(5.5, 2.2)),
        pelvis_list=max(0.5, draw(3.0, 1.3)),
        trunk_lean=draw(3.5, 3.0),
        trunk_yaw=max(1.0, draw(6.0, 2.5)),
        trunk_roll=draw(1.5, 1.2),
        head_pitch=draw(6, 6),
        head_forward=max(0.0, draw(0.022, 0.012)) * height,
        arm_swing=_swing(draw(21, 7.5), draw(0, 2.5)),
        arm_offset=draw(-4, 4.5),
        elbow=pair(24, 10, 3),
        elbow_swing=max(2.0, draw(12, 5)),
        arm_abduction=pair(9, 3.5, 1.0),
        arm_lag=draw(0.02, 0.025),
    )


def _swing(mean: float, difference: float) -> tuple[float, float]:
    return max(4.0, mean + difference), max(4.0, mean - difference)
