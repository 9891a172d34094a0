"""The schema: topics, round trips, kinds from the future."""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitstream.errors import EventError
from gaitstream.events import (
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
    Journal,
    PipelineStats,
    RunStarted,
    RunStopped,
    TrackEnded,
    TrackStarted,
    Unrecognised,
    VisitorJoined,
    VisitorNamed,
    VisitorSeen,
    decode,
    encode,
)
from gaitstream.events.codec import Stamp, Wire, plain
from gaitstream.events.identifiers import Clock, EventIds, parse_time

EVENTS: list[tuple[Event, str]] = [
    (IdentityDecided(time_ns=5, camera="gate", track=3, status="known", person="Ada"), "identity/gate"),
    (
        IdentityCorrected(
            time_ns=5, camera="gate", track=3, status="known", person="Ada", cause="transit", was_id="ben"
        ),
        "identity/gate",
    ),
    (
        CameraHandoff(
            time_ns=9,
            camera="hall",
            track=4,
            person="Ada",
            person_id="ada",
            from_camera="gate",
            from_track=3,
            from_run="run",
            left_ns=5,
            transit_s=21.5,
            expected_s=20.0,
            confidence=0.97,
        ),
        "camera/hall",
    ),
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
    (IdentityRevised(time_ns=5, camera="gate", track=3, status="known", person="Ada"), "identity/gate"),
    (IdentityConfirmed(time_ns=5, camera="gate", track=3, status="known", person="Ada"), "identity/gate"),
    (TrackStarted(time_ns=1, camera="a", track=1, box=(1.0, 2.0, 3.0, 4.0)), "track/a"),
    (
        PipelineStats(time_ns=1, uptime_s=9.5, cameras={"a": CameraStats(state="online", fps=15.0)}),
        "stats",
    ),
    (GalleryChanged(time_ns=1, people=3, added=("p3",)), "gallery"),
    (
        VisitorSeen(time_ns=1, camera="a", track=3, visitor="visitor-1", visitor_id="v1", new=True),
        "visitor/a",
    ),
    (
        VisitorNamed(
            time_ns=1, visitor="visitor-1", visitor_id="v1", person="Ada", tracks=(("r", "a", 3, 5),)
        ),
        "visitor",
    ),
    (
        VisitorJoined(time_ns=1, visitor="visitor-2", visitor_id="v2", into="visitor-1", into_id="v1"),
        "visitor",
    ),
    (CameraOnline(time_ns=1, camera="a", width=640, height=480, fps=15.0), "camera/a"),
    (CameraOffline(time_ns=1, camera="a", cause="stalled"), "camera/a"),
    (RunStarted(time_ns=1, run="r", version="0.1.0", cameras=("a",)), "run"),
    (RunStopped(time_ns=1, run="r", cause="interrupt"), "run"),
]


@pytest.mark.parametrize("wire", ["json", "msgpack"])
@pytest.mark.parametrize(("event", "topic"), EVENTS, ids=lambda value: getattr(type(value), "__name__", ""))
def test_round_trip_and_topic(event: Event, topic: str, wire: Wire) -> None:
    assert decode(encode(event, wire)) == event
    assert event.topic == topic


def test_every_event_names_kind_and_schema() -> None:
    data = msgspec.json.decode(encode(EVENTS[0][0]))
    assert data["type"] == EVENTS[0][0].type == "identity.decided"
    assert data["schema"] == 2


def test_unknown_fields_are_ignored() -> None:
    data = msgspec.json.decode(encode(EVENTS[0][0])) | {"mood": "bright"}
    assert decode(msgspec.json.encode(data)) == EVENTS[0][0]


def test_a_kind_of_the_future_arrives_as_plain_data() -> None:
    event = decode(b'{"type":"crowd.counted","time_ns":7,"run":"r","camera":"a","people":12}')
    assert isinstance(event, Unrecognised)
    assert (event.kind, event.time_ns, event.data["people"]) == ("crowd.counted", 7, 12)


@pytest.mark.parametrize("wire", ["json", "msgpack"])
def test_the_publisher_fills_the_envelope(wire: Wire) -> None:
    event = IdentityDecided(time_ns=1_764_127_521_123_456_789, camera="gate", track=3, status="known")
    stamp = Stamp("p" * 32, "e" * 16, wire).encode
    data = plain(stamp(event, 41, event.time_ns + 250_000_000))
    assert uuid.UUID(data["event_id"]).version == 7
    assert data["captured_at"] == "2025-11-26T03:25:21.123456789Z"
    assert data["published_at"] == "2025-11-26T03:25:21.373456789Z"
    assert (data["publisher"], data["epoch"], data["seq"]) == ("p" * 32, "e" * 16, 41)
    again = decode(stamp(decode(encode(event, wire)), 42, event.time_ns))
    assert again.event_id != data["event_id"]


def test_an_event_keeps_its_id_when_it_is_published_again() -> None:
    stamp = Stamp("p" * 32, "e" * 16).encode
    first = decode(stamp(CameraOnline(time_ns=1, camera="a"), 1, 5))
    assert decode(stamp(first, 2, 9)).event_id == first.event_id


def test_event_ids_are_version_7_unique_and_sort_by_time() -> None:
    ids = EventIds()
    made = [ids.next(time_ms * 1_000_000) for time_ms in range(2000)]
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in made} == {(7, uuid.RFC_4122)}
    assert len(set(made)) == len(made)
    assert made == sorted(made)


@given(st.integers(-(10**18), 250_000_000_000 * 10**9))
def test_times_as_text_are_rfc_3339(time_ns: int) -> None:
    text = Clock().text(time_ns)
    moment = datetime.fromisoformat(text)
    assert int(moment.replace(microsecond=0).timestamp()) == time_ns // 10**9
    assert int(text[20:29]) == time_ns % 10**9


@pytest.mark.parametrize(
    ("text", "seconds"), [("2026-11-26T03:25", 1795663500), ("2026-11-26T04:25:00+01:00", 1795663500)]
)
def test_a_time_is_read(text: str, seconds: int) -> None:
    assert parse_time(text) == seconds * 10**9


def test_a_duration_is_so_long_ago_and_anything_else_an_error() -> None:
    assert 7199 < (time.time_ns() - parse_time("2h")) / 1e9 < 7201
    with pytest.raises(ValueError, match="how long ago: 30s, 15m, 2h, 7d"):
        parse_time("noon")


def test_version_1_is_still_read() -> None:
    event = decode(
        b'{"type":"identity.final","schema":1,"time_ns":1764127521000000001,"run":"r","camera":"a","track":4,'
        b'"status":"known","person":"Ada","distance":0.5,"models":{"gaitheat":"f"},"candidates":[["Ada",0.5]]}'
    )
    assert isinstance(event, IdentityFinal)
    assert (event.schema, event.person, event.person_id, event.seq) == (1, "Ada", None, 0)
    assert event.captured_at == "2025-11-26T03:25:21.000000001Z"


@pytest.mark.parametrize("wire", ["json", "msgpack"])
@pytest.mark.parametrize("rate", [float("nan"), float("inf")])
def test_a_rate_that_is_none_is_not_said(wire: Wire, rate: float) -> None:
    event = CameraOnline(time_ns=1, camera="a", fps=rate)
    assert decode(encode(event, wire)) == event
    assert event.fps == 0.0
    stats = PipelineStats(
        time_ns=1, uptime_s=1.0, rss_bytes=1, cameras={"a": CameraStats(state="online", fps=rate)}
    )
    assert decode(encode(stats, wire)) == stats


@pytest.mark.parametrize("wire", ["json", "msgpack"])
def test_text_that_is_none_is_an_error_that_names_the_field(wire: Wire) -> None:
    event = TrackStarted(time_ns=1, camera="a\udcff", track=1)
    for write in (partial(encode, event, wire), partial(Stamp("p", "e", wire).encode, event, 1, 1)):
        with pytest.raises(
            EventError, match=r"^track\.started: camera is 'a\\udcff', which cannot be written"
        ):
            write()


def test_a_number_that_is_too_large_is_an_error_that_names_the_field() -> None:
    event = TrackStarted(time_ns=1, camera="a", track=1 << 70)
    with pytest.raises(EventError, match=r"^track\.started: track is 118\d+, which cannot be written"):
        encode(event, "msgpack")


def test_a_topic_that_is_too_long_is_an_error_with_its_limit(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(EventError, match=r"a topic of 70000 bytes .* at most 65535 .* shorter id"):
        journal.append("c" * 70_000, b"{}")
    journal.close()
