"""What cameras said of people of whom the truth is known, as one file."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Heard(msgspec.Struct):
    """One event.

    Attributes:
        arrived_ns: when it was published, UTC nanoseconds.
        event: as on the wire.
    """

    arrived_ns: int
    event: msgspec.Raw


class Shown(msgspec.Struct):
    """One track with the truth.

    Attributes:
        run: of the pipeline.
        camera: its id.
        track: number.
        truth: whom it shows; None for nobody in particular.
        frames: it was seen in.
    """

    run: str
    camera: str
    track: int
    truth: str | None
    frames: int


class Record(msgspec.Struct):
    """A site.

    Attributes:
        enrolled: names of those in the gallery.
        events: in the order they came.
        shown: all tracks.
    """

    enrolled: list[str]
    events: list[Heard] = []
    shown: list[Shown] = []


def read_record(path: Path) -> Record:
    """A record that was written by `benchmarks.handoff_world`."""
    return msgspec.json.decode(path.read_bytes(), type=Record)
