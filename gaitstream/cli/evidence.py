"""Commands about evidence: what was kept of an event, as one file that others can check."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    evidence = commands.add_parser("evidence", help="export, check and replay what was kept of an event")
    actions = evidence.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_export(actions)
    verify = _on_file(actions, "verify", "check that a bundle is as it was exported, and by whom")
    verify.set_defaults(handler="evidence:verify")
    replay = _on_file(
        actions, "replay", "make a bundle's decision again; exit code 1 when it is another than it was"
    )
    replay.set_defaults(handler="evidence:replay_bundle")
    key = actions.add_parser("key", help="print the public key that a site's bundles are signed with")
    key.add_argument("--cameras", type=Path, required=True, metavar="FILE", help="the cams.yaml")
    key.set_defaults(handler="evidence:key")
    live = actions.add_parser("live", help="write a camera's live annotated pictures to standard output")
    live.add_argument("camera", metavar="CAMERA", help="its id")
    live.add_argument("--cameras", type=Path, required=True, metavar="FILE", help="the cams.yaml that runs")
    live.set_defaults(handler="evidence:live")


def _add_export(actions: Commands) -> None:
    export = actions.add_parser("export", help="write everything about one event into one signed file")
    export.add_argument("event", metavar="EVENT", help="event_id of the identity event")
    export.add_argument("--cameras", type=Path, required=True, metavar="FILE", help="the cams.yaml")
    export.add_argument("--out", type=Path, metavar="FILE", help="the file; EVENT.evidence.zip without it")
    export.add_argument(
        "--journal", type=Path, metavar="DIR", help="the event's journal, else the file's own"
    )
    export.add_argument(
        "--templates", choices=("person", "candidates", "none"), default="person",
        help="whose templates go along: of the person who is named, of everybody who was near, of nobody",
    )  # fmt: skip
    export.set_defaults(handler="evidence:export_event")


def _on_file(actions: Commands, name: str, what: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=what)
    parser.add_argument("file", type=Path, metavar="FILE", help="what 'evidence export' wrote")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--signer", metavar="KEY", help="the key it must be signed with, from 'evidence key'")
    who.add_argument("--cameras", type=Path, metavar="FILE", help="the cams.yaml of the site that signed it")
    return parser
