"""What a demo leaves behind: plain data, written as JSON, that score and report are computed from."""

from __future__ import annotations

import msgspec


class WalkerRecord(msgspec.Struct, kw_only=True):
    """One walker of the world."""

    name: str
    enrolled: bool
    templates: int = 0
    tracklets: int = 0
    """Tracks the templates come from."""
    pictures: list[bytes] = []
    """JPEG crops from the enrolment, in the order of time."""


class Statement(msgspec.Struct, kw_only=True):
    """What was said of a track at one time."""

    time_s: float
    status: str
    person: str | None
    distance: float | None
    reason: str | None
    provisional: bool


class TrackRecord(msgspec.Struct, kw_only=True):
    """One ended track with its final decision and the truth."""

    camera: str
    track: int
    truth: str | None
    """Who it really was; None when the boxes belong to nobody or to several people."""
    purity: float
    """Share of the track's frames that belong to the person it shows most."""
    first_s: float
    last_s: float
    seen: int
    accepted: int
    status: str
    person: str | None
    distance: float | None
    margin: float | None
    reason: str | None
    rejections: dict[str, int] = {}
    statements: list[Statement] = []
    pictures: list[bytes] = []
    """JPEG crops of accepted frames, in the order of time."""
    heatmaps: list[bytes] = []
    """JPEG of the aligned heatmaps of the same frames, where a recognizer looks at them."""
    silhouettes: list[bytes] = []
    """JPEG of their silhouettes, likewise."""


class WindowRecord(msgspec.Struct, kw_only=True):
    """One full tracklet window of one recognizer, and its distance to everybody enrolled."""

    camera: str
    track: int
    truth: str | None
    distances: dict[str, float]
    model: str = ""
    last_s: float = 0.0
    """When it ended: windows of several recognizers over the same frames end together."""


class CameraRun(msgspec.Struct, kw_only=True):
    """One camera's run."""

    name: str
    still: bytes
    """JPEG of an annotated picture."""
    decoded: int
    analysed: int
    dropped: int
    fps: float
    """Analysed frames per second of the clock."""
    p50_ms: float | None
    p95_ms: float | None


class VisitorsRecord(msgspec.Struct, kw_only=True):
    """What became of those who were given no name."""

    walks: int
    """Of one person each, by the truth, that were noted as a visitor's."""
    visitors: int
    people: int
    """Who they were, in truth."""
    pure_walks: int
    """Of the person whom most walks of their visitor show."""
    promoted: str
    """The visitor who was given a name when all was over."""
    name: str
    told: int
    """Earlier tracks that were told with it."""
    told_right: int
    """Of those, the person's."""
    named_right: int
    """Tracks without a name that got the right one through all walks of their visitor together."""
    named_wrong: int
    """And those that got a wrong one."""


class ForgettingRecord(msgspec.Struct, kw_only=True):
    """One person erased at the end, and what was found of them afterwards."""

    name: str
    encrypted: bool
    """Whether the gallery was."""
    templates: int
    events: int
    """Of the journal, that lost the name."""
    files: int
    """That were searched for the erased bytes and for the name."""
    remains: list[str]
    """What was still found; empty when nothing was."""


class DemoRecord(msgspec.Struct, kw_only=True):
    """A whole demo."""

    version: str
    machine: str
    started: str
    command: str
    seed: int
    site: str
    seconds: float
    """Length of the live run."""
    live: bool = True
    """Pictures came by the clock; otherwise the cameras waited, and there is no latency to speak of."""
    stopped: bool = False
    """The user ended it before its time."""
    enrolment_s: float
    """How long the enrolment took."""
    total_s: float
    threshold: float | None
    margin: float | None
    models: dict[str, str]
    """Recognizers, and how their fingerprints begin."""
    units: dict[str, float] = {}
    """Their own thresholds, in which distances are fused; `threshold` is of the fused distance then."""
    weights: dict[str, float] = {}
    """Their shares of the fused distance."""
    people: list[WalkerRecord]
    tracks: list[TrackRecord]
    windows: list[WindowRecord]
    cameras: list[CameraRun]
    stages: dict[str, float] = {}
    """Mean milliseconds of a call, by stage."""
    events_sent: int = 0
    events_received: int = 0
    event_p50_ms: float | None = None
    event_p95_ms: float | None = None
    """From the capture of a window's last frame to its decision's publication."""
    visitors: VisitorsRecord | None = None
    """What became of strangers; None when there was no visitor."""
    forgotten: ForgettingRecord | None = None
    """Who was erased when all was over."""
