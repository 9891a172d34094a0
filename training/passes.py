"""A crowd walking past cameras one by one, as the scripts render it, in boxes as inexact as a detector's."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from walks import CROWD, KINDS

from gaitstream.synth.appearance import sample_appearance
from gaitstream.synth.background import Scenery
from gaitstream.synth.identity import WalkerIdentity
from gaitstream.synth.render import Renderer
from gaitstream.synth.studio import Pass, sample_camera, sample_pass

SCENERIES = (
    Scenery("paving", "street", 13.0, 9.0),
    Scenery("tiles", "walls", 12.0, 8.0),
    Scenery("asphalt", "street", 15.0, 10.0),
    Scenery("carpet", "walls", 16.0, 4.0),
)


@dataclass(frozen=True)
class CrowdPass:
    """One person's walk past one camera.

    Attributes:
        person: number in the crowd.
        camera: number of the camera.
        walked: where the person was.
        renderer: of that camera.
        chosen: moments to be looked at, `[frames]`, in order.
    """

    person: int
    camera: int
    walked: Pass
    renderer: Renderer
    chosen: np.ndarray


def add_crowd_arguments(parser: argparse.ArgumentParser, people: int, passes: int, frames: int) -> None:
    """Arguments of a command that renders a crowd, with these defaults."""
    parser.add_argument("--people", type=int, default=people)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--passes", type=int, default=passes)
    parser.add_argument("--frames", type=int, default=frames)
    parser.add_argument("--seed", type=int, default=CROWD, help="of the crowd; another to hold out")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=["formula"], help="of walk, taking turns"
    )
    parser.add_argument("--cameras", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Who walks where.

    Attributes:
        seed: of people and clothes.
        people: numbers of the people.
        passes: of each, every one in other clothes past a random camera.
        frames: looked at in a pass; passes with fewer are left out.
        cameras: how many there are.
    """

    seed: int
    people: range
    passes: int
    frames: int
    cameras: int

    @classmethod
    def of(cls, args: argparse.Namespace) -> Crowd:
        """As the command line asks for it; see `add_crowd_arguments`."""
        people = range(args.first, args.first + args.people)
        return cls(
            seed=args.seed, people=people, passes=args.passes, frames=args.frames, cameras=args.cameras
        )

    def walk(
        self, member: Callable[[int, int], WalkerIdentity], rng: np.random.Generator
    ) -> Iterator[CrowdPass]:
        """Everybody's passes; `member` makes a person of the crowd's seed and their number."""
        mounted = [sample_camera(rng) for _ in range(self.cameras)]
        renderers = [
            Renderer(camera, SCENERIES[i % len(SCENERIES)], day=i % 3, quality=int(rng.integers(60, 95)))
            for i, camera in enumerate(mounted)
        ]
        for person in self.people:
            identity = member(self.seed, person)
            for day in range(self.passes):
                number = int(rng.integers(len(mounted)))
                look = sample_appearance(self.seed, person, day)
                walked = sample_pass(identity, look, rng, 30, mounted[number], tries=6)
                if len(walked.boxes) >= self.frames:
                    chosen = np.sort(rng.choice(len(walked.boxes), self.frames, replace=False))
                    yield CrowdPass(person, number, walked, renderers[number], chosen)
            if person % 50 == 49:
                print(f"{person + 1} people", flush=True)


def found_boxes(boxes: np.ndarray, size: Sequence[int], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """True boxes as a detector would find them: ended at the picture's border, and a little off.

    Args:
        boxes: xyxy pixels of one pass, `[n, 4]`; all share an error of their size.
        size: width and height of the picture.
        rng: of the errors.

    Returns:
        float32 `[1, 4]`, one after the other.
    """
    share = 1 + 0.025 * rng.standard_normal()
    for x1, y1, x2, y2 in boxes.astype(float):
        left, top, right, bottom = max(x1, 0.0), max(y1, 0.0), min(x2, size[0]), min(y2, size[1])
        wide, tall = right - left, bottom - top
        cx = (left + right) / 2 + wide * 0.02 * rng.standard_normal()
        cy = (top + bottom) / 2 + tall * 0.01 * rng.standard_normal()
        half = np.array([wide, tall]) * share * (1 + 0.012 * rng.standard_normal()) / 2
        yield np.array([[cx - half[0], cy - half[1], cx + half[0], cy + half[1]]], np.float32)
