"""Work that takes a while, one piece at a time in a process that may be killed: clips, trials of cameras."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, Field

from gaitstream.console.permissions import Actor, Permission
from gaitstream.console.refusals import BusyError, NotFoundError
from gaitstream.console.worker import JOB, RESULT, JobResult, Task

log = logging.getLogger(__name__)
State = Literal["waiting", "running", "done", "failed"]
MOST_WAITING = 4
KEPT_S = 3600.0
"""How long a result is there."""
TIDY_S = 60.0
"""How often those that are older are looked for."""
NEEDED: dict[str, tuple[Permission, ...]] = {
    "identify": (Permission.CLIPS,),
    "enrol": (Permission.PEOPLE_WRITE,),
    "search": (Permission.CLIPS, Permission.VISITORS_READ),
    "camera": (Permission.CAMERAS_WRITE,),
}
"""What it takes to see what came of each kind of job."""
WORK_S: dict[str, float] = {"identify": 600.0, "enrol": 600.0, "search": 600.0, "camera": 60.0}
_RESULT = msgspec.json.Decoder(JobResult)
_PICTURE_NAME = re.compile(r"picture|track-[0-9]{1,9}")
RETRY_S = 30.0


class ShownJob(BaseModel):
    """A piece of work and what came of it."""

    job_id: str
    kind: str
    state: State
    fault: str = Field(default="", description="Why nothing came of it, in words.")
    note: str = ""
    walks: list[dict[str, Any]] = Field(default=[], description="People of the clip, by track.")
    templates: int = Field(default=0, description="How many were enrolled.")
    found: list[dict[str, Any]] | None = Field(
        default=None, description="Earlier appearances, nearest first; null where none were searched for."
    )
    width: int = Field(default=0, description="Of the camera's picture, pixels.")
    height: int = 0
    people: list[dict[str, Any]] = Field(
        default=[], description="In the camera's picture: box, score, reason."
    )
    pictures: list[str] = Field(default=[], description="Names of JPEG pictures.")


@dataclass
class Job:
    """One piece of work.

    Attributes:
        job_id: random, 128 bits.
        owner: name of the user who alone may see it.
        task: what is done.
        folder: where clip, pictures and result lie.
        created_s: monotonic seconds.
        actor: how the audit log calls who asked for it.
        state: how far it is.
        result: what came of it.
        void: what comes of it is not to be told: somebody was forgotten.
    """

    job_id: str
    owner: str
    task: Task
    folder: Path
    created_s: float
    actor: str
    state: State = "waiting"
    result: JobResult = field(default_factory=JobResult)
    void: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more is done."""
        return self.state in ("done", "failed")

    def shown(self, actor: Actor) -> ShownJob:
        """As it is told to its owner: of what a search found, what was seen by cameras that they may see."""
        pictures = sorted(path.stem for path in self.folder.glob("*.jpg")) if self.state == "done" else []
        facts = {name: getattr(self.result, name) for name in JobResult.__struct_fields__}
        if self.result.found is not None:
            facts["found"] = [one for one in self.result.found if actor.sees(one["camera"])]
        return ShownJob(job_id=self.job_id, kind=self.task.kind, state=self.state, pictures=pictures, **facts)


class JobDesk:
    """Takes jobs, does one at a time, keeps results for a while; any thread.

    Args:
        folder: where they lie; emptied at the start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        self._jobs: dict[str, Job] = {}
        self._arriving: set[str] = set()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "gaitstream-console-jobs")
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._over = threading.Event()
        threading.Thread(target=self._keep_tidy, name="gaitstream-console-tidy", daemon=True).start()

    @contextmanager
    def arriving(self) -> Iterator[tuple[str, Path]]:
        """An id and an empty folder for a job, to put a clip into; gone again unless the job is submitted.

        Raises:
            BusyError: too many jobs wait, or are being sent.
        """
        self._tidy()
        job_id = self._begin()
        folder = self._folder / job_id
        try:
            folder.mkdir(mode=0o700)
            yield job_id, folder
        finally:
            with self._lock:
                self._arriving.discard(job_id)
                submitted = job_id in self._jobs
            if not submitted:
                shutil.rmtree(folder, ignore_errors=True)

    def _begin(self) -> str:
        with self._lock:
            waiting = sum(job.state in ("waiting", "running") for job in self._jobs.values())
            waiting += len(self._arriving)
            if waiting >= MOST_WAITING:
                raise BusyError(f"{waiting} jobs wait already; try again when one is done", RETRY_S)
            job_id = secrets.token_hex(16)
            self._arriving.add(job_id)
            return job_id

    def submit(self, actor: Actor, job_id: str, task: Task) -> ShownJob:
        """Do a job as soon as those before it are done."""
        job = Job(job_id, actor.name, task, self._folder / job_id, time.monotonic(), actor.audit_name)
        with self._lock:
            self._arriving.discard(job_id)
            self._jobs[job_id] = job
        self._thread.submit(self._work, job)
        return job.shown(actor)

    def find(self, actor: Actor, job_id: str) -> Job:
        """A job of an actor's own.

        Raises:
            NotFoundError: there is none of this id, or it is somebody else's, or its time is over.
            ForbiddenError: the actor lacks what this kind of job needs, as a token may.
        """
        self._tidy()
        job = self._jobs.get(job_id)
        if job is None or job.owner != actor.name:
            raise NotFoundError(f"there is no job {job_id[:64]!r} of {actor.name}")
        for permission in NEEDED[job.task.kind]:
            actor.need(permission)
        return job

    def forget_results(self) -> None:
        """Delete what came of clips, of all users: somebody who may be in results and pictures was forgotten.

        What is still being done is not told either.
        """
        with self._lock:
            for job in [one for one in self._jobs.values() if one.task.kind != "camera"]:
                job.void = True
                if job.is_over:
                    self._drop(job)

    def picture(self, actor: Actor, job_id: str, name: str) -> bytes:
        """A JPEG that a job made.

        Raises:
            NotFoundError: there is none of this name.
        """
        path = self.find(actor, job_id).folder / f"{name}.jpg"
        if not _PICTURE_NAME.fullmatch(name) or not path.is_file():
            raise NotFoundError(f"job {job_id} has no picture {name[:64]!r}")
        return path.read_bytes()

    def close(self) -> None:
        """End what is being done and delete everything."""
        self._closed = True
        self._over.set()
        process = self._process
        if process is not None:
            process.kill()
        self._thread.shutdown(cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _work(self, job: Job) -> None:
        if self._closed:
            return
        job.state = "running"
        try:
            job.result = self._run(job)
        except Exception as error:  # whatever it is, the next job must be done
            log.exception("job %s", job.job_id)
            job.result = JobResult(fault=f"the work broke down: {error}")
        for path in job.folder.glob("clip*"):
            path.unlink()
        with self._lock:
            if job.void:
                shutil.rmtree(job.folder, ignore_errors=True)
                job.result = JobResult(
                    fault="somebody was forgotten while this was done, and may be in it; send the clip again"
                )
            job.state = "failed" if job.result.fault else "done"

    def _run(self, job: Job) -> JobResult:
        (job.folder / JOB).write_bytes(msgspec.json.encode(job.task))
        command = [sys.executable, "-m", "gaitstream.console.worker", str(job.folder)]
        patience_s = WORK_S[job.task.kind]
        with (job.folder / "log").open("wb") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, "GAITSTREAM_ACTOR": job.actor},
            )  # fmt: skip
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                return JobResult(
                    fault=f"this took longer than {patience_s:.0f} s and was ended; send a shorter clip"
                )
            finally:
                self._process = None
        return self._result(job)

    def _result(self, job: Job) -> JobResult:
        path = job.folder / RESULT
        if path.is_file():
            return _RESULT.decode(path.read_bytes())
        log.warning("job %s ended without a result: %s", job.job_id, _tail(job.folder / "log"))
        return JobResult(fault="the work broke down on this input, or took too much memory; send another")

    def _keep_tidy(self) -> None:
        while not self._over.wait(TIDY_S):
            self._tidy()

    def _tidy(self) -> None:
        old_s = time.monotonic() - KEPT_S
        with self._lock:
            for job in [one for one in self._jobs.values() if one.created_s < old_s and one.is_over]:
                self._drop(job)

    def _drop(self, job: Job) -> None:
        shutil.rmtree(job.folder, ignore_errors=True)
        del self._jobs[job.job_id]


def _tail(path: Path) -> str:
    return path.read_bytes()[-2000:].decode(errors="replace") if path.is_file() else ""
