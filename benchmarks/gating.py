"""How many frames a second the pipeline takes when it leaves out what need not be done.

    python -m benchmarks.gating [--before REVISION] [--out out/gating.json]

Four cameras show one person, or eight, of a synthetic world in which everybody is enrolled from another view,
as fast as the frames are taken: in bf16 with every person of every frame encoded, in the precision that
`auto` settles on, in that with `tracklets.settled_every` and `cameras[].still_every`, and with every second
frame of a track besides, in windows that span the same time. A row says what was encoded, and how the tracks
ended. The rows of a scene are measured by turns; they are medians. With `--before` an older revision takes
its turn with its own code and weights, in bf16, nobody enrolled.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.older import ROOT, checked_out, run_python
from benchmarks.rows_file import write_rows
from gaitstream.bench.clips import FPS
from gaitstream.bench.drive import build_config, measure
from gaitstream.config.camera_sections import Camera
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl
from gaitstream.data import Decision
from gaitstream.pipeline.enroll import enroll_walk, watch_video
from gaitstream.pipeline.observe import Observer
from gaitstream.synth.address import Address
from gaitstream.synth.dataset import write_dataset

PEOPLE = 8
SCENES = ((0,), tuple(range(PEOPLE)))
"""Who is there."""
CAMERAS = 4
VIEWS = (1, 3)
"""Which the cameras show by turns."""
ENROLLED_FROM, ENROLLED_S = 2, 12.0
LENGTH_S = 24.0
WARMUP_S = 3.0
WAYS: dict[str, dict[str, Any]] = {
    "bf16": {"runtime": {"precision": "bf16"}},
    "auto": {},
    "auto, gated": {"tracklets": {"settled_every": 5}, "still_every": 5},
    "auto, gated, every second": {
        "tracklets": {"every": 2, "length": 16, "stride": 8, "provisional_from": 6, "settled_every": 5},
        "still_every": 5,
    },
    "auto, gated, every second, detected on every second": {
        "tracklets": {"every": 2, "length": 16, "stride": 8, "provisional_from": 6, "settled_every": 5},
        "still_every": 5,
        "detect_every": 2,
    },
}
CAMERA_KEYS = ("still_every", "detect_every")
BEFORE = "before"
"""The older revision's way."""


class Row(msgspec.Struct, frozen=True):
    """One way to run one scene.

    Attributes:
        people: in the scene.
        way: of running it.
        frames: a second.
        encoded: people encoded a frame.
        named: percent of the tracks that ended with a name.
        wrong: percent of them that ended with a name of nobody who is there.
    """

    people: int
    way: str
    frames: float
    encoded: float
    named: float
    wrong: float


class Names(Observer):
    """The last words on the tracks that ended."""

    def __init__(self) -> None:
        self.last: list[str | None] = []

    def on_decision(self, decision: Decision) -> None:
        """Keep it."""
        if decision.final:
            self.last.append(decision.person)


def main() -> None:
    """Measure all scenes."""
    parser = argparse.ArgumentParser(description="What settled people and still pictures cost.")
    parser.add_argument("--seconds", type=float, default=12.0, help="length of each run (default 12)")
    parser.add_argument("--rounds", type=int, default=3, help="of all ways of a scene (default 3)")
    parser.add_argument("--before", metavar="REVISION", help="of this repository, which takes its turn")
    parser.add_argument("--out", type=Path, help="rows as JSON")
    args = parser.parse_args()
    older = checked_out(args.before) if args.before else nullcontext()
    with older as old, tempfile.TemporaryDirectory(prefix="gaitstream-gating-") as folder:
        rows = list(compare(Path(folder), args.seconds, args.rounds, old))
    write_rows(rows, args.out)


def compare(folder: Path, seconds: float, rounds: int, old: Path | None) -> Iterator[Row]:
    """A row for every way of every scene, printed as it comes; `old` is a checkout that takes its turn."""
    gallery = folder / "gallery"
    enrol(folder, gallery)
    for present in SCENES:
        world = folder / f"scene{len(present)}"
        write_dataset([address(view, present, LENGTH_S) for view in VIEWS], world)
        found: dict[str, list[Row]] = {name: [] for name in ([BEFORE] if old else []) + list(WAYS)}
        for _ in range(rounds):
            if old:
                found[BEFORE].append(run_before(old, shown(world), len(present), seconds))
            for name in WAYS:
                found[name].append(run(world, gallery, name, present, seconds))
        for rows in found.values():
            row = _median(rows)
            print(msgspec.json.encode(row).decode(), flush=True)
            yield row


def address(view: int, present: tuple[int, ...], seconds: float) -> Address:
    """Some of the people of the world before one of its cameras."""
    return Address(
        site="plaza", camera=view, people=PEOPLE, only=present, seed=7, fps=FPS, seconds=seconds, start=5.0
    )


def enrol(folder: Path, gallery: Path) -> None:
    """Enrol everybody from a walk alone before a camera that no scene shows."""
    for number in range(PEOPLE):
        alone = folder / f"alone{number}"
        write_dataset([address(ENROLLED_FROM, (number,), ENROLLED_S)], alone)
        config = configure([alone / f"cam{ENROLLED_FROM}.mp4"], gallery, {}, loop=False)
        for walk in watch_video(config, alone / f"cam{ENROLLED_FROM}.mp4", match=False):
            if walk.usable:
                enroll_walk(config, f"walker{number}", walk, "alone")


def shown(world: Path) -> list[Path]:
    """What the cameras show."""
    return [world / f"cam{VIEWS[index % len(VIEWS)]}.mp4" for index in range(CAMERAS)]


def configure(videos: Sequence[Path], gallery: Path, way: Mapping[str, Any], *, loop: bool) -> Config:
    """The site's configuration, a camera for each video."""
    sections = dict(way)
    rates = {key: sections.pop(key, 1) for key in CAMERA_KEYS}
    cameras = [
        Camera(id=f"cam{index}", url=SecretUrl(str(video)), fps=FPS, loop=loop, **rates)
        for index, video in enumerate(videos)
    ]
    config = build_config(cameras, "demo")
    updates = {
        name: getattr(config, name).model_copy(update=values)
        for name, values in {**sections, "gallery": {"path": gallery}}.items()
    }
    return config.model_copy(update=updates)


def run(world: Path, gallery: Path, name: str, present: tuple[int, ...], seconds: float) -> Row:
    """One run, as fast as it goes, measured after a warm-up."""
    config, names = configure(shown(world), gallery, WAYS[name], loop=True), Names()
    with tempfile.TemporaryDirectory() as journal:
        load = measure(
            config, Path(journal), seconds=seconds, warmup_s=WARMUP_S, realtime=False, observers=[names]
        )
    here = {f"walker{number}" for number in present}
    named = [person for person in names.last if person is not None]
    tracks = max(1, len(names.last))
    return Row(
        people=len(present),
        way=name,
        frames=load.fps,
        encoded=load.persons / load.frames,
        named=100 * len(named) / tracks,
        wrong=100 * sum(person not in here for person in named) / tracks,
    )


def run_before(tree: Path, clips: Sequence[Path], people: int, seconds: float) -> Row:
    """One run of an older revision, in a process of its own."""
    script = ROOT / "benchmarks" / "plain_run.py"
    said = run_python(tree, str(script), str(seconds), str(WARMUP_S), str(FPS), *map(str, clips))
    found = json.loads(said.splitlines()[-1])
    return Row(
        people=people, way=BEFORE, frames=found["frames"], encoded=found["encoded"], named=0.0, wrong=0.0
    )


def _median(rows: list[Row]) -> Row:
    figures = ("frames", "encoded", "named", "wrong")
    medians = {figure: median(getattr(row, figure) for row in rows) for figure in figures}
    return msgspec.structs.replace(rows[0], **medians)


if __name__ == "__main__":
    main()
