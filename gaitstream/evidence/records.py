"""What is kept of a track and of a camera's last minutes, as it lies in files. People are ids alone."""

from __future__ import annotations

import msgspec

from gaitstream.events import IdentityFinal
from gaitstream.events.schema import Identity
from gaitstream.gallery.upstream import Upstream

VERSION = 1
BoxPx = tuple[float, float, float, float]
"""xyxy in pixels of the camera's picture."""
MEDIA_TYPES = {"crop": "image/jpeg"}
"""By view; all others are PNG."""


class TrackKey(msgspec.Struct, frozen=True):
    """Which track: ids of tracks are unique per camera and run."""

    camera: str
    run: str
    track: int


class Shot(msgspec.Struct, frozen=True):
    """One moment of a track.

    Attributes:
        time_ns: capture time.
        frame_index: of the camera's frames.
        rejected: why this frame was no evidence; None when it was.
        pictures: number of the picture by view: `crop`, and `heatmaps` (turned upright, the maximum over
            the joints), `silhouettes` and `skeleton_maps` as far as a model looked at them.
    """

    time_ns: int
    frame_index: int
    box: BoxPx
    rejected: str | None = None
    pictures: dict[str, int] = {}


class KeptWindow(msgspec.Struct, frozen=True):
    """One embedded window.

    Attributes:
        number: of the window within the track.
        model: name of the recognizer.
        shape: parts and dim of the embedding.
    """

    number: int
    model: str
    first_ns: int
    last_ns: int
    frames: int
    shape: tuple[int, int]


class KeptDecision(msgspec.Struct, frozen=True, kw_only=True):
    """One published decision and what it rests on.

    Attributes:
        time_ns: capture time of the last frame used.
        first_ns: of the first.
        status: as in the event.
        person_id: whom it names; None unless known.
        reason: why nobody; None when known.
        distance: fused distance.
        margin: lead over the second who was free.
        threshold: largest distance at which somebody is known.
        least_margin: smallest lead that is enough.
        frames: accepted frames.
        windows: full windows.
        nearest: ids and fused distances, nearest first: five, and more where others had taken some.
        taken: those of them whom tracks seen at the same time had a better claim to.
        visitors: those of them who are visitors, of whom somebody said whom they are not.
        used: numbers of the windows it was made with.
        each: for each of `nearest` the distance of each of `used`; None without a template of its model.
        scales: weight and unit with which a model's distances are fused.
        people: how many were enrolled.
        rejections: frames not used, by reason.
        height_px: mean height of the accepted boxes.
        switched: an id switch was suspected.
    """

    time_ns: int
    first_ns: int
    status: str
    person_id: str | None
    reason: str | None
    distance: float | None
    margin: float | None
    threshold: float | None
    least_margin: float
    frames: int
    windows: int
    provisional: bool
    final: bool
    nearest: tuple[tuple[str, float], ...] = ()
    taken: tuple[str, ...] = ()
    visitors: tuple[str, ...] = ()
    used: tuple[int, ...] = ()
    each: tuple[tuple[float | None, ...], ...] = ()
    scales: dict[str, tuple[float, float]] = {}
    people: int = 0
    rejections: dict[str, int] = {}
    height_px: float = 0.0
    switched: bool = False

    def tells(self, event: Identity) -> bool:
        """Whether it is what an event tells."""
        return (
            self.time_ns == event.time_ns
            and self.final == isinstance(event, IdentityFinal)
            and (self.status, self.person_id) == (event.status, event.person_id)
            and (self.windows, self.frames) == (event.windows, event.frames)
        )

    @property
    def about(self) -> set[str]:
        """Ids of people whom its pictures show or may show: who it names, and whoever was near enough."""
        limit = self.threshold
        near = {person for person, distance in self.nearest if limit is not None and distance <= limit}
        return near | ({self.person_id} if self.person_id else set())


class TrackEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of a track but pictures and embeddings, which lie behind it in the file.

    Attributes:
        key: which track.
        gallery: id of the gallery that was compared with.
        gallery_models: fingerprints of the bundles that filled it, by model.
        models: fingerprints of those that ran.
        upstream: what found the joints and masks that these were given, by model.
        config_hash: SHA-256 of the configuration in force at the last decision, without its secrets.
        complete: the track has ended.
        decisions: in the order in which they were published.
        missed: what could not be kept, by reason.
    """

    key: TrackKey
    gallery: str
    gallery_models: dict[str, str]
    models: dict[str, str]
    config_hash: str
    complete: bool
    shots: tuple[Shot, ...]
    windows: tuple[KeptWindow, ...]
    decisions: tuple[KeptDecision, ...]
    missed: dict[str, int] = {}
    version: int = VERSION
    upstream: dict[str, Upstream] = {}

    @property
    def about(self) -> set[str]:
        """Ids of people whom it shows or may show."""
        return set().union(*(decision.about for decision in self.decisions))

    def decision_of(self, event: Identity) -> KeptDecision | None:
        """The decision that an event tells; None when it was not kept."""
        return next((one for one in self.decisions if one.tells(event)), None)


class RecentPerson(msgspec.Struct, frozen=True):
    """Somebody in one of a camera's last pictures.

    Attributes:
        status: the latest decision on the track; None before the first.
        person_id: whom it names.
        reason: why it names nobody.
        rejected: why this frame was no evidence.
    """

    track: int
    box: BoxPx
    status: str | None = None
    person_id: str | None = None
    reason: str | None = None
    rejected: str | None = None


class RecentFrame(msgspec.Struct, frozen=True):
    """One of a camera's last pictures; boxes are in pixels of `width` by `height`.

    Attributes:
        run: whose tracks they are; empty in what earlier versions kept.
    """

    time_ns: int
    width: int
    height: int
    people: tuple[RecentPerson, ...] = ()
    run: str = ""
