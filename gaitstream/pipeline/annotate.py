"""Pictures with what is known of the people in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gaitstream.data import Decision, Image, Person, Status

COLOURS = {
    Status.KNOWN: (80, 200, 80),
    Status.UNKNOWN: (245, 171, 127),
    Status.AMBIGUOUS: (40, 180, 240),
    Status.INSUFFICIENT: (160, 160, 160),
}
"""BGR by status."""

Box = tuple[int, int, int, int]


def draw(image: Image, persons: Sequence[Person], labels: Mapping[int, Decision]) -> Image:
    """A copy of a picture with boxes, ids and what is known of each.

    Args:
        image: BGR uint8 `[height, width, 3]`.
        persons: tracked in it; those whose picture is no evidence get a thin box and the reason.
        labels: decisions by track.
    """
    import cv2

    canvas = image.copy()
    scale = max(0.4, image.shape[0] / 1200)
    lines = []
    for person in persons:
        decision = labels.get(person.track)
        colour = COLOURS[decision.status] if decision else (200, 200, 200)
        x1, y1, x2, y2 = (round(float(value)) for value in person.box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 1 if person.rejected else 2)
        text = caption(person, decision)
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        named = decision is not None and decision.status is Status.KNOWN
        lines.append((named, text, colour, (x1, y1, x2, y2), (width + 4, height + 6)))
    # Names keep their place; what says less makes room.
    lines.sort(key=lambda line: not line[0])
    places = place_captions([line[-2] for line in lines], [line[-1] for line in lines], image.shape[:2])
    for (_, text, colour, *_), (x1, y1, x2, y2) in zip(lines, places, strict=True):
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, -1)
        cv2.putText(
            canvas, text, (x1 + 2, y2 - 4), cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1, cv2.LINE_AA
        )
    return canvas


def place_captions(
    boxes: Sequence[Box], sizes: Sequence[tuple[int, int]], shape: tuple[int, ...]
) -> list[Box]:
    """Where captions hide no earlier one: above the person's box, else below, else further inside.

    Args:
        boxes: of the persons, xyxy pixels.
        sizes: width and height of each caption.
        shape: height and width of the picture, which captions do not leave.

    Returns:
        A box for each caption; above its person's where no place is free.
    """
    places: list[Box] = []
    for (x1, y1, _, y2), (width, height) in zip(boxes, sizes, strict=True):
        left = max(0, min(x1, shape[1] - width))
        tops = (max(0, min(y, shape[0] - height)) for y in (y1 - height, y2, *range(y1, y2, height)))
        tried = [(left, top, left + width, top + height) for top in tops]
        free = (place for place in tried if not any(_meet(place, other) for other in places))
        places.append(next(free, tried[0]))
    return places


def _meet(one: Box, other: Box) -> bool:
    """Whether two boxes have a pixel in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def caption(person: Person, decision: Decision | None) -> str:
    """The line above a person's box, in ASCII: the drawing font has nothing else."""
    said = ""
    if decision is not None:
        name = decision.person or decision.status.value
        said = f" {name}" + (f" {decision.distance:.2f}" if decision.distance is not None else "")
        said += "?" if decision.provisional else ""
    elif person.rejected is not None:
        said = f" {person.rejected.value}"
    return f"#{person.track}{said}".encode("ascii", "replace").decode()


def cut(image: Image, person: Person) -> Image:
    """A person's part of the picture, BGR; empty when the box lies outside."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = np.rint(person.box).astype(int).clip(0, [width, height, width, height])
    return image[y1:y2, x1:x2]
