"""How much is encoded in one call, so that a stop is heard soon on a slow machine."""

from __future__ import annotations

from collections.abc import Sequence

from gaitstream.pipeline.gather import Work

CHUNK_S = 0.4
"""Time one encoding call may take."""
FIRST_PERSON_S = 0.05
"""Time a person is expected to take before any was encoded."""


class EncodePacer:
    """Learns how long a person takes, and cuts works into calls by it. Touches no clock."""

    def __init__(self) -> None:
        self._person_s = FIRST_PERSON_S

    def chunks(self, works: Sequence[Work], batch: int) -> list[list[Work]]:
        """Works in groups of at most a batch of persons and about `CHUNK_S` of encoding."""
        most = max(1, min(batch, int(CHUNK_S / self._person_s)))
        chunks: list[list[Work]] = []
        room = 0
        for work in works:
            people = count_people([work])
            if not chunks or people > room:
                chunks.append([])
                room = most
            chunks[-1].append(work)
            room -= people
        return chunks

    def learn(self, people: int, seconds: float) -> None:
        """Learn from a call: chunks shrink at once and grow slowly, so that a slow call is the only one."""
        self._person_s = max(seconds / people, 0.9 * self._person_s)


def count_people(works: Sequence[Work]) -> int:
    """Persons of works who are still accepted."""
    return sum(person.rejected is None for work in works for person in work.persons)
