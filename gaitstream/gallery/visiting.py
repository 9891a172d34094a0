"""Notes who walked by, and gives strangers the visitor they are.

Every note is a transaction in which the book first catches up with what others have written, so that
several processes and machines never make two visitors of one walk, and two strangers who come at once get
two numbers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gaitstream.gallery import audit
from gaitstream.gallery.base import Mark, Reading, Writing
from gaitstream.gallery.gallery import Gallery
from gaitstream.gallery.linking import Cluster, LinkRule, Move, VisitorIndex
from gaitstream.gallery.records import PersonRecord
from gaitstream.gallery.searches import Floats
from gaitstream.gallery.sightings import Sighting, TrackRef, not_ahead
from gaitstream.gallery.visitors import Promotion, compete, new_visitor


@dataclass(frozen=True)
class Noted:
    """A stranger's walk, and the visitor it was.

    Attributes:
        sighting: as it is kept.
        visitor: name.
        visitor_id: uid.
        distance: to the visitor's earlier walks in units of the linking distance; None for a new visitor.
        walks: the visitor has now.
    """

    sighting: Sighting
    visitor: str
    visitor_id: str
    distance: float | None
    walks: int

    @property
    def new(self) -> bool:
        """Whether the visitor was not there before."""
        return self.distance is None


@dataclass(frozen=True)
class Joined:
    """Walks of a visitor that were found to be another one's.

    Attributes:
        visitor: name of the one who had them.
        visitor_id: uid.
        into: name of the one who has them now.
        into_id: uid.
        tracks: those that changed hands.
        left: walks that the one who had them keeps; 0 where it is no more.
    """

    visitor: str
    visitor_id: str
    into: str
    into_id: str
    tracks: list[TrackRef]
    left: int


class VisitorBook:
    """The visitors of a gallery, for whoever notes walks; one thread at a time.

    Args:
        gallery: open; stays open.
        models: fingerprints of those that run, by name.
        rule: when a walk is a visitor's.
    """

    def __init__(self, gallery: Gallery, models: Mapping[str, str], rule: LinkRule) -> None:
        self.rule = rule
        self._gallery = gallery
        self._models = dict(models)
        self._index = VisitorIndex(models)
        self._mark: Mark | None = None
        self._promoted: list[Promotion] = []

    @property
    def walks(self) -> int:
        """Those of all visitors."""
        return sum(cluster.count for cluster in self._index.clusters.values())

    def note(self, sightings: Sequence[Sighting]) -> list[Noted]:
        """Keep walks; those of strangers become a visitor's. A walk that was noted before is left alone.

        Raises:
            GalleryError: the store is away: nothing was kept, and it may be tried again.
        """
        try:
            with self._gallery.writing() as writing:
                self._catch_up(writing)
                noted = [found for one in sightings if (found := self._note(writing, one)) is not None]
                self._mark = writing.mark()
        except BaseException:
            self._mark = None  # what was entered may not be there: everything is read again
            raise
        return noted

    def settle(self) -> list[Joined]:
        """Look at all walks together: visitors who are one stranger are joined, what is another's is moved.

        Raises:
            GalleryError: the store is away: nothing has changed.
        """
        try:
            with self._gallery.writing() as writing:
                self._catch_up(writing)
                made: dict[str | int, str] = {}
                moves = self._index.regroup(self.rule)
                joined = [done for move in moves if (done := self._move(writing, move, made)) is not None]
                self._mark = writing.mark()
        except BaseException:
            self._mark = None
            raise
        return joined

    def follow(self) -> list[Promotion]:
        """Take over what others have changed; returns visitors who got a name since the last call."""
        with self._gallery.store.reading() as reading:
            if reading.mark() != self._mark:
                self._catch_up(reading)
                self._mark = reading.mark()
        promoted, self._promoted = self._promoted, []
        return promoted

    def windows(self, visitor_id: str) -> dict[str, Floats]:
        """What a visitor is compared by, float32 `[n, parts, dim]` by model."""
        return self._index.windows(visitor_id)

    def sightings(self, visitor_id: str) -> list[Sighting]:
        """All that was seen of a visitor."""
        with self._gallery.store.reading() as reading:
            return [self._gallery.vault.sighting(row) for row in reading.sightings(visitor_id)]

    def _note(self, writing: Writing, sighting: Sighting) -> Noted | None:
        if sighting.track.key in self._index.tracks:
            return None
        sighting = not_ahead(sighting, time.time_ns())
        if sighting.known:
            if writing.person(sighting.known) is not None:
                writing.add_sightings([self._gallery.vault.sighting_row(sighting.known, sighting)])
                self._index.tracks[sighting.track.key] = sighting.known
            return None
        found = self._index.nearest(sighting, self.rule)
        near = found[1] if found is not None and found[1] <= 1 else None
        if found is None or near is None:
            uid, name = new_visitor(self._gallery, writing, sighting.first_ns)
            self._index.put(uid, Cluster(name))
        else:
            uid = found[0]
            name = self._index.clusters[uid].name
        kept = msgspec.structs.replace(sighting, visitor=(name, uid))
        writing.add_sightings([self._gallery.vault.sighting_row(uid, kept)])
        cluster = self._index.clusters[uid]
        self._index.add(uid, sighting)
        if cluster.competes:
            compete(self._gallery, writing, uid)
        writing.note_change(uid)
        return Noted(kept, name, uid, near, cluster.count)

    def _move(self, writing: Writing, move: Move, made: dict[str | int, str]) -> Joined | None:
        """Give walks to another visitor; `made` are the new ones by what stands for them in moves."""
        source = self._index.clusters.get(move.source)
        if source is None:
            return None  # the moves before have taken everything
        held = [(row.number, self._gallery.vault.sighting(row)) for row in writing.sightings(move.source)]
        mine = [(number, one) for number, one in held if move.tracks is None or one.track.key in move.tracks]
        target = made.get(move.target, move.target)
        if isinstance(target, int):
            uid, name = new_visitor(self._gallery, writing, min(one.first_ns for _, one in mine))
            self._index.put(uid, Cluster(name))
            made[target] = target = uid
        into = self._index.clusters[target]
        for number, sighting in mine:
            moved = msgspec.structs.replace(sighting, visitor=(into.name, target))
            writing.put_sighting(self._gallery.vault.sighting_row(target, moved, number))
        left = len(held) - len(mine)
        self._came_before(writing, target, None if left else move.source, [one for _, one in mine])
        self._enter_again(writing, target, into)
        if left:
            self._enter_again(writing, move.source, source)
        else:
            writing.drop_person(move.source)
            self._index.drop(move.source)
            writing.note_change(move.source)
        detail = f"from {move.source}"
        audit.note(writing, self._gallery.sealer, "joined", person=target, count=len(mine), detail=detail)
        return Joined(source.name, move.source, into.name, target, [one.track for _, one in mine], left)

    def _came_before(self, writing: Writing, uid: str, source: str | None, walks: Sequence[Sighting]) -> None:
        """Let a visitor's first visit be the earliest of walks it gets, and of whom it takes over.

        When the one it takes over was to be erased, it is, unless its own time is earlier.
        """
        row, other = writing.person(uid), writing.person(source) if source is not None else None
        if row is None:
            return
        vault, times = self._gallery.vault, [one.first_ns for one in walks]
        record = vault.record(row)
        limits = [record.expires_ns]
        if other is not None:
            gone = vault.record(other)
            times.append(gone.created_ns)
            limits.append(gone.expires_ns)
        changed = msgspec.structs.replace(
            record,
            created_ns=min([record.created_ns, *times]),
            expires_ns=min((one for one in limits if one is not None), default=None),
        )
        if changed != record:
            writing.put_person(vault.person_row(uid, changed))

    def _enter_again(self, writing: Writing, uid: str, before: Cluster) -> None:
        """Take a visitor over whose walks have changed."""
        if before.competes:
            compete(self._gallery, writing, uid)
        sightings = [self._gallery.vault.sighting(row) for row in writing.sightings(uid)]
        self._index.put(uid, Cluster(before.name, apart=before.apart, competes=before.competes), sightings)
        writing.note_change(uid)

    def _catch_up(self, reading: Reading) -> None:
        changed = reading.changes(self._mark) if self._mark is not None else None
        if changed is None:
            gone = dict(self._index.clusters)
            self._index = VisitorIndex(self._models)
            records = self._gallery.vault.records(reading)
        else:
            gone = {uid: self._index.clusters[uid] for uid in changed if uid in self._index.clusters}
            rows = [row for uid in changed if (row := reading.person(uid)) is not None]
            records = {row.uid: self._gallery.vault.record(row) for row in rows}
        for uid in gone:
            self._index.drop(uid)
        for uid, record in records.items():
            self._enter(reading, uid, record, gone)

    def _enter(self, reading: Reading, uid: str, record: PersonRecord, before: Mapping[str, Cluster]) -> None:
        """Read somebody who was changed: a visitor, or a person who was one."""
        if not record.visitor and not before and self._mark is not None:
            return
        sightings = [self._gallery.vault.sighting(row) for row in reading.sightings(uid)]
        if record.visitor:
            competes = next(iter(reading.templates(person=uid)), None) is not None
            cluster = Cluster(record.name, apart=frozenset(record.apart), competes=competes)
            self._index.put(uid, cluster, sightings)
            return
        self._index.tracks |= {one.track.key: uid for one in sightings}
        were = {one.visitor for one in sightings if one.visitor is not None and one.visitor[1] in before}
        for name, was in sorted(were):
            theirs = [one.track for one in sightings if one.visitor == (name, was)]
            self._promoted.append(Promotion(name, was, record.name, uid, theirs))
