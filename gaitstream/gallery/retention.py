"""What is kept for how long: people until their own time, pictures and visitors for so many days."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gaitstream.gallery import audit
from gaitstream.gallery.base import Reading, Writing
from gaitstream.gallery.gallery import Gallery

log = logging.getLogger(__name__)

DAY_NS = 86_400 * 10**9
EVEN_S = 600.0
"""Nothing is deleted for its age until a clock that was set has run evenly for so long."""
STEP_S = 60.0
"""From which difference on the clock was set, and did not just drift."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US, _LAST_US = (
    int((end - _EPOCH) / timedelta(microseconds=1))
    for end in (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
)


@dataclass(frozen=True)
class RetentionRules:
    """Days; None keeps for ever.

    Attributes:
        person_days: people without a time of their own, from their first enrolment.
        picture_days: pictures of people.
        visitor_days: visitors, from their first visit.
        sighting_days: what was seen of visitors and people; a visitor goes with the last of it.
    """

    person_days: float | None = None
    picture_days: float | None = None
    visitor_days: float | None = None
    sighting_days: float | None = None


@dataclass
class Swept:
    """What was erased: uids of people and visitors, and how many templates, pictures and sightings."""

    persons: list[str] = field(default_factory=list)
    templates: int = 0
    pictures: int = 0
    sightings: int = 0

    def __bool__(self) -> bool:
        return bool(self.persons or self.pictures or self.sightings)


def _now_s() -> float:
    return time.time_ns() / 1e9


class ClockWatch:
    """Notices that the clock is set: what it says then would erase for ever what is not past its time.

    Args:
        clock: seconds since 1970; None: the machine's.
        monotonic: seconds of a clock that nobody sets; None: the machine's.
    """

    def __init__(
        self, clock: Callable[[], float] | None = None, monotonic: Callable[[], float] | None = None
    ) -> None:
        self._clock = clock or _now_s
        self._monotonic = monotonic or time.monotonic
        self._ahead_s = self._clock() - self._monotonic()
        self._even_from_s: float | None = None
        """Since when it has run evenly; None: as long as anybody looked."""

    def trusted(self) -> bool:
        """Whether the clock was not set within the last minutes; ask often."""
        now_s = self._monotonic()
        ahead_s = self._clock() - now_s
        if abs(ahead_s - self._ahead_s) > STEP_S:
            log.warning(
                "the clock was set by %+.0f s: nothing is deleted for its age until it has run evenly for "
                "%.0f minutes", ahead_s - self._ahead_s, EVEN_S / 60,
            )  # fmt: skip
            self._ahead_s, self._even_from_s = ahead_s, now_s
        return self._even_from_s is None or now_s - self._even_from_s >= EVEN_S


def utc(time_ns: int) -> datetime:
    """A time of a gallery as a date; what lies beyond the years that dates have is the last day there is.

    >>> utc(10**30).year
    9999
    """
    return _EPOCH + timedelta(microseconds=max(_FIRST_US, min(_LAST_US, time_ns // 1000)))


def sweep(gallery: Gallery, rules: RetentionRules, now_ns: int) -> Swept:
    """Erase what is past its time, and overwrite it."""
    with gallery.store.reading() as reading:
        if not (
            _expired(gallery, reading, rules, now_ns)
            or _old_pictures(reading, rules, now_ns)
            or _old_sightings(reading, rules, now_ns)
        ):
            return Swept()
    done = Swept()
    with gallery.writing() as writing:
        for uid in _expired(gallery, writing, rules, now_ns):
            done.pictures += sum(1 for _ in writing.pictures(uid))
            done.sightings += sum(1 for _ in writing.sightings(uid))
            done.templates += gallery.erase(writing, uid, "expired")
            done.persons.append(uid)
        _sweep_sightings(gallery, writing, rules, now_ns, done)
        old = _old_pictures(writing, rules, now_ns)
        if old:
            writing.drop_pictures(old)
            done.pictures += len(old)
            audit.note(writing, gallery.sealer, "expired", count=len(old), detail="pictures")
    gallery.store.purge()
    return done


def _sweep_sightings(
    gallery: Gallery, writing: Writing, rules: RetentionRules, now_ns: int, done: Swept
) -> None:
    old = _old_sightings(writing, rules, now_ns)
    if not old:
        return
    writing.drop_sightings([number for number, _ in old])
    done.sightings += len(old)
    audit.note(writing, gallery.sealer, "expired", count=len(old), detail="sightings")
    records = gallery.vault.readable(writing)
    for uid in sorted({uid for _, uid in old}):
        visitor = uid in records and records[uid].visitor
        if visitor and next(iter(writing.sightings(uid)), None) is None:
            done.templates += gallery.erase(writing, uid, "expired")
            done.persons.append(uid)
        else:
            writing.note_change(uid)


def _expired(gallery: Gallery, reading: Reading, rules: RetentionRules, now_ns: int) -> list[str]:
    found = []
    for uid, record in gallery.vault.readable(reading).items():
        days = rules.visitor_days if record.visitor else rules.person_days
        default_ns = None if days is None else record.created_ns + int(days * DAY_NS)
        expires_ns = default_ns if record.expires_ns is None else record.expires_ns
        if expires_ns is not None and expires_ns <= now_ns:
            found.append(uid)
    return found


def _old_pictures(reading: Reading, rules: RetentionRules, now_ns: int) -> list[int]:
    if rules.picture_days is None:
        return []
    oldest_ns = now_ns - int(rules.picture_days * DAY_NS)
    return [row.number for row in reading.pictures() if row.created_ns <= oldest_ns]


def _old_sightings(reading: Reading, rules: RetentionRules, now_ns: int) -> list[tuple[int, str]]:
    """Number of each, and whose it is."""
    if rules.sighting_days is None:
        return []
    oldest_ns = now_ns - int(rules.sighting_days * DAY_NS)
    return [(row.number, row.person) for row in reading.sightings() if row.seen_ns <= oldest_ns]
