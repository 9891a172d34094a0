"""The gallery: one probe against galleries of growing size, enrolment, opening."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from gaitstream.bench.machine import memory_bandwidth_gbps
from gaitstream.bench.measure import figure, time_ms
from gaitstream.bench.process import run_contender
from gaitstream.bench.result import Chart, Row, Suite
from gaitstream.bench.settings import Settings
from gaitstream.gallery import Gallery
from gaitstream.gallery.matching import Matcher

PARTS, DIM = 16, 256
TEMPLATES_EACH = 4


def run(settings: Settings) -> Suite:
    """Measure matching over the size of the gallery, and the store."""
    quick, say = settings.quick, settings.say
    sizes = [10, 100, 1000] if quick else [10, 100, 1000, 5000]
    rows: list[Row] = []
    for persons in sizes:
        say(f"gallery: {persons} persons")
        rows += run_contender(match, {"persons": persons})
    say("gallery: store")
    rows += run_contender(store, {"persons": 50 if quick else 200})
    points: list[tuple[str | float, float]] = [
        (float(row.setting["persons"]), row.figures["probe"].median) for row in rows if "probe" in row.figures
    ]
    return Suite(
        name="gallery",
        title=f"Gallery, {TEMPLATES_EACH} templates of {PARTS} x {DIM} a person",
        rows=rows,
        notes=[
            "probe: exact distances of one probe to every person; floor: every template's bytes once, over "
            "the copy "
            "bandwidth. What the rest is: differences and squares in float32, written to the cache and read "
            "again.",
            "enrol one: floor: one write and fsync of a person's templates. What the rest is: the "
            "database's own log "
            "and fsyncs and the calibration. open and load: floor: the file's bytes over the copy "
            "bandwidth. What the rest is: SQLite and the checksums. file: floor: the templates alone; the "
            "rest: keys, "
            "index and the pages a database keeps.",
        ],
        charts=[
            Chart(
                name="gallery-scaling",
                title="One probe against the gallery",
                kind="line",
                x_label="persons",
                y_label="ms",
                series={"probe": points},
                log_x=True,
                log_y=True,
            )
        ],
    )


def _templates(persons: int) -> list[tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]:
    rng = np.random.default_rng(0)
    shape = (TEMPLATES_EACH, PARTS, DIM)
    return [(f"person{index}", rng.standard_normal(shape, dtype=np.float32)) for index in range(persons)]


def match(persons: int) -> list[Row]:
    """One probe against `persons`."""
    people = _templates(persons)
    matcher = Matcher.build(people)
    probe = people[0][1][0]
    times = time_ms(lambda: matcher.distances(probe), repeats=10, warmup=3, min_total_s=0.5)
    floor_ms = matcher.templates.nbytes / (memory_bandwidth_gbps(128) * 1e9) * 1e3
    return [
        Row(
            contender="match",
            setting={"persons": persons},
            figures={
                "probe": figure(times, "ms"),
                "templates": figure([matcher.templates.nbytes / 2**20], "MiB", "neither"),
            },
            floor={"probe": floor_ms},
        )
    ]


def store(persons: int) -> list[Row]:
    """Enrol `persons` one after the other, then open the file and load its templates."""
    enrol_ms = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.db"
        gallery = Gallery(path, create=True)
        for name, templates in _templates(persons):
            start = time.perf_counter()
            gallery.enroll(name, "biggait", "0" * 64, templates)
            enrol_ms.append((time.perf_counter() - start) * 1e3)
        gallery.close()
        size_mib = path.stat().st_size / 2**20
        person = _templates(1)[0][1]
        floor = {
            "enrol one": sync_ms(Path(folder) / "raw", person.tobytes()),
            "open and load": path.stat().st_size / memory_bandwidth_gbps(128) / 1e6,
            "file": persons * person.nbytes / 2**20,
        }
        open_ms = time_ms(lambda: _open(path), repeats=5)
    return [
        Row(
            contender="store",
            setting={"persons": persons},
            figures={
                "enrol one": figure(enrol_ms, "ms"),
                "open and load": figure(open_ms, "ms"),
                "file": figure([size_mib], "MiB", "lower"),
            },
            floor=floor,
        )
    ]


def sync_ms(path: Path, data: bytes) -> float:
    """Median time of one write and fsync of these bytes."""
    with path.open("wb", buffering=0) as file:

        def write() -> None:
            file.write(data)
            os.fsync(file.fileno())

        return statistics.median(time_ms(write, repeats=20))


def _open(path: Path) -> None:
    gallery = Gallery(path)
    gallery.matcher("biggait", "0" * 64)
    gallery.close()
