"""What a run survives, in every arrangement: a full disk, a worker that dies while the file is wrong."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaitstream.events import CameraOffline, CameraOnline, IdentityFinal, RunStarted, RunStopped
from tests.pipeline.tiny import tiny_bundle
from tests.runners.running import LOAD_S, Run, Site, hear, of

pytestmark = pytest.mark.slow

Start = Callable[..., Run]
END_S = 8.0
"""A run has to end within this after it was asked, room on the disk or not; it takes about one."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("tiny"), "biggait").root


@pytest.fixture
def site(tmp_path: Path, bundle: Path) -> Site:
    return Site(tmp_path, bundle)


@pytest.fixture
def start(site: Site) -> Iterator[Start]:
    running: list[Run] = []

    def start(*arguments: str) -> Run:
        running.append(Run(site, *arguments))
        return running[-1]

    yield start
    for run in running:
        run.close()


ARRANGEMENTS = pytest.mark.parametrize("workers", ["1", "2"])


@ARRANGEMENTS
def test_a_full_disk_holds_events_back_until_there_is_room(workers: str, site: Site, start: Start) -> None:
    site.write("left", "right")
    run = start("--workers", workers)
    with site.subscribe() as subscriber:
        heard = hear(subscriber, CameraOnline, camera="left")
        heard += hear(subscriber, IdentityFinal)
        run.largest_file(1)
        run.says("events cannot be written now")
        time.sleep(4)
        assert run.process.poll() is None, run.output
        run.largest_file(-1)
        run.says("events are written again; 0 are lost")
        heard += hear(subscriber, IdentityFinal)
        run.terminate()
        for _ in range(int(workers)):
            heard += hear(subscriber, RunStopped)
        assert subscriber.lost == 0
    assert run.process.returncode == 0, run.output
    assert run.output.count("events cannot be written now") == 1
    for started in of(heard, RunStarted):
        events = [one.event for one in heard if getattr(one.event, "run", None) == started.run]
        assert isinstance(events[-1], RunStopped)
        stopped = events[-1]
        finals = [event for event in events if isinstance(event, IdentityFinal)]
        assert len({(one.camera, one.track) for one in finals}) == len(finals) == stopped.tracks


@ARRANGEMENTS
def test_a_disk_that_stays_full_does_not_keep_a_run_alive(workers: str, site: Site, start: Start) -> None:
    site.write("left", "right")
    run = start("--workers", workers)
    with site.subscribe() as subscriber:
        hear(subscriber, IdentityFinal)
    run.largest_file(1)
    run.says("events cannot be written now")
    run.terminate(END_S)
    assert "events could not be written and are lost" in run.output
    assert "Traceback" not in run.output


def test_a_worker_that_dies_while_the_file_is_wrong_is_started_with_the_file_from_before(
    site: Site, start: Start
) -> None:
    site.write("left", "right")
    run = start("--workers", "2")
    with site.subscribe() as subscriber:
        heard = hear(subscriber, CameraOnline)
        heard += hear(subscriber, CameraOnline)
        site.replace("cameras: [{id: left, url: 'synth://corridor', fpss: 8}]\n")
        first, second = run.workers()
        os.kill(first, signal.SIGKILL)
        [lost] = of(hear(subscriber, CameraOffline, cause="error"), CameraOffline)
        heard = hear(subscriber, CameraOnline, camera=lost.camera)
        run.says("the worker is started with the configuration from before")
        assert "fpss" in run.output
        assert second in run.workers()
        assert run.process.poll() is None
        site.write("left", "right", "middle")
        hear(subscriber, CameraOnline, camera="middle")
        run.terminate()
        assert {event.cause for event in of(hear(subscriber, RunStopped), RunStopped)} == {"shutdown"}
    assert run.process.returncode == 0, run.output


def test_a_worker_without_cameras_stays_for_those_to_come(site: Site, start: Start) -> None:
    """Every camera of a worker is taken out of the file, it is killed meanwhile, and they come back."""
    site.write("left", "right")
    run = start("--workers", "2")
    with site.subscribe() as subscriber:
        hear(subscriber, CameraOnline, camera="right")
        site.write("left")
        hear(subscriber, CameraOffline, camera="right", cause="removed")
        site.write("left", "right")
        hear(subscriber, CameraOnline, camera="right")
        site.write("left")
        hear(subscriber, CameraOffline, camera="right", cause="removed")
        before = run.workers()
        assert len(before) == 2, run.output
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        hear(subscriber, CameraOnline, camera="left")
        site.write("left", "right")
        hear(subscriber, CameraOnline, camera="right")
        run.terminate()
    assert run.process.returncode == 0, run.output
    assert "Traceback" not in run.output


def test_a_worker_that_cannot_begin_ends_the_run(site: Site, start: Start, tmp_path: Path) -> None:
    site.write("left", "right", models={"detector": "demo", "biggait": f"{tmp_path / 'none'}/"})
    run = start("--workers", "2")
    assert run.process.wait(LOAD_S) == 2, run.output
    assert "none" in run.output
    assert "Traceback" not in run.output
