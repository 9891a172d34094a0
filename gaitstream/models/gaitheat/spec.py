"""GaitHeat as the rest of the house sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gaitstream.errors import ConfigError
from gaitstream.models.spec import ModelFamily, Shapes, flag

if TYPE_CHECKING:
    from gaitstream.models.manifest import Manifest

KEYS = re.compile(r"^Backbone\d(_fusion)?\.|^FCs_fusion\.")
JOINTS = 17
HEATMAP = (64, 48)
"""Rows and columns."""
Groups = tuple[tuple[int, ...], ...]
UPPER_LOWER: Groups = (tuple(range(11)), tuple(range(11, 17)))
"""Joints of the upper body (nose to wrists) and of the lower (hips to ankles), COCO order."""


def parse_groups(text: str) -> Groups:
    """Read part groups such as `0-10,11-16` or `0+5+6,11-16`.

    Raises:
        ConfigError: the text is not of this form, or a joint is not one of COCO's.
    """
    groups = []
    for part in text.split(","):
        group: list[int] = []
        for piece in part.split("+"):
            match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", piece)
            if match is None:
                raise ConfigError(
                    f"cannot read {piece!r} in the groups {text!r}: write 0-10,11-16 or 0+5+6,11-16"
                )
            group.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
        if not group or max(group) >= JOINTS:
            raise ConfigError(
                f"the group {part!r} must name joints 0 to {JOINTS - 1} in rising order, as 0-10"
            )
        groups.append(tuple(group))
    return tuple(groups)


def parse_number(text: str) -> float:
    """Read a number.

    Raises:
        ConfigError: the text is none.
    """
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{text!r} is not a number") from None


@dataclass(frozen=True, kw_only=True)
class GaitHeatOptions:
    """What a checkpoint was trained with and does not hold."""

    groups: Groups = flag(
        UPPER_LOWER,
        help="joints (COCO) merged into each part (default: 0-10,11-16, upper and lower body)",
        metavar="LIST",
        parse=parse_groups,
    )
    gamma_deg: float = flag(
        5.0,
        help="tilt of the spine up to which a frame stays as it is (default: 5; CCPG: 20)",
        name="gamma",
        metavar="DEG",
        parse=parse_number,
    )
    small_angle: Literal["identity", "align"] = flag(
        "identity",
        help="up to that tilt: leave the frame alone, or align it all the same (default: identity)",
        choices=("identity", "align"),
    )
    normalization: Literal["fixed", "tracklet"] = flag(
        "fixed",
        help="clamp heatmaps to 0..1, frame by frame (default), or stretch each tracklet as released",
        choices=("fixed", "tracklet"),
    )
    min_pose_score: float = flag(
        0.4, help="drop frames below it (default: 0.4)", metavar="S", parse=parse_number
    )
    pose: Path | None = flag(
        None, help="pose model (ONNX or its manifest) for --target deepstream", metavar="FILE", parse=Path
    )

    def __post_init__(self) -> None:
        """Check what no checkpoint can tell.

        Raises:
            ConfigError: an angle or a score is out of range.
        """
        if not 0 <= self.gamma_deg < 90:
            raise ConfigError(f"gamma is {self.gamma_deg:g} degrees; it must be at least 0 and under 90")
        if not 0 <= self.min_pose_score <= 1:
            raise ConfigError(f"the smallest pose score is {self.min_pose_score:g}; it must lie in 0..1")


def is_gaitheat(shapes: Shapes) -> bool:
    """Whether a checkpoint holds GaitHeat's numbered or fusing networks."""
    return any(KEYS.search(key) for key in shapes)


def write_group(group: tuple[int, ...]) -> str:
    """A part group as `parse_groups` reads it."""
    first, last = group[0], group[-1]
    if len(group) > 1 and group == tuple(range(first, last + 1)):
        return f"{first}-{last}"
    return "+".join(map(str, group))


def restate(manifest: Manifest) -> dict[str, str]:
    """The options of a bundle's alignment."""
    align = manifest.alignment
    if align is None:
        return {}
    return {
        "groups": ",".join(map(write_group, align.groups)),
        "gamma": f"{align.gamma_deg:g}",
        "small-angle": align.small_angle,
        "min-pose-score": f"{align.min_pose_score:g}",
    }


FAMILY = ModelFamily(
    name="gaitheat",
    title="GaitHeat",
    summary="a GaitHeat checkpoint of FastPoseGait",
    recognises=is_gaitheat,
    loader="gaitstream.models.gaitheat.checkpoint:load",
    options=GaitHeatOptions,
    restate=restate,
    joiner="gaitstream.models.gaitheat.nvinfer:join",
    gflop=9.83,
    randomizer="gaitstream.models.gaitheat.trained:make_random",
)
