"""`cams.yaml` as pydantic models: the one place that knows the file's shape.

`config_file.load_config` reads a file into `Config`; `gaitstream config schema` prints the JSON Schema;
`docs/configuration.md` is generated from the descriptions below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from gaitstream.config.fleet import Fleet
from gaitstream.config.paths import anchor
from gaitstream.config.secret_url import SecretUrl
from gaitstream.config.section import Section
from gaitstream.models.detector_layouts import LAYOUTS as DETECTOR_LAYOUTS
from gaitstream.models.resolve import is_path
from gaitstream.models.segmentation_layouts import LAYOUTS as SEGMENTATION_LAYOUTS
from gaitstream.models.spec import FAMILIES
from gaitstream.registry import Registry

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Polygon = Annotated[list[tuple[float, float]], Field(min_length=3)]


def _from_name(value: Any) -> Any:
    """`detector: demo` is short for `detector: {model: demo}`."""
    return {"model": value} if isinstance(value, str) else value


def _misfit(text: str, *at: str | int) -> PydanticCustomError:
    """An error about the key `at`, counted from the section that checks it."""
    return PydanticCustomError("misfit", "{text}", {"text": text, "at": at})


def _anchored(value: Any, info: ValidationInfo) -> Any:
    """Paths in the file are relative to the file."""
    base = (info.context or {}).get("base")
    if not isinstance(value, str) or base is None:
        return value
    try:
        return anchor(value, base)
    except ValueError as error:
        raise _misfit(str(error)) from None


def _anchored_model(value: Any, info: ValidationInfo) -> Any:
    return str(_anchored(value, info)) if isinstance(value, str) and is_path(value) else value


FilePath = Annotated[Path, BeforeValidator(_anchored)]
ModelName = Annotated[str, Field(min_length=1), BeforeValidator(_anchored_model)]
RecognizerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


def _one_of(registry: Registry[Any]) -> AfterValidator:
    """`auto`, or a name that a registry knows; packages may add to it."""

    def check(value: str) -> str:
        if value != "auto" and value not in registry.names():
            allowed = ", ".join(("auto", *registry.names()))
            raise _misfit(f"{value!r} is no {registry.kind}; allowed: {allowed}")
        return value

    return AfterValidator(check)


class CameraThresholds(Section):
    """One camera's own values; what is left out follows the sections `models`, `gallery` and `quality`."""

    detection_score: Fraction | None = None
    """Lowest detector score of a person."""
    distance: Annotated[float, Field(gt=0)] | None = None
    """Largest distance at which a person is known."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Smallest lead over the second person."""
    min_height_px: Annotated[float, Field(ge=8)] | None = None
    """Smallest person, box height in pixels."""
    max_overlap: Fraction | None = None
    """Largest share of a box that other boxes may cover."""
    min_sharpness: Annotated[float, Field(ge=0)] | None = None
    """Smallest variance of the Laplacian."""
    min_pose_score: Fraction | None = None
    """Smallest mean joint score."""
    min_motion: Annotated[float, Field(ge=0)] | None = None
    """Smallest motion of somebody who walks."""


class Camera(Section):
    """One camera: where its frames come from and what is particular about it."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    """Name in events and metrics: letters, digits, `_`, `.`, `-`; unique."""
    url: SecretUrl
    """`rtsp://`, `rtsps://`, `http(s)://`, `synth://`, `/dev/video0`, a video file, a folder of images."""
    enabled: bool = True
    """False keeps the entry and leaves the camera alone."""
    fps: Annotated[float, Field(gt=0, le=240)] | None = 15.0
    """Frames analysed per second; the rest is skipped and counted. null: every frame."""
    detect_every: Annotated[int, Field(ge=1, le=30)] = 1
    """Detect on every k-th analysed frame and let the tracker predict in between."""
    still_every: Annotated[int, Field(ge=1, le=300)] = 1
    """Detect on every k-th frame only while nobody is tracked and the picture stays the same. 1: always."""
    regions: list[Polygon] = []
    """Polygons `[[x, y], ...]` in pixels; a person counts when the feet are inside one. Empty: everywhere."""
    region_size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    """Width and height the polygons were drawn on; scaled to the stream. null: the stream's own size."""
    thresholds: CameraThresholds = CameraThresholds()
    """Values of this camera alone."""
    transport: Literal["tcp", "udp"] = "tcp"
    """How RTSP carries the media."""
    decoder: Literal["auto", "cpu", "cuda"] = "auto"
    """`cuda` decodes on NVDEC; `auto` uses it when it is there."""
    loop: bool = False
    """Start a file again at its end; times go on."""
    start_time: datetime | None = None
    """Capture time of a file's first frame (ISO 8601, else UTC). null: from the file's own metadata."""

    @field_validator("url")
    @classmethod
    def _anchor_files(cls, url: SecretUrl, info: ValidationInfo) -> SecretUrl:
        if fault := url.fault():
            raise _misfit(f"{url}: {fault}")
        return url if url.scheme else SecretUrl(str(_anchored(url.reveal(), info)))

    @field_validator("start_time")
    @classmethod
    def _start_in_range(cls, time: datetime | None) -> datetime | None:
        if time is not None and not 1970 <= time.year <= 2200:
            raise _misfit(f"{time.isoformat()} is not between 1970 and 2200")
        return time

    @model_validator(mode="after")
    def _polygons_fit(self) -> Camera:
        width, height = self.region_size or (math.inf, math.inf)
        for index, polygon in enumerate(self.regions):
            for x, y in polygon:
                if not (0 <= x <= width and 0 <= y <= height):
                    size = f" of {width} x {height}" if self.region_size else ""
                    text = f"point [{x:g}, {y:g}] lies outside the frame{size}; give pixels of the frame"
                    raise _misfit(text, "regions", index)
        return self


class Detector(Section):
    """The person detector."""

    model: ModelName = "demo"
    """An ONNX file, a manifest beside one, or a name of the model zoo."""
    layout: Annotated[str, _one_of(DETECTOR_LAYOUTS)] = "auto"
    """How its outputs are read, by name; `auto` recognises it from names and shapes."""
    score: Fraction = 0.3
    """Lowest score of a person."""
    nms_iou: Fraction = 0.5
    """Boxes that overlap more are one person; end-to-end layouts need none."""


class Pose(Section):
    """The top-down pose model: needed by recognizers on poses, and for judging frames by their pose."""

    model: ModelName = "demo"
    """An ONNX file, a manifest beside one, or a name of the model zoo."""


class SegmenterSection(Section):
    """The segmentation model: needed by recognizers that work on silhouettes."""

    model: ModelName
    """An ONNX file, a manifest beside one, or a name of the model zoo."""
    layout: Annotated[str, _one_of(SEGMENTATION_LAYOUTS)] = "auto"
    """How its output is read, by name; `auto` takes its manifest's word, or recognises it from the shape."""


class RecognizerModel(Section):
    """One gait recognizer."""

    model: ModelName
    """A bundle directory or a name of the model zoo."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Share of this model's distance when several are fused; weights are normalised to sum to one."""
    threshold: Annotated[float, Field(gt=0)] | None = None
    """This model's own largest distance of one person, its unit when several are fused. null: the gallery's
    calibrated value."""


class Models(Section):
    """Which networks run."""

    detector: Annotated[Detector, BeforeValidator(_from_name)] = Detector()
    """Finds people."""
    pose: Annotated[Pose | None, BeforeValidator(_from_name)] = None
    """Finds joints. null: none, unless a recognizer needs one; then `demo`."""
    segmenter: Annotated[SegmenterSection | None, BeforeValidator(_from_name)] = None
    """Finds silhouettes. null: none."""
    recognizers: dict[RecognizerName, Annotated[RecognizerModel, BeforeValidator(_from_name)]] = {}
    """Gait recognizers by name; events and the gallery have them under it. A family's own name may stand
    beside `detector`: `models.FAMILY` is short for `models.recognizers.FAMILY`."""

    @model_validator(mode="before")
    @classmethod
    def _gather_families(cls, data: Any) -> Any:
        """Families' own keys are recognizers."""
        if not isinstance(data, dict) or not isinstance(data.get("recognizers") or {}, dict):
            return data
        named = data.get("recognizers") or {}
        families = [key for key in data if key not in cls.model_fields and key in cls.allowed_keys()]
        for key in families:
            if key in named:
                raise _misfit(f"{key!r} is given under recognizers too; give it once", key)
        rest = {key: value for key, value in data.items() if key not in families}
        found = {**named, **{key: data[key] for key in families if data[key] is not None}}
        return {**rest, "recognizers": dict(sorted(found.items()))} if found else rest

    def family(self, name: str) -> str:
        """The family that a recognizer must be of, because it is named after it; empty for other names."""
        return name if name in FAMILIES.names() else ""

    def thresholds(self, calibrated: Mapping[str, float | None]) -> dict[str, float | None]:
        """Each model's own threshold: the configured one, or else the calibrated."""
        own = {name: model.threshold for name, model in self.recognizers.items()}
        return {name: own.get(name) or limit for name, limit in calibrated.items()}

    @classmethod
    def allowed_keys(cls) -> list[str]:
        """The section's keys, and the families that are installed."""
        return [*cls.model_fields, *FAMILIES.names()]

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Editors should know the families' keys too."""
        schema = handler.resolve_ref_schema(handler(core))
        (recognizer,) = schema["properties"]["recognizers"]["patternProperties"].values()
        schema["properties"] |= {
            name: {
                "anyOf": [recognizer, {"type": "null"}],
                "description": f"A recognizer of the family {name}.",
            }
            for name in FAMILIES.names()
        }
        return schema


class RuntimeSection(Section):
    """How the networks run."""

    name: Literal["auto", "tensorrt", "tensorrt-rtx", "onnxruntime", "openvino"] = "auto"
    """`gaitstream doctor` says what `auto` picks here and why."""
    precision: Literal["auto", "fp32", "fp16", "bf16", "int8", "fp8"] = "auto"
    """`auto` picks among the precisions that the bundle's parity report, or the model's manifest, allows."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads of each engine. null: the runtime's choice."""
    batch: Annotated[int, Field(ge=1, le=256)] = 16
    """Most person crops, or frames, in one call of an engine."""
    deadline_ms: Annotated[float, Field(ge=0, le=1000)] = 10.0
    """How long a batch waits to fill across cameras."""
    latency_ms: Annotated[float, Field(ge=20, le=60_000)] | None = None
    """Objective for 95% of the live frames, from capture to analysed: under load the least valuable work is
    left out, counted as `overload`. null: nothing is left out."""
    gpu: Annotated[int, Field(ge=0, le=63)] = 0
    """Number of the GPU, for runtimes that have one. Another than the first one is asked of every network."""

    @property
    def device(self) -> str | None:
        """What `open_engine` is told: None leaves it to the runtime."""
        return f"cuda:{self.gpu}" if self.gpu else None


class Sources(Section):
    """How cameras are read."""

    queue: Annotated[int, Field(ge=1, le=256)] = 4
    """Decoded frames waiting per camera. Live cameras drop the oldest when full; files wait."""
    stall_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """Without a frame for this long a live camera is at fault and is opened again."""
    connect_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """How long opening a camera may take."""
    backoff_min_s: Annotated[float, Field(gt=0, le=86400)] = 0.5
    """Wait before the first new attempt; it doubles from there."""
    backoff_max_s: Annotated[float, Field(gt=0, le=86400)] = 3.0
    """Longest wait between attempts. Every wait is shortened by a random share of up to 30%."""

    @model_validator(mode="after")
    def _ordered(self) -> Sources:
        if self.backoff_max_s < self.backoff_min_s:
            text = f"{self.backoff_max_s:g} is less than backoff_min_s {self.backoff_min_s:g}"
            raise _misfit(text, "backoff_max_s")
        return self


class Tracking(Section):
    """How boxes become tracks."""

    algorithm: Literal["appearance", "bytetrack", "ocsort", "sort"] = "bytetrack"
    """`appearance` goes by motion and clothes; the others, of the trackers library, by boxes alone."""
    lost_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """A track nobody was seen of for this long has ended; `appearance` waits three times that for somebody
    behind others."""
    min_hits: Annotated[int, Field(ge=1, le=1000)] = 2
    """Detections in a row before a track counts."""
    iou: Fraction = 0.1
    """Least overlap of a box with a track's predicted box."""
    new_track_score: Fraction = 0.6
    """Lowest detector score that starts a track; with `ocsort` weaker boxes do not continue one either."""


class Tracklets(Section):
    """The windows over a track that are pooled into one embedding."""

    length: Annotated[int, Field(ge=2, le=720)] = 30
    """Accepted frames in a window."""
    stride: Annotated[int, Field(ge=1)] = 15
    """Accepted frames between the starts of windows; divides `length`."""
    provisional_from: Annotated[int, Field(ge=1)] = 10
    """Accepted frames from which a provisional decision is made."""
    max_gap_s: Annotated[float, Field(gt=0, le=3600)] = 1.0
    """A longer time without an accepted frame starts the window afresh."""
    settled_after: Annotated[int, Field(ge=1, le=8)] = 3
    """Full windows in a row that name the same person and settle a track."""
    settled_every: Annotated[int, Field(ge=1, le=30)] = 1
    """Of a settled track every k-th frame is encoded; the others count as `settled`. 1: all."""

    @model_validator(mode="after")
    def _stride_divides(self) -> Tracklets:
        if self.length % self.stride:
            allowed = ", ".join(str(n) for n in range(1, self.length + 1) if self.length % n == 0)
            text = f"{self.stride} does not divide the length {self.length}; allowed: {allowed}"
            raise _misfit(text, "stride")
        if self.provisional_from > self.length:
            raise _misfit(
                f"{self.provisional_from} is more than the length {self.length}", "provisional_from"
            )
        return self


class Quality(Section):
    """Which person-frames are evidence of gait; each rejection is counted under its reason."""

    min_height_px: Annotated[float, Field(ge=8)] = 64.0
    """Smaller boxes are `too_small`."""
    border_px: Annotated[float, Field(ge=0)] = 2.0
    """A box that comes this near to the frame's border is `truncated`."""
    max_aspect: Annotated[float, Field(gt=0)] = 1.0
    """Boxes wider than this times their height show no whole body: `truncated`."""
    max_overlap: Fraction = 0.35
    """Boxes of which nearer people cover more are `occluded`."""
    min_sharpness: Annotated[float, Field(ge=0)] = 15.0
    """Variance of the Laplacian on a 64-pixel-high grey crop; less is `blurred`. 0: not judged."""
    min_pose_score: Fraction = 0.4
    """Mean joint score; less is `low_pose_score`. Needs a pose model."""
    min_motion: Annotated[float, Field(ge=0)] = 0.04
    """Motion in body heights per second, of the box or of the ankles; less is `standing`. 0: not judged."""
    motion_window_s: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Time over which motion is judged."""
    max_jump: Annotated[float, Field(gt=0)] = 0.7
    """A box that moves by more body heights between frames 0.1 s apart is `id_switch_suspected`."""
    max_scale_jump: Annotated[float, Field(gt=1)] = 1.6
    """A box whose height changes by this factor at once is `id_switch_suspected`."""
    max_feature_jump: Annotated[float, Field(gt=0)] | None = None
    """Cosine distance of a frame's features from the track's; more is `id_switch_suspected`. null: off."""


class Retention(Section):
    """How long the gallery keeps what, enforced while the pipeline runs and by `gaitstream gallery sweep`."""

    person_days: Annotated[float, Field(gt=0)] | None = None
    """Days a person is kept from the first enrolment; `gallery keep` overrides it. null: for ever."""
    picture_days: Annotated[float, Field(gt=0)] | None = None
    """Days a picture of a person is kept. null: as long as the person."""
    visitor_days: Annotated[float, Field(gt=0)] | None = None
    """Days an unknown visitor is kept, from the first visit. null: for ever."""
    sighting_days: Annotated[float, Field(gt=0)] | None = 30.0
    """Days that is kept what was seen of visitors and people, where `visitors` is enabled; a visitor goes
    with the last of it. null: as long as whom it shows."""


class Visitors(Section):
    """Strangers who become visitors: `visitor-17` is the same unnamed person over cameras and days."""

    enabled: bool = False
    """Keep what is seen of strangers, and of people who are known, encrypted as templates are."""
    distance: Annotated[float, Field(gt=0)] | None = None
    """Largest mean distance at which a walk is that of an earlier visitor; with several models, in units of
    each one's calibrated threshold. null: from the calibrated threshold."""


class Shards(Section):
    """A gallery in parts, held by actors of a Ray cluster; `gaitstream plan --enrolled N` says when."""

    count: Annotated[int, Field(ge=1, le=1024)]
    """Parts; each machine of the cluster may hold several."""
    replicas: Annotated[int, Field(ge=1, le=8)] = 1
    """Copies of each part, on different machines where there are as many."""
    address: str = "auto"
    """Of the Ray cluster: `auto` for the one this machine is part of, `HOST:PORT`, or `ray://HOST:PORT`."""


class GallerySection(Section):
    """Who is known, and how sure one must be."""

    path: FilePath | None = None
    """The gallery's file. null, and no `url`: nobody is known and every track says `no_gallery`."""
    url: SecretUrl | None = None
    """A gallery that is no file: `postgresql://user@host/database`, or another store's URL."""
    key: Annotated[str, Field(pattern=r"^(none|(file|env|command):.+)$")] | None = None
    """Where the gallery's key comes from: `file:PATH`, `env:NAME`, `command:WORDS`; `none` for a gallery that
    is not encrypted. null: `<path>.key`."""
    shards: Shards | None = None
    """Searched on several machines. null: every machine keeps all of it in memory."""
    retention: Retention = Retention()
    """What is erased when."""
    visitors: Visitors = Visitors()
    """What is kept of those who match nobody."""
    watchlist_only: bool = False
    """Never store what matches nobody: no events of such tracks, no pictures, and no `--save-video`."""
    threshold: Annotated[float, Field(gt=0)] | None = None
    """Largest fused distance at which a person is known; with several models, in units of each one's
    calibrated threshold. null: the gallery's calibrated value."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Smallest lead over the second person, else `ambiguous`. null: the gallery's calibrated value."""

    @model_validator(mode="after")
    def _no_visitors_in_watchlist_mode(self) -> GallerySection:
        if self.watchlist_only and self.visitors.enabled:
            raise _misfit("visitors are kept, which watchlist_only forbids: leave one out", "visitors")
        return self

    @model_validator(mode="after")
    def _one_place(self) -> GallerySection:
        if self.path is not None and self.url is not None:
            raise _misfit("path and url are both given; one of them says where the gallery is", "url")
        return self

    @property
    def where(self) -> Path | str | None:
        """What `gaitstream.gallery.Gallery` opens, with credentials; None without a gallery."""
        return self.path if self.url is None else self.url.reveal()


class Events(Section):
    """Where decisions are published."""

    endpoint: str = "tcp://127.0.0.1:5556"
    """ZeroMQ endpoint the publisher binds."""
    replay: str | None = None
    """Endpoint that answers requests for missed events. null: the next port after `endpoint`."""
    journal: FilePath | None = None
    """The journal's directory: an event is written there before it is on the wire. null: beside the file."""
    journal_fsync: Literal["batch", "always", "never"] = "batch"
    """When events are forced to the disk: `batch`, before they go on the wire, all that wait at once;
    `always`, each before the next is decided; `never`, when the system likes: a power failure may take
    them."""
    journal_max_mib: Annotated[int, Field(ge=32)] = 1024
    """The oldest files of the journal are deleted beyond this size."""
    journal_max_days: Annotated[float, Field(gt=0)] | None = None
    """Events older than this are deleted, to within a day. null: only the size counts."""
    wire: Literal["json", "msgpack"] = "json"
    """How events are encoded in the journal and on the wire; msgpack is smaller and faster."""
    names: bool = True
    """Whether events carry people's names beside their ids. false: ids alone, in the journal and on the wire;
    names are in the gallery, where `gaitstream gallery show` finds them."""
    keys: FilePath | None = None
    """Folder made by `gaitstream keys`: only keys allowed there may listen. null: all on this machine."""
    insecure: bool = False
    """Listen on addresses that other machines can reach without keys; also `--insecure`."""
    stats_every_s: Annotated[float, Field(gt=0)] | None = 60.0
    """How often `pipeline.stats` is published. null: never."""


class Metrics(Section):
    """Prometheus metrics."""

    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Port of `http://host:port/metrics`. null: off."""
    host: str = "127.0.0.1"
    """Address to listen on."""


class Saving(Section):
    """What `--save-video` and `--save-tracklets` leave on the disk, for its owner alone."""

    bitrate_kbps: Annotated[int, Field(ge=50, le=100_000)] | None = None
    """Bit rate of saved video. null: as much as an even quality takes, 1 to 4 Mbit/s at 1080p."""
    minutes: Annotated[float, Field(gt=0, le=1440)] = 60.0
    """Length of one video file; it can be played while it is written, and after any end of the process."""
    keep_days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    """Older files and tracks are deleted. null: never."""
    most_gib: Annotated[float, Field(gt=0)] | None = None
    """When all together are larger, the oldest are deleted. null: never."""


class Evidence(Section):
    """What a run keeps beside its events for people who look at them, sealed with the gallery's key."""

    keep: bool = False
    """Keep pictures, embeddings, distances and limits of every track that was decided."""
    folder: FilePath | None = None
    """Folder of all that is kept. null: `<name of this file>.evidence` beside it."""
    pictures: Annotated[int, Field(ge=1, le=120)] = 12
    """Most pictures of a track, spread over its life; a quarter as many of its frames that were not used."""
    minutes: Annotated[float, Field(gt=0, le=1440)] | None = None
    """How many of each camera's last minutes are kept, a picture a second. null: none."""
    keep_days: Annotated[float, Field(gt=0, le=36_500)] | None = 30.0
    """Older evidence is deleted. null: never."""
    most_gib: Annotated[float, Field(gt=0)] | None = None
    """When all tracks together are larger, the oldest are deleted. null: never."""
    live: bool = False
    """Offer annotated pictures on a socket that this user alone may open; drawn while somebody looks."""

    @property
    def writes(self) -> bool:
        """Whether anything is kept at all."""
        return self.keep or self.minutes is not None


class DeepStream(Section):
    """The GPU front end, used with `--frontend deepstream`."""

    width: Annotated[int, Field(ge=64, le=8192)] = 1920
    """Width of the frames inside the pipeline; all cameras are scaled to it. Give the cameras' own."""
    height: Annotated[int, Field(ge=64, le=8192)] = 1080
    """Height of the frames inside the pipeline."""
    max_cameras: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Room for cameras added while it runs. null: as many as the file has, and another one restarts the
    pipeline. Room that is not used costs each batch up to a quarter of a frame's time."""
    source_fps: Annotated[float, Field(gt=0, le=240)] = 30.0
    """Rate the cameras send; with `cameras[].fps` it decides which frames the decoder hands on."""
    tracker: Literal["nvsort", "nvdcf"] = "nvsort"
    """`nvdcf` also follows people between detections, for `detect_every` above 1; it costs GPU time."""
    clock: Literal["arrival", "camera"] = "arrival"
    """`camera` takes capture times from RTCP sender reports: for cameras that are on NTP."""
    latency_ms: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Jitter buffer of RTSP."""
    reconnect_s: Annotated[int, Field(ge=1, le=3600)] = 10
    """A camera without data for this long is connected again."""
    rest: Annotated[str, Field(pattern=r"^(127\.0\.0\.1|\[::1\]):[0-9]{1,5}$")] | None = "127.0.0.1:9000"
    """Where DeepStream's own REST server listens: it has no authentication, so loopback only. Cameras are
    added and removed through it. null: off, and a change of cameras restarts the pipeline."""
    gpu: Annotated[int, Field(ge=0, le=63)] = 0
    """Number of the GPU."""
    view_port: Annotated[int, Field(ge=1, le=65535)] = 8554
    """Port of the annotated pictures that `--view` offers, as `tcp://ADDRESS:PORT`."""
    view_address: Annotated[
        str, Field(pattern=r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:]*)$")
    ] = "127.0.0.1"
    """Address they are offered at. There is no authentication: whoever reaches it sees the pictures."""


class Config(Section):
    """Everything `gaitstream run` needs to know."""

    cameras: Annotated[list[Camera], Field(min_length=1)]
    """The cameras of the site."""
    models: Models = Models()
    """The networks."""
    runtime: RuntimeSection = RuntimeSection()
    """Where they run."""
    sources: Sources = Sources()
    """Reading and reconnecting."""
    tracking: Tracking = Tracking()
    """From boxes to tracks."""
    tracklets: Tracklets = Tracklets()
    """From tracks to windows."""
    quality: Quality = Quality()
    """From frames to evidence."""
    gallery: GallerySection = GallerySection()
    """Who is known."""
    events: Events = Events()
    """What is published."""
    metrics: Metrics = Metrics()
    """What is counted."""
    saving: Saving = Saving()
    """What is left on the disk."""
    evidence: Evidence = Evidence()
    """What is kept for people who look at events."""
    deepstream: DeepStream = DeepStream()
    """The GPU front end."""
    fleet: Fleet = Fleet()
    """One site on many machines."""

    @model_validator(mode="after")
    def _evidence_sealed(self) -> Config:
        if self.evidence.writes and self.gallery.where is None:
            text = "evidence is sealed with the gallery's key: add 'gallery: {path: people.gallery}'"
            raise _misfit(text, "evidence")
        if self.evidence.minutes is not None and self.gallery.watchlist_only:
            text = "pictures of everybody are kept, which gallery.watchlist_only forbids; leave it out"
            raise _misfit(text, "evidence", "minutes")
        return self

    @model_validator(mode="after")
    def _ids_unique(self) -> Config:
        seen: dict[str, int] = {}
        for index, camera in enumerate(self.cameras):
            first = seen.setdefault(camera.id, index)
            if first != index:
                text = f"{camera.id!r} is the id of cameras[{first}] already; give every camera its own"
                raise _misfit(text, "cameras", index, "id")
        return self

    @model_validator(mode="after")
    def _settled_windows_go_on(self) -> Config:
        every, gap_s = self.tracklets.settled_every, self.tracklets.max_gap_s
        for camera in self.cameras:
            if camera.fps is not None and every > 1 and every / camera.fps >= gap_s:
                text = (
                    f"every {every}th of {camera.id}'s {camera.fps:g} frames a second leaves gaps of "
                    f"max_gap_s, {gap_s:g} s, in which no window would close: at most "
                    f"{max(1, math.ceil(gap_s * camera.fps) - 1)}"
                )
                raise _misfit(text, "tracklets", "settled_every")
        return self

    def camera(self, camera_id: str) -> Camera:
        """The camera of that id; KeyError when there is none."""
        return {camera.id: camera for camera in self.cameras}[camera_id]

    def quality_for(self, camera: Camera) -> Quality:
        """The quality limits with this camera's own values in place."""
        own = camera.thresholds.model_dump(exclude_none=True)
        return self.quality.model_copy(update={k: v for k, v in own.items() if k in Quality.model_fields})

    def detection_score(self, camera: Camera) -> float:
        """Lowest detector score of a person on this camera."""
        own = camera.thresholds.detection_score
        return self.models.detector.score if own is None else own

    def gallery_for(self, camera: Camera) -> GallerySection:
        """The gallery with this camera's own threshold and margin in place."""
        own = camera.thresholds
        update = {"threshold": own.distance, "margin": own.margin}
        return self.gallery.model_copy(update={k: v for k, v in update.items() if v is not None})
