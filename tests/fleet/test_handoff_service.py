"""Hand-off as a process, over real sockets."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from gaitstream.cli import main
from gaitstream.events import (
    Event,
    GalleryChanged,
    IdentityCorrected,
    Journal,
    Publisher,
    Subscriber,
    TrackEnded,
    TrackStarted,
    encode,
)
from gaitstream.fleet.handoff import HandOffRules
from gaitstream.fleet.handoff_service import HandOffService
from gaitstream.fleet.transit import TransitState
from tests.events.wiring import LOOPBACK, bus
from tests.fleet.speaking import Cameras


@contextmanager
def handing_off(publisher: Publisher, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [
        sys.executable, "-m", "gaitstream", "handoff", "--endpoint", publisher.endpoint, "--replay",
        publisher.replay, "--journal", str(folder / "handoff"), "--publish", "tcp://127.0.0.1:25558",
        "--lost", "0.01",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "following" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.wait()


def follow_until(service: HandOffService, met: Callable[[], bool]) -> None:
    """Run a service until something holds, and stop it."""
    following = threading.Thread(target=service.run)
    following.start()
    deadline_s = time.monotonic() + 20
    while not met() and following.is_alive() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    service.stop()
    following.join(20)
    assert not following.is_alive()
    assert met()


def first_correction() -> IdentityCorrected:
    with Subscriber("tcp://127.0.0.1:25558", since="beginning") as subscriber:
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:
            received = subscriber.receive(0.5)
            if received is not None and isinstance(received.event, IdentityCorrected):
                return received.event
    raise AssertionError("nothing was corrected")


def names_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("*.journal"))


class Speaking(Cameras):
    """Cameras whose events are published; capture times are the story's, times of arrival the clock's."""

    def __init__(self, publisher: Publisher) -> None:
        super().__init__(lost_s=0.0)
        self._publisher = publisher

    def tell(self, event: Event, at_s: float) -> list[Event]:
        self._publisher.publish(event)
        if isinstance(event, TrackEnded):
            time.sleep(0.03)
        return []


def test_a_process_corrects_what_publishers_say(tmp_path: Path) -> None:
    with bus(tmp_path / "run") as publisher, handing_off(publisher, tmp_path) as process:
        time.sleep(1.0)
        cameras = Speaking(publisher)
        at_s = cameras.teach()
        cameras.walk("gate", at_s, ada=0.5, ben=1.4)
        cameras.walk("hall", at_s + 24, ada=0.9, ben=0.89)
        corrected = first_correction()
        assert (corrected.camera, corrected.track, corrected.person) == ("hall", cameras.track, "Ada")
        assert b'"Ada"' in names_in(tmp_path / "handoff")

        publisher.publish(GalleryChanged(time_ns=0, people=1, removed=("ada",)))
        deadline_s = time.monotonic() + 10
        while b'"Ada"' in names_in(tmp_path / "handoff"):
            assert time.monotonic() < deadline_s, "the name stayed in the journal of corrections"
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    state = msgspec.json.decode((tmp_path / "handoff.transit").read_bytes(), type=TransitState)
    assert {(origin, camera) for origin, camera, _ in state.moves} >= {("gate", "hall"), ("hall", "gate")}


def test_an_event_without_a_time_of_publishing_ends_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")
    for said in ("yesterday", "2026-11-26T03:25:00Z"):
        event = TrackStarted(time_ns=1, camera="gate", track=1, published_at=said)
        journal.append("track/gate", encode(event))
    with Publisher(journal, LOOPBACK, LOOPBACK) as publisher, bus(tmp_path / "handoff") as own:
        service = HandOffService(
            lambda _: Subscriber(publisher.endpoint, publisher.replay, since="beginning"), own, HandOffRules()
        )
        follow_until(service, lambda: service.taken >= 1)
    assert service.taken == 1


def test_a_clock_that_is_a_year_ahead_ends_no_track_of_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By its time all tracks had ended, and none was ever let go of again."""
    journal = Journal(tmp_path / "run")
    next_year = f"{datetime.now(UTC).year + 1}-12-31T00:00:00.000000Z"
    for camera, said in (("gate", ""), ("hall", next_year)):
        event = TrackStarted(time_ns=time.time_ns(), camera=camera, run=camera, track=1, published_at=said)
        journal.append(f"track/{camera}", encode(event))
    with Publisher(journal, LOOPBACK, LOOPBACK) as publisher, bus(tmp_path / "handoff") as own:
        service = HandOffService(
            lambda _: Subscriber(publisher.endpoint, publisher.replay, since="beginning"), own, HandOffRules()
        )
        follow_until(service, lambda: service.taken >= 2)
    assert sorted(key[1] for key in service._handing._tracks.open) == ["gate", "hall"]
    assert "before this machine's" in caplog.text


def test_what_was_said_before_it_began_is_heard_and_not_corrected(tmp_path: Path) -> None:
    with bus(tmp_path / "run") as publisher:
        cameras = Speaking(publisher)
        at_s = cameras.teach()
        cameras.walk("gate", at_s, ada=0.5, ben=1.4)
        cameras.walk("hall", at_s + 24, ada=0.9, ben=0.89)
        with bus(tmp_path / "handoff") as own:
            service = HandOffService(
                lambda since_ns: Subscriber(publisher.endpoint, publisher.replay, since=since_ns),
                own,
                HandOffRules(lost_s=0.01),
            )
            following = threading.Thread(target=service.run)
            following.start()
            deadline_s = time.monotonic() + 20
            while service.taken < publisher.journal.head and time.monotonic() < deadline_s:
                time.sleep(0.02)
            service.stop()
            following.join(10)
            assert (service.taken, service.told, own.journal.head) == (publisher.journal.head, 0, 0)


def test_who_left_the_gallery_while_it_was_away_leaves_its_journal(tmp_path: Path) -> None:
    rules, state = HandOffRules(horizon_s=0.2, lost_s=0.01), tmp_path / "state"

    def begin_anew() -> HandOffService:
        return HandOffService(
            lambda since_ns: Subscriber(publisher.endpoint, publisher.replay, since=since_ns),
            own,
            rules,
            state,
        )

    with bus(tmp_path / "run") as publisher, bus(tmp_path / "handoff") as own:
        publisher.publish(TrackStarted(time_ns=1, camera="gate", track=1))
        service = begin_anew()
        follow_until(service, lambda: service.taken == 1)
        own.publish(
            IdentityCorrected(
                time_ns=2,
                camera="gate",
                track=1,
                status="known",
                person="Ada",
                person_id="ada",
                cause="transit",
            )
        )
        publisher.publish(GalleryChanged(time_ns=3, people=0, removed=("ada",)))
        time.sleep(0.5)  # longer than the last minutes that it listens to again
        publisher.publish(TrackStarted(time_ns=4, camera="gate", track=2))
        follow_until(begin_anew(), lambda: b'"Ada"' not in names_in(tmp_path / "handoff"))


def test_a_file_that_holds_no_transit_times_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").write_text("nothing")
    words = ["handoff", "--journal", str(tmp_path / "journal"), "--publish", "tcp://127.0.0.1:25560"]
    assert main([*words, "--state", str(tmp_path / "state")]) == 1
    assert "does not hold transit times" in capsys.readouterr().err
