"""Watches a live run, knows the truth, and keeps what the report needs. The pipeline never asks it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from supervision import box_iou_batch

from gaitstream.data import Decision, Embedding, Floats, Frame, Image, Person, Status
from gaitstream.demo.record import Statement, TrackRecord, WindowRecord
from gaitstream.gallery import Matcher
from gaitstream.models import silhouettes
from gaitstream.models.pose import PoseModel
from gaitstream.pipeline.annotate import draw
from gaitstream.pipeline.identify import TrackState
from gaitstream.pipeline.observe import Observer
from gaitstream.synth import SyntheticCamera

MOST_PICTURES = 8
"""Pictures kept per track, spread over its life."""
PICTURE_SIZE = (108, 144)
"""Width and height of the pictures in the report."""
SAME_IOU = 0.4
"""Least overlap of a tracked box with a person's true box."""


class CropSampler:
    """Pose crops of each subject, evenly spread over all that were offered.

    Args:
        pose: cuts them out.
        most: crops kept of each.
    """

    def __init__(self, pose: PoseModel, most: int = MOST_PICTURES) -> None:
        self._pose = pose
        self._most = most
        self._every: dict[tuple[str, int], int] = {}
        self._offered: Counter[tuple[str, int]] = Counter()
        self._kept: dict[tuple[str, int], list[NDArray[np.uint8]]] = defaultdict(list)

    def offer(self, key: tuple[str, int], image: Image, box: Floats) -> None:
        """Keep a picture when it is its turn; every other one goes when there are too many."""
        every = self._every.setdefault(key, 2)
        self._offered[key] += 1
        if (self._offered[key] - 1) % every:
            return
        kept = self._kept[key]
        kept.append(self._pose.crop(image, box[None])[0])
        if len(kept) > self._most:
            self._kept[key] = kept[::2]
            self._every[key] = every * 2

    def crops(self, key: tuple[str, int]) -> NDArray[np.uint8]:
        """The crops of a subject, RGB uint8 `[n, 3, 256, 192]`."""
        kept = self._kept.get(key, [])
        return np.stack(kept) if kept else np.empty((0, 3, 256, 192), np.uint8)


@dataclass(slots=True)
class _Seen:
    """What is noted of one track while it lives."""

    votes: Counter[str | None] = field(default_factory=Counter)
    statements: list[Statement] = field(default_factory=list)


class GroundTruthObserver(Observer):
    """Matches tracks with the people they show, and writes down decisions, windows and pictures.

    Args:
        truths: the synthetic camera behind each camera id.
        epoch_ns: capture time of world time 0.
        matchers: the enrolled templates by recognizer.
        pose: cuts out pictures.

    Attributes:
        tracks: ended tracks, without pictures.
        windows: full windows with their distances; their truth is filled in by `settle`.
        samples: pictures by camera and track.
        stills: the annotated picture with the most names, by camera.
        latest: last word by person and camera, for the live view.
        last_s: world time of the newest frame.
    """

    def __init__(
        self,
        truths: Mapping[str, SyntheticCamera],
        epoch_ns: int,
        matchers: Mapping[str, Matcher],
        pose: PoseModel,
    ) -> None:
        self.tracks: list[TrackRecord] = []
        self.windows: list[WindowRecord] = []
        self.samples = CropSampler(pose)
        self.stills: dict[str, Image] = {}
        self.latest: dict[tuple[str, str], Decision] = {}
        self.last_s = 0.0
        self._truths = truths
        self._epoch_ns = epoch_ns
        self._matchers = matchers
        self._seen: dict[tuple[str, int], _Seen] = defaultdict(_Seen)
        self._best: dict[str, float] = {}

    def on_frame(self, frame: Frame, persons: Sequence[Person], labels: Mapping[int, Decision]) -> None:
        """Note who the boxes belong to and keep pictures of accepted persons."""
        self.last_s = max(self.last_s, self._seconds(frame.time_ns))
        names = self._who(frame, persons)
        for person, name in zip(persons, names, strict=True):
            key = (person.camera, person.track)
            self._seen[key].votes[name] += 1
            if person.rejected is None:
                self.samples.offer(key, frame.image, person.box)
            decision = labels.get(person.track)
            if decision is not None and name is not None:
                self.latest[name, person.camera] = decision
        named = [labels[p.track] for p in persons if p.track in labels]
        worth = sum(1.0 if one.status is Status.KNOWN else 0.4 for one in named) + 0.01 * len(persons)
        if persons and worth > self._best.get(frame.camera, 0.0):
            self._best[frame.camera] = worth
            self.stills[frame.camera] = draw(frame.image, persons, labels)

    def on_embedding(self, embedding: Embedding) -> None:
        """Note a full window's distances to everybody enrolled."""
        tracklet = embedding.tracklet
        if not tracklet.provisional:
            matcher = self._matchers[tracklet.model]
            values = matcher.distances(embedding.parts).tolist()
            self.windows.append(
                WindowRecord(
                    camera=tracklet.camera,
                    track=tracklet.track,
                    truth=None,
                    distances=dict(zip(matcher.names, values, strict=True)),
                    model=tracklet.model,
                    last_s=self._seconds(tracklet.last_ns),
                )
            )

    def on_decision(self, decision: Decision) -> None:
        """Write down what was said."""
        self._seen[decision.camera, decision.track].statements.append(
            Statement(
                time_s=self._seconds(decision.time_ns),
                status=decision.status.value,
                person=decision.person,
                distance=decision.distance,
                reason=decision.reason.value if decision.reason else None,
                provisional=decision.provisional,
            )
        )

    def on_track_ended(self, state: TrackState, decision: Decision, cause: str) -> None:  # noqa: ARG002
        """Close a track's file."""
        seen = self._seen[state.camera, state.track]
        truth, count = seen.votes.most_common(1)[0] if seen.votes else (None, 0)
        self.tracks.append(
            TrackRecord(
                camera=state.camera,
                track=state.track,
                truth=truth,
                purity=count / max(1, seen.votes.total()),
                first_s=self._seconds(state.first_ns),
                last_s=self._seconds(state.last_ns),
                seen=state.seen,
                accepted=state.accepted,
                status=decision.status.value,
                person=decision.person,
                distance=decision.distance,
                margin=decision.margin,
                reason=decision.reason.value if decision.reason else None,
                rejections=dict(state.rejections),
                statements=seen.statements,
            )
        )

    def settle(self) -> None:
        """Fill in who the windows show, once all tracks have ended."""
        owners = {(track.camera, track.track): track for track in self.tracks}
        for window in self.windows:
            owner = owners.get((window.camera, window.track))
            window.truth = owner.truth if owner is not None and owner.purity >= 0.8 else None
        self.tracks.sort(key=lambda track: (track.camera, track.first_s))

    def _seconds(self, time_ns: int) -> float:
        return max(0.0, (time_ns - self._epoch_ns) / 1e9)

    def _who(self, frame: Frame, persons: Sequence[Person]) -> list[str | None]:
        """Name of the person each box shows; nobody is shown by two boxes."""
        camera = self._truths[frame.camera]
        first_ns = camera.time_ns(0)
        truth = camera.truth(round((frame.time_ns - first_ns) / 1e9 * camera.fps))
        names: list[str | None] = [None] * len(persons)
        if not persons or not len(truth.people):
            return names
        overlap = box_iou_batch(np.stack([person.box for person in persons]), truth.boxes)
        while (best := float(overlap.max())) >= SAME_IOU:
            one, other = np.unravel_index(int(overlap.argmax()), overlap.shape)
            names[int(one)] = truth.names[int(other)]
            overlap[one], overlap[:, other] = 0, 0
            if best <= 0:
                break
        return names


def picture(crop: NDArray[np.uint8]) -> bytes:
    """A pose crop, RGB uint8 `[3, 256, 192]`, as a small JPEG."""
    image = cv2.resize(crop.transpose(1, 2, 0)[:, :, ::-1], PICTURE_SIZE, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def heatmap_picture(parts: Floats) -> bytes:
    """Aligned part maps `[1 + k, 64, 48]` as a small JPEG: each part in its own colour."""
    colours = np.array([[60, 190, 250], [250, 140, 60], [120, 220, 90], [220, 100, 220]], np.float32)
    layers = parts[1:] if len(parts) > 1 else parts
    canvas = np.zeros((64, 48, 3), np.float32)
    for layer, colour in zip(layers, colours, strict=False):
        canvas = np.maximum(canvas, np.clip(layer, 0, 1)[..., None] * colour)
    image = cv2.resize(canvas.clip(0, 255).astype(np.uint8), PICTURE_SIZE, interpolation=cv2.INTER_LINEAR)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def silhouette_picture(mask: NDArray[np.uint8]) -> bytes:
    """A mask `[rows, columns]` as the aligned silhouette that models look at, a small JPEG."""
    (drawn,) = silhouettes.draw(mask[None], (64, 48))
    image = cv2.resize(drawn[0], PICTURE_SIZE, interpolation=cv2.INTER_LINEAR)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
