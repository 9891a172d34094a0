"""Keeps a gallery's thresholds up to date, in the transaction that changes its people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import GalleryError
from gaitstream.gallery.base import ModelRow, Reading, Writing
from gaitstream.gallery.calibration import MOST_AIM, Calibration, conclude, least_aim
from gaitstream.gallery.checksum import Damage
from gaitstream.gallery.matching import Matcher
from gaitstream.gallery.records import PersonRecord
from gaitstream.gallery.searches import Searches, search_all, update
from gaitstream.gallery.vault import Template, Vault

Floats = NDArray[np.float32]
ByPerson = dict[str, dict[int, Floats]]
_SEARCHES = msgspec.msgpack.Decoder(Searches)
"""Templates `[parts, dim]` by uid and number."""


class Tuner:
    """Calibrates one gallery's models.

    Args:
        vault: opens its rows.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._searched: dict[int, Floats] = {}
        """Templates searched for, by number: a number's template never changes."""
        self._stacked: tuple[list[int], Floats] | None = None
        """Those asked for last, and their numbers: the same mostly, and a copy of them takes long."""

    def forget(self) -> None:
        """A transaction failed: numbers it gave may be given again."""
        self._searched.clear()
        self._stacked = None

    def follow(
        self,
        writing: Writing,
        model: str,
        uids: Iterable[str],
        where: str,
        *,
        leave_out_damaged: bool = False,
    ) -> Calibration | None:
        """Calibrate a model after people were changed.

        Raises:
            GalleryError: a template it needs is damaged, unless those are left out.
        """
        row = _row(writing, model)
        searches = self._read(writing, model)
        if searches is None or searches.worn(writing.count(model)):
            return self._make(writing, row, where, leave_out_damaged=leave_out_damaged)
        changed = {
            uid: self.gather(writing, row, where, uid, leave_out_damaged=leave_out_damaged).get(uid, {})
            for uid in uids
        }
        if any(changed.values()):
            self._open_searched(writing, row, searches)
        update(searches, changed, self._stack)
        return self._keep(writing, row, searches)

    def aim(self, writing: Writing, model: str, target: float | None, where: str) -> Calibration | None:
        """Calibrate a model from all its templates for a rate, from now on; None for the usual rule.

        Raises:
            GalleryError: it is no rate, or there are too few people to tell it from none.
        """
        if target is not None and not 0 < target < MOST_AIM:
            raise GalleryError(
                f"a false positive rate of {target:g}: give a share between 0 and {MOST_AIM}, such as 0.01"
            )
        writing.set(f"target/{model}", None if target is None else repr(target).encode())
        found = self.anew(writing, model, where)
        persons = found.persons if found else 0
        if target is not None and persons * target < 1:
            raise GalleryError(
                f"a false positive rate of {target:.2%} cannot be told from none with {persons} people "
                f"of {model}: enrol {int(1 / target) + 1}{least_aim(persons)}"
            )
        return found

    def anew(self, writing: Writing, model: str, where: str) -> Calibration | None:
        """Calibrate a model from all its templates."""
        return self._make(writing, _row(writing, model), where, leave_out_damaged=False)

    def gather(
        self,
        reading: Reading,
        row: ModelRow,
        where: str,
        person: str | None = None,
        *,
        leave_out_damaged: bool = False,
    ) -> ByPerson:
        """A model's templates, of everybody or of one person; visitors are nobody here.

        Raises:
            GalleryError: one is damaged, unless those are left out.
        """
        found: ByPerson = {}
        hidden = self._hidden(reading, person, leave_out_damaged=leave_out_damaged)
        for template in self._vault.templates(reading, row, person):
            if template.person in hidden:
                continue
            if isinstance(template, Template):
                found.setdefault(template.person, {})[template.number] = template.parts
            elif not leave_out_damaged:
                self.complain(reading, template, where)
        return found

    def _hidden(self, reading: Reading, person: str | None, *, leave_out_damaged: bool) -> set[str]:
        """Uids of the visitors among those who are asked for, and of damaged ones if these are left out."""
        one = reading.person(person) if person is not None else None
        hidden = set()
        for row in reading.persons() if person is None else filter(None, [one]):
            try:
                counts = not self._vault.record(row).visitor
            except GalleryError:
                if not leave_out_damaged:
                    raise
                counts = False
            if not counts:
                hidden.add(row.uid)
        return hidden

    def named(self, damage: Damage, records: Mapping[str, PersonRecord]) -> Damage:
        """A damage that names the person."""
        known = records.get(damage.person)
        return replace(damage, person=known.name) if known else damage

    def peek(self, reading: Reading, row: ModelRow, where: str) -> Calibration | None:
        """What `anew` would find, and keeps nothing."""
        searches = _search(self.gather(reading, row, where), self._vault.records(reading))
        return conclude(searches.found, _target(reading, row.name))

    def complain(self, reading: Reading, damage: Damage, where: str) -> NoReturn:
        """Tell of a damaged template.

        Raises:
            GalleryError: always.
        """
        named = self.named(damage, self._vault.records(reading))
        raise GalleryError(
            f"{where}: {named}; put a backup in its place, or erase {named.person!r} with 'gaitstream "
            "gallery remove' and enrol again; 'gaitstream gallery info' lists all that is damaged"
        )

    def _make(
        self, writing: Writing, row: ModelRow, where: str, *, leave_out_damaged: bool
    ) -> Calibration | None:
        gathered = self.gather(writing, row, where, leave_out_damaged=leave_out_damaged)
        searches = _search(gathered, self._vault.readable(writing))
        wanted = {(search.person, search.template) for search in searches.found}
        self._searched = {number: gathered[uid][number] for uid, number in wanted}
        return self._keep(writing, row, searches)

    def _keep(self, writing: Writing, row: ModelRow, searches: Searches) -> Calibration | None:
        found = conclude(searches.found, _target(writing, row.name))
        writing.put_model(replace(row, calibration=self._vault.seal_calibration(row.name, found)))
        place = f"searches/{row.name}"
        writing.set(place, self._vault.sealer.seal(msgspec.msgpack.encode(searches), place))
        return found

    def _read(self, writing: Writing, model: str) -> Searches | None:
        place = f"searches/{model}"
        kept = writing.setting(place)
        if kept is None:
            return None
        return _SEARCHES.decode(self._vault.sealer.open(kept, place))

    def _open_searched(self, writing: Writing, row: ModelRow, searches: Searches) -> None:
        """Open the templates searched for; those that cannot be opened are searched for no more."""
        missing = [one.template for one in searches.found if one.template not in self._searched]
        for kept in writing.select(missing):
            opened = self._vault.template(kept, row)
            if isinstance(opened, Template):
                self._searched[opened.number] = opened.parts
        searches.found = [one for one in searches.found if one.template in self._searched]

    def _stack(self, numbers: list[int]) -> Floats:
        if self._stacked is None or self._stacked[0] != numbers:
            self._stacked = numbers, np.stack([self._searched[number] for number in numbers])
        return self._stacked[1]


def _target(reading: Reading, model: str) -> float | None:
    """The FPIR that was asked for; None for the usual rule."""
    kept = reading.setting(f"target/{model}")
    return float(kept) if kept else None


def _search(gathered: ByPerson, records: Mapping[str, PersonRecord]) -> Searches:
    """In the order of names, so that the same people give the same searches in any gallery."""
    order = sorted(gathered, key=lambda uid: records[uid].name if uid in records else uid)
    matcher = Matcher.build([(uid, np.stack(list(gathered[uid].values()))) for uid in order])
    return search_all(matcher, [number for uid in order for number in gathered[uid]])


def _row(reading: Reading, model: str) -> ModelRow:
    return next(row for row in reading.models() if row.name == model)
