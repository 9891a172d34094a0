"""What cams.yaml says of all that leaves the pipeline: events, metrics, what is saved and kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from gaitstream.addresses import DEFAULT_ENDPOINT, LAST_PORT
from gaitstream.config.fields import (
    Days,
    FilePath,
    misfit,
    share_port,
    tcp_port,
)
from gaitstream.config.section import Section


class Events(Section):
    """Where decisions are published."""

    endpoint: str = DEFAULT_ENDPOINT
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
    journal_max_days: Days | None = None
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
    stats_every_s: Annotated[float, Field(gt=0)] | None = 10.0
    """How often `pipeline.stats` is published. null: never."""

    @field_validator("endpoint", "replay")
    @classmethod
    def _port_exists(cls, endpoint: str | None) -> str | None:
        if endpoint is not None:
            tcp_port(endpoint)
        return endpoint

    @model_validator(mode="after")
    def _two_endpoints(self) -> Events:
        if self.replay is None and tcp_port(self.endpoint) == LAST_PORT:
            text = f"{self.endpoint} has no next port for replay: give a lower one, or set events.replay"
            raise misfit(text, "endpoint")
        if self.replay is not None and _clash(self.endpoint, self.replay):
            text = f"{self.replay} is where events are published already; give another port"
            raise misfit(text, "replay")
        return self

    @property
    def listens_at(self) -> dict[str, str]:
        """By key, each `HOST:PORT` that is listened at over TCP."""
        addresses = {}
        if port := tcp_port(self.endpoint):
            host = self.endpoint.removeprefix("tcp://").rpartition(":")[0]
            addresses["endpoint"] = f"{host}:{port}"
            if self.replay is None:
                addresses["replay, the next port after endpoint"] = f"{host}:{port + 1}"
        if self.replay is not None and tcp_port(self.replay):
            addresses["replay"] = self.replay.removeprefix("tcp://")
        return addresses


def _clash(one: str, another: str) -> bool:
    if tcp_port(one) is None or tcp_port(another) is None:
        return one == another
    return share_port(one.removeprefix("tcp://"), another.removeprefix("tcp://"))


class Metrics(Section):
    """Prometheus metrics."""

    port: Annotated[int, Field(ge=1, le=LAST_PORT)] | None = None
    """Port of `http://host:port/metrics`. null: off."""
    host: str = "127.0.0.1"
    """Address to listen on."""


class Saving(Section):
    """What `--save-video` and `--save-tracklets` leave on the disk, for its owner alone."""

    bitrate_kbps: Annotated[int, Field(ge=50, le=100_000)] | None = None
    """Bit rate of saved video. null: as much as an even quality takes, 1 to 4 Mbit/s at 1080p."""
    minutes: Annotated[float, Field(gt=0, le=1440)] = 60.0
    """Length of one video file; it can be played while it is written, and after any end of the process."""
    keep_days: Days | None = None
    """Older files and tracks are deleted. null: never."""
    most_gib: Annotated[float, Field(gt=0)] | None = None
    """When all together are larger, the oldest are deleted. null: never."""


MOST_MINUTES = 1440.0
"""Of a camera that may be kept."""


class Evidence(Section):
    """What a run keeps beside its events for people who look at them, sealed with the gallery's key."""

    keep: bool = False
    """Keep pictures, embeddings, distances and limits of every track that was decided."""
    folder: FilePath | None = None
    """Folder of all that is kept. null: `<name of this file>.evidence` beside it."""
    pictures: Annotated[int, Field(ge=1, le=120)] = 12
    """Most pictures of a track, spread over its life; a quarter as many of its frames that were not used."""
    minutes: Annotated[float, Field(gt=0, le=MOST_MINUTES)] | None = None
    """How many of each camera's last minutes are kept, a picture a second. null: none."""
    keep_days: Days | None = 30.0
    """Older evidence is deleted. null: never."""
    most_gib: Annotated[float, Field(gt=0)] | None = None
    """When all tracks together are larger, the oldest are deleted. null: never."""
    live: bool = False
    """Offer annotated pictures on a socket that this user alone may open; drawn while somebody looks."""

    @property
    def writes(self) -> bool:
        """Whether anything is kept at all."""
        return self.keep or self.minutes is not None
