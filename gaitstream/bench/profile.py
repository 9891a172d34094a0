"""Where the time of a saturated pipeline goes: stacks sampled by py-spy, or cProfile where it may not attach.

The pipeline runs in a process of its own on the comparison's videos, as fast as it goes. py-spy looks at it
from outside, native frames included; set-up is not in the picture, because sampling starts when frames flow.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from gaitstream.bench.clips import make_clips
from gaitstream.bench.drive import with_gallery
from gaitstream.bench.pipeline import open_models
from gaitstream.errors import GaitstreamError
from gaitstream.pipeline.runner import Pipeline

SIZE, PEOPLE, CAMERAS = (640, 360), 4, 4
RATE_HZ = 100
READY = "gaitstream-profile-ready"
CROWDED = 12
"""Rows of the printed table."""
Costs = Counter[str]


def profile(minutes: float, out: Path, say: Callable[[str], None]) -> str:
    """Profile the saturated pipeline and write `profile.txt` and, with py-spy, `profile.svg`, a flame graph.

    Returns:
        A table of the largest costs, the three largest named first.

    Raises:
        GaitstreamError: the pipeline could not be run.
    """
    out.mkdir(parents=True, exist_ok=True)
    seconds = minutes * 60
    with tempfile.TemporaryDirectory(prefix="gaitstream-profile-") as folder:
        say("profile: videos")
        clips = make_clips(Path(folder), PEOPLE, SIZE, 12.0)
        say(f"profile: {CAMERAS} cameras as fast as they go, {seconds:.0f} s")
        costs, how = (
            sampled(clips, seconds, out, Path(folder)),
            "py-spy, the pipeline's thread, waiting included",
        )
        if costs is None:
            costs, how = (
                traced(clips, seconds, Path(folder)),
                "cProfile, the pipeline's thread (py-spy could not attach)",
            )
    text = describe(costs, how)
    (out / "profile.txt").write_text(text + "\n", encoding="utf-8")
    return text


def sampled(clips: list[Path], seconds: float, out: Path, folder: Path) -> Costs | None:
    """Half the time for a flame graph, half for the table; None where py-spy is missing or may not attach."""
    if shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin") is None:
        return None
    stacks = folder / "stacks.txt"
    with start(clips, seconds + 30, folder, "") as child:
        drawn = attach(child.pid, seconds / 2, "flamegraph", out / "profile.svg")
        read = attach(child.pid, seconds / 2, "raw", stacks)
        child.terminate()
    return count_stacks(stacks.read_text().splitlines()) if drawn and read else None


def attach(pid: int, seconds: float, form: str, path: Path) -> bool:
    """Let py-spy look at a process; False when it did not bring anything back."""
    command = [
        str(Path(sys.executable).parent / "py-spy"), "record", "--native", "--idle", "--rate", str(RATE_HZ),
        "--duration", f"{max(seconds, 1):.0f}", "--format", form, "--output", str(path), "--pid", str(pid),
    ]  # fmt: skip
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=seconds + 120)
    except (OSError, subprocess.SubprocessError):
        return False
    return path.is_file()


def start(clips: list[Path], seconds: float, folder: Path, report: str) -> subprocess.Popen[str]:
    """Start the pipeline in a process of its own and wait until frames flow."""
    command = [sys.executable, "-m", __name__, str(seconds), str(folder), report, *map(str, clips)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while line := child.stdout.readline() if child.stdout else "":
        if line.strip() == READY:
            return child
    errors = child.stderr.read() if child.stderr else ""
    raise GaitstreamError(f"the pipeline to be profiled did not start: {errors.strip()[-1500:]}")


def count_stacks(lines: Iterable[str]) -> Costs:
    """Samples by the innermost function of the package in the pipeline's thread, from py-spy's raw format.

    A line is `outermost (file:line);...;innermost (file:line) samples`.
    """
    costs: Costs = Counter()
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        frames = stack.split(";")
        if not any(
            "Pipeline.run " in frame or frame.startswith("run (gaitstream/pipeline/runner")
            for frame in frames
        ):
            continue
        ours = [frame for frame in frames if "gaitstream/" in frame and "bench/" not in frame]
        if ours:
            costs[place(ours)] += int(samples)
    return costs


def place(frames: list[str]) -> str:
    """The innermost function and who called it; time inside an engine is put down to who waits for it."""
    callers = [frame for frame in frames if "gaitstream/engines/" not in frame and "<" not in frame]
    engine = "engine of " if "gaitstream/engines/" in frames[-1] else ""
    return engine + " < ".join(without_line(frame) for frame in callers[:-4:-1])


def without_line(frame: str) -> str:
    """`crop (gaitstream/models/pose.py:117)` as `crop (models/pose.py)`."""
    name, _, place = frame.partition(" (")
    file = place.rstrip(")").rpartition(":")[0] or place.rstrip(")")
    return f"{name} ({file.rpartition('gaitstream/')[2]})"


def traced(clips: list[Path], seconds: float, folder: Path) -> Costs:
    """Own time by function in cProfile, milliseconds."""
    import pstats

    report = folder / "profile.stats"
    child = start(clips, seconds, folder, str(report))
    child.communicate(timeout=seconds + 120)
    costs: Costs = Counter()
    for (file, _, name), row in pstats.Stats(str(report)).stats.items():  # type: ignore[attr-defined]
        where = file.rpartition("site-packages/")[2].rpartition("/gaitstream/")[2]
        costs[f"{name} ({where})"] += round(row[2] * 1e3)
    return costs


def describe(costs: Costs, how: str) -> str:
    """The table, largest first."""
    total = max(sum(costs.values()), 1)
    largest = costs.most_common(CROWDED)
    named = ", ".join(f"{name.partition(' < ')[0]} {count / total:.0%}" for name, count in largest[:3])
    lines = [
        f"the three largest costs: {named}",
        "",
        f"({how})",
        "",
        "| share | where < called from |",
        "| ---: | --- |",
    ]
    return "\n".join(lines + [f"| {count / total:.1%} | {name} |" for name, count in largest])


def main(argv: list[str]) -> None:
    """The process that is looked at: seconds, folder, cProfile's file or nothing, clips."""
    import cProfile
    import threading
    import time

    seconds, folder, report, *clips = argv
    config, encoder = open_models([Path(clip) for clip in clips], CAMERAS, "demo")
    config = with_gallery(config, encoder, Path(folder) / "gallery.db")
    tracer = cProfile.Profile()
    with Pipeline(config, encoder=encoder) as pipeline:

        def watch() -> None:
            while not any(camera.analysed > 100 for camera in pipeline.snapshot().cameras.values()):
                time.sleep(0.1)
            print(READY, flush=True)  # noqa: T201 - the parent waits for this line
            time.sleep(float(seconds))
            pipeline.stop()

        threading.Thread(target=watch, daemon=True).start()
        if report:
            tracer.runcall(pipeline.run)
            tracer.dump_stats(report)
        else:
            pipeline.run()
    encoder.close()


if __name__ == "__main__":
    main(sys.argv[1:])
