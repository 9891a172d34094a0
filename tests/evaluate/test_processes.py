"""Several processes that embed: what they do when one fails, is killed, or is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from gaitstream.errors import GaitstreamError, SourceError
from gaitstream.evaluate import collecting
from gaitstream.evaluate.dataset import WalkingSequence
from gaitstream.evaluate.options import EvaluationOptions

DEADLINE_S = 60
CHUNKS = 400

PARENT = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from gaitstream.evaluate.collecting import _live_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_live_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def fail_at_first(_o: object, _t: int, folder: Path, chunk: Sequence[WalkingSequence], _v: object) -> int:
    """The first sequence is damaged; the others take a while and leave a file each."""
    if chunk[0].identity == "0":
        raise SourceError("0/a/b has no frames")
    time.sleep(0.05)
    (folder / chunk[0].identity).touch()
    return len(chunk)


def be_killed(_o: object, _t: int, _f: Path, _c: Sequence[WalkingSequence], _v: object) -> int:
    """As the kernel does where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def fail_beside_a_long_one(
    _o: object, _t: int, folder: Path, chunk: Sequence[WalkingSequence], _v: object
) -> int:
    """The first sequence is damaged, once another is at work that takes long."""
    if chunk[0].identity == "0":
        while not (folder / "begun").exists():
            time.sleep(0.05)
        raise SourceError("0/a/b has no frames")
    (folder / "begun").touch()
    time.sleep(10 * DEADLINE_S)
    return len(chunk)


def meet_another(_o: object, _t: int, folder: Path, chunk: Sequence[WalkingSequence], _v: object) -> int:
    """Wait for a second process."""
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + DEADLINE_S / 4
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(chunk)


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> list[WalkingSequence]:
    monkeypatch.setattr(collecting, "CHUNK", 1)
    return [WalkingSequence(str(number), "a", "b", (Path("x.pkl"),)) for number in range(CHUNKS)]


def options(out: Path) -> EvaluationOptions:
    return EvaluationOptions(bundle=out, data=out, protocol="grew", out=out, processes=2)


def test_after_an_error_no_further_chunk_is_begun(
    several: list[WalkingSequence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_embed_chunk", fail_at_first)
    with pytest.raises(SourceError, match="0/a/b has no frames"):
        list(collecting._in_processes(options(tmp_path), tmp_path, several, None))
    assert len(list(tmp_path.iterdir())) < CHUNKS // 2


def test_an_error_or_stop_waits_for_no_sequence_that_takes_long(
    several: list[WalkingSequence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_embed_chunk", fail_beside_a_long_one)
    began_s = time.monotonic()
    with pytest.raises(SourceError, match="0/a/b has no frames"):
        list(collecting._in_processes(options(tmp_path), tmp_path, several, None))
    assert time.monotonic() - began_s < DEADLINE_S


def test_a_few_videos_are_shared_out_to_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_embed_chunk", meet_another)
    videos = [WalkingSequence(str(number), "a", "b", (Path("x.mp4"),)) for number in range(4)]
    assert sum(collecting._in_processes(options(tmp_path), tmp_path, videos, None)) == 4
    assert len(list(tmp_path.iterdir())) == 2


def test_a_process_that_was_killed_is_said_so(
    several: list[WalkingSequence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_embed_chunk", be_killed)
    with pytest.raises(GaitstreamError, match=r"was killed.*fewer --processes"):
        list(collecting._in_processes(options(tmp_path), tmp_path, several, None))


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + DEADLINE_S
    while is_running(worker):
        assert time.monotonic() < deadline, f"process {worker} was left behind"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """A process that ended may still stand in the table until somebody asks for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
