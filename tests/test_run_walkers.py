"""`gaitstream run` as a user runs it: a process of its own, real video, a subscriber in another process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from gaitstream.events import (
    CameraOnline,
    Event,
    IdentityConfirmed,
    IdentityDecided,
    IdentityFinal,
    IdentityRevised,
    Journal,
    Received,
    RunStarted,
    RunStopped,
    Subscriber,
    TrackEnded,
    TrackStarted,
)
from gaitstream.models.bundle import Bundle
from tests.pipeline.tiny import tiny_bundle
from tests.pipeline.walkers import FRAMES, camera, free_port, write_cams

LOAD_S = 120
"""Time for imports and engines on a busy machine."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("tiny"))


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[subprocess.Popen[str]] = []

    def start(path: Path, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "gaitstream", "run", "--cameras", str(path), *arguments]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a process group of its own, as under a service manager
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        if process.stdout is not None and not process.stdout.closed:
            process.communicate()


def endpoints(port: int) -> tuple[str, str]:
    return f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}"


@contextmanager
def subscribe(port: int) -> Iterator[Subscriber]:
    with Subscriber(*endpoints(port), since="beginning") as subscriber:
        yield subscriber


def hear(subscriber: Subscriber, until: type[Event], timeout_s: float = LOAD_S) -> list[Received]:
    """Events up to the first of a kind."""
    out: list[Received] = []
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        received = subscriber.receive(0.5)
        if received is not None:
            out.append(received)
            if isinstance(received.event, until):
                return out
    raise AssertionError(f"no {until.__name__} within {timeout_s} s; heard {[r.event for r in out]}")


def of(received: Sequence[Received], kind: type[Event]) -> list[Event]:
    return [one.event for one in received if isinstance(one.event, kind)]


@pytest.mark.slow
def test_four_people_are_found_and_no_frame_is_lost(
    start: Start, shared: Path, bundle: Bundle, tmp_path: Path
) -> None:
    port = free_port()
    path = write_cams(tmp_path, shared, bundle.root, events={"endpoint": endpoints(port)[0]})
    process = start(path, "--no-table")
    with subscribe(port) as subscriber:
        received = hear(subscriber, RunStopped, 2 * LOAD_S)
    output, _ = process.communicate(timeout=LOAD_S)
    assert process.returncode == 0, output
    [stopped] = of(received, RunStopped)
    assert isinstance(stopped, RunStopped)
    assert (stopped.frames, stopped.cause) == (FRAMES, "end_of_stream")
    long = [e for e in of(received, TrackEnded) if isinstance(e, TrackEnded) and e.seen >= 0.8 * FRAMES]
    assert len(long) == 4
    started = [e.track for e in of(received, TrackStarted) if isinstance(e, TrackStarted)]
    assert sorted(started) == sorted(e.track for e in of(received, TrackEnded) if isinstance(e, TrackEnded))
    [decided, *_] = of(received, IdentityDecided)
    assert {"detect", "embed", "decide"} <= set(decided.latency_ms)
    assert any(isinstance(one.event, IdentityConfirmed | IdentityRevised) for one in received)
    finals = {e.track: e for e in of(received, IdentityFinal) if isinstance(e, IdentityFinal)}
    assert all(finals[track.track].windows >= 10 for track in long)
    assert all(e.status != "known" and e.reason for e in finals.values())
    assert "235 frames" in output
    assert "nobody is enrolled" in output


def test_ctrl_c_ends_within_two_seconds(start: Start, shared: Path, bundle: Bundle, tmp_path: Path) -> None:
    port = free_port()
    path = write_cams(
        tmp_path, shared, bundle.root, [camera(shared, loop=True)], events={"endpoint": endpoints(port)[0]}
    )
    process = start(path, "--no-table", "--realtime")
    with subscribe(port) as subscriber:
        hear(subscriber, CameraOnline)
        time.sleep(1.0)
        asked_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(10)
        took_s = time.monotonic() - asked_s
        received = hear(subscriber, RunStopped, 5) if took_s < 2 else []
    assert took_s < 2.0, process.communicate()[0]
    assert process.returncode == 130
    assert [e.cause for e in of(received, RunStopped) if isinstance(e, RunStopped)] == ["interrupt"]


def test_two_workers_publish_through_one_journal(
    start: Start, shared: Path, bundle: Bundle, tmp_path: Path
) -> None:
    port = free_port()
    cameras = [camera(shared, "left", fps=4), camera(shared, "right", fps=4)]
    path = write_cams(tmp_path, shared, bundle.root, cameras, events={"endpoint": endpoints(port)[0]})
    process = start(path, "--no-table", "--workers", "2")
    received: list[Received] = []
    with subscribe(port) as subscriber:
        while len(of(received, RunStopped)) < 2:
            received += hear(subscriber, RunStopped)
    output, _ = process.communicate(timeout=LOAD_S)
    assert process.returncode == 0, output
    assert sum(e.frames for e in of(received, RunStopped) if isinstance(e, RunStopped)) == 2 * 32
    assert {e.camera for e in of(received, IdentityFinal) if isinstance(e, IdentityFinal)} == {
        "left",
        "right",
    }
    assert len({e.run for e in of(received, RunStarted)}) == 2
    assert "64 frames" in output


def test_a_service_managers_sigterm_to_all_processes_gives_tracks_their_last_word(
    start: Start, shared: Path, bundle: Bundle, tmp_path: Path
) -> None:
    port = free_port()
    cameras = [camera(shared, "left", fps=4), camera(shared, "right", fps=4)]
    path = write_cams(tmp_path, shared, bundle.root, cameras, events={"endpoint": endpoints(port)[0]})
    process = start(path, "--no-table", "--workers", "2", "--realtime")
    received: list[Received] = []
    with subscribe(port) as subscriber:
        while len(of(received, CameraOnline)) < 2:
            received += hear(subscriber, CameraOnline)
        time.sleep(2)
        os.killpg(process.pid, signal.SIGTERM)
        while len(of(received, RunStopped)) < 2:
            received += hear(subscriber, RunStopped, 20)
    output, _ = process.communicate(timeout=LOAD_S)
    assert process.returncode == 0, output
    ended = [e for e in of(received, TrackEnded) if isinstance(e, TrackEnded) and e.cause == "shutdown"]
    assert ended, output


def test_kill_and_restart_lose_and_double_no_event(
    start: Start, shared: Path, bundle: Bundle, tmp_path: Path
) -> None:
    port = free_port()
    path = write_cams(
        tmp_path, shared, bundle.root, [camera(shared, fps=4)], events={"endpoint": endpoints(port)[0]}
    )
    received: list[Received] = []
    with subscribe(port) as subscriber:
        first = start(path, "--no-table")
        received += hear(subscriber, CameraOnline)
        time.sleep(0.5)
        first.kill()
        first.wait()
        second = start(path, "--no-table")
        received += hear(subscriber, RunStopped, 2 * LOAD_S)
        second.wait(20)
        assert subscriber.lost == 0
    journal = Journal(tmp_path / "cams.journal")
    stored = [(record.topic, record.seq, record.payload) for record in journal.read(limit=100_000)]
    journal.close()
    assert sorted((r.topic, r.seq, r.payload) for r in received) == sorted(stored)
    assert len({e.run for e in of(received, RunStarted)}) == 2


def test_a_port_in_use_is_said_before_any_model_is_loaded(
    start: Start, shared: Path, bundle: Bundle, tmp_path: Path
) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        path = write_cams(tmp_path, shared, bundle.root, events={"endpoint": f"tcp://127.0.0.1:{port}"})
        output, _ = (process := start(path)).communicate(timeout=LOAD_S)
    assert process.returncode == 1
    assert f"tcp://127.0.0.1:{port} is in use" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("url", "code", "message"),
    [("none.mp4", 1, "none.mp4"), ("cams.yaml", 1, "cams.yaml"), ("empty.mp4", 1, "empty.mp4")],
)
def test_a_file_that_is_no_video_is_an_error_that_names_it(
    start: Start, shared: Path, tmp_path: Path, url: str, code: int, message: str
) -> None:
    (tmp_path / "empty.mp4").touch()
    path = write_cams(tmp_path, shared, None, [{"id": "gate", "url": url}])
    output, _ = (process := start(path, "--no-table")).communicate(timeout=LOAD_S)
    assert process.returncode == code, output
    assert message in output.strip().splitlines()[-1]
    assert "Traceback" not in output


def test_wrong_arguments_say_what_is_right(start: Start, tmp_path: Path) -> None:
    output, _ = (process := start(tmp_path / "none.yaml")).communicate(timeout=LOAD_S)
    assert process.returncode == 2
    assert "none.yaml" in output
    output, _ = (process := start(tmp_path / "none.yaml", "--workers", "0")).communicate(timeout=LOAD_S)
    assert process.returncode == 2
    assert "0 is less than 1" in output
