"""Do a gait model's embeddings hold on a real video? Successive tracklets of everybody in it, compared.

    python scripts/evaluate_video.py street.mp4 --detector yolox_nano.onnx --pose simplepose.onnx

No labels are needed: whoever is tracked throughout is somebody, and a track's successive tracklets should be
nearer to each other than to any tracklet of the others. For footage in which nobody leaves and comes back.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gaitstream.config.schema import Camera, Sources, Tracking
from gaitstream.config.secret_url import SecretUrl
from gaitstream.evaluate.distances import pairwise
from gaitstream.models.detector import DetectorModel
from gaitstream.models.pose import PoseModel, keypoints
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.resolve import resolve
from gaitstream.pipeline.source import create_source
from gaitstream.pipeline.track import CameraTracker


@dataclass
class Track:
    """One person's crops, and where they walk."""

    crops: list[np.ndarray] = field(default_factory=list)
    """RGB uint8 `[3, 256, 192]`."""
    middles: list[float] = field(default_factory=list)


def follow(video: Path, detector: str, pose: PoseModel, threads: int) -> list[Track]:
    """Everybody who is tracked for at least 80% of the video, from left to right."""
    source = create_source(Camera(id="video", url=SecretUrl(str(video))), Sources())
    model = DetectorModel.load(detector, threads=threads)
    tracker = CameraTracker("video", Tracking(), None)
    tracks: dict[int, Track] = defaultdict(Track)
    source.open()
    index = 0
    while (picture := source.read()) is not None:
        image = picture.to_image()
        (found,) = model.detect([image])
        seen = tracker.update(index, picture.time_ns, (picture.width, picture.height), found).persons
        for person in seen:
            tracks[person.track].crops.append(pose.crop(image, person.box[None])[0])
            tracks[person.track].middles.append(float(person.box[[0, 2]].mean()))
        index += 1
    source.close()
    lasting = [track for track in tracks.values() if len(track.crops) >= 0.8 * index]
    return sorted(lasting, key=lambda track: np.mean(track.middles))


def compare(tracklets: list[np.ndarray]) -> dict[str, Any]:
    """Distances between successive tracklets of one person and to the nearest tracklet of anybody else.

    Args:
        tracklets: embeddings of each person, in order of time, `[n, parts, dim]`.
    """
    people = np.repeat(np.arange(len(tracklets)), [len(own) for own in tracklets])
    distances = pairwise(np.concatenate(tracklets), np.concatenate(tracklets))
    first = np.flatnonzero(people[1:] == people[:-1])
    after = distances[first, first + 1]
    foreign = people[first][:, None] != people[None]
    nearest = np.where(foreign, distances[first], np.inf).min(1)
    typical = np.array([
        min(row[people == other].mean() for other in np.unique(people[mask]))
        for row, mask in zip(distances[first], foreign, strict=True)
    ])  # fmt: skip
    return {
        "people": len(tracklets),
        "tracklets": len(people),
        "successive": float(after.mean()),
        "others": float(distances[people[:, None] != people[None]].mean()),
        "nearer_than_mean_of_every_other_person": 100 * float(np.mean(after < typical)),
        "nearer_than_every_tracklet_of_others": 100 * float(np.mean(after < nearest)),
    }


def measure(video: Path, detector: str, pose: str, gait: str, frames: int, threads: int) -> dict[str, Any]:
    """What `compare` says of a video's lasting tracks, cut into tracklets of so many usable frames."""
    pose_model = PoseModel.load(pose, threads=threads)
    recognizer = Recognizer.load(resolve(gait, "recognizer"), threads=threads)
    embeddings = []
    for track in follow(video, detector, pose_model, threads):
        maps = pose_model.heatmaps(np.stack(track.crops))
        found = keypoints(maps)
        usable = np.flatnonzero(recognizer.accepts(found))
        windows = usable[: len(usable) // frames * frames].reshape(-1, frames)
        embeddings.append(np.stack([recognizer.embed(maps[some], found[some]) for some in windows]))
    return compare(embeddings)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--detector", default="demo", help="zoo name, manifest or ONNX file")
    parser.add_argument("--pose", default="demo", help="zoo name, manifest or ONNX file")
    parser.add_argument("--gait", default="demo", help="GaitHeat bundle")
    parser.add_argument("--frames", type=int, default=30, help="frames in a tracklet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", type=Path, help="metrics.json of the demo weights to put the result in")
    args = parser.parse_args()
    result = measure(args.video, args.detector, args.pose, args.gait, args.frames, args.threads)
    print(json.dumps(result, indent=2))
    if args.record:
        figures = json.loads(args.record.read_text())
        figures["video"] = {**result, "name": args.video.name, "pose_model": Path(args.pose).stem}
        args.record.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
