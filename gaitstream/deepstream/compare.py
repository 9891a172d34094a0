"""Compares the runs of two front ends on a synthetic site, with its ground truth and with each other.

    python -m gaitstream.deepstream.compare SITE NATIVE.journal DEEPSTREAM.journal

SITE is what `gaitstream synth` or `scripts/verify_site.py` wrote. Prints a table; exit code 1 when the second
run falls short of the first. Where nobody is enrolled, tracks alone are compared.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from gaitstream.config.reading import load_config
from gaitstream.deepstream.spec import start_of
from gaitstream.errors import ConfigError, EventError, GaitstreamError
from gaitstream.events import Event, IdentityFinal, TrackEnded, decode
from gaitstream.events.follower import Follower

USAGE = "SITE NATIVE.journal DEEPSTREAM.journal"
SITE = "give the folder that 'gaitstream synth' or scripts/verify_site.py wrote"
TRUTH_COLUMNS = 9
"""Of the MOT challenge."""
SHORTEST_S = 3.0
"""People in the picture for less are not expected to be tracked."""
LEAST_COVERED = 0.9
"""Share of the people whom the native front end finds, or names, that the other has to as well."""
LEAST_RIGHT = 0.9
"""Share of the people named who have their own name."""
LEAST_AGREED = 0.9
"""Share of people named by both who have the same name."""


@dataclass(frozen=True)
class RunScore:
    """One run against the truth: of the people who were there long enough."""

    expected: int
    found: int
    """Of them, those with a track that ended on them."""
    tracks: int
    """Tracks that ended, on whomever."""
    named: dict[tuple[str, int], str]
    """Name by camera and true id."""
    nearest: dict[tuple[str, int], str]
    """The nearest person in the gallery, near enough or not, by camera and true id."""
    names: dict[int, str]
    """True name by true id."""

    @property
    def rightly(self) -> int:
        """People with their own name."""
        return sum(self.names.get(who) == name for (_, who), name in self.named.items())


def finals(journal: Path) -> list[IdentityFinal]:
    """The last word on every track of a journal, at the time of its last box: evidence may end before it.

    Raises:
        EventError: the folder holds no journal, or one that cannot be read in full.
    """
    follower = Follower(journal)  # reads, and leaves the folder as it is
    events: list[Event] = []
    while True:
        found = follower.read()
        if found.lost:
            raise EventError(f"{journal}: {found.lost} events are damaged; run it again")
        events += [decode(record.payload) for record in found.records]
        if found.end:
            break
    if not events:
        raise EventError(f"{journal}: the journal is empty; give the folder that the run wrote")
    last_ns = {(e.camera, e.track): e.time_ns for e in events if isinstance(e, TrackEnded)}
    return [
        msgspec.structs.replace(event, time_ns=last_ns.get((event.camera, event.track), event.time_ns))
        for event in events
        if isinstance(event, IdentityFinal)
    ]


def score(site: Path, events: Iterable[IdentityFinal], starts_ns: dict[str, int], fps: float) -> RunScore:
    """Match final decisions with the truth by where and when their tracks ended.

    Args:
        site: with `CAMERA/gt/gt.txt` and `identities.json`.
        events: of one run.
        starts_ns: capture time of each camera's first frame.
        fps: of the videos.
    """
    expected, found, tracks = 0, set(), 0
    named: dict[tuple[str, int], str] = {}
    nearest: dict[tuple[str, int], str] = {}
    truths = {camera: read_truth(site / camera / "gt" / "gt.txt") for camera in starts_ns}
    for rows in truths.values():
        _, counts = np.unique(rows[rows[:, 6] > 0.5, 1], return_counts=True)
        expected += int((counts >= SHORTEST_S * fps).sum())
    for event in events:
        if event.camera not in truths:
            continue
        tracks += 1
        frame = round((event.time_ns - starts_ns[event.camera]) / 1e9 * fps) + 1
        who = owner(truths[event.camera], frame, event.box)
        if who is not None:
            found.add((event.camera, who))
            if event.person is not None:
                named[event.camera, who] = event.person
            if event.candidates:
                nearest[event.camera, who] = event.candidates[0][0]
    path = site / "identities.json"
    try:
        names = {one["id"]: one["name"] for one in json.loads(path.read_bytes())}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); {SITE}") from error
    return RunScore(expected, len(found), tracks, named, nearest, names)


def read_truth(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Rows `[n, 7]`: frame, id, xyxy, visibility."""
    try:
        lines = path.read_text().splitlines()
        rows = np.loadtxt(lines, delimiter=",", ndmin=2) if lines else np.zeros((0, TRUTH_COLUMNS))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); {SITE}") from error
    if rows.shape[1] != TRUTH_COLUMNS:
        raise ConfigError(f"{path} has {rows.shape[1]} columns and not {TRUTH_COLUMNS}; {SITE}")
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


def table(native: RunScore, deepstream: RunScore, *, names: bool) -> tuple[str, bool]:
    """The comparison as text, and whether the second run holds.

    Args:
        native: the first run.
        deepstream: the second.
        names: people are enrolled, so that both have to name them.
    """
    both = native.named.keys() & deepstream.named.keys()
    agreed = sum(native.named[key] == deepstream.named[key] for key in both)
    near = native.nearest.keys() & deepstream.nearest.keys()
    same = sum(native.nearest[key] == deepstream.nearest[key] for key in near)
    rows = [
        ("people expected", native.expected, deepstream.expected),
        ("people found", native.found, deepstream.found),
        ("tracks", native.tracks, deepstream.tracks),
        ("people named", len(native.named), len(deepstream.named)),
        ("named rightly", native.rightly, deepstream.rightly),
    ]
    lines = [f"{'':22}{'native':>10}{'deepstream':>12}"]
    lines += [f"{name:22}{first:>10}{second:>12}" for name, first, second in rows]
    lines.append(f"named by both: {len(both)}, with the same name: {agreed}")
    lines.append(f"compared with the gallery by both: {len(near)}, with the same person nearest: {same}")
    short = []
    if deepstream.found < LEAST_COVERED * max(native.found, 1):
        short.append(f"finds less than {LEAST_COVERED:.0%} of the people")
    if names and not native.named:
        short.append("the native front end names nobody, so names cannot be compared")
    if names and len(both) < LEAST_COVERED * len(native.named):
        short.append(f"names less than {LEAST_COVERED:.0%} of the people")
    if names and deepstream.rightly < LEAST_RIGHT * len(deepstream.named):
        short.append(f"less than {LEAST_RIGHT:.0%} of the names are right")
    if names and agreed < LEAST_AGREED * len(both):
        short.append(f"less than {LEAST_AGREED:.0%} have the same name")
    lines.append("falls short: " + "; ".join(short) if short else "holds")
    return "\n".join(lines), not short


def main(arguments: Sequence[str]) -> int:
    """Compare; see the module's text."""
    if len(arguments) != 3:
        sys.stderr.write(f"usage: python -m gaitstream.deepstream.compare {USAGE}\n")
        return 2
    try:
        return compare(*map(Path, arguments))
    except GaitstreamError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def compare(site: Path, native: Path, deepstream: Path) -> int:
    """Print the table of two runs; 1 when the second falls short."""
    config = load_config(site / "cams.yaml")
    starts = {camera.id: start_of(camera) for camera in config.cameras}
    fps = max(camera.fps or 15.0 for camera in config.cameras)
    first, second = (score(site, finals(path), starts, fps) for path in (native, deepstream))
    text, holds = table(first, second, names=config.gallery.path is not None)
    sys.stdout.write(text + "\n")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
