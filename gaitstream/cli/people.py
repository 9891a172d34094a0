"""Commands about people: enrol, identify, list and remove."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.cli.numbers import positive

if TYPE_CHECKING:
    from gaitstream.gallery import Gallery

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    enroll = commands.add_parser(
        "enroll",
        help="enrol a person from a video, a camera, a stream or saved pictures",
        description="Enrol the one person who walks in a video, before a camera or in a stream, or in a "
        "folder of 'run --save-tracklets'. Where several walk it is said how to name one (exit code 2).",
    )
    enroll.add_argument("--person", required=True, metavar="NAME", help="the name that events will carry")
    seen = _add_seen(enroll)
    seen.add_argument("--tracklet", type=Path, metavar="DIR", help="a saved track's folder of pictures")
    enroll.add_argument("--track", type=int, metavar="N", help="which of a video's tracks it is")
    enroll.add_argument(
        "--pictures", type=Path, default=Path("tracks"), metavar="DIR", help="for the tracks' pictures"
    )
    enroll.set_defaults(handler="people:enroll")
    identify = commands.add_parser(
        "identify", help="say who walks in a video, before a camera or in a stream"
    )
    _add_seen(identify)
    identify.add_argument("--json", action="store_true", help="one JSON object per track")
    identify.set_defaults(handler="people:identify")
    _add_gallery(commands)


def _add_seen(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """What is watched, and with which models."""
    parser.add_argument(
        "--cameras", required=True, type=Path, metavar="FILE", help="the cams.yaml: models, gallery"
    )
    seen = parser.add_mutually_exclusive_group(required=True)
    seen.add_argument("--video", metavar="FILE", help="a video, or the URL of a stream")
    seen.add_argument("--camera", metavar="ID", help="a camera of the cams.yaml")
    parser.add_argument(
        "--seconds", type=positive, metavar="S",
        help="watch no longer, from the first picture (default: 30 for cameras and streams)",
    )  # fmt: skip
    return seen


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
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--gallery", type=Path, metavar="FILE", help="the gallery's file")
        which.add_argument("--cameras", type=Path, metavar="FILE", help="the cams.yaml that names it")
        parser.set_defaults(handler=handler)


def _list(args: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from rich.console import Console
    from rich.table import Table

    with _open(args) as gallery:
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
    from gaitstream.gallery.calibration import describe

    with _open(args) as gallery:
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
    with _open(args) as gallery:
        count = gallery.remove(args.person)
    print(f"erased {args.person} with {count} templates from {args.gallery}")
    return 0


def _open(args: argparse.Namespace) -> Gallery:
    """The gallery that a command is about: by its file, or the one a cams.yaml names."""
    from gaitstream.cli.commands.people import gallery_of, load_site
    from gaitstream.errors import GalleryError
    from gaitstream.gallery import Gallery
    from gaitstream.pipeline.known import open_configured

    if args.cameras is None:
        return Gallery(args.gallery)
    config = load_site(args.cameras)
    gallery = open_configured(config)
    if gallery is None:
        raise GalleryError(f"{gallery_of(config)} does not exist yet: enrol somebody")
    args.gallery = gallery_of(config)
    return gallery
