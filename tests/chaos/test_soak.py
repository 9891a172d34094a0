"""What the soak of a whole run counts as a fault."""

from __future__ import annotations

import dataclasses

from benchmarks.soak import SoakOutcome, count_events
from gaitstream.events import CameraOffline, Event, TrackEnded, TrackStarted

SOUND = SoakOutcome(exit_code=0)
BEGIN = TrackStarted(time_ns=1, camera="gate", track=1)
END = TrackEnded(
    time_ns=2, camera="gate", track=1, cause="lost", first_ns=1, seen=1, accepted=0, outcome="no_evidence"
)
AWAY = CameraOffline(time_ns=3, camera="gate", cause="shutdown")


def counted(events: list[Event], received: list[tuple[str, int]]) -> SoakOutcome:
    outcome = dataclasses.replace(SOUND)
    count_events(outcome, [("e", seq, event) for seq, event in enumerate(events, 1)], received)
    return outcome


def test_everything_once_and_in_order_is_flawless() -> None:
    assert counted([BEGIN, END], [("e", 1), ("e", 2)]).flawless
    assert counted([BEGIN, AWAY], [("e", 1), ("e", 2)]).flawless


def test_what_is_lost_doubled_out_of_order_or_never_ended_is_counted() -> None:
    assert counted([BEGIN, END], [("e", 2)]).missing == 1
    assert counted([BEGIN, END], [("e", 1), ("e", 2), ("e", 2)]).doubled == 1
    assert counted([BEGIN, END], [("e", 2), ("e", 1)]).disordered == 1
    assert counted([BEGIN, END, BEGIN], [("e", 1), ("e", 2), ("e", 3)]).endless == 1
    assert not counted([], []).flawless


def test_a_number_that_the_journal_lacks_is_counted() -> None:
    outcome = dataclasses.replace(SOUND)
    count_events(outcome, [("e", 1, BEGIN), ("e", 3, END)], [("e", 1), ("e", 3)])
    assert outcome.gaps == 1
