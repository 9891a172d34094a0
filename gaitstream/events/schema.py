"""What is published, as versioned structs; on the wire and in the journal each is one JSON object.

The field `type` names the kind. Readers ignore fields they do not know, and kinds they do not know
arrive as `Unrecognised`, so that an older subscriber survives a newer publisher.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

SCHEMA = 1
"""Raised when a field changes its meaning; added fields and kinds do not raise it."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all events.

    Attributes:
        time_ns: UTC nanoseconds: capture time of the last frame the event rests on, or the clock
            where no frame is involved.
        run: the run of the pipeline that decided it; track ids are unique per camera and run.
    """

    family: ClassVar[str] = "event"
    schema: int = SCHEMA
    time_ns: int
    run: str = ""

    @property
    def topic(self) -> str:
        """Where it is published: `<family>/<camera>`, or the family alone."""
        camera = getattr(self, "camera", None)
        return f"{self.family}/{camera}" if camera else self.family


class Identity(Event, frozen=True, kw_only=True):
    """Who a track is, as far as is known now.

    Attributes:
        status: `known`, `unknown`, `ambiguous` or `insufficient_evidence`.
        person: name in the gallery; None unless known.
        distance: fused distance to the nearest person; smaller is nearer.
        margin: distance of the second nearest person minus that of the nearest.
        first_ns: capture time of the first frame used.
        frames: accepted frames behind the decision.
        windows: tracklet windows behind it, provisional ones not counted.
        provisional: no window was full yet.
        reason: why there is no identity; None when known.
        box: last box, xyxy in pixels of the camera's picture.
        rejections: frames not used, by reason.
        candidates: nearest persons with their distances, best first.
        models: fingerprint of each recognizer used, by model name.
    """

    family: ClassVar[str] = "identity"
    camera: str
    track: int
    status: str
    person: str | None = None
    distance: float | None = None
    margin: float | None = None
    threshold: float | None = None
    first_ns: int = 0
    frames: int = 0
    windows: int = 0
    provisional: bool = False
    reason: str | None = None
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    rejections: dict[str, int] = {}
    candidates: tuple[tuple[str, float], ...] = ()
    models: dict[str, str] = {}


class IdentityDecided(Identity, frozen=True, kw_only=True, tag="identity.decided"):
    """The first thing said of a track."""


class IdentityRevised(Identity, frozen=True, kw_only=True, tag="identity.revised"):
    """Status or person changed as evidence grew."""


class IdentityFinal(Identity, frozen=True, kw_only=True, tag="identity.final"):
    """The last word on a track; exactly one for every track that ends."""


class TrackEnded(Event, frozen=True, kw_only=True, tag="track.ended"):
    """A track is over.

    Attributes:
        cause: `lost` (not seen for a while), `camera_offline`, `camera_removed`, `end_of_stream` or
            `shutdown`.
        seen: frames the track was seen in.
        accepted: frames of those that were evidence of gait.
        outcome: the final status.
        reason: why there is no identity; None when known.
    """

    family: ClassVar[str] = "track"
    camera: str
    track: int
    cause: str
    first_ns: int
    seen: int
    accepted: int
    outcome: str
    person: str | None = None
    reason: str | None = None
    rejections: dict[str, int] = {}


class CameraOnline(Event, frozen=True, kw_only=True, tag="camera.online"):
    """A camera delivers frames (again)."""

    family: ClassVar[str] = "camera"
    camera: str
    width: int = 0
    height: int = 0
    fps: float = 0.0


class CameraOffline(Event, frozen=True, kw_only=True, tag="camera.offline"):
    """A camera stopped delivering frames.

    Attributes:
        cause: `error`, `stalled`, `end_of_stream`, `removed` or `shutdown`.
        detail: one line for people; free of credentials.
    """

    family: ClassVar[str] = "camera"
    camera: str
    cause: str
    detail: str = ""


class RunStarted(Event, frozen=True, kw_only=True, tag="run.started"):
    """The pipeline started."""

    family: ClassVar[str] = "run"
    version: str
    cameras: tuple[str, ...] = ()
    models: dict[str, str] = {}


class RunStopped(Event, frozen=True, kw_only=True, tag="run.stopped"):
    """The pipeline stopped in order; nothing follows in this run."""

    family: ClassVar[str] = "run"
    cause: str
    frames: int = 0
    tracks: int = 0


class Unrecognised(Event, frozen=True, kw_only=True, tag="unrecognised"):
    """An event of a kind this version does not know, as plain data."""

    kind: str
    data: dict[str, Any]


AnyEvent = (
    IdentityDecided
    | IdentityRevised
    | IdentityFinal
    | TrackEnded
    | CameraOnline
    | CameraOffline
    | RunStarted
    | RunStopped
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_plain: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


def encode(event: Event) -> bytes:
    """One JSON object, UTF-8."""
    return _encoder.encode(event)


def decode(payload: bytes | memoryview) -> Event:
    """The event in a payload; `Unrecognised` for a kind or a shape this version does not know."""
    try:
        return _decoder.decode(payload)
    except msgspec.ValidationError:
        data = _plain.decode(payload)
        time_ns = data.get("time_ns")
        return Unrecognised(
            kind=str(data.get("type", "")),
            time_ns=time_ns if isinstance(time_ns, int) else 0,
            run=str(data.get("run", "")),
            data=data,
        )
