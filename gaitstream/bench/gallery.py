"""The gallery: probes against galleries of growing size, beside full comparisons, and what changes cost."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gaitstream.bench.crowd import BATCH, DIM, PARTS, TEMPLATES_EACH, Floats, blocks, people_of, probes_of
from gaitstream.bench.gallery_contenders import faiss_flat, numpy_full
from gaitstream.bench.machine import memory_bandwidth_gbps
from gaitstream.bench.measure import figure, time_ms
from gaitstream.bench.process import ContenderError, run_contender
from gaitstream.bench.recognizer import use_gpu
from gaitstream.bench.result import Chart, Figure, Row, Suite
from gaitstream.bench.settings import Settings
from gaitstream.engines.device import Device
from gaitstream.engines.pycuda_device import cuda_device
from gaitstream.errors import EngineError
from gaitstream.gallery import Gallery
from gaitstream.gallery.gallery import Enrolment
from gaitstream.gallery.keeper import Keeper
from gaitstream.gallery.matching import mean_part_distance
from gaitstream.gallery.people import People
from gaitstream.gallery.quantise import Layout, Probes
from gaitstream.gallery.scan import coarse_distances
from gaitstream.gallery.table import TemplateTable
from gaitstream.pipeline.ranking import ComparedWindow, ScoreScale, rank

MODEL, PRINT = "gait", "0" * 64
SCALES = {MODEL: ScoreScale()}


def run(settings: Settings) -> Suite:
    """Measure matching over the size of the gallery, the contenders at the largest, and changes.

    Raises:
        EngineError: a GPU is demanded, and cannot be measured.
    """
    on_gpu = (match_on_gpu,) if use_gpu(settings.device) else ()
    quick, say = settings.quick, settings.say
    sizes = [10, 100, 1000] if quick else [10, 1000, 5000, 25_000]
    rows: list[Row] = []
    for persons in sizes:
        say(f"gallery: {persons} persons")
        rows += run_contender(match, {"persons": persons})
    for contender in (*on_gpu, numpy_full, faiss_flat):
        say(f"gallery: {contender.__name__}")
        try:
            rows += run_contender(contender, {"persons": sizes[-1]})
        except ContenderError as error:
            if contender is match_on_gpu and settings.device == "cuda":
                raise EngineError(f"the GPU cannot be measured: {str(error).splitlines()[-1]}") from error
            say(f"gallery: {contender.__name__} is left out: {str(error).splitlines()[-1]}")
    say("gallery: changes")
    rows += run_contender(changes, {"persons": 500 if quick else 10_000})
    points: list[tuple[str | float, float]] = [
        (float(row.setting["persons"]), row.figures["probe"].median)
        for row in rows
        if row.contender == "match"
    ]
    return Suite(
        name="gallery",
        title=f"Gallery, {TEMPLATES_EACH} templates of {PARTS} x {DIM} a person",
        rows=rows,
        notes=[
            "probe: from an embedding to the five nearest people with exact distances; of a batch: each of "
            f"{BATCH}. floor: the bytes of the coarse plane once, over the copy bandwidth (match), or of the "
            "float32 templates (numpy, faiss). recall: share of probes whose nearest person and distance are "
            "those of the full comparison. memory: shared by all processes, over that of float16 templates. "
            "scan: of a batch, the lower bounds alone. match, GPU: the coarse plane lies on the GPU. "
            "faiss compares flat embeddings by the Euclidean distance, which is another metric.",
            "enrol one, remove one: one person of so many, written, synced and calibrated; cold: in a "
            "process that has just opened the gallery. seen: until the change is matched against. load: all "
            "into memory.",
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


def match(persons: int) -> list[Row]:
    """One probe, and batches, against `persons`."""
    people, table = _fill(persons)
    figures = _measure(
        people, persons, lambda asked: coarse_distances(table.layout, table.rows[: table.count], asked)
    )
    shared = sum(Path(segment.path).stat().st_blocks * 512 for segment in table.segments)
    half = persons * TEMPLATES_EACH * PARTS * DIM * 2
    coarse = table.count * table.layout.record.itemsize
    floor_ms = coarse / (memory_bandwidth_gbps(128) * 1e9) * 1e3
    return [
        Row(
            contender="match",
            setting={"persons": persons},
            figures={
                **figures,
                "templates": figure([shared / 2**20], "MiB", "neither"),
                "memory": figure([shared / half], "x float16", "lower"),
            },
            floor={"probe": floor_ms, "of a batch": floor_ms / BATCH},
        )
    ]


def match_on_gpu(persons: int, device: Device | None = None) -> list[Row]:
    """The same with the coarse plane on a device; None is the first GPU."""
    people, table = _fill(persons)
    people.scan_on(device or cuda_device())
    mirror = people.mirror
    if mirror is None:
        raise EngineError("the gallery is not scanned on the GPU: the log says why")
    while not mirror.is_current(MODEL):
        _decide(people, probes_of(1, persons))
        if mirror.has_failed:
            raise EngineError("the gallery does not fit the GPU: the log says why")
    figures = _measure(people, persons, lambda asked: mirror.coarse(MODEL, table, table.count, asked))
    people.close()
    return [Row(contender="match, GPU", setting={"persons": persons}, figures=figures)]


def _measure(people: People, persons: int, scan: Callable[[Probes], Floats]) -> dict[str, Figure]:
    """Of one probe and of a batch, and how right they are; `scan` gives lower bounds."""
    probes = probes_of(2 * BATCH, persons)
    asked = Probes.of(Layout(PARTS, DIM), probes[:BATCH])
    times = time_ms(lambda: _decide(people, probes[:1]), repeats=15, warmup=3, min_total_s=0.5)
    batches = time_ms(lambda: _decide(people, probes[:BATCH]), repeats=8, warmup=1, min_total_s=0.5)
    scans = time_ms(lambda: scan(asked), repeats=8, min_total_s=0.5)
    return {
        "probe": figure(times, "ms"),
        "of a batch": figure([one / BATCH for one in batches], "ms"),
        "scan": figure([one / BATCH for one in scans], "ms"),
        "recall": figure([_recall(_decide(people, probes), persons, probes)], "", "higher"),
    }


def changes(persons: int) -> list[Row]:
    """Enrol `persons`, then one more and one less, seen from the pipeline's side; load all into memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.db"
        with Gallery(path, create=True) as gallery:
            for first, count in blocks(persons):
                templates = people_of(first, count)
                gallery.enroll_many(
                    Enrolment(f"person {first + index}", MODEL, PRINT, one)
                    for index, one in enumerate(templates)
                )
            started_s = time.perf_counter()
            keeper = Keeper(path, [MODEL])
            load_s = time.perf_counter() - started_s
            with keeper:
                keeper.start()
                people = keeper.people()
                _change(gallery, people, 0)  # the first fills caches
                warm = [_change(gallery, people, 1 + index) for index in range(15)]
        cold = [_change_cold(path, index) for index in range(5)]
        person = people_of(0, 1)[0]
        floor = {"enrol one": sync_ms(Path(folder) / "raw", person.tobytes())}
        size = path.stat().st_size
    return [
        Row(
            contender="changes",
            setting={"persons": persons},
            figures={
                "enrol one": figure([one[0] for one in warm], "ms"),
                "remove one": figure([one[1] for one in warm], "ms"),
                "enrol one, cold": figure([one[0] for one in cold], "ms"),
                "remove one, cold": figure([one[1] for one in cold], "ms"),
                "seen": figure([one[2] for one in warm], "ms"),
                "load": figure([load_s], "s"),
                "file": figure([size / 2**20], "MiB", "lower"),
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


def _fill(persons: int) -> tuple[People, TemplateTable]:
    """A gallery in memory, without a store."""
    table = TemplateTable.create(Layout(PARTS, DIM))
    people = People(tables={MODEL: table})
    for first, count in blocks(persons):
        templates = people_of(first, count).reshape(-1, PARTS, DIM)
        owners = np.repeat(np.arange(first, first + count), TEMPLATES_EACH)
        numbers = range(first * TEMPLATES_EACH + 1, first * TEMPLATES_EACH + 1 + len(templates))
        table.add(numbers, owners.tolist(), templates)
    people.names = {index: f"person {index}" for index in range(persons)}
    people.has = {MODEL: set(range(persons))}
    return people, table


def _decide(people: People, probes: Floats) -> list[tuple[int, np.float32]]:
    """The nearest person of each probe with the exact distance, of a batch that is searched at once."""
    found = people.search(MODEL, list(probes))
    windows = [ComparedWindow(parts, nearest) for parts, nearest in zip(probes, found, strict=True)]
    ranked = [rank(people, SCALES, {MODEL: [window]}, count=5) for window in windows]
    return [(one.persons[0], one.distances[0]) for one in ranked]


def _recall(found: list[tuple[int, np.float32]], persons: int, probes: Floats) -> float:
    """Share of the probes with the nearest person of a full comparison, at the very same distance."""
    best = [(np.float32(np.inf), -1)] * len(probes)
    for first, count in blocks(persons):
        templates = people_of(first, count).reshape(-1, PARTS, DIM)
        for index, probe in enumerate(probes):
            distances = mean_part_distance(probe, templates)
            nearest = int(distances.argmin())
            best[index] = min(best[index], (distances[nearest], first + nearest // TEMPLATES_EACH))
    return float(np.mean([one == (person, far) for one, (far, person) in zip(found, best, strict=True)]))


def _change(gallery: Gallery, people: People, index: int) -> tuple[float, float, float]:
    """Enrol and remove one: ms of each, and ms until the one enrolled is matched against."""
    name = f"another {index}"
    started_s = time.perf_counter()
    gallery.enroll(name, MODEL, PRINT, people_of(10**6 + index, 1)[0])
    enrolled_s = time.perf_counter()
    while name not in people.names.values():
        time.sleep(0.002)
        people.poll()
    seen_s = time.perf_counter()
    gallery.remove(name)
    removed_s = time.perf_counter()
    return 1e3 * (enrolled_s - started_s), 1e3 * (removed_s - seen_s), 1e3 * (seen_s - enrolled_s)


def _change_cold(path: Path, index: int) -> tuple[float, float]:
    name = f"cold {index}"
    with Gallery(path) as gallery:
        started_s = time.perf_counter()
        gallery.enroll(name, MODEL, PRINT, people_of(2 * 10**6 + index, 1)[0])
        enrolled_s = time.perf_counter()
    with Gallery(path) as gallery:
        removing_s = time.perf_counter()
        gallery.remove(name)
        return 1e3 * (enrolled_s - started_s), 1e3 * (time.perf_counter() - removing_s)
