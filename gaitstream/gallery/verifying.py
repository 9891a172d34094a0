"""Is a gallery what it was written as: its store, its people, its templates and its log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from gaitstream.errors import GalleryError
from gaitstream.gallery.audit import HEAD, verify_audit
from gaitstream.gallery.calibration import ENOUGH
from gaitstream.gallery.gallery import Gallery
from gaitstream.gallery.people import People
from gaitstream.gallery.tally import verify_tally

Row = TypeVar("Row")


def verify(gallery: Gallery) -> list[str]:
    """Everything that is wrong, a line each; empty for a gallery that is whole."""
    found = [f"the store: {line}" for line in gallery.store.check()]
    people = 0
    with gallery.store.reading() as reading:
        for row in reading.persons():
            try:
                record = gallery.vault.record(row)
                people += not record.visitor
                if gallery.vault.person_row(row.uid, record).key != row.key:
                    found.append(f"person {row.uid} cannot be found by name: its key is another's")
            except GalleryError as error:
                found.append(str(error))
        found += [line for row in reading.pictures() for line in _opens(gallery.vault.picture, row)]
        found += [line for row in reading.sightings() for line in _opens(gallery.vault.sighting, row)]
        found += verify_audit(reading, gallery.sealer)
        # Galleries of versions that kept no log are not encrypted; visitors are noted without a line.
        if gallery.encrypted and people and reading.setting(HEAD) is None:
            found.append(f"the audit log is gone: {people} people were enrolled, and no line says so")
        if gallery.encrypted:
            found += verify_tally(reading, gallery.sealer)
    try:
        found += [str(damage) for damage in gallery.damaged()]
    except GalleryError as error:
        found.append(str(error))
    return found


def duplicates(
    gallery: Gallery, model: str, fingerprint: str, of: str | None = None
) -> list[tuple[float, str, str]]:
    """Pairs of people who may be one, nearest first: distance and names.

    Two who are nearer to each other than the threshold at which a probe is known are named.

    Args:
        gallery: where.
        model: by whose templates.
        fingerprint: of the model.
        of: only pairs of this person, as the name is kept; all when None.
    """
    threshold, _ = gallery.thresholds(model)
    matcher = gallery.matcher(model, fingerprint)
    if threshold is None or len(matcher.names) < 2:
        return []
    people = People.of({model: matcher})
    ends = [*matcher.starts[1:].tolist(), len(matcher.templates)]
    pairs: dict[tuple[str, str], float] = {}
    for name, start, end in zip(matcher.names, matcher.starts.tolist(), ends, strict=True):
        for template in matcher.templates[start:end] if of in (None, name) else ():
            [nearest] = people.search(model, [template])
            close = nearest.persons[nearest.low <= threshold].tolist()
            for person, distance in zip(close, people.exact(model, template, close).tolist(), strict=True):
                other = people.names[person]
                if other != name and distance <= threshold:
                    pair = (min(name, other), max(name, other))
                    pairs[pair] = min(distance, pairs.get(pair, np.inf))
    return sorted((distance, *pair) for pair, distance in pairs.items())


def twins(gallery: Gallery, name: str) -> list[str]:
    """Who else somebody may be, in words; nobody from `ENOUGH` people on, where no single pair matters.

    Raises:
        GalleryError: nobody has the name.
    """
    with gallery.store.reading() as reading:
        _, record = gallery.person(reading, name)
    if len(gallery.persons()) >= ENOUGH:
        return []
    nearest: dict[str, float] = {}
    for model, fingerprint in gallery.models().items():
        for distance, one, other in duplicates(gallery, model, fingerprint, record.name):
            nearest.setdefault(other if one == record.name else one, distance)
    return [
        f"{record.name} walks like {other} (distance {distance:.4f}): where they are one person, 'gaitstream "
        "gallery merge' makes them one; under two names they make the thresholds too small for everybody"
        for other, distance in nearest.items()
    ]


def _opens(read: Callable[[Row], object], row: Row) -> list[str]:
    try:
        read(row)
    except GalleryError as error:
        return [str(error)]
    return []
