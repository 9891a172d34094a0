"""Exactly once and in order, whatever the wire loses, repeats or swaps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gaitstream.events.ordering import Ordering
from gaitstream.events.segment import Record

ONE, TWO = b"1" * 16, b"2" * 16


def record(seq: int, topic: str = "t") -> Record:
    return Record(topic, seq, b"%d" % seq)


def greeted(**options: object) -> Ordering:
    ordering = Ordering(**options)  # type: ignore[arg-type]
    ordering.greet(ONE, {}, {})
    return ordering


def test_in_order_is_delivered_at_once() -> None:
    ordering = greeted()
    assert [r.seq for n in (1, 2, 3) for r in ordering.receive(ONE, record(n))] == [1, 2, 3]
    assert ordering.missing() == {}


def test_a_gap_holds_what_follows_until_it_is_filled() -> None:
    ordering = greeted()
    ordering.receive(ONE, record(1))
    assert ordering.receive(ONE, record(4)) == []
    assert ordering.missing() == {"t": 1}
    assert ordering.receive(ONE, record(2)) == [record(2)]
    assert ordering.receive(ONE, record(3)) == [record(3), record(4)]
    assert ordering.missing() == {}


def test_a_repeated_event_is_delivered_once() -> None:
    ordering = greeted()
    ordering.receive(ONE, record(1))
    assert ordering.receive(ONE, record(1)) == []


def test_heads_reveal_the_loss_of_the_last_event() -> None:
    ordering = greeted()
    ordering.receive(ONE, record(1))
    assert ordering.note_heads(ONE, {"t": 2, "new": 1})
    assert ordering.missing() == {"t": 1, "new": 0}


def test_now_begins_at_the_heads_of_the_greeting() -> None:
    ordering = Ordering()
    assert ordering.receive(ONE, record(8)) == []
    assert ordering.receive(ONE, record(9)) == []
    ordering.greet(ONE, {"t": 8}, {"t": 1})
    assert ordering.release() == [record(9)]


def test_beginning_asks_for_all_that_is_kept() -> None:
    ordering = Ordering(from_start=True)
    ordering.greet(ONE, {"t": 8}, {"t": 5})
    assert ordering.missing() == {"t": 4}
    assert ordering.lost == 0


def test_what_retention_took_meanwhile_is_counted() -> None:
    ordering = Ordering(journal=ONE, positions={"t": 2}, from_start=True)
    ordering.greet(ONE, {"t": 8}, {"t": 5})
    assert ordering.lost == 2
    assert ordering.missing() == {"t": 4}


def test_another_journal_starts_over() -> None:
    ordering = greeted()
    ordering.receive(ONE, record(1))
    assert ordering.receive(TWO, record(1)) == []
    assert not ordering.note_heads(TWO, {"t": 1})
    ordering.greet(TWO, {"t": 1}, {"t": 1})
    assert ordering.release() == [record(1)]
    assert ordering.positions == {"t": 1}


def test_topics_are_chosen_by_prefix() -> None:
    ordering = greeted(prefixes=("identity/",))
    assert ordering.receive(ONE, record(1, "track/a")) == []
    assert ordering.receive(ONE, record(1, "identity/a")) == [record(1, "identity/a")]
    ordering.note_heads(ONE, {"track/a": 5})
    assert ordering.missing() == {}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_loss_and_any_order_end_in_every_event_once(data: st.DataObject) -> None:
    """A journal of n events, a wire that drops, repeats and shuffles, replays that may be cut short."""
    total = data.draw(st.integers(0, 30))
    sequence = data.draw(st.lists(st.integers(1, max(1, total)), max_size=60)) if total else []
    ordering = greeted(max_held=data.draw(st.integers(1, 40)))
    delivered: list[int] = []
    for seq in sequence:
        delivered += [r.seq for r in ordering.receive(ONE, record(seq))]
        if data.draw(st.booleans()):
            delivered += replay(ordering, total, data.draw(st.integers(1, 5)))
    ordering.note_heads(ONE, {"t": total} if total else {})
    while ordering.missing():
        delivered += replay(ordering, total, 3)
    assert delivered == list(range(1, total + 1))


def replay(ordering: Ordering, total: int, limit: int) -> list[int]:
    out = []
    for topic, after in ordering.missing().items():
        for seq in range(after + 1, min(after + limit, total) + 1):
            out += [r.seq for r in ordering.receive(ONE, record(seq, topic))]
    return out
