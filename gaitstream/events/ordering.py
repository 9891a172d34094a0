"""Exactly once, in order: what a subscriber has had, what it may have next, and what is missing.

No I/O and no clock: the subscriber feeds in what its sockets receive and asks what to request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gaitstream.events.segment import Record

MAX_HELD = 1000
"""Events kept per topic while those before them are on their way; more are dropped and come by replay."""


class Ordering:
    """Sequence numbers of one subscriber.

    Attributes:
        journal: id of the publisher's journal; empty before the first contact.
        positions: the last number delivered, by topic.
        lost: events the publisher's journal no longer keeps, so that they can never be had.

    Args:
        prefixes: topics wanted: those that start with one of these.
        journal: id of the journal that `positions` refer to.
        positions: where to resume.
        from_start: topics without a position begin at the first event kept, else at the next.
        max_held: events kept per topic while those before them are on their way.
    """

    def __init__(
        self,
        prefixes: Iterable[str] = ("",),
        *,
        journal: bytes = b"",
        positions: Mapping[str, int] | None = None,
        from_start: bool = False,
        max_held: int = MAX_HELD,
    ) -> None:
        self._max_held = max_held
        self.prefixes = tuple(prefixes)
        self.journal = journal
        self.positions: dict[str, int] = dict(positions or {})
        self.lost = 0
        self._from_start = from_start
        self._greeted = False
        self._heads: dict[str, int] = {}
        self._held: dict[str, dict[int, Record]] = {}
        self._held_journal = journal

    def wants(self, topic: str) -> bool:
        """Whether a topic was asked for."""
        return any(topic.startswith(prefix) for prefix in self.prefixes)

    @property
    def greeted(self) -> bool:
        """Whether the publisher's numbers are known; before that nothing is delivered."""
        return self._greeted

    def greet(self, journal: bytes, heads: Mapping[str, int], firsts: Mapping[str, int]) -> None:
        """Take the numbers of a reply: the first contact, a later one, or that of a new journal."""
        if self.journal and journal != self.journal:
            self.positions.clear()
            self._heads.clear()
            self._from_start = True  # all of the new journal is news
        if journal != self._held_journal:
            self._held.clear()
        self.journal = self._held_journal = journal
        for topic in filter(self.wants, heads):
            self._place(topic, heads[topic], firsts.get(topic, 1) - 1)
        self._greeted = True
        self.note_heads(journal, heads)

    def _place(self, topic: str, head: int, kept_before: int) -> None:
        """Give a topic its position and count what is gone for good."""
        if topic not in self.positions and not self._greeted:
            self.positions[topic] = kept_before if self._from_start else head
        position = self.positions.setdefault(topic, 0)
        if position < kept_before:
            self.lost += kept_before - position
            self.positions[topic] = kept_before

    def note_heads(self, journal: bytes, heads: Mapping[str, int]) -> bool:
        """Take the periodic numbers; returns False when a new `greet` is needed first."""
        if not self._greeted or journal != self.journal:
            return False
        self._heads.update({topic: head for topic, head in heads.items() if self.wants(topic)})
        return True

    def receive(self, journal: bytes, record: Record) -> list[Record]:
        """Take one event and get those that may be delivered now; none of another journal."""
        if not self.wants(record.topic):
            return []
        if not self._greeted or journal != self.journal:
            if journal != self._held_journal:
                self._held.clear()
                self._held_journal = journal
            self._hold(record)  # delivered after the greeting
            return []
        position = self.positions.setdefault(record.topic, 0)
        self._heads[record.topic] = max(self._heads.get(record.topic, 0), record.seq)
        if record.seq > position:
            self._hold(record)
        return self._release(record.topic)

    def release(self) -> list[Record]:
        """What may be delivered of all that was held."""
        return [record for topic in list(self._held) for record in self._release(topic)]

    def missing(self) -> dict[str, int]:
        """By topic with a gap, the number after which events are needed."""
        gaps = {}
        for topic, head in self._heads.items():
            position = self.positions.get(topic, 0)
            if head > position and position + 1 not in self._held.get(topic, {}):
                gaps[topic] = position
        return gaps

    def _hold(self, record: Record) -> None:
        held = self._held.setdefault(record.topic, {})
        due = record.seq == self.positions.get(record.topic, 0) + 1
        if due or len(held) < self._max_held:  # what is due must find room, whatever waits for it
            held[record.seq] = record

    def _release(self, topic: str) -> list[Record]:
        held = self._held.get(topic, {})
        position = self.positions.get(topic, 0)
        ready = []
        while position + 1 in held:
            position += 1
            ready.append(held.pop(position))
        self.positions[topic] = position
        for seq in [seq for seq in held if seq <= position]:
            del held[seq]
        return ready
