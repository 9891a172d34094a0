"""What the console lets a process of its own do: reading foreign video, running models.

`python -m gaitstream.console.worker FOLDER` reads `job.json` there and writes `result.json` and pictures.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any, Literal

import cv2
import msgspec
import numpy as np

from gaitstream.config.camera_sections import Camera
from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.console.clip_limits import check_clip
from gaitstream.data import Image
from gaitstream.errors import ConfigError, GaitstreamError
from gaitstream.evidence.pictures import encode_crop
from gaitstream.gallery.appearances import appearances, describe_appearance
from gaitstream.gallery.names import clean_name
from gaitstream.pipeline.enroll import (
    Walk,
    choose,
    describe_walk,
    enroll_walk,
    save_pictures,
    video_camera,
    watch,
)
from gaitstream.pipeline.known import open_configured
from gaitstream.pipeline.probing import judge_picture, probe_camera
from gaitstream.pipeline.visits import site_rule

CPU_S = 900
DATA_BYTES = 12 << 30
FILE_BYTES = 32 << 30
"""Engines that are compiled for the first time are files of this process, and so is the gallery in memory."""
JOB, RESULT, PICTURE = "job.json", "result.json", "picture.jpg"


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done.

    Attributes:
        kind: `identify` and `enrol` people of a clip, `search` for earlier appearances, or try a `camera`.
        cameras: the cams.yaml.
        clip: the file.
        person: whom to enrol.
        track: which of the clip's people; None where there is one alone.
        since_ns: earliest appearance that is searched for, UTC nanoseconds.
        seen: the cameras that are searched; None for all.
        camera: an entry of cams.yaml to try.
    """

    kind: Literal["identify", "enrol", "search", "camera"]
    cameras: str
    clip: str = ""
    person: str = ""
    track: int | None = None
    since_ns: int = 0
    seen: tuple[str, ...] | None = None
    camera: dict[str, Any] = {}


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        fault: why nothing came of it, in words; empty otherwise.
        walks: people of the clip, see `gaitstream.pipeline.enroll.describe_walk`.
        templates: how many were enrolled.
        found: earlier appearances, nearest first, see `gaitstream.gallery.appearances.describe_appearance`;
            None where none were searched for.
        note: what else is to be said.
        width: of the camera's picture; 0 without one.
        height: of the camera's picture.
        people: in the camera's picture: `box`, `score` and `reason`, which is empty for good evidence.
    """

    fault: str = ""
    walks: list[dict[str, Any]] = []
    templates: int = 0
    found: list[dict[str, Any]] | None = None
    note: str = ""
    width: int = 0
    height: int = 0
    people: list[dict[str, Any]] = []


def main(argv: list[str]) -> int:
    """Do the job of a folder."""
    folder = Path(argv[1])
    limit()
    task = msgspec.json.decode((folder / JOB).read_bytes(), type=Task)
    try:
        result = _DO[task.kind](load_config(task.cameras), task, folder)
    except GaitstreamError as error:
        result = JobResult(fault=str(error))
    (folder / RESULT).write_bytes(msgspec.json.encode(result))
    return 0


def limit() -> None:
    """Bound what a hostile video can take: processor time, memory, files; and let the run go first."""
    for what, most in (
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_DATA, DATA_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    os.nice(10)


def identify(config: Config, task: Task, folder: Path) -> JobResult:
    """Who walks in a clip."""
    walks, note = _watch(config, task, folder, match=True)
    return JobResult(walks=[describe_walk(walk) for walk in walks], note=note)


def enrol(config: Config, task: Task, folder: Path) -> JobResult:
    """Enrol one of a clip, or say who is there to choose from."""
    person = clean_name(task.person)
    walks, note = _watch(config, task, folder, match=False)
    walk = choose(walks, task.track)
    if walk is None:
        usable = [describe_walk(walk) for walk in walks if walk.usable]
        return JobResult(walks=usable, note="the clip shows several people; say which track is meant")
    pictures = [encode_crop(crop) for crop in walk.pictures if crop.size]
    count = enroll_walk(config, person, walk, "an uploaded clip", pictures)
    short = "" if walk.full else "of an incomplete window: a longer walk gives better ones"
    return JobResult(walks=[describe_walk(walk)], templates=count, note=short or note)


def search(config: Config, task: Task, folder: Path) -> JobResult:
    """Where one of a clip was seen before, or who is there to choose from."""
    walks, note = _watch(config, task, folder, match=False)
    walk = choose(walks, task.track)
    if walk is None:
        usable = [describe_walk(walk) for walk in walks if walk.usable]
        return JobResult(walks=usable, note="the clip shows several people; say which track is meant")
    like = {model: np.stack(windows) for model, windows in walk.embeddings.items() if windows}
    gallery = open_configured(config)
    if gallery is None:
        raise ConfigError("no gallery is configured: add 'gallery: {path: people.gallery}'")
    with gallery:
        rule = site_rule(config, {model: gallery.thresholds(model)[0] for model in gallery.models()})
        found = appearances(
            gallery, like, rule, task.since_ns, sees=lambda one: task.seen is None or one in task.seen
        )
    return JobResult(
        walks=[describe_walk(walk)], found=[describe_appearance(one) for one in found], note=note
    )


def try_camera(config: Config, task: Task, folder: Path) -> JobResult:
    """One picture of a camera, and who in it would be rejected."""
    camera = Camera.model_validate(task.camera, context={"base": str(Path(task.cameras).resolve().parent)})
    answer = probe_camera(camera, config.sources)
    if answer.image is None or answer.problem:
        return JobResult(fault=answer.problem)
    people = judge_picture(config, camera, answer.image)
    _write_picture(folder / PICTURE, answer.image)
    width, height = answer.size or (0, 0)
    return JobResult(
        width=width,
        height=height,
        people=[{"box": one.box, "score": one.score, "reason": one.reason or ""} for one in people],
    )


def _watch(config: Config, task: Task, folder: Path, *, match: bool) -> tuple[list[Walk], str]:
    clip = Path(task.clip)
    check_clip(clip)
    camera = video_camera(config, str(clip))
    watched = watch(config, camera, match=match)
    save_pictures(watched.walks, folder)
    return watched.walks, watched.why_none


def _write_picture(path: Path, image: Image) -> None:
    if not cv2.imwrite(str(path), image):
        raise ConfigError("the camera's picture cannot be written; is the disk full?")


_DO = {"identify": identify, "enrol": enrol, "search": search, "camera": try_camera}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
