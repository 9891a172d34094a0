"""A person's templates as they are shown: each beside a picture of its enrolment, and how well it agrees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, Field

from gaitstream.console.permissions import Actor
from gaitstream.gallery.agreement import nearest_others
from gaitstream.gallery.checksum import Damage
from gaitstream.gallery.vault import Template


class ShownTemplate(BaseModel):
    """One template of a person, without its numbers."""

    number: int
    model: str
    created_ns: int
    source: str = Field(description="Where it came from.")
    damaged: bool = False
    picture: int | None = Field(default=None, description="Of its enrolment; null where none was kept.")
    nearest: float | None = Field(
        default=None, description="Distance to the nearest other of person and model; null where it is alone."
    )
    threshold: float | None = Field(default=None, description="At which somebody is known by this model.")


class ShownPicture(BaseModel):
    """One picture of a person; its JPEG is asked for by the number."""

    number: int
    created_ns: int


def show_templates(
    templates: Sequence[Template | Damage],
    pictures: Iterable[ShownPicture],
    thresholds: Mapping[str, float],
    actor: Actor,
) -> list[ShownTemplate]:
    """Templates of one person in their order.

    Args:
        templates: of the person.
        pictures: of the person, in the order in which they were kept.
        thresholds: by model.
        actor: who looks.
    """
    whole = [one for one in templates if not isinstance(one, Damage)]
    nearest, beside = nearest_others(whole), _beside(whole, pictures)
    damaged = [one for one in templates if isinstance(one, Damage)]
    shown = [
        ShownTemplate(
            number=one.number, model=one.model, created_ns=one.created_ns, source=_source(actor, one.source),
            picture=beside.get(one.number), nearest=nearest.get(one.number),
            threshold=thresholds.get(one.model),
        )
        for one in whole
    ]  # fmt: skip
    return shown + [
        ShownTemplate(
            number=one.template,
            model=one.model,
            created_ns=0,
            source=_source(actor, one.source),
            damaged=True,
        )
        for one in damaged
    ]


def _source(actor: Actor, source: str) -> str:
    """Where a template came from; from where exactly is not told of cameras that the actor may not see."""
    camera = source.partition(" #")[0]
    return source if actor.cameras is None or camera in actor.cameras else "elsewhere"


def _beside(templates: Iterable[Template], pictures: Iterable[ShownPicture]) -> dict[int, int]:
    """A picture for each template: all of one enrolment have its time, and are in the order of time."""
    enrolments, kept = defaultdict(list), defaultdict(list)
    for template in templates:
        enrolments[template.model, template.created_ns].append(template.number)
    for picture in pictures:
        kept[picture.created_ns].append(picture.number)
    return {
        number: kept[created_ns][index * len(kept[created_ns]) // len(numbers)]
        for (_, created_ns), numbers in enrolments.items()
        if created_ns in kept
        for index, number in enumerate(numbers)
    }
