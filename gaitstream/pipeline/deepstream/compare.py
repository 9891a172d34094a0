"""Compares the runs of two front ends on a synthetic site, with its ground truth and with each other.

    python -m gaitstream.pipeline.deepstream.compare SITE NATIVE.journal DEEPSTREAM.journal

SITE is what `gaitstream synth` wrote. Prints a table; exit code 1 when the second run falls short.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gaitstream.events import Event, Journal
from gaitstream.events.schema import IdentityFinal, decode

SHORTEST_S = 3.0
"""People in the picture for less are not expected to be tracked."""
LEAST_COVERED = 0.9
"""Share of what the native front end finds that the other has to find as well."""
LEAST_AGREED = 0.9
"""Share of people named by both who have the same name."""


@dataclass(frozen=True)
class Score:
    """One run against the truth: of the people who were there long enough."""

    expected: int
    found: int
    """Of them, those with a track that ended on them."""
    named: dict[tuple[str, int], str]
    """Name by camera and true id."""


def finals(journal: Path) -> list[IdentityFinal]:
    """The last word on every track of a journal."""
    store = Journal(journal)
    try:
        events: list[Event] = []
        for topic, head in store.heads().items():
            after = 0
            while after < head and (records := store.read(topic, after)):
                events += [decode(record.payload) for record in records]
                after = records[-1].seq
        return [event for event in events if isinstance(event, IdentityFinal)]
    finally:
        store.close()


def score(site: Path, events: Iterable[IdentityFinal], starts_ns: dict[str, int], fps: float) -> Score:
    """Match final decisions with the truth by where and when their tracks ended.

    Args:
        site: with `CAMERA/gt/gt.txt`.
        events: of one run.
        starts_ns: capture time of each camera's first frame.
        fps: of the videos.
    """
    expected, found = 0, set()
    named: dict[tuple[str, int], str] = {}
    truths = {camera: read_truth(site / camera / "gt" / "gt.txt") for camera in starts_ns}
    for rows in truths.values():
        _, counts = np.unique(rows[rows[:, 6] > 0.5, 1], return_counts=True)
        expected += int((counts >= SHORTEST_S * fps).sum())
    for event in events:
        if event.camera not in truths:
            continue
        frame = round((event.time_ns - starts_ns[event.camera]) / 1e9 * fps) + 1
        who = owner(truths[event.camera], frame, event.box)
        if who is not None:
            found.add((event.camera, who))
            if event.person is not None:
                named[event.camera, who] = event.person
    return Score(expected, len(found), named)


def read_truth(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Rows `[n, 7]`: frame, id, xyxy, visibility."""
    rows = np.loadtxt(path, delimiter=",", ndmin=2)
    left, top, width, height = rows[:, 2] - 1, rows[:, 3] - 1, rows[:, 4], rows[:, 5]
    return np.column_stack([rows[:, 0], rows[:, 1], left, top, left + width, top + height, rows[:, 8]])


def owner(
    rows: np.ndarray[tuple[int, int], np.dtype[np.float64]], frame: int, box: Sequence[float]
) -> int | None:
    """The true id under a box, within a few frames; None when nobody overlaps it by a third."""
    near = rows[np.abs(rows[:, 0] - frame) <= 3]
    if not len(near):
        return None
    target = np.asarray(box)
    corner = np.clip(np.minimum(near[:, 4:6], target[2:]) - np.maximum(near[:, 2:4], target[:2]), 0, None)
    shared = corner.prod(axis=1)
    area = (near[:, 4:6] - near[:, 2:4]).prod(axis=1) + np.prod(target[2:] - target[:2]) - shared
    best = int((shared / area).argmax())
    return int(near[best, 1]) if shared[best] / area[best] > 1 / 3 else None


def table(native: Score, deepstream: Score) -> tuple[str, bool]:
    """The comparison as text, and whether the second run holds."""
    both = native.named.keys() & deepstream.named.keys()
    agreed = sum(native.named[key] == deepstream.named[key] for key in both)
    covered = deepstream.found / max(native.found, 1)
    agreement = agreed / max(len(both), 1) if both else 1.0
    holds = covered >= LEAST_COVERED and agreement >= LEAST_AGREED
    lines = [
        f"{'':22}{'native':>10}{'deepstream':>12}",
        f"{'people expected':22}{native.expected:>10}{deepstream.expected:>12}",
        f"{'people found':22}{native.found:>10}{deepstream.found:>12}",
        f"{'people named':22}{len(native.named):>10}{len(deepstream.named):>12}",
        f"named by both: {len(both)}, same name: {agreed}; "
        + ("holds" if holds else f"falls short of {LEAST_COVERED:.0%} found and {LEAST_AGREED:.0%} agreed"),
    ]
    return "\n".join(lines), holds


def main(arguments: Sequence[str]) -> int:
    """Compare; see the module's text."""
    from gaitstream.pipeline.config_file import load_config
    from gaitstream.pipeline.deepstream.spec import start_of

    site, native, deepstream = (Path(argument) for argument in arguments)
    config = load_config(site / "cams.yaml")
    starts = {camera.id: start_of(camera) for camera in config.cameras}
    fps = max(camera.fps or 15.0 for camera in config.cameras)
    text, holds = table(*(score(site, finals(path), starts, fps) for path in (native, deepstream)))
    sys.stdout.write(text + "\n" + json.dumps({"holds": holds}) + "\n")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
