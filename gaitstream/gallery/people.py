"""Who is known, as one process sees it: names, thresholds and the nearest people of a probe.

A search reads the coarse plane of all templates once for a batch of probes, and both planes of those that
may be near. It gives bounds; `exact` gives the distance itself, of the few for whom it matters. See
`quantise` for the bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gaitstream.engines.device import Device
from gaitstream.errors import GalleryError
from gaitstream.gallery.feed import (
    FeedReader,
    FeedWriter,
    LimitsLine,
    ModelLine,
    PersonLine,
    StateLine,
)
from gaitstream.gallery.grouping import Indices, RowsByPerson
from gaitstream.gallery.matching import Matcher, mean_part_distance
from gaitstream.gallery.mirror import GalleryMirror
from gaitstream.gallery.quantise import WIDEN, Floats, Layout, Probes
from gaitstream.gallery.scan import coarse_distances, fine_distances
from gaitstream.gallery.table import TemplateTable
from gaitstream.gallery.upstream import Upstream

LISTED = 64
"""Most people that a search lists."""
CLOSE = 8
"""The nearest of all, one for so many that may be listed, are certain to be listed."""
FEW = 512
"""Templates up to which all are looked at closely at once: the coarse look would cost more than it spares."""


@dataclass
class Nearest:
    """The people nearest to one probe.

    Attributes:
        persons: their indices, int64 `[n]`, no two the same.
        low: the distance to each is at least this, float32 `[n]`.
        high: and at most this.
        floor: the distance to everybody else is at least this; infinite when nobody else is there.
    """

    persons: Indices
    low: Floats
    high: Floats
    floor: float

    def replace(self, person: int, distance: float | None) -> None:
        """Set the distance to somebody who was changed; None for somebody who has no template."""
        kept = self.persons != person
        self.persons, self.low, self.high = self.persons[kept], self.low[kept], self.high[kept]
        if distance is not None:
            self.persons = np.append(self.persons, np.int64(person))
            self.low = np.append(self.low, np.float32(distance))
            self.high = np.append(self.high, np.float32(distance))


@dataclass(frozen=True)
class News:
    """What has changed since it was last asked.

    Attributes:
        persons: indices of those who were added, changed or erased.
        limits: whether a calibrated threshold or margin has changed.
        problem: what keeps the gallery from being followed now; None when that is as before.
    """

    persons: frozenset[int] = frozenset()
    limits: bool = False
    problem: str | None = None

    def __bool__(self) -> bool:
        return bool(self.persons) or self.limits or self.problem is not None


@dataclass
class People:
    """The gallery as a process sees it; one thread at a time.

    Attributes:
        feed: of a keeper; `attach` opens that of another process.
        names: by index.
        uids: by index.
        limits: calibrated threshold and margin, by model.
        camera_limits: thresholds of cameras that have one of their own, by model.
        tables: by model.
        visitors: indices of those who are visitors, and named by nothing else.
        gone: what was told of those who were erased or merged, by index.
        has: indices of the people with templates, by model.
        fingerprints: of the bundles that filled the gallery, by model.
        upstream: what found the joints and masks that its templates rest on, by model.
        mirror: scans on a device; None scans on the CPU.
    """

    feed: FeedReader | None = None
    names: dict[int, str] = field(default_factory=dict)
    uids: dict[int, str] = field(default_factory=dict)
    visitors: set[int] = field(default_factory=set)
    gone: dict[int, PersonLine] = field(default_factory=dict)
    limits: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    camera_limits: dict[str, dict[str, float]] = field(default_factory=dict)
    tables: dict[str, TemplateTable] = field(default_factory=dict)
    has: dict[str, set[int]] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    upstream: dict[str, tuple[Upstream, ...]] = field(default_factory=dict)
    mirror: GalleryMirror | None = None
    _grouped: dict[str, tuple[TemplateTable, int, RowsByPerson]] = field(default_factory=dict)

    @classmethod
    def attach(cls, path: str) -> People:
        """What the keeper of another process knows.

        Raises:
            GalleryError: that process is gone.
        """
        people = cls(FeedReader.attach(path))
        people.poll()
        return people

    @classmethod
    def of(cls, matchers: Mapping[str, Matcher]) -> People:
        """From templates at hand, without a store."""
        writer = FeedWriter()
        names = sorted({name for matcher in matchers.values() for name in matcher.names})
        index = {name: number for number, name in enumerate(names)}
        own = {}
        for model, matcher in matchers.items():
            if len(matcher.templates):
                own[model] = TemplateTable.create(Layout(*matcher.templates.shape[1:]))
                counts = np.diff([*matcher.starts.tolist(), len(matcher.templates)])
                owners = np.repeat([index[name] for name in matcher.names], counts)
                own[model].add(range(1, len(owners) + 1), owners.tolist(), matcher.templates)
                writer.tell(ModelLine(model, "", own[model].handle))
        for name, number in index.items():
            models = tuple(model for model, matcher in matchers.items() if name in matcher.names)
            writer.tell(PersonLine(number, name, name, models))
        people = cls(writer.reader())
        people.poll()
        return people

    def scan_on(self, device: Device | None) -> None:
        """Scan on a device from now on, where it can; None stays with the CPU."""
        self.mirror = GalleryMirror.where_possible(device)

    def close(self) -> None:
        """Let go of the device."""
        if self.mirror is not None:
            self.mirror.close()

    @property
    def has_news(self) -> bool:
        """Whether `poll` would take anything over; costs next to nothing."""
        return self.feed is not None and self.feed.waiting

    def poll(self) -> News:
        """Take over what has changed."""
        persons: set[int] = set()
        limits, problem = False, None
        for line in self.feed.news() if self.feed is not None else ():
            match line:
                case PersonLine():
                    persons.add(line.index)
                    self._set(line)
                case ModelLine():
                    self.fingerprints[line.model] = line.fingerprint
                    self.upstream[line.model] = line.upstream
                    self.tables.pop(line.model, None)
                    if line.table is not None:
                        self.tables[line.model] = TemplateTable.attach(line.table)
                case LimitsLine():
                    self.limits[line.model] = (line.threshold, line.margin)
                    self.camera_limits[line.model] = line.cameras
                    limits = True
                case StateLine():
                    problem = line.problem
        return News(frozenset(persons), limits, problem)

    def search(self, model: str, probes: Sequence[Floats], listed: int = LISTED) -> list[Nearest]:
        """The people nearest to each of a batch of probes `[parts, dim]`.

        Raises:
            GalleryError: the probes have another shape than the templates.
        """
        table = self.tables.get(model)
        if table is None or not probes:
            return [_nobody() for _ in probes]
        wanted = (table.layout.parts, table.layout.dim)
        if any(probe.shape != wanted for probe in probes):
            raise GalleryError(
                f"a probe of shape {probes[0].shape} cannot be compared with templates of shape {wanted}: "
                "they come from different models"
            )
        rows = self._rows_of(model, table)
        if rows.count <= FEW:
            everybody = np.arange(len(rows.persons))
            return [
                _cut(_bounded(table, rows, everybody, probe), listed)
                for probe in table.layout.pad(np.stack(probes))
            ]
        given = Probes.of(table.layout, np.stack(probes))
        if self.mirror is None:
            bounds = coarse_distances(table.layout, table.rows[: rows.count], given)
        else:
            bounds = self.mirror.coarse(model, table, rows.count, given)
        return [
            _nearest(table, rows, rows.least(bound) - slack, probe, listed)
            for bound, slack, probe in zip(bounds, given.slack, given.padded, strict=True)
        ]

    def exact(self, model: str, probe: Floats, persons: Sequence[int]) -> Floats:
        """Distance to the nearest template of each of some people, float32 `[n]`; infinite without one."""
        out = np.full(len(persons), np.inf, np.float32)
        table = self.tables.get(model)
        if table is None or not len(persons):
            return out
        rows = self._rows_of(model, table)
        places, columns = rows.places_of(np.asarray(persons, np.int64))
        wanted, begins = rows.rows_at(places)
        found = table.exact(wanted.tolist())
        there = [index for index, parts in enumerate(found) if parts is not None]
        if there:
            templates = np.stack([parts for parts in found if parts is not None])
            owners = columns[np.searchsorted(begins, there, "right") - 1]
            np.minimum.at(out, owners, mean_part_distance(probe, templates))
        return out

    def _rows_of(self, model: str, table: TemplateTable) -> RowsByPerson:
        """Whose the rows are now; looked through again when some were added or erased."""
        changes = table.changes
        known = self._grouped.get(model)
        if known is None or known[0] is not table or known[1] != changes:
            known = table, changes, RowsByPerson(table.owners[: table.count].copy())
            self._grouped[model] = known
        return known[2]

    def _set(self, line: PersonLine) -> None:
        for model, members in self.has.items():
            if model not in line.models:
                members.discard(line.index)
        self.visitors.discard(line.index)
        if line.visitor:
            self.visitors.add(line.index)
        if line.name is None:
            self.names.pop(line.index, None)
            self.uids.pop(line.index, None)
            self.gone[line.index] = line
            return
        self.names[line.index], self.uids[line.index] = line.name, line.uid
        for model in line.models:
            self.has.setdefault(model, set()).add(line.index)


def _nobody() -> Nearest:
    return Nearest(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32), np.inf)


def _nearest(table: TemplateTable, rows: RowsByPerson, least: Floats, probe: Floats, listed: int) -> Nearest:
    """The nearest people, from a lower bound of the distance to each.

    Those with the smallest bounds are looked at closely first; then whoever may still be as near as the
    `listed / CLOSE` nearest of these. Everybody else is further away.
    """
    low = least * np.float32(1 - WIDEN)
    first = _smallest(low, listed)
    found = _bounded(table, rows, first, probe)
    low[first] = np.inf
    if np.isinf(low).all():
        return found
    reach = np.sort(found.high)[max(1, listed // CLOSE) - 1]
    near = np.flatnonzero(low <= reach)
    low[near] = np.inf
    second = _bounded(table, rows, near, probe)
    return _cut(_joined(found, second, float(low.min())), listed)


def _bounded(table: TemplateTable, rows: RowsByPerson, places: Indices, probe: Floats) -> Nearest:
    """Close bounds of the distances to some people, named by their places."""
    if not len(places):
        return _nobody()
    chosen, begins = rows.rows_at(places)
    close = fine_distances(table.layout, table.rows, table.planes, chosen, probe)
    slack = table.rows["fine"][chosen]
    low = np.minimum.reduceat((close - slack) * np.float32(1 - WIDEN), begins)
    high = np.minimum.reduceat((close + slack) * np.float32(1 + WIDEN), begins)
    return Nearest(rows.persons[places], low, high, np.inf)


def _smallest(bounds: Floats, count: int) -> Indices:
    """Indices of the smallest finite bounds."""
    if len(bounds) <= count:
        return np.flatnonzero(np.isfinite(bounds))
    chosen = np.argpartition(bounds, count - 1)[:count]
    return chosen[np.isfinite(bounds[chosen])]


def _joined(one: Nearest, other: Nearest, floor: float) -> Nearest:
    return Nearest(
        np.concatenate([one.persons, other.persons]),
        np.concatenate([one.low, other.low]),
        np.concatenate([one.high, other.high]),
        floor,
    )


def _cut(nearest: Nearest, listed: int) -> Nearest:
    """Without those who are no nearer than others who are not listed, and no longer than asked for."""
    order = np.argsort(nearest.low, kind="stable")
    kept = order[nearest.low[order] <= nearest.floor][:listed]
    floor = (
        min(nearest.floor, float(nearest.low[order[len(kept)]])) if len(kept) < len(order) else nearest.floor
    )
    return Nearest(nearest.persons[kept], nearest.low[kept], nearest.high[kept], floor)


def merged(found: Sequence[Nearest], listed: int) -> Nearest:
    """The nearest of several parts of a gallery, as one search of the whole lists them.

    Args:
        found: in each part; nobody is in two of them.
        listed: most that are listed.
    """
    whole = _nobody()
    for part in found:
        whole = _joined(whole, part, min(whole.floor, part.floor))
    return _cut(whole, listed)


def changed(nearest: Nearest, people: People, model: str, probe: Floats, persons: Iterable[int]) -> None:
    """Bring a search's result up to date after some people were changed."""
    known = [person for person in persons if person in people.has.get(model, ())]
    distances = dict(zip(known, people.exact(model, probe, known).tolist(), strict=True))
    for person in persons:
        nearest.replace(person, distances.get(person))
