"""What a site costs as it grows from one camera to a hundred thousand, computed from measured rates.

    python -m gaitstream.bench.scaling out/bench/report.json [docs/scaling.md]

prints the table, or writes it into the page between its markers.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gaitstream.bench.plan import HEADROOM
from gaitstream.bench.plan_gallery import plan_gallery
from gaitstream.bench.rates import CameraScene, MachineRates, from_report
from gaitstream.bench.result import Report, read_report
from gaitstream.bench.table import format_number
from gaitstream.errors import ConfigError, GaitstreamError

BEGIN, END = "<!-- scaling:begin -->", "<!-- scaling:end -->"
DISTURBED = " Other work disturbed that measurement: an idle machine carries more."
CAMERAS = (1, 10, 100, 1_000, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is not measured; change them for your site.

    Attributes:
        fps: analysed per camera.
        people: on average in a picture.
        stream_mbps: of one 1080p H.264 camera.
        stride: accepted frames between windows.
        events_per_track: identity events, provisional, final and ended, of one track.
        track_s: how long a person stays in view.
        event_bytes: of one event in the journal.
        persons_per_camera: enrolled people for each camera, until `persons_most`.
        persons_most: people a site knows at most.
        templates: per person.
        probe_ms_per_person: comparison of one probe with one person.
    """

    fps: float = 15.0
    people: float = 1.0
    stream_mbps: float = 4.0
    stride: int = 15
    events_per_track: float = 4.0
    track_s: float = 8.0
    event_bytes: int = 420
    persons_per_camera: int = 50
    persons_most: int = 100_000
    templates: int = 4
    probe_ms_per_person: float = 0.0


@dataclass(frozen=True, slots=True)
class Size:
    """One number of cameras.

    Attributes:
        machines: like the measured one.
        video_mbps: entering the machines in all.
        embeddings: windows embedded a second.
        events: identity events a second.
        journal_gb: written to journals a day.
        persons: enrolled.
        gallery_mib: templates in memory of every machine.
        matching: share of one core that exact matching takes, in all.
    """

    cameras: int
    machines: int
    video_mbps: float
    embeddings: float
    events: float
    journal_gb: float
    persons: int
    gallery_mib: float
    matching: float


def size_of(cameras: int, rates: MachineRates, given: Assumptions) -> Size:
    """Work out one number of cameras."""
    load = cameras * given.fps * rates.cost_ms(CameraScene.of(given.people)) / 1e3
    embeddings = cameras * given.fps * given.people / given.stride
    events = cameras * given.people / given.track_s * given.events_per_track
    persons = min(cameras * given.persons_per_camera, given.persons_most)
    return Size(
        cameras=cameras,
        machines=max(1, math.ceil(load / HEADROOM)),
        video_mbps=cameras * given.stream_mbps,
        embeddings=embeddings,
        events=events,
        journal_gb=events * given.event_bytes * 86_400 / 1e9,
        persons=persons,
        gallery_mib=plan_gallery(persons, given.templates).memory_bytes / 2**20,
        matching=embeddings * persons * given.probe_ms_per_person / 1e3,
    )


def table(sizes: Sequence[Size]) -> str:
    """As markdown."""
    lines = [
        "| cameras | machines | video in [Mbit/s] | embeddings/s | events/s | journal [GB/day] | enrolled "
        "| gallery in memory [MiB] | matching [cores] |",
        "|" + " ---: |" * 9,
    ]
    lines += [
        f"| {s.cameras:,} | {s.machines:,} | {format_number(s.video_mbps)} | {format_number(s.embeddings)} | "
        f"{format_number(s.events)} | {format_number(s.journal_gb)} | {s.persons:,} | "
        f"{format_number(s.gallery_mib)} | {format_number(s.matching)} |"
        for s in sizes
    ]
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """Print the table for a report, or write it into a page."""
    if len(argv) not in (1, 2):
        print("usage: python -m gaitstream.bench.scaling REPORT.json [PAGE.md]", file=sys.stderr)  # noqa: T201
        return 2
    try:
        text = describe(read_report(Path(argv[0])), argv[0])
        if len(argv) == 2:
            write_between(Path(argv[1]), text)
        else:
            print(text)  # noqa: T201
    except GaitstreamError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def describe(report: Report, source: str) -> str:
    """The table for a report's rates, and where they come from."""
    rates = from_report(report, "demo", source)
    per_person = [
        row.figures["probe"].median / float(row.setting["persons"])
        for suite in report.suites
        if suite.name == "gallery"
        for row in suite.rows
        if "probe" in row.figures
    ]
    if not per_person:
        raise ConfigError(f"{source} has no gallery suite: run 'gaitstream bench pipeline gallery --out DIR'")
    given = Assumptions(probe_ms_per_person=per_person[-1])
    machine = report.machine
    return (
        table([size_of(cameras, rates, given) for cameras in CAMERAS])
        + f"\n\nMeasured on {machine.cpu}, {machine.cores} cores, load average {machine.load:g}: "
        f"{rates.cost_ms(CameraScene.of(given.people)):.1f} ms a 1280x720 frame with one person, "
        f"{given.probe_ms_per_person * 1e3:.1f} us for one probe and person."
        + (DISTURBED if machine.disturbed else "")
    )


def write_between(page: Path, text: str) -> None:
    """Replace what stands between the page's markers.

    Raises:
        ConfigError: no such page, or it lacks the markers.
    """
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    if old.count(BEGIN) != 1 or old.count(END) != 1:
        raise ConfigError(f"{page} needs the lines {BEGIN} and {END}, once each")
    head, _, rest = old.partition(BEGIN)
    page.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
