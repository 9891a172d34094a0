"""What is published, as versioned structs; on the wire and in the journal each is one JSON or msgpack object.

The field `type` names the kind. Readers ignore fields they do not know, and kinds they do not know
arrive as `Unrecognised`, so that an older subscriber survives a newer publisher.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, ClassVar

import msgspec

SCHEMA = 2
"""Raised when a field changes its meaning; added fields and kinds do not raise it."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all events: the envelope. The publisher fills what is marked so.

    Attributes:
        schema: version of the envelope.
        event_id: UUID of version 7, the same however often the event is delivered (publisher).
        publisher: id of the journal the event is kept in (publisher).
        run: the run of the pipeline that decided it; track ids are unique per camera and run.
        epoch: name of one opening of the journal (publisher).
        seq: number in the journal; never given twice within an epoch, rising by one (publisher).
        time_ns: UTC nanoseconds: capture time of the last frame the event rests on, or the clock
            where no frame is involved. JavaScript numbers are too coarse for it: use `captured_at`.
        captured_at: `time_ns` as RFC 3339 text (publisher).
        published_at: when the event entered the journal, as RFC 3339 text (publisher).
        latency_ms: of a decision: `decide`, milliseconds from the capture of the last frame used to the
            decision, and what each stage's last batch took: `detect`, `track`, `encode`, `embed` and so on.
        models: fingerprint of each recognizer used, by model name.
        lease: in a fleet, the fencing token of the camera's lease: where two workers speak of one camera, the
            larger one has it; 0 elsewhere.
    """

    family: ClassVar[str] = "event"
    schema: int = SCHEMA
    event_id: str = ""
    publisher: str = ""
    run: str = ""
    epoch: str = ""
    seq: int = 0
    time_ns: int
    captured_at: str = ""
    published_at: str = ""
    latency_ms: dict[str, float] = {}
    models: dict[str, str] = {}
    lease: int = 0

    @property
    def type(self) -> str:
        """The kind, as in the field `type` on the wire."""
        return str(self.__struct_config__.tag)

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
        person_id: id in the gallery, which stays when the name is changed or erased; None unless known.
        distance: fused distance to the nearest person; smaller is nearer.
        margin: distance of the second nearest person minus that of the nearest.
        first_ns: capture time of the first frame used.
        frames: accepted frames behind the decision.
        windows: tracklet windows behind it, provisional ones not counted.
        provisional: no window was full yet.
        reason: why there is no identity; None when known.
        box: last box, xyxy in pixels of the camera's picture.
        rejections: frames not used, by reason.
        threshold: largest distance at which somebody is known.
        candidates: nearest persons with their distances, best first.
        candidate_ids: their ids in the gallery.
        camera: id of the camera in cams.yaml.
        track: id of the track, unique per camera and run.
    """

    family: ClassVar[str] = "identity"
    camera: str
    track: int
    status: str
    person: str | None = None
    person_id: str | None = None
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
    candidate_ids: tuple[str, ...] = ()


class IdentityDecided(Identity, frozen=True, kw_only=True, tag="identity.decided"):
    """The first thing said of a track."""


class IdentityRevised(Identity, frozen=True, kw_only=True, tag="identity.revised"):
    """Status or person changed as evidence grew."""


class IdentityConfirmed(Identity, frozen=True, kw_only=True, tag="identity.confirmed"):
    """What was said provisionally holds: the first full window gave the same status and person."""


class IdentityFinal(Identity, frozen=True, kw_only=True, tag="identity.final"):
    """The last word on a track; exactly one for every track that ends."""


class IdentityCorrected(Identity, frozen=True, kw_only=True, tag="identity.corrected"):
    """What all cameras of a site say together of a track, where it differs from what its camera said.

    `run`, `camera` and `track` are those of the track; the other fields are as in the event it corrects.
    `gaitstream handoff` publishes it, at the latest when the track ends.

    Attributes:
        cause: `transit` (somebody was expected here), `elsewhere` (the person is, or was just now, where one
            cannot come from in that time), or `withdrawn` (what had been corrected does not hold any more).
        confidence: probability of what is said now, by gait and transit together, 0 to 1.
        was_id: id in the gallery of the person the camera named; None when it named nobody.
    """

    cause: str
    confidence: float = 0.0
    was_id: str | None = None


class TrackStarted(Event, frozen=True, kw_only=True, tag="track.started"):
    """Somebody is followed; nothing is known of them yet.

    Attributes:
        camera: id of the camera in cams.yaml.
        track: id of the track, unique per camera and run.
        box: first box, xyxy in pixels of the camera's picture.
    """

    family: ClassVar[str] = "track"
    camera: str
    track: int
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


class TrackEnded(Event, frozen=True, kw_only=True, tag="track.ended"):
    """A track is over.

    Attributes:
        camera: id of the camera in cams.yaml.
        track: id of the track, unique per camera and run.
        cause: `lost` (not seen for a while), `camera_offline`, `camera_removed`, `camera_moved` (to another
            worker of the fleet), `end_of_stream` or `shutdown`.
        first_ns: capture time of the first frame it was seen in, UTC nanoseconds.
        seen: frames the track was seen in.
        accepted: frames of those that were evidence of gait.
        outcome: the final status.
        person: name in the gallery; None unless known.
        person_id: id in the gallery; None unless known.
        reason: why there is no identity; None when known.
        rejections: frames not used, by reason.
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
    person_id: str | None = None
    reason: str | None = None
    rejections: dict[str, int] = {}


class CameraOnline(Event, frozen=True, kw_only=True, tag="camera.online"):
    """A camera delivers frames (again).

    Attributes:
        camera: id of the camera in cams.yaml.
        width: of its picture, pixels; 0 where it is not known.
        height: of its picture, pixels; 0 where it is not known.
        fps: frames a second it says it sends; 0 where it does not say.
    """

    family: ClassVar[str] = "camera"
    camera: str
    width: int = 0
    height: int = 0
    fps: float = 0.0

    def __post_init__(self) -> None:
        """JSON has no number for a rate that is none."""
        if not isfinite(self.fps):
            msgspec.structs.force_setattr(self, "fps", 0.0)


class CameraOffline(Event, frozen=True, kw_only=True, tag="camera.offline"):
    """A camera stopped delivering frames.

    Attributes:
        camera: id of the camera in cams.yaml.
        cause: `error`, `stalled`, `end_of_stream`, `removed`, `moved` (to another worker of the fleet) or
            `shutdown`.
        detail: one line for people; free of credentials.
    """

    family: ClassVar[str] = "camera"
    camera: str
    cause: str
    detail: str = ""


class CameraHandoff(Event, frozen=True, kw_only=True, tag="camera.handoff"):
    """A person went from one camera to another, published by `gaitstream handoff`.

    `run` is that of the track they are followed in now.

    Attributes:
        camera: where they are now; id in cams.yaml.
        track: id of the track there.
        person: name in the gallery.
        person_id: id in the gallery.
        from_camera: where they were seen before.
        from_track: id of the track there.
        from_run: its run.
        left_ns: capture time of the last frame they were seen in there, UTC nanoseconds.
        transit_s: seconds from there to here by the two cameras' clocks; below 0 where both see them at
            once, or the clocks differ.
        expected_s: median of the transits learned between the two; None while there are too few.
        confidence: probability that it is the same person, 0 to 1.
    """

    family: ClassVar[str] = "camera"
    camera: str
    track: int
    person: str | None
    person_id: str | None
    from_camera: str
    from_track: int
    from_run: str
    left_ns: int
    transit_s: float
    expected_s: float | None = None
    confidence: float = 0.0


class RunStarted(Event, frozen=True, kw_only=True, tag="run.started"):
    """The pipeline started.

    Attributes:
        version: of gaitstream.
        cameras: ids of those that are enabled.
    """

    family: ClassVar[str] = "run"
    version: str
    cameras: tuple[str, ...] = ()


class RunStopped(Event, frozen=True, kw_only=True, tag="run.stopped"):
    """The pipeline stopped in order; nothing follows in this run.

    Attributes:
        cause: `end_of_stream`, `shutdown`, `interrupt` or what else ended it.
        frames: analysed in this run.
        tracks: that ended in this run.
    """

    family: ClassVar[str] = "run"
    cause: str
    frames: int = 0
    tracks: int = 0


class CameraStats(msgspec.Struct, frozen=True, kw_only=True):
    """One camera in `pipeline.stats`.

    Attributes:
        state: `connecting`, `online`, `offline` or `ended`.
        fps: analysed frames a second since the event before.
        people: tracks now.
        frames: analysed since the start of the run.
        dropped: frames not analysed since the start of the run, by reason.
    """

    state: str
    fps: float = 0.0
    people: int = 0
    frames: int = 0
    dropped: dict[str, int] = {}

    def __post_init__(self) -> None:
        """JSON has no number for a rate that is none."""
        if not isfinite(self.fps):
            msgspec.structs.force_setattr(self, "fps", 0.0)


class PipelineStats(Event, frozen=True, kw_only=True, tag="pipeline.stats"):
    """How the run is, now and then.

    Attributes:
        uptime_s: since the run began.
        rss_bytes: memory of the process, or of all processes together.
        unwritten: events that could not be written to the journal since the start of the run.
        cameras: by id.
    """

    family: ClassVar[str] = "stats"
    uptime_s: float
    rss_bytes: int = 0
    unwritten: int = 0
    cameras: dict[str, CameraStats] = {}


class GalleryChanged(Event, frozen=True, kw_only=True, tag="gallery.changed"):
    """The run took over a gallery that somebody changed: from here on it decides by this one.

    Attributes:
        people: how many are known now.
        added: ids, or names where the gallery has no ids, of those who are new.
        removed: ids, or names, of those who are gone; with each the ids of those who were merged into them.
        merged: ids of those who were merged, each with the id of the person whom they are part of now.
    """

    family: ClassVar[str] = "gallery"
    people: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    merged: tuple[tuple[str, str], ...] = ()

    @property
    def gone(self) -> tuple[str, ...]:
        """Ids that nobody has any more, erased or merged."""
        return (*self.removed, *(person for person, _ in self.merged))


class VisitorSeen(Event, frozen=True, kw_only=True, tag="visitor.seen"):
    """A track that showed a stranger is over, and this is which visitor it was; after its `track.ended`.

    Attributes:
        camera: id of the camera in cams.yaml.
        track: id of the track, unique per camera and run.
        visitor: what the visitor is called, such as `visitor-17`.
        visitor_id: id in the gallery, which stays when the visitor gets a name.
        first_ns: capture time of the first frame it was seen in, UTC nanoseconds.
        new: nobody like this was seen before.
        walks: of this visitor so far, this one counted.
        distance: to the visitor's earlier walks, in units of the linking distance; None for a new one.
        person: name of the person whom all walks of the visitor together show; None unless known.
        person_id: id of that person in the gallery; None unless known.
    """

    family: ClassVar[str] = "visitor"
    camera: str
    track: int
    visitor: str
    visitor_id: str
    first_ns: int = 0
    new: bool = False
    walks: int = 1
    distance: float | None = None
    person: str | None = None
    person_id: str | None = None


class VisitorJoined(Event, frozen=True, kw_only=True, tag="visitor.joined"):
    """Walks of one visitor were found to be another one's, mostly all of them: then the one is no more.

    Attributes:
        visitor: what the one is called who had them; never given again when it is no more.
        visitor_id: its id in the gallery.
        into: the visitor who has them now.
        into_id: its id in the gallery.
        tracks: run, camera, track and capture time of the last frame of those that changed hands.
        left: walks that the one who had them keeps; 0: it is no more.
    """

    family: ClassVar[str] = "visitor"
    visitor: str
    visitor_id: str
    into: str
    into_id: str
    tracks: tuple[tuple[str, str, int, int], ...] = ()
    left: int = 0


class VisitorNamed(Event, frozen=True, kw_only=True, tag="visitor.named"):
    """It is known who a visitor is: these earlier tracks, of any run and machine, were this person.

    Attributes:
        visitor: what the visitor was called.
        visitor_id: id in the gallery as a visitor.
        person: name in the gallery.
        person_id: id in the gallery.
        by: `promotion`: somebody named the visitor; `fusion`: all walks together are near enough to the
            person.
        tracks: run, camera, track and capture time of the last frame of each.
    """

    family: ClassVar[str] = "visitor"
    visitor: str
    visitor_id: str
    person: str | None = None
    person_id: str | None = None
    by: str = "promotion"
    tracks: tuple[tuple[str, str, int, int], ...] = ()


class Unrecognised(Event, frozen=True, kw_only=True, tag="unrecognised"):
    """An event of a kind, or of a schema, that this version does not know, as plain data.

    Attributes:
        kind: its `type` on the wire.
        data: all of it.
    """

    kind: str
    data: dict[str, Any]

    @property
    def type(self) -> str:
        """The kind, as in the field `type` on the wire."""
        return self.kind

    @property
    def topic(self) -> str:
        """Not known: a received event's topic stands beside it."""
        return self.family


AnyEvent = (
    IdentityDecided
    | IdentityRevised
    | IdentityConfirmed
    | IdentityFinal
    | IdentityCorrected
    | TrackStarted
    | TrackEnded
    | CameraOnline
    | CameraOffline
    | CameraHandoff
    | PipelineStats
    | GalleryChanged
    | VisitorSeen
    | VisitorJoined
    | VisitorNamed
    | RunStarted
    | RunStopped
)
