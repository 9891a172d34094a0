"""Sites as they would have been seen, for what follows from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.data import Frame, Person, Reason
from gaitstream.telemetry.stats import Histogram, Snapshot
from gaitstream.tune.seen import CameraSeen, SiteSeen

FPS = 15
SIZE = (640, 360)
FEET = (320.0, 300.0)


def camera(name: str = "gate", **values: object) -> Camera:
    return Camera(id=name, url=SecretUrl("rtsp://viewer:secret@10.0.0.7/1"), **values)  # type: ignore[arg-type]


def site(*cameras: Camera, **values: object) -> SiteSeen:
    config = Config(cameras=list(cameras or (camera(),)), **values)  # type: ignore[arg-type]
    return SiteSeen(config, {one.id: CameraSeen(one) for one in config.cameras if one.enabled})


def walk(
    seen: CameraSeen,
    frames: int,
    height: float | Sequence[float] = 200.0,
    *,
    feet: tuple[float, float] = FEET,
    reason: Reason | None = None,
    sent_fps: float = 30.0,
) -> None:
    """Somebody walks past alone, after all who did before."""
    track, begin_s = len(seen.tracks) + 1, len(seen.people) / FPS
    heights = [height] * frames if isinstance(height, float) else list(height)
    for number, one in enumerate(heights):
        at_s = begin_s + number / FPS
        index, time_ns = round(at_s * sent_fps), round(1e18 + at_s * 1e9)
        box = np.array([feet[0] - 20, feet[1] - one, feet[0] + 20, feet[1]], np.float32)
        person = Person(seen.camera.id, track, index, time_ns, box, 0.9, reason)
        seen.add(Frame(seen.camera.id, index, time_ns, np.zeros((*SIZE[::-1], 3), np.uint8)), [person])


def costs(seen: SiteSeen, *, detect_ms: float, person_ms: float) -> None:
    """What the pictures cost."""
    frames = sum(len(one.people) for one in seen.cameras.values())
    persons = sum(sum(one.people) for one in seen.cameras.values())
    seen.counters = Snapshot(
        stages={
            "detect": Histogram(total=detect_ms * frames),
            "track": Histogram(total=0.1 * frames),
            "encode": Histogram(total=person_ms * persons),
        }
    )
