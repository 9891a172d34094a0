"""Commands about people: enrol, identify, list and remove."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaitstream.config.schema import Config
    from gaitstream.pipeline.enroll import Walk

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    enroll = commands.add_parser("enroll", help="enrol a person from a video")
    enroll.add_argument("--person", required=True, metavar="NAME", help="the name that events will carry")
    enroll.add_argument("--track", type=int, metavar="N", help="which of the video's tracks it is")
    enroll.add_argument(
        "--pictures", type=Path, default=Path("tracks"), metavar="DIR", help="for the tracks' pictures"
    )
    _add_video(enroll)
    enroll.set_defaults(handler=_enroll)
    identify = commands.add_parser("identify", help="say who walks in a video")
    _add_video(identify)
    identify.set_defaults(handler=_identify)
    _add_gallery(commands)


def _add_video(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--video", required=True, type=Path, metavar="FILE", help="the video")
    parser.add_argument(
        "--cameras", required=True, type=Path, metavar="FILE", help="the cams.yaml: models, gallery"
    )


def _add_gallery(commands: Commands) -> None:
    gallery = commands.add_parser("gallery", help="list, judge and remove the people who are known")
    actions = gallery.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="who is known, with how many templates")
    info = actions.add_parser(
        "info", help="what the thresholds aim for and rest on, and what is damaged (then exit code 1)"
    )
    remove = actions.add_parser("remove", help="erase a person and overwrite the templates")
    remove.add_argument("person", metavar="NAME")
    for parser, handler in ((listing, _list), (info, _info), (remove, _remove)):
        parser.add_argument("--gallery", required=True, type=Path, metavar="FILE", help="the gallery's file")
        parser.set_defaults(handler=handler)


def _enroll(args: argparse.Namespace) -> int:
    from gaitstream.errors import ConfigError
    from gaitstream.pipeline.enroll import choose, enroll_walk, save_pictures, watch_video

    if not args.person.strip():
        raise ConfigError(f"--person {args.person!r} is no name; give the name that events will carry")
    config = _load(args.cameras)
    walks = watch_video(config, args.video, match=False)
    walk = choose(walks, args.track)
    if walk is None:
        pictures = save_pictures([walk for walk in walks if walk.usable], args.pictures)
        print(f"{args.video} shows {len(pictures)} people; say who is meant with --track N:")
        for track, picture in pictures.items():
            print(f"  --track {track}   {picture}")
        return 2
    count = enroll_walk(config, args.person, walk, args.video.name)
    short = "" if walk.full else ", of an incomplete window: a longer video gives better ones"
    print(
        f"enrolled {args.person}: {count} templates from track {walk.track}{short}, in {gallery_of(config)}"
    )
    return 0


def _identify(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from gaitstream.pipeline.enroll import watch_video

    config = _load(args.cameras)
    table = Table(
        "track", "seconds", "frames", "who", "distance", "threshold", "nearest", "why not", box=None
    )
    for walk in watch_video(config, args.video, match=True):
        table.add_row(*_row(walk))
    Console().print(table)
    return 0


def _row(walk: Walk) -> tuple[str, ...]:
    decision = walk.decision
    if decision is None:
        return (str(walk.track),)
    nearest = ", ".join(f"{name} {distance:.3f}" for name, distance in decision.candidates[:3])
    return (
        str(walk.track),
        f"{walk.seconds:.1f}",
        str(decision.frames),
        decision.person or decision.status.value,
        "-" if decision.distance is None else f"{decision.distance:.3f}",
        "-" if decision.threshold is None else f"{decision.threshold:.3f}",
        nearest or "-",
        decision.reason.value if decision.reason else "",
    )


def _list(args: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.table import Table

    from gaitstream.gallery import Gallery

    with Gallery(args.gallery) as gallery:
        table = Table("person", "since", "templates", box=None)
        for entry in gallery.persons():
            since = datetime.fromtimestamp(entry.created_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")
            table.add_row(
                entry.name, since, ", ".join(f"{n} {model}" for model, n in entry.templates.items())
            )
        Console().print(table)
        for model, fingerprint in gallery.models().items():
            threshold, margin = gallery.thresholds(model)
            limits = (
                "no threshold yet" if threshold is None else f"threshold {threshold:.4f}, margin {margin:.4f}"
            )
            print(f"{model} {fingerprint[:12]}: {limits}")
    return 0


def _info(args: argparse.Namespace) -> int:
    from gaitstream.gallery import Gallery
    from gaitstream.gallery.calibration import describe

    with Gallery(args.gallery) as gallery:
        entries = gallery.persons()
        print(f"{args.gallery}: {len(entries)} people")
        for model, fingerprint in gallery.models().items():
            templates = sum(entry.templates.get(model, 0) for entry in entries)
            print(f"{model} {fingerprint[:12]}: {templates} templates")
            found = gallery.calibration(model)
            if found is None:
                print("  no threshold yet: enrol a second person, or a second template")
                continue
            print(f"  threshold {found.threshold:.4f}, margin {found.margin:.4f}")
            for line in describe(found):
                print(f"  {line}")
        damaged = gallery.damaged()
    for one in damaged:
        print(f"{one}; put a backup of the gallery in its place, or remove {one.person!r} and enrol again")
    return int(bool(damaged))


def _remove(args: argparse.Namespace) -> int:
    from gaitstream.gallery import Gallery

    with Gallery(args.gallery) as gallery:
        count = gallery.remove(args.person)
    print(f"erased {args.person} with {count} templates from {args.gallery}")
    return 0


def gallery_of(config: Config) -> str:
    """Where a configuration's gallery is, without credentials."""
    return str(config.gallery.url or config.gallery.path)


def _load(path: Path) -> Config:
    """A configuration that names a gallery."""
    from gaitstream.config.reading import load_config
    from gaitstream.errors import ConfigError

    config = load_config(path)
    if config.gallery.where is None:
        raise ConfigError(f"{path} names no gallery: add 'gallery: {{path: people.gallery}}'")
    return config
