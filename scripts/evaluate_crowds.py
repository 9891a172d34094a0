"""How tracks hold in synthetic crowds of eight, by detector and tracker, with the truth's boxes as the bound.

    python scripts/evaluate_crowds.py              # crowds that no parameter was chosen on
    python scripts/evaluate_crowds.py --chosen     # those that the tracker's parameters were chosen on
    python scripts/evaluate_crowds.py --yolox ../shared/models/yolox_nano_coco.onnx

Of a row that ends in `joined`, a track that the tracker found to go on with an earlier one counts as that one
from then on. People who leave the picture for more than a second and come back are switches, too, unless they
are in their track again; `returns` is how many there are.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from demo_crowds import DEMO
from demo_tracking import CAMERAS, SECONDS, on_ignored, split

from gaitstream.cli.script import run_script
from gaitstream.config.track_sections import Tracking
from gaitstream.data import Detections
from gaitstream.evaluate.tracking import TrackedFrame, frame, score_tracks
from gaitstream.models.detector import DetectorModel
from gaitstream.pipeline.track import CameraTracker
from gaitstream.synth.address import parse_address
from gaitstream.synth.source import SyntheticCamera

PLACES = (
    ("plaza", 1), ("plaza", 2), ("lobby", 2), ("lobby", 4),
    ("yard", 4), ("yard", 1), ("plaza", 3), ("lobby", 1),
)  # fmt: skip
CHOSEN = tuple(
    f"synth://{site}?camera={camera}&people=8&seed={50000 + number}&day={40 + number}"
    for number, (site, camera) in enumerate(PLACES)
)
"""Crowds that the parameters of `appearance` were chosen on."""
HELD_OUT = CAMERAS + tuple(
    f"synth://{site}?camera={camera}&people=8&seed={90000 + number}&day={60 + number}"
    for number, (site, camera) in enumerate(PLACES)
)
TRACKERS = ("bytetrack", "ocsort", "sort", "appearance")
AWAY_S = 1.0


@dataclass
class Follower:
    """One tracker behind one detector, over one crowd."""

    tracker: CameraTracker
    frames: list[TrackedFrame] = field(default_factory=list)
    joined: list[TrackedFrame] = field(default_factory=list)
    people: dict[int, int] = field(default_factory=dict)
    """First track of whoever is in a track that goes on with an earlier one."""
    seconds: float = 0.0

    def follow(self, moment: Moment, found: Detections) -> None:
        """Take in one frame."""
        start = time.perf_counter()
        height, width = moment.image.shape[:2]
        seen = self.tracker.update(moment.index, moment.time_ns, (width, height), found, moment.image)
        self.seconds += time.perf_counter() - start
        for track, earlier in seen.joined:
            self.people[track] = self.people.get(earlier, earlier)
        boxes = np.array([person.box for person in seen.persons], np.float32).reshape(-1, 4)
        kept = ~on_ignored(boxes, moment.ignored, moment.boxes)
        tracks = [person.track for person, keep in zip(seen.persons, kept, strict=True) if keep]
        people = [self.people.get(track, track) for track in tracks]
        self.frames.append(frame(moment.people, moment.boxes, tracks, boxes[kept]))
        self.joined.append(frame(moment.people, moment.boxes, people, boxes[kept]))


@dataclass(frozen=True)
class Moment:
    """One frame of a crowd with its truth."""

    index: int
    time_ns: int
    image: np.ndarray
    people: np.ndarray
    boxes: np.ndarray
    ignored: np.ndarray
    """Boxes of people who do not count."""

    @property
    def found(self) -> Detections:
        """What a perfect detector finds."""
        return Detections(self.boxes, np.full(len(self.boxes), 0.95, np.float32))


def moments(address: str, seconds: float) -> Iterator[Moment]:
    """The frames of a crowd."""
    camera = SyntheticCamera(parse_address(address))
    for index in range(round(seconds * camera.fps)):
        (people, boxes), ignored = split(camera.truth(index), camera.width, camera.height)
        yield Moment(index, camera.time_ns(index), camera.image(index), people, boxes, ignored)


def returns(frames: list[TrackedFrame], fps: float) -> int:
    """How often somebody is there again after more than `AWAY_S`."""
    last: dict[int, int] = {}
    count = 0
    for index, one in enumerate(frames):
        for person in one.truth_ids.tolist():
            count += index - last.get(person, index) > AWAY_S * fps
            last[person] = index
    return count


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chosen", action="store_true", help="the crowds parameters were chosen on")
    parser.add_argument("--demo", type=Path, default=DEMO, help="folder of the demo's weights")
    parser.add_argument("--yolox", type=Path, help="a further detector, ONNX")
    parser.add_argument("--trackers", default=",".join(TRACKERS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each crowd")
    args = parser.parse_args()
    detectors = {"demo": DetectorModel.load(args.demo / "detector.json", threads=1)}
    if args.yolox:
        detectors[args.yolox.stem] = DetectorModel.load(args.yolox, threads=1)
    rows: dict[tuple[str, str], list[Follower]] = {}
    for address in CHOSEN if args.chosen else HELD_OUT:
        print(address, flush=True)
        followers = {
            (detector, tracker): Follower(CameraTracker("a", Tracking(algorithm=tracker), 15.0))
            for detector in ("truth", *detectors)
            for tracker in args.trackers.split(",")
        }
        for moment in moments(address, args.seconds):
            found = {name: model.detect([moment.image])[0] for name, model in detectors.items()}
            found["truth"] = moment.found
            for (detector, _), follower in followers.items():
                follower.follow(moment, found[detector])
        for key, follower in followers.items():
            rows.setdefault(key, []).append(follower)
    print_table(rows)


def print_table(rows: dict[tuple[str, str], list[Follower]]) -> None:
    """A row for each detector and tracker."""
    print("| boxes | tracker | IDF1 | HOTA | MOTA | switches | per 1,000 | returns | missed | extra | ms |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for (detector, tracker), followers in rows.items():
        frames = sum(len(one.frames) for one in followers)
        cost_ms = 1e3 * sum(one.seconds for one in followers) / frames
        back = sum(returns(one.frames, 15.0) for one in followers)
        kinds = {tracker: [one.frames for one in followers]}
        if any(one.people for one in followers):
            kinds[f"{tracker}, joined"] = [one.joined for one in followers]
        for name, sequences in kinds.items():
            found = score_tracks(sequences)
            print(
                f"| {detector} | {name} | {100 * found.idf1:.1f} | {100 * found.hota:.1f} | "
                f"{100 * found.mota:.1f} | {found.id_switches} | {found.switches_per_1000:.1f} | {back} | "
                f"{found.misses} | {found.strays} | {cost_ms:.2f} |"
            )


if __name__ == "__main__":
    run_script(main)
