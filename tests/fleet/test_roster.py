from __future__ import annotations

from gaitstream.events import RunStarted, TrackStarted
from gaitstream.fleet.roster import LeaseRoster


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def event(camera: str) -> TrackStarted:
    return TrackStarted(time_ns=1, camera=camera, track=1)


def running(clock: Clock, **leases: int) -> LeaseRoster:
    roster = LeaseRoster(clock)
    roster.extend(4, 5)
    roster.enter(leases)
    for camera in roster.poll()[1]:
        assert roster.entered(camera)
    return roster


def test_events_carry_the_token_of_their_camera() -> None:
    roster = running(Clock(), gate=7)
    marked = roster.mark(event("gate"))
    assert marked is not None
    assert marked.lease == 7
    started = RunStarted(time_ns=1, version="1")
    assert roster.mark(started) is started


def test_cameras_are_given_up_before_the_lease_ends_and_nothing_is_said_after() -> None:
    clock = Clock()
    roster = running(clock, gate=7)
    clock.now = 3.9
    assert roster.poll() == ([], [])
    clock.now = 4.0
    assert roster.poll() == (["gate"], [])
    assert roster.mark(event("gate")) is not None  # its last words, in time
    clock.now = 5.0
    assert roster.mark(event("gate")) is None
    assert roster.refused == 1


def test_an_event_of_a_camera_that_is_not_held_is_refused() -> None:
    roster = running(Clock(), gate=7)
    assert roster.mark(event("yard")) is None


def test_a_camera_is_told_to_be_gone_after_its_last_word_and_not_before() -> None:
    roster = running(Clock(), gate=7, yard=8)
    roster.leave(["gate"])
    assert roster.take_gone() == set()
    assert roster.poll() == (["gate"], [])
    roster.left("gate")
    assert roster.take_gone() == {"gate"}
    assert roster.take_gone() == set()


def test_a_camera_that_was_never_opened_is_gone_at_once() -> None:
    roster = LeaseRoster(Clock())
    roster.extend(4, 5)
    roster.enter({"gate": 7})
    roster.leave(["gate"])
    assert roster.take_gone() == {"gate"}
    assert not roster.entered("gate")


def test_a_new_token_reopens_the_camera() -> None:
    roster = running(Clock(), gate=7)
    roster.enter({"gate": 9})
    assert roster.poll() == (["gate"], [])
    roster.left("gate")
    assert roster.take_gone() == set()
    assert roster.poll() == ([], ["gate"])


def test_what_the_database_does_not_know_is_stopped_and_what_nobody_reads_given_back() -> None:
    roster = running(Clock(), gate=7, yard=8)
    roster.keep_only({"yard": 8, "lost": 3})
    assert roster.poll() == (["gate"], [])
    assert roster.take_gone() == {"lost"}


def test_the_guard_gives_everything_up_once_the_session_is_not_sure() -> None:
    clock = Clock()
    roster = running(clock, gate=7)
    assert not roster.expire()
    clock.now = 4.5
    assert roster.expire()
    roster.extend(9, 10)  # renewed after all: the camera was stopped, and is taken anew
    assert roster.poll() == (["gate"], [])
    roster.left("gate")
    assert roster.take_gone() == {"gate"}


def test_a_lost_session_leaves_nothing_to_give_back() -> None:
    roster = running(Clock(), gate=7)
    roster.leave(["gate"])
    roster.lose()
    assert roster.poll() == (["gate"], [])
    assert roster.take_gone() == set()
    assert roster.mark(event("gate")) is None
