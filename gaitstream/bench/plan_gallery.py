"""Whether a gallery fits one machine's memory, or how many shards it takes."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from gaitstream.bench.crowd import DIM, PARTS, TEMPLATES_EACH
from gaitstream.config.gallery_section import MOST_SHARDS
from gaitstream.gallery.quantise import Layout
from gaitstream.gallery.table import CAPACITY

SHARE = 0.5
"""Of a machine's memory for the gallery: the pipeline, the system and a copy while it loads take the rest."""
PERSON_BYTES = 600
"""Of a person without templates: name and id, in every process that decides."""
_GIB = 2**30


@dataclass(frozen=True, slots=True)
class GalleryPlan:
    """The answer.

    Attributes:
        persons: enrolled.
        templates: of each.
        memory_bytes: of the templates as they are searched.
        disk_bytes: of the exact templates, encrypted, in the temporary folder.
        names_bytes: of names and ids, in every process that decides.
        shards: machines that share the templates; 1 needs no sharding.
    """

    persons: int
    templates: int
    memory_bytes: int
    disk_bytes: int
    names_bytes: int
    shards: int


def plan_gallery(
    persons: int, templates: int = TEMPLATES_EACH, machine_bytes: int | None = None
) -> GalleryPlan:
    """Compute what a gallery takes; nothing is measured.

    Args:
        persons: enrolled.
        templates: of each, of 16 parts x 256 values.
        machine_bytes: memory of a machine; None: of this one.
    """
    layout = Layout(PARTS, DIM)
    rows = persons * templates
    held = rows * (layout.record.itemsize + layout.plane.itemsize)
    memory = machine_bytes
    if memory is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shards = max(1, math.ceil(held / (SHARE * memory)), math.ceil(rows / CAPACITY))
    return GalleryPlan(
        persons=persons,
        templates=templates,
        memory_bytes=held,
        disk_bytes=rows * 4 * PARTS * DIM,
        names_bytes=persons * PERSON_BYTES,
        shards=shards,
    )


def describe_gallery(plan: GalleryPlan) -> str:
    """The plan as text."""
    size = (
        f"{plan.persons} people x {plan.templates} templates take {plan.memory_bytes / _GIB:.1f} GiB of "
        f"memory, and {plan.disk_bytes / _GIB:.1f} GiB of the temporary folder"
    )
    if plan.shards == 1:
        return f"{size}: they fit one machine"
    names = f"Every process that decides also keeps names and ids, {plan.names_bytes / _GIB:.1f} GiB"
    if plan.shards > MOST_SHARDS:
        return (
            f"{size}: {plan.shards} machines like that, and gallery.shards takes {MOST_SHARDS}. Give each "
            f"site the people who belong there, or machines of more memory (docs/scaling.md). {names}"
        )
    return (
        f"{size}: they do not fit one machine; share them out over {plan.shards} (docs/scaling.md). {names}"
    )
