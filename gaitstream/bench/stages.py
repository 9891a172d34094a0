"""Where the time of a frame goes when frames are taken as fast as they go: stages beside their floors."""

from __future__ import annotations

from gaitstream.bench.drive import DrivenLoad
from gaitstream.bench.floors import Floors, FrameWork
from gaitstream.bench.measure import figure
from gaitstream.bench.result import Chart, Row, Suite

FRAME, REST, DECODE = "frame", "rest", "decode"
"""Rows beside the stages: the whole frame, what its thread does between stages, the cameras' own threads."""
SMALL = 2.0
Setting = dict[str, str | int | float]

NOTES = (
    "time: of the pipeline's thread, where stages do not overlap; `rest` is its waiting and bookkeeping "
    "between "
    "them; `frame` is all of it. `decode` is CPU time of the cameras' threads, which run beside it.",
    "floor: the multiply-adds of a stage's graph over the rate of one large matrix product on all cores in "
    "the same precision, and the bytes it must move over the copy bandwidth; `frame` adds them up.",
    "What the rest is: detect, pose and the recogniser: convolutions of few channels that fill neither "
    "vector "
    "units nor caches, layers that only move data, cameras' threads that want the same cores; around "
    "them scaling, reading boxes, alignment. crop: two samplings of each person, one to judge sharpness. "
    "keypoints: a search of 17 maps. decode: the entropy coding and motion compensation of H.264. track, "
    "pool, "
    "identify, publish: Python on a few numbers, which has no floor worth naming.",
)


def work_of(load: DrivenLoad, pixels: int) -> FrameWork:
    """What a frame of a run asked on average."""
    frames = max(load.frames, 1)
    return FrameWork(pixels, load.posed / frames, load.persons / frames)


def stage_rows(load: DrivenLoad, setting: Setting, pixels: int, limits: Floors | None) -> list[Row]:
    """A row for the whole frame, one per stage, one for decoding; no floors without limits."""
    frames, whole_ms = max(load.frames, 1), 1e3 * load.seconds / max(load.frames, 1)
    work = work_of(load, pixels)
    floors = limits.stages_ms(work) if limits else {}
    floors |= {FRAME: sum(floors.values())} if floors else {}
    times = {name: 1e3 * seconds / frames for name, seconds in load.stage_s.items()}
    times[REST] = max(0.0, whole_ms - sum(times.values()))
    rows = [
        Row(
            contender=name,
            setting=setting,
            floor={"time": floors[name]} if name in floors else {},
            figures={
                "time": figure([ms], "ms/frame", "neither" if name == REST else "lower"),
                "share": figure([100 * ms / whole_ms], "%", "neither"),
            },
        )
        for name, ms in sorted(times.items(), key=lambda item: -item[1])
    ]
    figures = {
        "time": figure([whole_ms], "ms/frame"),
        "analysed": figure([load.fps], "frames/s", "higher"),
        "seen": figure([load.seen / frames], "people/frame", "neither"),
        "posed": figure([work.posed], "people/frame", "neither"),
        "people": figure([work.encoded], "people/frame", "neither"),
        "pixels": figure([pixels / 1e6], "Mpx", "neither"),
        "CPU": figure([100 * load.cpu_share], "%", "neither"),
        "memory": figure([load.rss_mib], "MiB"),
    }
    beside = {"time": figure([1e3 * load.decode_s / frames], "ms/frame")}
    whole, decode = (
        Row(contender=name, setting=setting, figures=found, floor={"time": floors[name]} if floors else {})
        for name, found in ((FRAME, figures), (DECODE, beside))
    )
    return [whole, *rows, decode]


def stage_suite(rows: list[Row]) -> Suite:
    """The rows as a suite of their own."""
    return Suite(
        name="stages",
        title="Where a frame's time goes",
        rows=rows,
        columns=["time", "share"],
        notes=list(NOTES),
        charts=[_chart(rows)],
    )


def _chart(rows: list[Row]) -> Chart:
    """Stacked bars; what is nowhere as much as `SMALL` percent stands together."""
    steps = [row for row in rows if row.contender not in (FRAME, DECODE)]
    largest: dict[str, float] = {}
    for row in steps:
        largest[row.contender] = max(largest.get(row.contender, 0.0), row.figures["share"].median)
    order = sorted(largest, key=lambda name: (name == REST, -largest[name]))
    series: dict[str, list[tuple[str | float, float]]] = {}
    for name in order:
        shown = name if largest[name] >= SMALL else "others"
        for row in steps:
            if row.contender == name:
                people = row.setting["people"]
                label = f"{row.setting['size']}\n{people} {'person' if people == 1 else 'people'}"
                series.setdefault(shown, []).append((label, row.figures["time"].median))
    return Chart(
        name="pipeline-frame",
        title="Where a frame's time goes, taken as fast as it goes",
        kind="stacked",
        x_label="size of the picture, people walking about",
        y_label="ms a frame",
        series=series,
    )
