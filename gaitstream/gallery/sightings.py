"""What is kept of a walk past a camera, where a site allows it: where it was, and its windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import GalleryError
from gaitstream.gallery.upstream import Upstream

Floats = NDArray[np.float32]
MOST_WINDOWS = 3
"""Windows kept of a track and model, spread over it: half precision, 8 KB each of 16 x 256."""
AHEAD_NS = 60 * 10**9
"""How far a camera's clock may be ahead of this machine's."""
_LONGEST_NUMBER = 18
"""Digits of a track's number that every store holds."""


def everywhere(_: str) -> bool:
    """Every camera may be seen."""
    return True


class TrackRef(msgspec.Struct, frozen=True, array_like=True):
    """Which track; `run`, `camera` and `track` are those of its events.

    Attributes:
        run: id of the run.
        camera: id of the camera.
        track: its number, unique per camera and run.
        time_ns: capture time of its last frame, UTC nanoseconds.
    """

    run: str
    camera: str
    track: int
    time_ns: int = 0

    def __str__(self) -> str:
        return f"{self.run}/{self.camera}/{self.track}"

    @property
    def key(self) -> tuple[str, str, int]:
        """What names the track, without its time."""
        return self.run, self.camera, self.track

    @classmethod
    def parse(cls, text: str) -> TrackRef:
        """From `run/camera/track`, as events have them.

        >>> str(TrackRef.parse("1a2b3c4d/gate/17"))
        '1a2b3c4d/gate/17'

        Raises:
            GalleryError: it is none.
        """
        run, _, rest = text.partition("/")
        camera, _, number = rest.rpartition("/")
        if not run or not camera or not number.isdecimal() or len(number) > _LONGEST_NUMBER:
            raise GalleryError(
                f"{text!r} names no track; give run/camera/track as events have them, "
                "such as 1a2b3c4d/gate/17"
            )
        return cls(run, camera, int(number))


class KeptWindows(msgspec.Struct, frozen=True, array_like=True):
    """Some windows of a track.

    Attributes:
        shape: `(n, parts, dim)`.
        data: little-endian float16.
        fingerprint: of the bundle they came from.
        upstream: what found the joints and masks that they rest on.
    """

    shape: tuple[int, int, int]
    data: bytes
    fingerprint: str
    upstream: Upstream = ()

    @classmethod
    def of(cls, windows: Sequence[Floats], fingerprint: str, upstream: Upstream = ()) -> KeptWindows:
        """At most `MOST_WINDOWS` of a track's windows `[parts, dim]`, spread over it; one at least."""
        kept = np.stack([windows[index] for index in spread(len(windows), MOST_WINDOWS)]).astype("<f2")
        return cls((len(kept), *kept.shape[1:]), kept.tobytes(), fingerprint, upstream)

    def open(self) -> Floats:
        """float32 `[n, parts, dim]`."""
        return np.frombuffer(self.data, "<f2").reshape(self.shape).astype(np.float32)


class Sighting(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One track that showed somebody; the part of its row that is sealed.

    Attributes:
        track: which.
        first_ns: capture time of its first frame, UTC nanoseconds.
        windows: by model.
        known: uid of the person it was decided to be; empty for a stranger.
        distance: fused distance to the nearest person then; None where nobody is enrolled.
        other: to the second nearest.
        visitor: name and uid of the visitor it was taken for; stays when the visitor becomes a person.
        rejected: uids of people of whom somebody said that this is not them.
    """

    track: TrackRef
    first_ns: int
    windows: dict[str, KeptWindows]
    known: str = ""
    distance: float | None = None
    other: float | None = None
    visitor: tuple[str, str] | None = None
    rejected: tuple[str, ...] = ()

    def opened(self, models: Mapping[str, str]) -> dict[str, Floats]:
        """Windows by model, of bundles with these fingerprints alone."""
        return {
            model: kept.open()
            for model, kept in self.windows.items()
            if models.get(model) == kept.fingerprint
        }


def not_ahead(sighting: Sighting, now_ns: int) -> Sighting:
    """A track that is noted now; with the times of now where its own lie in the future, as a recording's may.

    What is seen is kept for so many days from its time on, which would not end.
    """
    if sighting.track.time_ns <= now_ns + AHEAD_NS:
        return sighting
    track = msgspec.structs.replace(sighting.track, time_ns=now_ns)
    return msgspec.structs.replace(sighting, track=track, first_ns=min(sighting.first_ns, now_ns))


def spread(count: int, most: int) -> list[int]:
    """At most so many of `count` indices, evenly spread, the first and the last among them.

    >>> spread(7, 3)
    [0, 3, 6]
    """
    return [int(index) for index in np.unique(np.linspace(0, count - 1, min(count, most)).round())]
