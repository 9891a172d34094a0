"""The event bus: what is published, how it is kept, how it is received.

Needs pyzmq and msgspec alone, so that a subscriber can install and import it without the pipeline:

    from gaitstream.events import Subscriber

    for received in Subscriber(topics=("identity/",)):
        print(received.event)
"""

from __future__ import annotations

from gaitstream.events.journal import Journal
from gaitstream.events.publisher import Publisher
from gaitstream.events.schema import (
    SCHEMA,
    CameraOffline,
    CameraOnline,
    Event,
    IdentityDecided,
    IdentityFinal,
    IdentityRevised,
    RunStarted,
    RunStopped,
    TrackEnded,
    Unrecognised,
    decode,
    encode,
)
from gaitstream.events.segment import Record
from gaitstream.events.subscriber import Positions, Received, Subscriber

__all__ = [
    "SCHEMA",
    "CameraOffline",
    "CameraOnline",
    "Event",
    "IdentityDecided",
    "IdentityFinal",
    "IdentityRevised",
    "Journal",
    "Positions",
    "Publisher",
    "Received",
    "Record",
    "RunStarted",
    "RunStopped",
    "Subscriber",
    "TrackEnded",
    "Unrecognised",
    "decode",
    "encode",
]
