"""Commands about the gallery: who is known, for how long, and what was done with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gaitstream.cli.numbers import days

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_VISITORS = ("visitors", "promote", "apart", "confirm", "reject")
"""Actions in `commands/visitors.py`."""


def add(commands: Commands) -> None:
    """Add this group's commands."""
    gallery = commands.add_parser("gallery", help="list, judge, change and erase the people who are known")
    actions = gallery.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_reading(actions)
    _add_calibrating(actions)
    _add_editing(actions)
    _add_erasing(actions)
    _add_moving(actions)
    _add_matches(actions)
    _add_visitors(actions)


def _add_reading(actions: Commands) -> None:
    _command(actions, "list", "who is known, with how many templates")
    _command(
        actions, "info", "what the thresholds aim for and rest on, and what is damaged (then exit code 1)"
    )
    show = _command(actions, "show", "a person's templates, pictures and terms")
    show.add_argument("person", metavar="NAME")
    _command(actions, "duplicates", "people who may be one person under two names")
    _command(actions, "audit", "who did what with the gallery, when")
    verify = _command(
        actions, "verify", "check store, people, templates, pictures and audit log (exit code 1: damage)"
    )
    verify.add_argument(
        "--forgotten", type=Path, metavar="REPORT", help="search every file for what this report says is gone"
    )
    verify.add_argument(
        "--name", action="append", default=[],
        help="with --forgotten: search for this name, too; may be given several times",
    )  # fmt: skip


def _add_editing(actions: Commands) -> None:
    rename = _command(actions, "rename", "give a person another name")
    rename.add_argument("person", metavar="NAME")
    rename.add_argument("new", metavar="NEW")
    merge = _command(actions, "merge", "two names, one person: give all templates of OTHER to NAME")
    merge.add_argument("person", metavar="NAME")
    merge.add_argument("other", metavar="OTHER")
    split = _command(actions, "split", "make another person of some of a person's templates")
    split.add_argument("person", metavar="NAME")
    split.add_argument("--templates", required=True, metavar="N,N", help="numbers, as 'show' lists them")
    split.add_argument("--to", required=True, metavar="NEW", help="the other person's name")
    keep = _command(actions, "keep", "say for how long a person is kept")
    keep.add_argument("person", metavar="NAME")
    keep.add_argument("--days", type=days, metavar="N", help="from now; without it for ever")


def _add_calibrating(actions: Commands) -> None:
    calibrate = _command(actions, "calibrate", "choose the thresholds for a rate of false positives")
    calibrate.add_argument(
        "--target-fpir", type=float, metavar="RATE",
        help="share of strangers' searches that may end with a name, such as 0.01; without it the usual rule",
    )  # fmt: skip
    calibrate.add_argument(
        "--site", action="store_true", help="from the walks of people and strangers that were seen here"
    )
    calibrate.add_argument("--dry-run", action="store_true", help="with --site: only say what would be")


def _add_erasing(actions: Commands) -> None:
    remove = _command(
        actions, "remove",
        "erase a person and overwrite the templates; a run takes the name out of its journal, at once or "
        "when it starts. Saved tracklets and evidence stay: 'forget' erases these, too",
    )  # fmt: skip
    remove.add_argument("person", metavar="NAME")
    forget = _command(actions, "forget", "erase a person everywhere, and the name from saved events")
    forget.add_argument(
        "person", metavar="NAME",
        help="or the id, as 'audit' shows it, also of somebody who was erased before: places are cleaned",
    )  # fmt: skip
    forget.add_argument(
        "--journal", type=Path, action="append", default=[], metavar="DIR", help="an event journal"
    )
    forget.add_argument(
        "--tracklets", type=Path, action="append", default=[], metavar="DIR", help="saved tracklets"
    )
    forget.add_argument(
        "--evidence", type=Path, action="append", default=[], metavar="DIR",
        help="an evidence folder; that of --cameras is looked into in any case",
    )  # fmt: skip
    forget.add_argument("--report", type=Path, metavar="FILE", help="write what 'verify --forgotten' checks")
    sweep = _command(actions, "sweep", "erase whoever and whatever is past its time")
    for name, what in (
        ("person", "people"),
        ("picture", "pictures"),
        ("visitor", "unknown visitors"),
        ("sighting", "walks of visitors and people"),
    ):
        sweep.add_argument(f"--{name}-days", type=days, metavar="N", help=f"how long {what} are kept")
    sweep.add_argument(
        "--evidence", type=Path, metavar="DIR", help="an evidence folder; else that of --cameras"
    )
    sweep.add_argument("--evidence-days", type=days, metavar="N", help="how long evidence is kept")


def _add_moving(actions: Commands) -> None:
    copy = actions.add_parser("copy", help="bring everybody of one gallery into another")
    copy.add_argument("source", metavar="FROM", help="file or URL")
    copy.add_argument("target", metavar="TO", help="file or URL; made when missing")
    copy.add_argument("--from-key", metavar="SOURCE", help="key of FROM; as gallery.key in cams.yaml")
    copy.add_argument("--to-key", metavar="SOURCE", help="key of TO")
    copy.set_defaults(handler="gallery:copy_gallery")
    export = _command(actions, "export", "write the gallery into one encrypted file")
    export.add_argument("file", type=Path, metavar="FILE")
    export.add_argument(
        "--file-key", metavar="SOURCE", help="key of the file; FILE.key, made now, without it"
    )
    bring = _command(actions, "import", "bring in what 'export' wrote")
    bring.add_argument("file", type=Path, metavar="FILE")
    bring.add_argument("--file-key", metavar="SOURCE", help="key of the file; FILE.key without it")
    rekey = _command(actions, "rekey", "seal everything with another key, also a gallery that had none")
    rekey.add_argument(
        "--to", required=True, metavar="SOURCE", help="the new key; a file that is not there is made"
    )
    key = actions.add_parser("key", help="make a key file")
    key.add_argument("file", type=Path, metavar="FILE")
    key.set_defaults(handler="gallery:key")


def _add_matches(actions: Commands) -> None:
    for name, what in (
        ("confirm", "confirm a match; it takes two persons"),
        ("reject", "reject a match: this was not the person, and that pair never fires again"),
    ):
        match = _command(actions, name, what)
        match.add_argument("event", metavar="EVENT", help="event_id of the identity event")
        match.add_argument("--by", metavar="WHO", help="who says so; else $GAITSTREAM_ACTOR or user@host")
        match.add_argument(
            "--journal", type=Path, metavar="DIR",
            help="the journal that has the event (default: of --cameras; with --gallery it is not looked up)",
        )  # fmt: skip


def _add_visitors(actions: Commands) -> None:
    _command(actions, "visitors", "strangers who are kept as visitors, the latest seen first")
    promote = _command(actions, "promote", "give a visitor a name")
    promote.add_argument("visitor", metavar="VISITOR", help="such as visitor-17")
    promote.add_argument(
        "--person", required=True, metavar="NAME", help="a new person's, or one's who is there"
    )
    promote.add_argument(
        "--journal",
        type=Path,
        metavar="DIR",
        help="where to tell it when no run does (default: of --cameras)",
    )
    apart = _command(actions, "apart", "say that a visitor is not another visitor, or not a person")
    apart.add_argument("visitor", metavar="VISITOR")
    apart.add_argument("other", metavar="OTHER", help="a visitor or a person")


def _command(actions: Commands, name: str, what: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--gallery", metavar="FILE", help="the gallery's file or URL")
    where.add_argument("--cameras", type=Path, metavar="FILE", help="the cams.yaml that names it")
    parser.add_argument("--key", metavar="SOURCE", help="its key, as gallery.key in cams.yaml")
    handlers = {"list": "list_people", "import": "import_file", "export": "export_file"}
    module = "visitors" if name in _VISITORS else "gallery"
    parser.set_defaults(handler=f"{module}:{handlers.get(name, name)}")
    return parser
