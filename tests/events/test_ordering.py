"""Exactly once and in order, whatever the wire loses, repeats or swaps."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from gaitstream.events.epochs import Epochs
from gaitstream.events.ordering import Ordering, Ready, Told
from gaitstream.events.subscriber import _delivered
from gaitstream.events.wire import EventBatch, Reply

PUBLISHER = "p" * 32


def batch(first: int, count: int = 1, epoch: str = "e1", topic: str = "t") -> tuple[EventBatch, list[bytes]]:
    numbers = range(first, first + count)
    payloads = [b"%d" % number for number in numbers]
    return EventBatch(PUBLISHER, epoch, first, [topic] * count, list(map(len, payloads))), payloads


def reply(
    seqs: list[int], to: int, *, epoch: str = "e1", live: str = "e1", done: bool = True, known: bool = True,
    lost: int = 0, rewound: int = 0, after: int | None = None, publisher: str = PUBLISHER, topic: str = "t",
) -> tuple[Reply, list[bytes]]:  # fmt: skip
    answer = Reply(
        publisher=publisher, live=live, epoch=epoch, after=after, to=to, head=to, done=done, known=known,
        lost=lost,
        rewound=rewound, seqs=seqs, topics=[topic] * len(seqs), times=[0] * len(seqs),
    )  # fmt: skip
    return answer, [b"%d" % seq for seq in seqs]


def greeted(to: int = 0, **options: object) -> Ordering:
    ordering = Ordering(**options)  # type: ignore[arg-type]
    ordering.replayed(*reply([], to))
    return ordering


def seqs(ready: list[Ready]) -> list[int]:
    return [event.seq for event in ready]


def test_in_order_is_delivered_at_once() -> None:
    ordering = greeted()
    assert seqs(ordering.live(*batch(1, 2))) == [1, 2]
    assert seqs(ordering.live(*batch(3))) == [3]
    assert not ordering.behind
    assert ordering.cursor == {"e1": 3}


def test_a_gap_holds_what_follows_until_it_is_filled() -> None:
    ordering = greeted()
    ordering.live(*batch(1))
    assert ordering.live(*batch(4, 2)) == []
    assert ordering.behind
    assert ordering.request(1, 4).cursor == {"e1": 1}
    assert seqs(ordering.replayed(*reply([2, 3], 3))) == [2, 3, 4, 5]
    assert not ordering.behind


def test_a_repeated_event_is_delivered_once() -> None:
    ordering = greeted()
    ordering.live(*batch(1, 3))
    assert ordering.live(*batch(2, 2)) == []
    assert seqs(ordering.live(*batch(3, 2))) == [4]


def test_heads_reveal_the_loss_of_the_last_event() -> None:
    ordering = greeted()
    ordering.live(*batch(1))
    ordering.heads(PUBLISHER, "e1", 1)
    assert not ordering.behind
    ordering.heads(PUBLISHER, "e1", 2)
    assert ordering.behind


def test_a_new_epoch_is_asked_about_and_told() -> None:
    ordering = greeted()
    ordering.live(*batch(1, 2))
    assert ordering.live(*batch(3, 1, epoch="e2")) == []
    assert ordering.behind
    assert seqs(ordering.replayed(*reply([3], 3, epoch="e2", live="e2"))) == [3]
    assert ordering.told == [Told("epoch", 0)]
    assert ordering.cursor == {"e1": 2, "e2": 3}


def test_numbers_given_again_after_a_cut_are_delivered() -> None:
    ordering = greeted()
    ordering.live(*batch(1, 10))
    answer = reply([5, 6], 6, epoch="e2", live="e2", rewound=6, after=4)
    assert seqs(ordering.replayed(*answer)) == [5, 6]
    assert Told("rewound", 6) in ordering.told


def test_another_journal_starts_over() -> None:
    ordering = greeted()
    ordering.live(*batch(1, 10))
    answer = reply([1], 1, epoch="x1", live="x1", known=False, publisher="q", after=0)
    assert seqs(ordering.replayed(*answer)) == [1]
    assert ordering.cursor == {"x1": 1}
    assert ordering.told == [Told("journal", 0)]


def test_topics_are_chosen_by_prefix_and_others_pass_the_cursor_on() -> None:
    ordering = greeted(prefixes=("identity/",))
    assert ordering.live(*batch(1, 2, topic="track/a")) == []
    assert seqs(ordering.live(*batch(3, topic="identity/a"))) == [3]
    assert ordering.cursor == {"e1": 3}


def test_what_is_held_is_bounded() -> None:
    ordering = greeted(max_held=10)
    for first in range(2, 100):
        ordering.live(*batch(first))
    delivered = seqs(ordering.replayed(*reply([1], 1)))
    assert delivered == list(range(1, 12))
    ordering.heads(PUBLISHER, "e1", 99)
    assert ordering.behind


class Bus:
    """A publisher that is restarted and cut; a wire that drops, repeats and shuffles."""

    def __init__(self) -> None:
        self.epochs = Epochs()
        self.events: list[tuple[int, str, int]] = []
        self.published = 0
        self.live: list[tuple[EventBatch, list[bytes]]] = []
        self.restart()

    @property
    def head(self) -> int:
        return self.events[-1][0] if self.events else 0

    def restart(self, cut: int = 0) -> None:
        del self.events[len(self.events) - cut :]
        self.epoch = self.epochs.begin(self.head + 1)

    def publish(self, count: int) -> None:
        first = self.head + 1
        for _ in range(count):
            self.published += 1
            self.events.append((self.head + 1, self.epoch, self.published))
        payloads = [b"%d" % event[2] for event in self.events[-count:]]
        batch = EventBatch(PUBLISHER, self.epoch, first, ["t"] * count, list(map(len, payloads)))
        self.live.append((batch, payloads))

    def answer(self, ordering: Ordering, limit: int) -> list[Ready]:
        request = ordering.request(1, 1)
        after, rewound, known = 0, 0, True
        if request.cursor is not None:
            after, rewound, known = self.epochs.start(request.cursor, self.head, 1)
        elif request.since is None:
            after = self.head
        found = [event for event in self.events if event[0] > after]
        found = [event for event in found if event[1] == found[0][1]][:limit]
        to = found[-1][0] if found else self.head
        answer = Reply(
            publisher=PUBLISHER, live=self.epoch, epoch=self.epochs.at(to), after=after, to=to,
            done=to == self.head,
            known=known, rewound=rewound, seqs=[event[0] for event in found],
            topics=["t"] * len(found), times=[0] * len(found),
        )  # fmt: skip
        return ordering.replayed(answer, [b"%d" % event[2] for event in found])


def disturb(bus: Bus, action: str, data: st.DataObject) -> set[int]:
    """Start the publisher anew, or with an older copy of its journal; which events that lacks."""
    if action == "restart":
        bus.restart()
    elif bus.events:
        size = data.draw(st.integers(1, len(bus.events)))
        lost = {event[2] for event in bus.events[-size:]}
        bus.restart(size)
        return lost
    return set()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_loss_any_order_and_any_restart_end_in_every_event_once(data: st.DataObject) -> None:
    bus = Bus()
    ordering = Ordering(since="beginning", max_held=data.draw(st.integers(1, 12)))
    delivered: list[int] = []
    cut: set[int] = set()
    for _ in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["publish", "wire", "wire", "replay", "restart", "cut", "heads"]))
        if action == "publish":
            bus.publish(data.draw(st.integers(1, 4)))
        elif action == "wire" and bus.live:
            message = bus.live[data.draw(st.integers(0, len(bus.live) - 1))]
            delivered += [int(event.payload) for event in ordering.live(*message)]
        elif action == "replay":
            delivered += [int(event.payload) for event in bus.answer(ordering, data.draw(st.integers(1, 3)))]
        elif action in ("restart", "cut"):
            cut |= disturb(bus, action, data)
        elif action == "heads":
            ordering.heads(PUBLISHER, bus.epoch, bus.head)
    for _ in range(200):
        delivered += [int(event.payload) for event in bus.answer(ordering, 3)]
        ordering.heads(PUBLISHER, bus.epoch, bus.head)
        if not ordering.behind:
            break
    assert not ordering.behind
    assert delivered == sorted(set(delivered))
    assert set(range(1, bus.published + 1)) - cut <= set(delivered)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_subscriber_that_resumes_at_any_moment_has_every_event_once(data: st.DataObject) -> None:
    """Some events are taken, the others still queued; what is saved has another publisher's place, too.

    After a restore of the journal with events of the lost history still queued some may come twice.
    """
    bus = Bus()
    ordering = Ordering(since="beginning")
    queue: deque[Ready] = deque()
    taken: list[int] = []
    cut: set[int] = set()
    for _ in range(data.draw(st.integers(1, 30))):
        action = data.draw(
            st.sampled_from(["publish", "replay", "replay", "restart", "cut", "take", "resume"])
        )
        if action == "publish":
            bus.publish(data.draw(st.integers(1, 4)))
        elif action == "replay":
            queue += bus.answer(ordering, data.draw(st.integers(1, 3)))
        elif action in ("restart", "cut"):
            cut |= disturb(bus, action, data)
        elif action == "take":
            count = min(len(queue), data.draw(st.integers(1, 5)))
            taken += [int(queue.popleft().payload) for _ in range(count)]
        elif action == "resume" and ordering.cursor:
            saved = {"q": {"x1": 99}, PUBLISHER: _delivered(ordering.cursor, queue)}
            ordering, queue = Ordering(since="beginning", saved=saved), deque()
    for _ in range(200):
        queue += bus.answer(ordering, 3)
        ordering.heads(PUBLISHER, bus.epoch, bus.head)
        if not ordering.behind:
            break
    assert not ordering.behind
    taken += [int(event.payload) for event in queue]
    assert cut or taken == sorted(set(taken))
    assert set(range(1, bus.published + 1)) - cut <= set(taken)


def test_whole_epochs_that_a_journal_has_lost_are_rewound() -> None:
    epochs = Epochs([("e1", 1), ("e9", 11)])
    start = epochs.start({"e1": 10, "e2": 25}, head=12, first=1)
    assert (start.after, start.rewound, start.known) == (10, 15, True)
    ordering = Ordering(cursor={"e1": 10, "e2": 25})
    answer = reply([11, 12], 12, epoch="e9", live="e9", rewound=15, after=10)
    assert seqs(ordering.replayed(*answer)) == [11, 12]
