"""Commands that watch people: enroll, identify."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rich.markup import escape
from rich.table import Table

from gaitstream.cli.commands.tables import table_console
from gaitstream.config.camera_sections import Camera
from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.errors import ConfigError
from gaitstream.gallery.names import clean_name
from gaitstream.pipeline.enroll import (
    Walk,
    Watched,
    choose,
    describe_walk,
    enroll_walk,
    is_endless,
    is_live,
    read_tracklet,
    save_pictures,
    video_camera,
    watch,
    who_else,
)
from gaitstream.pipeline.saving import TrackletSaver
from gaitstream.runners.launch import signals


def enroll(args: argparse.Namespace) -> int:
    """Enrol somebody; 2 when it has to be said who is meant."""
    person = clean_name(args.person)
    config = load_site(args.cameras)
    if args.tracklet is not None:
        walk: Walk | None = read_tracklet(config, args.tracklet)
        source = args.tracklet.resolve().name
    else:
        camera = _camera(config, args)
        source = camera.id if args.camera else str(camera.url).rpartition("/")[2] or str(camera.url)
        walk = _watch_one(config, camera, args)
    if walk is None:
        return 2
    count = enroll_walk(config, person, walk, source)
    short = "" if walk.full else ", of an incomplete window: a longer walk gives better ones"
    origin = "the pictures" if args.tracklet is not None else f"track {walk.track}"
    print(f"enrolled {person}: {count} templates from {origin}{short}, in {gallery_of(config)}")
    for line in who_else(config, person):
        print(line)
    return 0


def identify(args: argparse.Namespace) -> int:
    """Say who walks."""
    config = load_site(args.cameras)
    camera = _camera(config, args)
    watched = _watch(config, camera, args, match=True)
    if args.json:
        for walk in watched.walks:
            print(json.dumps(describe_walk(walk), ensure_ascii=False))
        return 0
    if not watched.walks:
        print(f"{camera.url}: {watched.why_none}")
        return 0
    console = table_console()
    console.print(_table(watched.walks, console.width))
    return 0


def gallery_of(config: Config) -> str:
    """Where a configuration's gallery is, without credentials."""
    return str(config.gallery.url or config.gallery.path)


def load_site(path: Any) -> Config:
    """A configuration that names a gallery."""
    config = load_config(path)
    if config.gallery.where is None:
        raise ConfigError(f"{path} names no gallery: add 'gallery: {{path: people.gallery}}'")
    return config


def _camera(config: Config, args: argparse.Namespace) -> Camera:
    """What is to be watched."""
    if args.camera is None:
        return video_camera(config, args.video)
    try:
        return config.camera(args.camera)
    except KeyError:
        known = ", ".join(camera.id for camera in config.cameras)
        raise ConfigError(
            f"--camera {args.camera}: there is none of this id; {args.cameras} has {known}"
        ) from None


def _watch(
    config: Config,
    camera: Camera,
    args: argparse.Namespace,
    *,
    match: bool,
    saver: TrackletSaver | None = None,
) -> Watched:
    seconds = args.seconds if args.seconds is not None or not is_endless(camera) else 30.0
    if seconds is not None:
        print(f"watching {camera.url} for {seconds:g} s; Ctrl-C ends sooner", file=sys.stderr)
    observers = [saver] if saver is not None else []
    return watch(config, camera, match=match, seconds=seconds, observers=observers, interrupt=signals)


def _watch_one(config: Config, camera: Camera, args: argparse.Namespace) -> Walk | None:
    """The walk to enrol; None when there are several and it was not said which."""
    live = is_live(camera)
    saver = TrackletSaver(args.pictures) if live else None
    watched = _watch(config, camera, args, match=False, saver=saver)
    if watched.why_none:
        raise ConfigError(f"{camera.url}: {watched.why_none}")
    walk = choose(watched.walks, None if live else args.track)
    if walk is not None:
        return walk
    usable = [walk for walk in watched.walks if walk.usable]
    print(f"{camera.url} shows {len(usable)} tracks; say which is meant:")
    if saver is not None:  # nobody walks past a second time for us: what was seen is kept
        for walk in usable:
            print(f"  --tracklet {saver.folder_of(camera.id, walk.track)}   {walk.seconds:.1f} s")
    else:
        for track, picture in save_pictures(usable, args.pictures).items():
            print(f"  --track {track}   {picture}")
    return None


def _table(walks: list[Walk], width: int) -> Table:
    """Who walked; what says least is left out of a narrow one."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    headings = ["track", "seconds", "frames", "who", "distance", "threshold", "nearest", "why not"]
    if width < 100:
        headings = [heading for heading in headings if heading not in ("seconds", "frames", "threshold")]
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for walk in walks:
        row = _row(walk)
        table.add_row(*(escape(row[heading]) for heading in headings))
    return table


def _row(walk: Walk) -> dict[str, str]:
    decision = walk.decision
    row = {"track": str(walk.track), "seconds": f"{walk.seconds:.1f}"}
    if decision is None:
        return row | dict.fromkeys(("frames", "who", "distance", "threshold", "nearest", "why not"), "-")
    nearest = ", ".join(f"{name} {distance:.3f}" for name, distance in decision.candidates[:3])
    return row | {
        "frames": str(decision.frames),
        "who": decision.person or decision.status.value,
        "distance": "-" if decision.distance is None else f"{decision.distance:.3f}",
        "threshold": "-" if decision.threshold is None else f"{decision.threshold:.3f}",
        "nearest": nearest or "-",
        "why not": decision.reason.value if decision.reason else "",
    }
