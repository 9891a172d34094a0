"""The DeepStream process by itself: its command channel, its starts that fail, its ends."""

from __future__ import annotations

import dataclasses
import os
import pickle
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gaitstream.deepstream.graph import build_graph
from gaitstream.deepstream.process import ChildProcess
from gaitstream.deepstream.records import BufferRecord, unpack
from gaitstream.deepstream.spec import Command, Spec, make_spec
from tests.deepstream import videos
from tests.deepstream.fake import pyservicemaker as fake

FAKE = Path(__file__).parent / "fake"


class Started:
    """A process on a recording."""

    def __init__(self, folder: Path, steps: list[Any], environ: Mapping[str, str] | None = None) -> None:
        (folder / "recording.pickle").write_bytes(pickle.dumps(steps))
        self.child = ChildProcess(
            {
                "PYTHONPATH": f"{FAKE}:{Path.cwd()}",
                "GAITSTREAM_FAKE_RECORDING": str(folder / "recording.pickle"),
                **(environ or {}),
            }
        )
        self.child.start(self.spec(folder))
        self.batches: list[BufferRecord] = []
        self.plays: list[int] = []
        """How many batches had come when it said that it plays."""
        self.ended = False

    def spec(self, folder: Path) -> Spec:
        config, plan = videos.make_config(folder), videos.make_plan()
        return make_spec(config, plan, build_graph(config, plan, folder), self.child.endpoint)

    def hear(self, until_s: float = 20.0, frames: int | None = None) -> None:
        """Take what it sends until it ends, or has sent so many frames."""
        due_s = time.monotonic() + until_s
        while time.monotonic() < due_s and not self.ended:
            parts = self.child.receive(0.05)
            if parts is None:
                if self.child.exit_code is not None:
                    return
            elif len(parts) == 1 and not len(parts[0]):
                self.ended = True
            elif (batch := unpack([bytes(part) for part in parts])[0]).plays:
                self.plays.append(len(self.batches))
            else:
                self.batches.append(batch)
                if frames is not None and self.count() >= frames:
                    return

    def count(self) -> int:
        return sum(len(batch.frames) for batch in self.batches)

    def exit_code(self) -> int | None:
        due_s = time.monotonic() + 10
        while self.child.exit_code is None and time.monotonic() < due_s:
            time.sleep(0.02)
        return self.child.exit_code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[Started] = []

    def one(*steps: Any) -> Started:
        started.append(Started(tmp_path, list(steps)))
        return started[-1]

    yield one
    for process in started:
        process.child.close()


def _is_open_and_empty(pid: int) -> bool:
    """Whether nobody can read anything from a process's descriptor 0, not even its end."""
    keys = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return not select.select([keys], [], [], 0.2)[0]
    finally:
        os.close(keys)


def pauses(seconds: float) -> list[Any]:
    return [fake.Wait(0.02)] * round(seconds / 0.02)


def test_commands_arrive_though_deepstream_reads_standard_input(start: Any) -> None:
    """service-maker's main loop swallows what it finds there: 10 of 10 commands at the old place."""
    process = start(*videos.walk(10), *pauses(1.5), *videos.walk(20)[10:], *pauses(20))
    process.hear(frames=10)
    # Who reads first is a matter of luck; that there is nothing to be read at the old place is not.
    running = process.child._process
    assert running is not None
    assert running.stdin is not None
    channel = os.readlink(f"/proc/self/fd/{running.stdin.fileno()}")
    assert os.readlink(f"/proc/{running.pid}/fd/0").startswith("pipe:")
    assert os.readlink(f"/proc/{running.pid}/fd/0") != channel
    assert _is_open_and_empty(running.pid)
    for fps in (7.0, 6.0, 5.0, 4.0, 0.001):  # only the last one lets hardly a frame through
        process.child.tell(Command(do="retune", camera="north", fps=fps))
        time.sleep(0.1)
    process.hear(2.0)
    assert process.count() <= 11
    assert sum(batch.counters.get("north", {}).get("frames_skipped", 0) for batch in process.batches) >= 9
    process.child.tell(Command(do="stop"))
    assert process.exit_code() == 0
    assert not process.ended


@pytest.mark.parametrize(
    "fails", [fake.Fail("prepare"), fake.Fail("prepare", tells=True), fake.Fail("activate")]
)
def test_a_pipeline_that_does_not_start_is_no_end_of_streams(
    fails: fake.Fail, start: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    process = start(fails, *videos.walk(5))
    process.hear()
    assert not process.ended
    assert process.exit_code() == 1
    assert "DeepStream" in capfd.readouterr().err


def test_a_pipeline_that_stops_before_its_streams_end_is_a_failure(start: Any) -> None:
    process = start(*videos.walk(5), *pauses(2), fake.Stop())
    process.hear()
    assert process.count() == 5
    assert not process.ended
    assert process.exit_code() == 1


def test_the_end_is_told_after_the_last_frame(start: Any) -> None:
    process = start(*videos.walk(25))
    process.hear()
    assert process.ended
    assert process.count() == 25
    assert process.plays == [0]  # once, of the many elements that change their states
    process.child.end()


def test_a_live_pipeline_that_swallows_its_end_is_ended(tmp_path: Path) -> None:
    """nvmultiurisrcbin drops the end of stream that `stop` sends when cameras come and go."""

    class Live(Started):
        def spec(self, folder: Path) -> Spec:
            config = videos.make_config(folder)
            for camera in config.cameras:
                object.__setattr__(camera, "url", type(camera.url)("rtsp://127.0.0.1:1/x"))
            plan = videos.make_plan()
            return make_spec(config, plan, build_graph(config, plan, folder), self.child.endpoint)

    process = Live(tmp_path, [*videos.walk(5), *pauses(20)])
    try:
        process.hear(frames=5)
        begun_s = time.monotonic()
        process.child.tell(Command(do="stop"))
        assert process.exit_code() is not None
        assert time.monotonic() - begun_s < 8
    finally:
        process.child.close()


PLUGIN = """
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void loaded(void) {
    const char *path = getenv("GAITSTREAM_FAKE_LOADED");
    if (path) fclose(fopen(path, "w"));
}
"""


class WithPlugin(Started):
    """A process whose encoder's graph holds our operator."""

    def spec(self, folder: Path) -> Spec:
        spec = super().spec(folder)
        encoders = tuple(dataclasses.replace(encoder, plugins=True) for encoder in spec.encoders)
        return msgspec.structs.replace(spec, encoders=encoders)


def test_the_plugin_library_is_loaded_before_deepstream_reads_an_engine(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "plugin.c").write_text(PLUGIN)
    library = tmp_path / "libgaitstream_plugins.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "plugin.c"], check=True)
    environ = {"GAITSTREAM_NATIVE": str(tmp_path), "GAITSTREAM_FAKE_LOADED": str(tmp_path / "loaded")}
    process = WithPlugin(tmp_path, videos.walk(5), environ)
    try:
        process.hear()
        assert process.count() == 5
        assert process.ended
    finally:
        process.child.close()


def test_a_missing_plugin_library_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    process = WithPlugin(tmp_path, videos.walk(5), {"GAITSTREAM_NATIVE": str(tmp_path)})
    try:
        process.hear()
        assert process.exit_code() == 1
        assert "libgaitstream_plugins.so" in capfd.readouterr().err
    finally:
        process.child.close()


def test_no_password_is_in_what_deepstream_prints(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """GStreamer's elements put the whole URL into their errors."""
    url, odd, later = (
        "rtsp://admin:hunter2@10.0.0.5/1",
        "http://10.0.0.6/user=admin_password=s3cr3t55_channel=1.sdp",
        "rtsp://admin:p%40ss99@10.0.0.7/1",
    )
    says = f"Forbidden (403), URL: {url}\\nopen {odd}: failed\\nuser admin, pass p@ss99, {later}"
    (tmp_path / "pyservicemaker.py").write_text(
        "import os, sys, time\n"
        "time.sleep(1)\n"
        f"os.write(1, b'{says}\\n')\n"
        "print('without an end', end='', flush=True)\n"
        "os._exit(7)\n"
    )
    child = ChildProcess({"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"})
    try:
        config, plan = videos.make_config(tmp_path), videos.make_plan()
        spec = make_spec(config, plan, build_graph(config, plan, tmp_path), child.endpoint)
        child.start(msgspec.structs.replace(spec, uris={"a": url, "b": odd}))
        child.tell(Command(do="add", camera="c", uri=later))
        due_s = time.monotonic() + 20
        while child.exit_code is None and time.monotonic() < due_s:
            time.sleep(0.02)
        assert child.exit_code == 7
    finally:
        child.close()
    out, told = capfd.readouterr()
    assert "Forbidden (403), URL: rtsp://***@10.0.0.5/1" in told
    assert "without an end" in told
    assert not [secret for secret in ("hunter2", "s3cr3t55", "p@ss99", "p%40ss99") if secret in out + told]
