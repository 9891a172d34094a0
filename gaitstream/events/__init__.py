"""The event bus: what is published, how it is kept, how it is received.

Needs pyzmq and msgspec alone, so that a subscriber can install and import it without the pipeline:

    from gaitstream.events import Subscriber

    for received in Subscriber(topics=("identity/",)):
        print(received.event)
"""

from __future__ import annotations

from gaitstream.events.codec import MalformedError, decode, encode
from gaitstream.events.journal import Journal
from gaitstream.events.notices import Notice
from gaitstream.events.positions import Positions
from gaitstream.events.publisher import Publisher
from gaitstream.events.publishing import Publishing
from gaitstream.events.schema import (
    SCHEMA,
    CameraHandoff,
    CameraOffline,
    CameraOnline,
    CameraStats,
    Event,
    GalleryChanged,
    IdentityConfirmed,
    IdentityCorrected,
    IdentityDecided,
    IdentityFinal,
    IdentityRevised,
    PipelineStats,
    RunStarted,
    RunStopped,
    TrackEnded,
    TrackStarted,
    Unrecognised,
    VisitorJoined,
    VisitorNamed,
    VisitorSeen,
)
from gaitstream.events.segment import Record
from gaitstream.events.subscriber import Received, Subscriber

__all__ = [
    "SCHEMA",
    "CameraHandoff",
    "CameraOffline",
    "CameraOnline",
    "CameraStats",
    "Event",
    "GalleryChanged",
    "IdentityConfirmed",
    "IdentityCorrected",
    "IdentityDecided",
    "IdentityFinal",
    "IdentityRevised",
    "Journal",
    "MalformedError",
    "Notice",
    "PipelineStats",
    "Positions",
    "Publisher",
    "Publishing",
    "Received",
    "Record",
    "RunStarted",
    "RunStopped",
    "Subscriber",
    "TrackEnded",
    "TrackStarted",
    "Unrecognised",
    "VisitorJoined",
    "VisitorNamed",
    "VisitorSeen",
    "decode",
    "encode",
]
