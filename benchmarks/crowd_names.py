"""How many right names a crowd gets from the whole pipeline, by how boxes become tracks and tracks people.

    python -m benchmarks.crowd_names --seeds 7,8,9

Eight people walk before three cameras; six of them are enrolled, on another day. A row says what each
minute in which an enrolled person is in sight brings: tracks that end with the right name, and the seconds
that these show the person. Beside it the tracks that end with a wrong name, and those that show no single
person.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitstream import zoo
from gaitstream.config.schema import Config
from gaitstream.demo.enrolment import enrol, pose_of
from gaitstream.demo.ground_truth import GroundTruthObserver
from gaitstream.demo.plan import FPS, DemoPlan
from gaitstream.demo.record import TrackRecord
from gaitstream.demo.score import PURE
from gaitstream.gallery import Gallery
from gaitstream.models.detector import DetectorModel
from gaitstream.pipeline.encode import Encoder
from gaitstream.pipeline.runner import Pipeline, load_detector
from gaitstream.synth import SyntheticCamera
from gaitstream.synth.address import EPOCH_NS, to_url

VISIBLE, HEIGHT_PX = 0.25, 64
"""Least share and height of somebody who is in sight."""
TRACKERS: dict[str, dict[str, Any]] = {
    "bytetrack": {"algorithm": "bytetrack"},
    "bytetrack, lost_s 0.3, iou 0.5": {"algorithm": "bytetrack", "lost_s": 0.3, "iou": 0.5},
    "ocsort": {"algorithm": "ocsort"},
    "appearance": {"algorithm": "appearance"},
}


@dataclass
class Names:
    """What the runs of one tracker gave.

    Attributes:
        minutes: that enrolled people were in sight.
        right: tracks that ended with the right name.
        right_s: that these showed their person.
        wrong: tracks that ended with somebody else's name.
        mixed: tracks that show no single person.
        tracks: all.
    """

    minutes: float = 0.0
    right: int = 0
    right_s: float = 0.0
    wrong: int = 0
    mixed: int = 0
    tracks: int = 0

    def add(self, track: TrackRecord) -> None:
        """Judge a track."""
        pure = track.truth is not None and track.purity >= PURE
        self.tracks += 1
        self.mixed += not pure
        if track.person is not None and track.person == track.truth and pure:
            self.right += 1
            self.right_s += track.purity * track.seen / FPS
        elif track.person is not None:
            self.wrong += 1

    def row(self, name: str) -> str:
        """A row of the table."""
        each, seconds = self.right / self.minutes, self.right_s / self.minutes
        return (
            f"| {name} | {each:.2f} | {seconds:.1f} | {self.wrong} | {self.mixed} | {self.tracks} | "
            f"{self.minutes:.1f} |"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="7,8,9", help="of the crowds")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each crowd before each camera")
    parser.add_argument("--detector", default="demo", help="as in cams.yaml")
    parser.add_argument("--trackers", default=";".join(TRACKERS), help="names of rows, separated by ;")
    args = parser.parse_args()
    wanted = args.trackers.split(";")
    found = {name: Names() for name in wanted}
    for seed in args.seeds.split(","):
        plan = DemoPlan(seed=int(seed), people=8, enrolled=6, seconds=args.seconds, live=False)
        walk(plan, args.detector, found)
    print("| tracker | right names | seconds | wrong names | mixed tracks | tracks | minutes |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, names in found.items():
        print(names.row(name))


def walk(plan: DemoPlan, detector_name: str, found: dict[str, Names]) -> None:
    """One crowd before all cameras, once for every tracker; adds to what was found."""
    with tempfile.TemporaryDirectory(prefix="gaitstream-crowds-") as folder:
        gallery = Path(folder) / "gallery"
        start = configure(plan, gallery, detector_name, {})
        detector, encoder = load_detector(start), Encoder.load(start)
        demo = load_detector(configure(plan, gallery, "demo", {}))
        enrol(plan, gallery, demo, encoder, lambda: None)
        for name, names in found.items():
            config = configure(plan, gallery, detector_name, TRACKERS[name])
            observer = watch(plan, config, gallery, detector, encoder)
            for track in observer.tracks:
                names.add(track)
            names.minutes += minutes_in_sight(plan, truths(plan).values())
            print(names.row(f"{name}, up to seed {plan.seed}"), flush=True)
        for model in (detector, demo, encoder):
            model.close()


def watch(
    plan: DemoPlan, config: Config, gallery: Path, detector: DetectorModel, encoder: Encoder
) -> GroundTruthObserver:
    """Run the crowd; its tracks with the truth."""
    with Gallery(gallery) as known:
        matchers = {
            name: known.matcher(name, model.fingerprint) for name, model in encoder.recognizers.items()
        }
    observer = GroundTruthObserver(truths(plan), EPOCH_NS, matchers, pose_of(encoder))
    with Pipeline(config, observers=[observer], detector=detector, encoder=encoder) as pipeline:
        pipeline.run()
    return observer


def truths(plan: DemoPlan) -> dict[str, SyntheticCamera]:
    """The cameras by their ids."""
    return {f"cam{number}": SyntheticCamera(plan.camera(number, EPOCH_NS)) for number in plan.cameras}


def configure(plan: DemoPlan, gallery: Path, detector: str, tracking: dict[str, Any]) -> Config:
    """The site's configuration."""
    advice = zoo.advice()
    cameras = [
        {"id": f"cam{number}", "url": to_url(plan.camera(number, EPOCH_NS)), "fps": None}
        for number in plan.cameras
    ]
    return Config.model_validate(
        {
            "cameras": cameras,
            "models": {**plan.models(), "detector": detector},
            "tracking": tracking,
            "gallery": {
                "path": str(gallery),
                "threshold": advice.threshold,
                "margin": advice.margin,
                "threshold_gain": advice.gain,
            },
        }
    )


def minutes_in_sight(plan: DemoPlan, cameras: Iterable[SyntheticCamera]) -> float:
    """Of everybody who is enrolled, over all cameras."""
    frames = 0
    for camera in cameras:
        for index in range(round(plan.seconds * FPS)):
            truth = camera.truth(index)
            tall = truth.boxes[:, 3] - truth.boxes[:, 1] >= HEIGHT_PX
            frames += int((tall & (truth.visibility >= VISIBLE) & (truth.people < plan.enrolled)).sum())
    return frames / FPS / 60


if __name__ == "__main__":
    main()
