"""What is kept for how long: people until their own time, pictures and visitors for so many days."""

from __future__ import annotations

from dataclasses import dataclass, field

from gaitstream.gallery import audit
from gaitstream.gallery.base import Reading
from gaitstream.gallery.gallery import Gallery

DAY_NS = 86_400 * 10**9


@dataclass(frozen=True)
class RetentionRules:
    """Days; None keeps for ever.

    Attributes:
        person_days: people without a time of their own, from their first enrolment.
        picture_days: pictures of people.
        visitor_days: strangers who came again, from their first visit.
    """

    person_days: float | None = None
    picture_days: float | None = None
    visitor_days: float | None = None


@dataclass
class Swept:
    """What was erased: uids of people, and how many templates and pictures."""

    persons: list[str] = field(default_factory=list)
    templates: int = 0
    pictures: int = 0

    def __bool__(self) -> bool:
        return bool(self.persons or self.pictures)


def sweep(gallery: Gallery, rules: RetentionRules, now_ns: int) -> Swept:
    """Erase what is past its time, and overwrite it."""
    with gallery.store.reading() as reading:
        if not _expired(gallery, reading, rules, now_ns) and not _old_pictures(reading, rules, now_ns):
            return Swept()
    done = Swept()
    with gallery.writing() as writing:
        for uid in _expired(gallery, writing, rules, now_ns):
            done.pictures += sum(1 for _ in writing.pictures(uid))
            done.templates += gallery.erase(writing, uid, "expired")
            done.persons.append(uid)
        old = _old_pictures(writing, rules, now_ns)
        if old:
            writing.drop_pictures(old)
            done.pictures += len(old)
            audit.note(writing, gallery.sealer, "expired", count=len(old), detail="pictures")
    gallery.store.purge()
    return done


def _expired(gallery: Gallery, reading: Reading, rules: RetentionRules, now_ns: int) -> list[str]:
    found = []
    for uid, record in gallery.vault.records(reading).items():
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
