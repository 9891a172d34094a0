"""Do a gait model's embeddings hold on a real video? Successive tracklets of everybody in it, compared.

    python scripts/evaluate_video.py street.mp4 --detector yolox_nano.onnx --pose simplepose.onnx
    python scripts/evaluate_video.py street.mp4 --detector yolox_nano.onnx --pose simplepose.onnx --changes

No labels are needed: whoever is tracked throughout is somebody, and a track's successive tracklets should
be nearer to each other than to any tracklet of the others. For footage in which nobody leaves and comes
back. With `--changes` the video is also mirrored, reversed, scaled, rotated, compressed again and halved in
rate, and the second half of everybody's changed tracklets is searched among the first half of the unchanged
ones. A changed video must show the same people from left to right, or from right to left where it is
mirrored.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gaitstream.cli.script import run_script
from gaitstream.config.camera_sections import Camera, Sources
from gaitstream.config.secret_url import SecretUrl
from gaitstream.config.track_sections import Tracking
from gaitstream.errors import ConfigError, SourceError
from gaitstream.evaluate.distances import pairwise
from gaitstream.models.detector import DetectorModel
from gaitstream.models.manifest import InputKind
from gaitstream.models.pose import PoseModel, keypoints, to_image
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.resolve import resolve
from gaitstream.models.segmenter import Segmenter
from gaitstream.models.silhouettes import draw
from gaitstream.pipeline.source import create_source
from gaitstream.pipeline.track import CameraTracker

Image = NDArray[np.uint8]
MADE = frozenset({InputKind.POSE, InputKind.JOINTS, InputKind.SILHOUETTE})
"""What gait models may look at here."""


@dataclass(frozen=True)
class Clip:
    """A video's pictures, BGR, and the time from one to the next on average."""

    images: list[Image]
    frame_ns: int

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Track:
    """One person's crops, and where they walk."""

    crops: list[np.ndarray] = field(default_factory=list)
    """For the pose model, RGB uint8 `[3, 256, 192]`."""
    boxes: list[np.ndarray] = field(default_factory=list)
    """What was cropped, xyxy pixels."""
    for_masks: list[np.ndarray] = field(default_factory=list)
    """For the segmentation model, where there is one."""

    @property
    def middle(self) -> float:
        """From left to right, on average."""
        return float(np.mean([box[[0, 2]].mean() for box in self.boxes]))


def read(video: Path) -> Clip:
    """All of a video.

    Raises:
        SourceError: it cannot be read.
    """
    source = create_source(Camera(id="video", url=SecretUrl(str(video)), fps=None), Sources())
    images, times = [], []
    try:
        source.open()
        while (picture := source.read()) is not None:
            images.append(picture.to_image())
            times.append(picture.time_ns)
    finally:
        source.close()
    return Clip(images, (times[-1] - times[0]) // max(1, len(times) - 1))


def follow(
    clip: Clip, model: DetectorModel, pose: PoseModel, segmenter: Segmenter | None = None
) -> list[Track]:
    """Everybody who is tracked for at least 80% of the pictures, from left to right."""
    tracker = CameraTracker("video", Tracking(), 1e9 / clip.frame_ns if clip.frame_ns else None)
    tracks: dict[int, Track] = defaultdict(Track)
    for index, image in enumerate(clip.images):
        (found,) = model.detect([image])
        height, width = image.shape[:2]
        for person in tracker.update(index, index * clip.frame_ns, (width, height), found, image).persons:
            track = tracks[person.track]
            track.boxes.append(person.box)
            track.crops.append(pose.crop(image, person.box[None])[0])
            if segmenter is not None:
                track.for_masks.append(segmenter.crop(image, person.box[None])[0])
    lasting = [track for track in tracks.values() if len(track.crops) >= 0.8 * len(clip)]
    return sorted(lasting, key=lambda track: track.middle)


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


@dataclass
class Models:
    """What turns pictures into tracklets."""

    detector: DetectorModel
    pose: PoseModel
    gait: Recognizer
    segmenter: Segmenter | None
    """Where the gait model looks at silhouettes."""
    frames: int
    """In a tracklet."""

    @classmethod
    def load(
        cls, detector: str, pose: str, gait: str, frames: int, threads: int, segmenter: str = ""
    ) -> Models:
        """Open a detector, a pose model, a gait bundle and a segmentation model by zoo name or file.

        Raises:
            ConfigError: nothing makes what the gait model looks at.
        """
        recognizer = Recognizer.load(resolve(gait, "recognizer"), threads=threads)
        needed = {contract.kind for contract in recognizer.bundle.manifest.inputs}
        if InputKind.SILHOUETTE in needed and not segmenter:
            raise ConfigError(f"{gait} looks at silhouettes: --segmenter names a model that makes them")
        if strange := needed - MADE:
            raise ConfigError(
                f"{gait} looks at {', '.join(sorted(one.value for one in strange))}; this script makes "
                f"{', '.join(sorted(one.value for one in MADE))}"
            )
        return cls(
            DetectorModel.load(detector, threads=threads),
            PoseModel.load(pose, threads=threads),
            recognizer,
            Segmenter.load(segmenter, threads=threads) if InputKind.SILHOUETTE in needed else None,
            frames,
        )

    def tracklets(self, clip: Clip) -> list[np.ndarray]:
        """Embeddings of everybody who lasts, from left to right, in order of time, `[n, parts, dim]` each."""
        return self.tracklets_of(follow(clip, self.detector, self.pose, self.segmenter))

    def tracklets_of(self, tracks: Sequence[Track]) -> list[np.ndarray]:
        """The same of tracks that were followed already."""
        return [
            np.stack(
                [
                    self.gait.embed_inputs({name: rows[some] for name, rows in inputs.items()})
                    for some in windows
                ]
            )
            for inputs, windows in map(self._windows, tracks)
            if len(windows)
        ]

    def _windows(self, track: Track) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """What gait models look at in a track's crops, and which of them make windows `[n, frames]`."""
        boxes = np.stack(track.boxes)
        maps = self.pose.heatmaps(np.stack(track.crops))
        found = keypoints(maps)
        inputs = {"heatmaps": maps, "keypoints": found, "joints": to_image(found, boxes)}
        usable = self.gait.accepts(found)
        if self.segmenter is not None:
            inputs["silhouettes"] = self._silhouettes(self.segmenter.masks(np.stack(track.for_masks), boxes))
            usable &= inputs["silhouettes"].any((1, 2, 3))
        places = np.flatnonzero(usable)
        return inputs, places[: len(places) // self.frames * self.frames].reshape(-1, self.frames)

    def _silhouettes(self, masks: np.ndarray) -> np.ndarray:
        """Silhouettes as the gait model was trained with them."""
        (contract,) = (one for one in self.gait.bundle.manifest.inputs if one.kind is InputKind.SILHOUETTE)
        return draw(masks, (contract.height, contract.width), contract.preparation)


def rotated(degrees: float) -> Callable[[Image], Image]:
    """A rotation of pictures about their middle."""

    def rotate(image: Image) -> Image:
        height, width = image.shape[:2]
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        return np.asarray(cv2.warpAffine(image, turn, (width, height)), np.uint8)

    return rotate


def compressed(image: Image) -> Image:
    """A picture after JPEG of quality 25."""
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 25])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def each(change: Callable[[Image], Image]) -> Callable[[Clip], Clip]:
    """A change of every picture."""
    return lambda clip: Clip([change(image) for image in clip.images], clip.frame_ns)


CHANGES: dict[str, Callable[[Clip], Clip]] = {
    "as it is": lambda clip: clip,
    "mirrored": each(lambda image: np.ascontiguousarray(image[:, ::-1])),
    "reversed in time": lambda clip: Clip(clip.images[::-1], clip.frame_ns),
    "half size": each(
        lambda i: np.asarray(cv2.resize(i, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    ),
    "rotated by 5 degrees": each(rotated(5)),
    "rotated by 10 degrees": each(rotated(10)),
    "rotated by -10 degrees": each(rotated(-10)),
    "compressed again": each(compressed),
    "half frame rate": lambda clip: Clip(clip.images[::2], 2 * clip.frame_ns),
}


def check(tracklets: Sequence[np.ndarray], frames: int) -> None:
    """Whether there is enough to compare: several people, each with a tracklet in either half.

    Raises:
        SourceError: there is not.
    """
    if len(tracklets) < 2 or min(map(len, tracklets)) < 2:
        raise SourceError(
            f"tracklets of {frames} frames by person: {[len(own) for own in tracklets] or 'nobody'}; give a "
            "video in which at least two people walk throughout for two tracklets each, or fewer --frames"
        )


def measure(models: Models, clip: Clip) -> dict[str, Any]:
    """What `compare` says of a video's lasting tracks, and how many tracklets find their other half."""
    tracklets = models.tracklets(clip)
    check(tracklets, models.frames)
    return {**compare(tracklets), "right_in_the_other_half": across_halves(tracklets, tracklets)}


def measure_changes(models: Models, clip: Clip) -> dict[str, dict[str, float]]:
    """For every change: `compare`, and how many changed tracklets find their person in the other half."""
    known = models.tracklets(clip)
    results = {}
    for name, change in CHANGES.items():
        changed = models.tracklets(change(clip))
        result = {"people": float(len(changed))}
        if len(changed) == len(known) and min(map(len, changed)) >= 2:
            same_order = changed[::-1] if name == "mirrored" else changed
            result |= {key: value for key, value in compare(changed).items() if key.startswith("nearer")}
            result["right_in_the_other_half"] = across_halves(known, same_order, name == "reversed in time")
        results[name] = result
        print(f"{name:24}", {key: round(value, 1) for key, value in result.items()}, flush=True)
    return results


def across_halves(known: list[np.ndarray], changed: list[np.ndarray], backwards: bool = False) -> float:
    """Percentage of tracklets of the second half whose nearest one of the first half is the same person's.

    Args:
        known: embeddings of each person, in order of time.
        changed: of the same people.
        backwards: whether the changed video runs backwards, so that its first half shows the second.
    """
    gallery = [own[: len(own) // 2] for own in known]
    probes = [own[: len(own) // 2] if backwards else own[(len(own) + 1) // 2 :] for own in changed]
    enrolled, asked = (np.repeat(np.arange(len(x)), [len(own) for own in x]) for x in (gallery, probes))
    nearest = pairwise(np.concatenate(probes), np.concatenate(gallery)).argmin(1)
    return 100 * float(np.mean(enrolled[nearest] == asked))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--detector", default="demo", help="zoo name, manifest or ONNX file")
    parser.add_argument("--pose", default="demo", help="zoo name, manifest or ONNX file")
    parser.add_argument("--gait", default="demo", help="bundle of a model on heatmaps, joints or silhouettes")
    parser.add_argument("--segmenter", default="", help="for silhouettes: zoo name, manifest or ONNX file")
    parser.add_argument("--frames", type=int, default=30, help="frames in a tracklet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--changes", action="store_true", help="also on changed copies of the video")
    parser.add_argument("--record", type=Path, help="metrics.json of the demo weights to put the result in")
    args = parser.parse_args()
    models = Models.load(args.detector, args.pose, args.gait, args.frames, args.threads, args.segmenter)
    try:
        clip = read(args.video)
        result = measure(models, clip)
    except SourceError as error:
        parser.exit(1, f"{error}\n")
    print(json.dumps(result, indent=2))
    if args.changes:
        result["changes"] = measure_changes(models, clip)
    if args.record:
        figures = json.loads(args.record.read_text())
        figures["video"] = {**result, "name": args.video.name, "pose_model": Path(args.pose).stem}
        args.record.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    run_script(main)
