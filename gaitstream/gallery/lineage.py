"""Who was whom: all ids and names of a person, after merges and after the erasure, too.

The person's sealed record has them while the person is there. The audit log has the ids for ever, also of
people who were merged before records kept that; it names nobody.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from gaitstream.errors import GalleryError
from gaitstream.gallery.audit import read_audit
from gaitstream.gallery.base import Reading
from gaitstream.gallery.gallery import A_VISITOR, Gallery
from gaitstream.gallery.names import fold_name
from gaitstream.gallery.records import PersonRecord

_UID = re.compile(r"\b[0-9a-f]{20}\b")
_ENDS = frozenset({"erased", "forgotten", "expired"})
_JOINS = frozenset({"merged", "promoted", *_ENDS})
"""Actions of the audit log; the line's detail has the ids that became, or had become, the person's."""


@dataclass(frozen=True)
class Subject:
    """Somebody to be erased, by everything they were called.

    Attributes:
        uids: the person's own first, then those of whoever was merged into them.
        names: what they were called; not what somebody else is called now.
        others: uids of those who stay.
    """

    uids: tuple[str, ...]
    names: tuple[str, ...]
    others: frozenset[str] = frozenset()

    def is_called(self, name: object, uid: object) -> bool:
        """Whether a name beside an id, which older records lack, is the person's."""
        return uid in self.uids or (name in self.names and uid not in self.others)


def subject_of(gallery: Gallery, reading: Reading, uid: str, record: PersonRecord) -> Subject:
    """Somebody who is in the gallery."""
    others, taken = _others(gallery, reading, uid)
    uids = (uid, *dict(record.merged), *_all_joined({uid}, _joined(gallery, reading)))
    names = (record.name, *(name for _, name in record.merged))
    return Subject(
        tuple(one for one in dict.fromkeys(uids) if one == uid or one not in others),
        tuple(name for name in dict.fromkeys(names) if name and _folded(name) not in taken),
        others - {uid},
    )


def subject_gone(gallery: Gallery, reading: Reading, uids: Collection[str], names: Iterable[str]) -> Subject:
    """Somebody who was erased before, by ids that were theirs and names that somebody remembers."""
    others, taken = _others(gallery, reading)
    found = dict.fromkeys((*uids, *_all_joined(uids, _joined(gallery, reading))))
    return Subject(
        tuple(one for one in found if one not in others),
        tuple(name for name in dict.fromkeys(names) if _folded(name) not in taken),
        others,
    )


def erased_since(gallery: Gallery, reading: Reading, after: int = 0, *, visitors: bool = True) -> set[str]:
    """Uids of whoever was erased in lines of the audit log above a number, and is not there again."""
    lines = read_audit(reading, gallery.sealer, after)
    gone = {
        line.person
        for _, line in lines
        if line.person and line.action in _ENDS and (visitors or not line.detail.startswith(A_VISITOR))
    }
    if not gone:
        return gone
    return (gone | set(_all_joined(gone, _joined(gallery, reading)))) - _others(gallery, reading)[0]


def _others(gallery: Gallery, reading: Reading, uid: str = "") -> tuple[frozenset[str], frozenset[str]]:
    """All uids and, folded, all names of everybody but one."""
    uids, names = set[str](), set[str]()
    for one, record in gallery.vault.readable(reading).items():
        if one != uid:
            uids.update((one, *dict(record.merged)))
            called = (record.name, *(name for _, name in record.merged))
            names.update(_folded(name) for name in called if name)
    return frozenset(uids), frozenset(names)


def _joined(gallery: Gallery, reading: Reading) -> dict[str, set[str]]:
    """Whose uids became whose, as the audit log says."""
    joined: dict[str, set[str]] = {}
    for _, line in read_audit(reading, gallery.sealer):
        if line.person and line.action in _JOINS:
            joined.setdefault(line.person, set()).update(_UID.findall(line.detail))
    return joined


def _folded(name: str) -> str:
    """`fold_name`; as it is what no gallery takes for a name."""
    try:
        return fold_name(name)
    except GalleryError:
        return name


def _all_joined(uids: Collection[str], joined: Mapping[str, Collection[str]]) -> list[str]:
    """Uids that became one of some, directly or by others between."""
    found, todo = dict.fromkeys(uids), list(uids)
    while todo:
        new = [one for one in sorted(joined.get(todo.pop(), ())) if one not in found]
        found |= dict.fromkeys(new)
        todo += new
    return [one for one in found if one not in uids]
