"""The searches a calibration rests on: templates of the gallery, searched for as if they came from outside.

`search_all` makes them anew. `update` brings them up to date after somebody was enrolled, changed or erased,
at the cost of comparing that person's templates with the searched ones: each search remembers the nearest
`NEIGHBOURS` persons, so that the nearest of those who are left is known. A search all of whose neighbours are
gone is given up; when a tenth are, or the gallery has grown by a tenth, it is time to make them anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.gallery.matching import Matcher

Floats = NDArray[np.float32]
SEARCHES = 1000
"""Templates searched for, spread evenly over the gallery; more narrow the estimate little."""
NEIGHBOURS = 8
FEW = 200
"""Templates up to which the searches are always made anew, in some 20 ms."""
_WEAR = 0.1
_BLOCK = 64


class Search(msgspec.Struct, array_like=True):
    """One template searched for.

    Attributes:
        template: its number.
        person: uid of its person.
        genuine: distance to the person's nearest other template; None without one.
        others: distance and uid of the nearest other persons, nearest first.
        bound: everybody who is not in `others` is at least this far; None when all are there.
    """

    template: int
    person: str
    genuine: float | None
    others: list[tuple[float, str]]
    bound: float | None


class Searches(msgspec.Struct):
    """All searches of one model.

    Attributes:
        found: the searches.
        made: how many there were when they were made.
        templates: how many templates the gallery had then.
    """

    found: list[Search]
    made: int
    templates: int

    def worn(self, templates: int) -> bool:
        """Whether they should be made anew for a gallery of so many templates."""
        return (
            templates <= FEW
            or abs(templates - self.templates) > _WEAR * self.templates
            or len(self.found) < (1 - _WEAR) * self.made
        )


def search_all(matcher: Matcher, numbers: Sequence[int]) -> Searches:
    """Search for templates spread evenly over the gallery.

    Args:
        matcher: all templates; its names are uids.
        numbers: of the templates, in the matcher's order.
    """
    count = len(matcher.templates)
    owner = np.repeat(np.arange(len(matcher.names)), np.diff([*matcher.starts.tolist(), count]))
    searched = np.unique(np.linspace(0, count - 1, min(count, SEARCHES)).round().astype(np.intp))
    # Differences from the mean keep the cancellation in `part_distances` small.
    centred = matcher.templates - matcher.templates.mean(axis=0) if count else matcher.templates
    found: list[Search] = []
    for start in range(0, len(searched), _BLOCK):
        block = searched[start : start + _BLOCK]
        distances = part_distances(centred[block], centred)
        distances[np.arange(len(block)), block] = np.inf
        persons = np.minimum.reduceat(distances, matcher.starts, axis=1)
        for row, index in zip(persons, block, strict=True):
            mine = owner[index]
            genuine = float(row[mine])
            row[mine] = np.inf
            others, bound = _nearest(row, matcher.names, len(row) - 1)
            kept = genuine if np.isfinite(genuine) else None
            found.append(Search(numbers[index], matcher.names[mine], kept, others, bound))
    return Searches(found, len(found), count)


def update(
    searches: Searches,
    changed: Mapping[str, Mapping[int, Floats]],
    templates_of: Callable[[list[int]], Floats],
) -> None:
    """Bring searches up to date.

    Args:
        searches: changed in place.
        changed: of each person who was changed, the templates `[parts, dim]` they have now, by number; none
            for somebody who is gone.
        templates_of: gives searched templates by their numbers, `[n, parts, dim]`; asked where somebody who
            was changed has templates.
    """
    searches.found = [
        search
        for search in searches.found
        if search.person not in changed or search.template in changed[search.person]
    ]
    if searches.found:
        numbers = [search.template for search in searches.found]
        for uid, templates in changed.items():
            own = list(templates.values())
            each = np.full((1, len(numbers)), np.inf, np.float32)
            if own:
                each = part_distances(np.stack(own), templates_of(numbers))
            nearest = each.min(axis=0).tolist()
            for column, search in enumerate(searches.found):
                if search.person == uid:
                    _take_own(search, each[:, column], list(templates))
                else:
                    _take(search, uid, nearest[column])
    searches.found = [search for search in searches.found if search.others or search.bound is None]


def _take_own(search: Search, distances: Floats, numbers: Sequence[int]) -> None:
    """Enter the distances of a searched template's own person."""
    others = [float(d) for d, number in zip(distances, numbers, strict=True) if number != search.template]
    search.genuine = min(others, default=None)


def _take(search: Search, uid: str, nearest: float) -> None:
    """Enter another person's distance to a searched template; infinite for somebody who is gone."""
    kept = [entry for entry in search.others if entry[1] != uid]
    if math.isfinite(nearest) and (search.bound is None or nearest < search.bound):
        kept.append((nearest, uid))
        kept.sort()
    if len(kept) > NEIGHBOURS:
        search.bound = kept[NEIGHBOURS][0]
        kept = kept[:NEIGHBOURS]
    search.others = kept


def _nearest(row: Floats, names: Sequence[str], persons: int) -> tuple[list[tuple[float, str]], float | None]:
    """The nearest of one search, and how far everybody else is at least."""
    if persons <= NEIGHBOURS:
        order = np.argsort(row, kind="stable")[:persons]
        return [(float(row[index]), names[index]) for index in order], None
    order = np.argpartition(row, NEIGHBOURS)[: NEIGHBOURS + 1]
    order = order[np.argsort(row[order], kind="stable")]
    kept = [(float(row[index]), names[index]) for index in order[:NEIGHBOURS]]
    return kept, float(row[order[NEIGHBOURS]])


def part_distances(probes: Floats, templates: Floats) -> Floats:
    """`mean_part_distance` of many probes `[k, parts, dim]`, `[k, n]`.

    From inner products: some hundred times faster, and exact enough for percentiles.
    """
    total = np.zeros((len(probes), len(templates)), np.float32)
    for part in range(probes.shape[1]):
        left, right = probes[:, part], templates[:, part]
        squares = -2 * (left @ right.T)
        squares += np.einsum("kd,kd->k", left, left)[:, None] + np.einsum("nd,nd->n", right, right)
        total += np.sqrt(np.maximum(squares, 0, out=squares), out=squares)
    total /= max(1, probes.shape[1])
    return total
