"""Clips that people upload: taken in within bounds, then looked at by a job."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Request

from gaitstream.console.clip_limits import LARGEST_BYTES
from gaitstream.console.jobs import ShownJob
from gaitstream.console.permissions import Actor
from gaitstream.console.site import ConsoleSite
from gaitstream.console.worker import Task
from gaitstream.errors import ConsoleError


@asynccontextmanager
async def receive_clip(request: Request, site: ConsoleSite) -> AsyncIterator[tuple[str, Path]]:
    """Write a request's body to a file; the id of its job, and the file. Nothing is left without the job.

    Raises:
        BusyError: too many jobs wait.
        ConsoleError: the body is empty or too large.
    """
    with site.jobs.arriving() as (job_id, folder):
        clip = folder / "clip"
        await _write(request, clip)
        yield job_id, clip


async def _write(request: Request, path: Path) -> None:
    size = 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        async for piece in request.stream():
            size += len(piece)
            if size > LARGEST_BYTES:
                raise ConsoleError(f"the clip is larger than {LARGEST_BYTES >> 20} MiB; send a shorter one")
            file.write(piece)
    if not size:
        raise ConsoleError("there is no clip in this request; send the video as its body")


def identify(site: ConsoleSite, actor: Actor, job_id: str, clip: Path) -> ShownJob:
    """Find out who walks in a clip; the search is in the audit log."""
    site.desk.note(actor.audit_name, "searched", detail="an uploaded clip")
    task = Task(kind="identify", cameras=str(site.config_path()), clip=str(clip))
    return site.jobs.submit(actor, job_id, task)


def enrol(
    site: ConsoleSite, actor: Actor, job_id: str, clip: Path, person: str, track: int | None
) -> ShownJob:
    """Enrol somebody from a clip; where several walk in it, the job lists them and enrols nobody."""
    task = Task(kind="enrol", cameras=str(site.config_path()), clip=str(clip), person=person, track=track)
    return site.jobs.submit(actor, job_id, task)


def search(
    site: ConsoleSite, actor: Actor, job_id: str, clip: Path, since_ns: int, track: int | None
) -> ShownJob:
    """Find out where one of a clip was seen before; where several walk in it, the job lists them."""
    seen = None if actor.cameras is None else tuple(sorted(actor.cameras))
    task = Task(
        kind="search", cameras=str(site.config_path()), clip=str(clip), since_ns=since_ns, track=track,
        seen=seen,
    )  # fmt: skip
    return site.jobs.submit(actor, job_id, task)
