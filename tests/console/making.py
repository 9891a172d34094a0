"""Events as a run publishes them, and clips as people upload them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import msgspec
import numpy as np
from av.video.stream import VideoStream

from gaitstream.events import Event, IdentityFinal, TrackEnded
from gaitstream.events.identifiers import SECOND_NS as SECOND_NS
from gaitstream.events.identifiers import EventIds

START_NS = 1_772_438_400 * SECOND_NS
ADA, BEN = "a" * 20, "b" * 20
_ids = EventIds()


def publish(event: Event) -> Event:
    """An event as it comes from the bus: with an id."""
    return msgspec.structs.replace(event, event_id=_ids.next(event.time_ns), publisher="site-1")


def final(at_s: float, camera: str = "gate", track: int = 1, **fields: Any) -> Event:
    """The last word on a track; `Ada` unless the fields say otherwise."""
    usual: dict[str, Any] = {
        "status": "known", "person": "Ada", "person_id": ADA, "distance": 0.4, "margin": 0.2,
        "threshold": 0.9, "run": "run-1", "frames": 40,
        "candidates": (("Ada", 0.4), ("Ben", 0.8)), "candidate_ids": (ADA, BEN),
    }  # fmt: skip
    time_ns = START_NS + int(at_s * SECOND_NS)
    return publish(IdentityFinal(time_ns=time_ns, camera=camera, track=track, **usual | fields))


def stranger(at_s: float, camera: str = "gate", reason: str = "below_threshold", **fields: Any) -> Event:
    """The last word on somebody who is nobody."""
    nobody = {"status": "unknown", "person": None, "person_id": None, "reason": reason}
    return final(at_s, camera, **nobody | fields)


def ended(at_s: float, camera: str = "gate", track: int = 1) -> Event:
    """The end of a track of Ada."""
    return publish(
        TrackEnded(
            time_ns=START_NS + int(at_s * SECOND_NS), camera=camera, track=track, cause="lost", run="run-1",
            first_ns=START_NS, seen=60, accepted=40, outcome="known", person="Ada", person_id=ADA,
        )
    )  # fmt: skip


def write_clip(
    path: Path,
    frames: int = 5,
    *,
    codec: str = "mpeg4",
    width: int = 64,
    height: int = 64,
    step: int = 1,
    form: str = "mp4",
) -> Path:
    """Write a black video; `step` fifteenths of a second pass between two frames."""
    with av.open(str(path), "w", format=form) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=15))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), format="bgr24")
            frame.pts, frame.time_base = index * step, Fraction(1, 15)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
