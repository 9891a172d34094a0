"""`gaitstream keys`."""

from __future__ import annotations

import argparse
from pathlib import Path

from gaitstream.events.keys import SERVER, new_pair, read_allowed, read_pair, read_public
from gaitstream.events.keys import allow as allow_key
from gaitstream.events.keys import revoke as revoke_key


def new(args: argparse.Namespace) -> int:
    """Make a pair."""
    path = new_pair(args.folder, args.name)
    print(f"{path} (keep it secret) and {path.with_suffix('.pub')}: {read_pair(path).public}")
    if args.name == SERVER:
        print(f"set events.keys: {args.folder} in cams.yaml, and give {SERVER}.pub to whoever may listen")
    return 0


def allow(args: argparse.Namespace) -> int:
    """Let a key in."""
    public = read_public(args.public)
    name = args.name or (Path(args.public).stem if args.public != public else public[:8])
    allow_key(args.folder, public, name)
    print(f"{name} may listen")
    return 0


def revoke(args: argparse.Namespace) -> int:
    """Let a key in no more."""
    gone = revoke_key(args.folder, args.who)
    print(f"{gone.name or gone.public} may listen no more")
    return 0


def show(args: argparse.Namespace) -> int:
    """Who may listen."""
    for entry in read_allowed(args.folder):
        print(f"{entry.public}  {entry.name}")
    return 0
