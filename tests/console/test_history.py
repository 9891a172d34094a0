"""What every history must do: find anything at once, keep no name, forget."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import msgspec
import pytest

from gaitstream.console import pooling
from gaitstream.console.history import EventFilter, History, StoredEvent, open_history
from gaitstream.console.history.base import HistoryPlace
from gaitstream.console.history.postgresql import PostgresHistory
from gaitstream.console.history.sqlite import SqliteHistory
from gaitstream.errors import ConfigError, ConsoleError
from gaitstream.events import (
    Event,
    GalleryChanged,
    IdentityDecided,
    PipelineStats,
    Unrecognised,
)
from gaitstream.fleet.local_server import PostgresServer, can_run
from tests.console.making import ADA, BEN, SECOND_NS, START_NS, ended, final, publish, stranger


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    if not can_run():
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    started = PostgresServer()
    yield started
    started.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def history(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[History]:
    where: str | Path = tmp_path / "history.db"
    if request.param == "postgresql":
        where = request.getfixturevalue("server").new_database()
    opened = open_history(where)
    yield opened
    opened.close()


def ids(history: History, **wanted: object) -> list[int]:
    """Seconds of the events that are wanted, in the order they come."""
    found = history.page(EventFilter(**wanted), 100).events  # type: ignore[arg-type]
    return [(event.time_ns - START_NS) // SECOND_NS for event in found]


def fill(history: History) -> None:
    history.add(
        [
            final(1, "gate"),
            final(2, "hall", person="Ben", person_id=BEN),
            stranger(3, "gate"),
            stranger(4, "yard", "truncated", status="insufficient_evidence"),
            ended(5, "hall"),
        ]
    )


def test_whatever_an_event_calls_people_it_keeps_no_other_out(history: History) -> None:
    long = random.Random(1).randbytes(20_000).hex()
    strange = ("a\0b", long)
    events = [
        final(1, name, run=name, person_id=name, reason=name, candidates=(("A", 0.1),), candidate_ids=(name,))
        for name in strange
    ]
    assert len(history.add([*events, final(2, "hall")])) == 3
    assert ids(history, cameras=frozenset(("hall",))) == [2]
    assert ids(history, cameras=frozenset((long,))) == [1]
    for name in strange:
        history.merge(name, BEN)
        history.forget(name)
    assert ids(history, person=BEN) == [1, 1]


def test_threads_that_come_and_go_leave_no_connections_behind(history: History) -> None:
    """Twenty at a time, as the server's workers do after a rest."""
    open_files = []
    for _ in range(10):
        threads = [threading.Thread(target=ids, args=(history,)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        open_files.append(len(os.listdir("/proc/self/fd")))
    assert max(open_files) - open_files[0] <= 3 * pooling.MOST


def test_the_newest_of_many_people_comes_at_once(history: History) -> None:
    fill(history)
    history.add([final(9, "hall"), final(8, "gate"), ended(20, "gate")])
    kinds = ("identity.final",)
    found = history.newest_of([ADA, BEN, "c" * 20], EventFilter(kinds=kinds))
    assert {one: event.time_ns - START_NS for one, event in found.items()} == {
        ADA: 9 * SECOND_NS, BEN: 2 * SECOND_NS
    }  # fmt: skip
    at_the_gate = history.newest_of([ADA, BEN], EventFilter(kinds=kinds, cameras=frozenset({"gate"})))
    assert {one: event.camera for one, event in at_the_gate.items()} == {ADA: "gate"}
    assert history.newest_of([ADA], EventFilter(cameras=frozenset({"nowhere"}))) == {}
    assert history.newest_of([ADA], EventFilter(cameras=frozenset())) == {}
    assert history.newest_of([], EventFilter()) == {}


def test_filters_alone_and_together_find_what_they_name(history: History) -> None:
    fill(history)
    assert ids(history) == [5, 4, 3, 2, 1]
    assert ids(history, cameras=frozenset({"gate", "hall"})) == [5, 3, 2, 1]
    assert ids(history, person=BEN) == [2]
    assert ids(history, person=ADA, cameras=frozenset({"gate"})) == [1]
    assert ids(history, status="known", cameras=frozenset({"hall"})) == [5, 2]
    assert ids(history, reason="truncated") == [4]
    assert ids(history, reason="truncated", cameras=frozenset({"gate"})) == []
    assert ids(history, kinds=("track.ended",)) == [5]
    assert ids(history, kinds=("track.ended", "identity.final"), cameras=frozenset({"hall"})) == [5, 2]
    assert ids(history, kinds=("track.ended", "track.ended")) == [5]
    assert ids(history, waits=True) == [2, 1]
    assert ids(history, since_ns=START_NS + 2 * SECOND_NS, until_ns=START_NS + 4 * SECOND_NS) == [3, 2]


def counted(history: History, **wanted: object) -> dict[tuple[str, str], int]:
    """How many last words there are by camera and status."""
    found = history.count(EventFilter(**wanted), "identity.final")  # type: ignore[arg-type]
    return {(one.camera, one.status): one.events for one in found}


def test_last_words_are_counted_by_camera_and_status(history: History) -> None:
    fill(history)
    history.add([final(11, "gate"), final(19, "gate"), stranger(12, "gate"), ended(13)])
    gate, known, strangers = frozenset({"gate"}), {("gate", "known"): 3}, {("gate", "unknown"): 2}
    yard = {("yard", "insufficient_evidence"): 1}
    assert counted(history) == known | strangers | yard | {("hall", "known"): 1}
    assert counted(history, cameras=gate) == known | strangers
    assert counted(history, cameras=gate, status="known") == known
    assert counted(history, person=ADA) == known
    assert counted(history, person=ADA, cameras=frozenset({"hall"})) == {}
    assert counted(history, reason="truncated") == yard
    assert counted(history, reason="truncated", cameras=frozenset()) == {}
    since_ns, until_ns = START_NS + 11 * SECOND_NS, START_NS + 19 * SECOND_NS
    assert counted(history, since_ns=since_ns, until_ns=until_ns) == {
        ("gate", "known"): 1, ("gate", "unknown"): 1,
    }  # fmt: skip


KINDS = ("identity.decided", "identity.final", "track.ended")


def mixed(count: int) -> list[Event]:
    """Events of many kinds, cameras and answers, some of which never come together."""
    chance, events = random.Random(3), []
    for at in range(count):
        camera = chance.choice(["gate", "hall", "hall", "yard"])
        one: Event = ended(at, camera, at)
        if chance.random() < 0.8:
            answer = chance.choice(["known", "unknown", "truncated"])
            one = final(at, camera, at) if answer == "known" else stranger(at, camera, track=at)
            if answer == "truncated":
                one = stranger(at, camera, "truncated", track=at, status="insufficient_evidence")
            if chance.random() < 0.5:
                one = publish(IdentityDecided(**(msgspec.structs.asdict(one) | {"event_id": ""})))
        events.append(one)
    return events


def fits(event: StoredEvent, wanted: EventFilter) -> bool:
    return (
        (wanted.cameras is None or event.camera in wanted.cameras)
        and (not wanted.kinds or event.type in wanted.kinds)
        and (not wanted.waits or event.waits)
        and all(
            getattr(wanted, name) in (None, getattr(event, name)) for name in ("person", "status", "reason")
        )
    )


def test_every_combination_of_filters_gives_what_fits_and_nothing_else(history: History) -> None:
    everything = sorted(history.add(mixed(120)), key=lambda one: one.place, reverse=True)
    asked = product(
        (None, frozenset({"gate"}), frozenset({"gate", "yard"})), (None, ADA, BEN),
        (None, "known", "unknown", "insufficient_evidence"), (None, "truncated", "below_threshold"),
        ((), KINDS[:2], KINDS[1:]), (None,), (None,), (False, True),
    )  # fmt: skip
    found = 0
    for terms in asked:
        wanted = EventFilter(*terms)
        fitting = [one for one in everything if fits(one, wanted)]
        assert history.page(wanted, 200).events == fitting, wanted
        found += bool(fitting)
        if len(fitting) > 5:
            assert history.page(wanted, 3, fitting[1].place).events == fitting[2:5], wanted
    assert found > 50


@pytest.mark.parametrize("unknown", [{"person": "9" * 20}, {"cameras": frozenset({"roof"})}, {"reason": "x"}])
def test_what_no_event_has_finds_nothing(history: History, unknown: dict[str, object]) -> None:
    fill(history)
    assert ids(history, **unknown) == []


def test_whoever_may_see_no_camera_sees_nothing(history: History) -> None:
    fill(history)
    assert ids(history, cameras=frozenset()) == []


def test_pages_follow_each_other_without_gap_or_repetition_also_at_equal_times(history: History) -> None:
    history.add([final(at // 3, "gate" if at % 2 else "hall", at) for at in range(25)])
    seen: list[int] = []
    before: HistoryPlace | None = None
    for cameras in (None, frozenset({"gate", "hall"})):
        seen.clear()
        while True:
            page = history.page(EventFilter(cameras=cameras), 4, before)
            seen += [event.track for event in page.events]
            before = page.next
            if before is None:
                break
            before = HistoryPlace.parse(str(before))
        assert seen == list(range(24, -1, -1))


def test_what_comes_twice_is_kept_once(history: History) -> None:
    event = final(1)
    first = history.add([event])
    assert len(first) == 1
    assert history.add([event, event]) == first
    assert ids(history) == [1]


def test_two_consoles_feed_one_history_and_both_have_events_to_tell(history: History) -> None:
    assert isinstance(history, SqliteHistory | PostgresHistory)
    other = open_history(history.database.path if isinstance(history, SqliteHistory) else history._url)
    events = [final(1), stranger(2), final(3)]
    told = [history.add(events[:2]), other.add(events), history.add(events[2:])]
    assert [[one.event_id for one in heard] for heard in told] == [
        [event.event_id for event in part] for part in (events[:2], events, events[2:])
    ]
    assert ids(other) == [3, 2, 1]
    other.close()


def test_a_batch_that_fails_leaves_nothing_behind(history: History) -> None:
    broken = final(2, box=(1 << 80, 0.0, 0.0, 0.0))  # what msgpack cannot hold
    with pytest.raises(OverflowError):
        history.add([final(1, "attic"), broken])
    assert ids(history) == []
    assert ids(history, cameras=frozenset({"attic"})) == []


def test_an_event_comes_back_as_it_went_in(history: History) -> None:
    event = final(1, track=7)
    history.add([event])
    kept = history.event(event.event_id)
    assert kept is not None
    assert (kept.camera, kept.track, kept.person, kept.status, kept.run) == ("gate", 7, ADA, "known", "run-1")
    assert kept.candidates == ((ADA, 0.4), (BEN, 0.8))
    assert (kept.data["distance"], kept.data["frames"]) == (0.4, 40)
    assert history.event("018f0000-0000-7000-8000-000000000000") is None


def test_events_of_old_publishers_and_of_broken_ones_stop_nobody(history: History) -> None:
    old = msgspec.structs.replace(final(1), event_id="", seq=4)
    odd = msgspec.structs.replace(final(2), event_id="odd", camera="ga\0te")
    late = msgspec.structs.replace(final(3), time_ns=1 << 70)
    kept = history.add([old, odd, late])
    assert len(kept) == 2
    assert history.add([old, odd]) == kept


def test_a_track_is_told_from_its_beginning(history: History) -> None:
    fill(history)
    history.add([ended(9, "gate", 1), final(8, "gate", 1, run="run-2")])
    assert [event.type for event in history.track("run-1", "gate", 1)] == [
        "identity.final", "identity.final", "track.ended",
    ]  # fmt: skip


def test_statistics_are_not_kept_and_unknown_kinds_without_their_contents(history: History) -> None:
    data = {"type": "later", "who": "Ada"}
    later = publish(Unrecognised(time_ns=START_NS, kind="later", data=data))
    history.add([publish(PipelineStats(time_ns=START_NS, uptime_s=1.0)), later])
    [kept] = history.page(EventFilter(), 10).events
    assert (kept.type, kept.data) == ("later", {})


def test_a_match_waits_until_it_is_settled(history: History) -> None:
    event = final(1)
    history.add([event, stranger(2)])
    assert ids(history, waits=True) == [1]
    history.settle(event.event_id)
    assert ids(history, waits=True) == []


def test_whoever_is_forgotten_is_in_no_event_and_no_list_of_candidates(history: History) -> None:
    events = [final(1), final(2, person="Ben", person_id=BEN)]
    history.add(events)
    assert history.forget(ADA) == 1
    assert history.forget(ADA) == 0
    assert ids(history, person=ADA) == []
    kept = [history.event(event.event_id) for event in events]
    assert [one and one.person for one in kept] == ["", BEN]
    assert [one and one.candidates for one in kept] == [(("", 0.4), (BEN, 0.8))] * 2
    assert ids(history, waits=True) == [2]
    history.add([final(3)])
    assert ids(history, person=ADA) == [3]


def test_whoever_is_merged_gives_events_places_among_candidates_and_what_waits(history: History) -> None:
    events = [final(1), final(2, person="Ben", person_id=BEN)]
    history.add(events)
    cleo = "c" * 20
    assert history.merge(BEN, ADA) == 1
    assert history.merge(BEN, ADA) == 0
    assert (ids(history, person=ADA), ids(history, person=BEN)) == ([2, 1], [])
    assert ids(history, waits=True) == [2, 1]
    kept = [history.event(event.event_id) for event in events]
    assert [one and one.candidates for one in kept] == [((ADA, 0.4),)] * 2
    assert history.merge(ADA, cleo) == 2
    history.add([final(3, person="Ben", person_id=BEN)])
    assert history.merge(BEN, cleo) == 1
    assert ids(history, person=cleo) == [3, 2, 1]
    kept = [history.event(event.event_id) for event in events]
    assert [one and one.candidates for one in kept] == [((cleo, 0.4),)] * 2
    assert history.forget(cleo) == 3
    kept = [history.event(event.event_id) for event in events]
    assert [one and one.candidates for one in kept] == [(("", 0.4), ("", 0.8))] * 2


def test_after_forgetting_whoever_was_merged_no_id_of_either_is_in_the_file(tmp_path: Path) -> None:
    history = SqliteHistory(tmp_path / "history.db")
    history.add([final(1), final(2, person="Ben", person_id=BEN)])
    history.merge(BEN, ADA)
    history.forget(ADA)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert ADA.encode() not in files
    assert BEN.encode() not in files
    history.close()


def test_no_name_and_after_forgetting_no_id_is_in_the_file(tmp_path: Path) -> None:
    history = SqliteHistory(tmp_path / "history.db")
    gone = publish(GalleryChanged(time_ns=START_NS, people=1, removed=(ADA,)))
    history.add([final(1), gone])
    history.forget(ADA)
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Ada" not in files
    assert ADA.encode() not in files
    assert BEN.encode() in files
    history.close()


def test_old_events_leave(history: History) -> None:
    fill(history)
    assert history.prune(START_NS + 3 * SECOND_NS) == 2
    assert ids(history) == [5, 4, 3]


def test_events_of_the_future_leave_with_those_that_were_kept_after_them(history: History) -> None:
    """As of a recording with a wrong date, which nobody would live to see grow old."""
    future, day = 50 * 365 * 86_400, 86_400
    history.add([final(future), final(1), final(future + 1), final(100 * day), final(future + 2)])
    assert history.prune(START_NS, START_NS + day * SECOND_NS) == 0
    assert history.prune(START_NS + 2 * SECOND_NS, START_NS + day * SECOND_NS) == 2
    assert history.prune(START_NS + 101 * day * SECOND_NS, START_NS + 132 * day * SECOND_NS) == 2
    assert ids(history) == [future + 2]


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "a-b", "1-2-3", "99999999999999999999-1", "-1-1", "9" * 19 + "-1"]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ConsoleError, match="no cursor"):
        HistoryPlace.parse(text)


def test_a_place_that_is_no_history_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, however long it may be; " * 20)
    with pytest.raises(ConsoleError, match="--state"):
        open_history(tmp_path / "text")
    with pytest.raises(ConfigError, match="mysql"):
        open_history("mysql://host/db")
    with pytest.raises(ConsoleError, match=r"127\.0\.0\.1:1/db"):
        open_history("postgresql://user:secret@127.0.0.1:1/db")
