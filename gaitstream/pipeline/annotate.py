"""What a run can leave on the disk: annotated video, and the pictures of each track with its decision."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from gaitstream.config.schema import Config
from gaitstream.data import Decision, Frame, Image, Person, Status
from gaitstream.errors import ConfigError
from gaitstream.pipeline.base import RunOptions
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.observe import DecisionLog, Observer

COLOURS = {
    Status.KNOWN: (80, 200, 80),
    Status.UNKNOWN: (245, 171, 127),
    Status.AMBIGUOUS: (40, 180, 240),
    Status.INSUFFICIENT: (160, 160, 160),
}
"""BGR by status."""

Box = tuple[int, int, int, int]


def draw(image: Image, persons: Sequence[Person], labels: Mapping[int, Decision]) -> Image:
    """A copy of a picture with boxes, ids and what is known of each.

    Args:
        image: BGR uint8 `[height, width, 3]`.
        persons: tracked in it; those whose picture is no evidence get a thin box and the reason.
        labels: decisions by track.
    """
    import cv2

    canvas = image.copy()
    scale = max(0.4, image.shape[0] / 1200)
    lines = []
    for person in persons:
        decision = labels.get(person.track)
        colour = COLOURS[decision.status] if decision else (200, 200, 200)
        x1, y1, x2, y2 = (round(float(value)) for value in person.box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 1 if person.rejected else 2)
        text = caption(person, decision)
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        named = decision is not None and decision.status is Status.KNOWN
        lines.append((named, text, colour, (x1, y1, x2, y2), (width + 4, height + 6)))
    # Names keep their place; what says less makes room.
    lines.sort(key=lambda line: not line[0])
    places = place_captions([line[-2] for line in lines], [line[-1] for line in lines], image.shape[:2])
    for (_, text, colour, *_), (x1, y1, x2, y2) in zip(lines, places, strict=True):
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, -1)
        cv2.putText(
            canvas, text, (x1 + 2, y2 - 4), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA
        )
    return canvas


def place_captions(
    boxes: Sequence[Box], sizes: Sequence[tuple[int, int]], shape: tuple[int, ...]
) -> list[Box]:
    """Where captions hide no earlier one: above the person's box, else below, else further inside.

    Args:
        boxes: of the persons, xyxy pixels.
        sizes: width and height of each caption.
        shape: height and width of the picture, which captions do not leave.

    Returns:
        A box for each caption; above its person's where no place is free.
    """
    places: list[Box] = []
    for (x1, y1, _, y2), (width, height) in zip(boxes, sizes, strict=True):
        left = max(0, min(x1, shape[1] - width))
        tops = (max(0, min(y, shape[0] - height)) for y in (y1 - height, y2, *range(y1, y2, height)))
        tried = [(left, top, left + width, top + height) for top in tops]
        free = (place for place in tried if not any(_meet(place, other) for other in places))
        places.append(next(free, tried[0]))
    return places


def _meet(one: Box, other: Box) -> bool:
    """Whether two boxes have a pixel in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def caption(person: Person, decision: Decision | None) -> str:
    """The line above a person's box, in ASCII: the drawing font has nothing else."""
    said = ""
    if decision is not None:
        name = decision.person or decision.status.value
        said = f" {name}" + (f" {decision.distance:.2f}" if decision.distance is not None else "")
        said += "?" if decision.provisional else ""
    elif person.rejected is not None:
        said = f" {person.rejected.value}"
    return f"#{person.track}{said}".encode("ascii", "replace").decode()


class VideoSaver(Observer):
    """Writes an annotated video per camera: `DIR/<camera>.mp4`, H.264, at the analysis rate.

    Args:
        folder: made when missing.
        fps: frames per second by camera, for those that are analysed at a fixed rate; others get 25.
    """

    def __init__(self, folder: str | Path, fps: Mapping[str, float | None]) -> None:
        self._folder = make_folder(folder)
        self._fps = fps
        self._open: dict[str, tuple[Any, Any]] = {}

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        """Append the frame."""
        import av

        container, stream = self._open.get(frame.camera) or self._begin(frame)
        picture = av.VideoFrame.from_ndarray(draw(frame.image, persons, labels), format="bgr24")
        for packet in stream.encode(picture.reformat(width=stream.width, height=stream.height)):
            container.mux(packet)

    def close(self) -> None:
        """Finish the files."""
        for container, stream in self._open.values():
            for packet in stream.encode():
                container.mux(packet)
            container.close()
        self._open.clear()

    def _begin(self, frame: Frame) -> tuple[Any, Any]:
        import av

        container = av.open(str(self._folder / f"{frame.camera}.mp4"), "w")
        stream = container.add_stream("libx264", rate=round(self._fps.get(frame.camera) or 25))
        height, width = frame.image.shape[:2]
        stream.width, stream.height = width // 2 * 2, height // 2 * 2  # 4:2:0 needs even sizes
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "23"}
        self._open[frame.camera] = (container, stream)
        return container, stream


class TrackletSaver(Observer):
    """Writes pictures of each track with its final decision: `DIR/<camera>/<track>-<status>[-<person>]/`.

    Args:
        folder: made when missing.
        most: pictures kept per track, spread over its life.
    """

    def __init__(self, folder: str | Path, most: int = 30) -> None:
        self._folder = make_folder(folder)
        self._most = most
        self._pictures: dict[tuple[str, int], dict[int, bytes]] = defaultdict(dict)
        self._every: dict[tuple[str, int], int] = {}
        self._seen: dict[tuple[str, int], int] = defaultdict(int)

    def on_frame(self, frame: Frame, persons: Sequence[Person], _: Mapping[int, Decision]) -> None:
        """Keep a crop of everybody who is evidence, when it is their turn."""
        for person in persons:
            if person.rejected is None:
                self._keep((person.camera, person.track), frame, person)

    def on_track_ended(self, state: TrackState, decision: Decision, cause: str) -> None:
        """Write the track's folder."""
        key = (state.camera, state.track)
        pictures = self._pictures.pop(key, {})
        self._every.pop(key, None)
        self._seen.pop(key, None)
        parts = [f"{state.track:05d}", decision.status.value, *([decision.person] if decision.person else [])]
        folder = self._folder / state.camera / re.sub(r"[^\w.-]+", "_", "-".join(parts))
        folder.mkdir(parents=True, exist_ok=True)
        for index, data in pictures.items():
            (folder / f"{index:08d}.jpg").write_bytes(data)
        plain = {
            "camera": decision.camera,
            "track": decision.track,
            "status": decision.status.value,
            "person": decision.person,
            "distance": decision.distance,
            "margin": decision.margin,
            "threshold": decision.threshold,
            "reason": decision.reason.value if decision.reason else None,
            "frames": decision.frames,
            "windows": decision.windows,
            "first_ns": decision.first_ns,
            "time_ns": decision.time_ns,
            "candidates": decision.candidates,
            "rejections": decision.rejections,
            "cause": cause,
        }
        (folder / "decision.json").write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=2))

    def _keep(self, key: tuple[str, int], frame: Frame, person: Person) -> None:
        """Every k-th crop; k doubles, and every other crop goes, when too many are held."""
        import cv2

        every = self._every.setdefault(key, 1)
        count = self._seen[key]
        self._seen[key] += 1
        if count % every:
            return
        crop = cut(frame.image, person)
        if not crop.size:
            return
        _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 90])
        pictures = self._pictures[key]
        pictures[frame.index] = data.tobytes()
        if len(pictures) > self._most:
            self._every[key] = every * 2
            self._pictures[key] = dict(list(pictures.items())[::2])


def cut(image: Image, person: Person) -> Image:
    """A person's part of the picture, BGR; empty when the box lies outside."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.rint(person.box).astype(int).clip(0, [width, height, width, height])
    return image[y1:y2, x1:x2]


def make_folder(folder: str | Path) -> Path:
    """The folder, made when missing.

    Raises:
        ConfigError: it cannot be.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be made ({error.strerror}); give another folder") from error
    return path


def make_observers(options: RunOptions, config: Config) -> list[Observer]:
    """The hooks the command line asked for."""
    observers: list[Observer] = [DecisionLog()]
    if options.save_video is not None:
        fps = {camera.id: camera.fps for camera in config.cameras}
        observers.append(VideoSaver(options.save_video, fps))
    if options.save_tracklets is not None:
        observers.append(TrackletSaver(options.save_tracklets))
    return observers
