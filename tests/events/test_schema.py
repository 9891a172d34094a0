"""The schema: topics, round trips, kinds from the future."""

from __future__ import annotations

import msgspec
import pytest

from gaitstream.events import (
    CameraOffline,
    CameraOnline,
    Event,
    IdentityDecided,
    IdentityFinal,
    RunStarted,
    RunStopped,
    TrackEnded,
    Unrecognised,
    decode,
    encode,
)

EVENTS: list[tuple[Event, str]] = [
    (IdentityDecided(time_ns=5, camera="gate", track=3, status="known", person="Ada"), "identity/gate"),
    (
        IdentityFinal(
            time_ns=5,
            camera="gate",
            track=3,
            status="unknown",
            reason="below_threshold",
            candidates=(("Ada", 1.5),),
        ),
        "identity/gate",
    ),
    (
        TrackEnded(
            time_ns=1,
            camera="a",
            track=1,
            cause="lost",
            first_ns=0,
            seen=9,
            accepted=0,
            outcome="insufficient_evidence",
        ),
        "track/a",
    ),
    (CameraOnline(time_ns=1, camera="a", width=640, height=480, fps=15.0), "camera/a"),
    (CameraOffline(time_ns=1, camera="a", cause="stalled"), "camera/a"),
    (RunStarted(time_ns=1, run="r", version="0.1.0", cameras=("a",)), "run"),
    (RunStopped(time_ns=1, run="r", cause="interrupt"), "run"),
]


@pytest.mark.parametrize(("event", "topic"), EVENTS, ids=lambda value: getattr(type(value), "__name__", ""))
def test_round_trip_and_topic(event: Event, topic: str) -> None:
    assert decode(encode(event)) == event
    assert event.topic == topic


def test_every_event_names_kind_and_schema() -> None:
    plain = msgspec.json.decode(encode(EVENTS[0][0]))
    assert plain["type"] == "identity.decided"
    assert plain["schema"] == 1


def test_unknown_fields_are_ignored() -> None:
    plain = msgspec.json.decode(encode(EVENTS[0][0])) | {"mood": "bright"}
    assert decode(msgspec.json.encode(plain)) == EVENTS[0][0]


def test_a_kind_of_the_future_arrives_as_plain_data() -> None:
    event = decode(b'{"type":"crowd.counted","time_ns":7,"run":"r","camera":"a","people":12}')
    assert isinstance(event, Unrecognised)
    assert (event.kind, event.time_ns, event.data["people"]) == ("crowd.counted", 7, 12)
