"""The commands `models`: the catalogue of models that can be fetched by name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add `models list`, `models get`, `models info` and `models verify`."""
    models = commands.add_parser(
        "models",
        help="fetch detectors, pose models and others by name",
        description="Models of others that one command fetches. A configuration then names them: detector: "
        "yolox_nano. They are kept in the cache folder, GAITSTREAM_CACHE.",
    )
    actions = models.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list what there is, and what is on this machine")
    listing.add_argument("--json", action="store_true", help="one JSON object per model")
    listing.set_defaults(handler="fetching:list_models")
    _add_get(actions)
    info = actions.add_parser("info", help="say all that is known of a model")
    info.add_argument("name", metavar="NAME", help="as 'models list' has it")
    info.add_argument("--json", action="store_true", help="as one JSON object")
    info.set_defaults(handler="fetching:info")
    verify = actions.add_parser(
        "verify", help="compare what was fetched with its sums; exit code 1 when a file was changed"
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="all that were fetched, without one")
    verify.set_defaults(handler="fetching:verify_models")


def _add_get(actions: Commands) -> None:
    get = actions.add_parser(
        "get",
        help="fetch a model, check its sum and measure its speed here",
        description="Fetch a model. A download that broke off goes on where it was.",
    )
    get.add_argument("name", metavar="NAME", help="as 'models list' has it")
    get.add_argument("--accept", action="store_true", help="agree to the licence, where it asks for that")
    place = get.add_mutually_exclusive_group()
    place.add_argument(
        "--from", dest="place", type=Path, metavar="DIR", help="take the file from this folder, or this file"
    )
    place.add_argument("--url", default="", metavar="URL", help="fetch it from this mirror")
    get.add_argument(
        "--sha256", default="", metavar="SUM", help="compare with this sum in place of the catalogue's"
    )
    get.add_argument("--force", action="store_true", help="fetch it again")
    get.add_argument("--no-measure", action="store_true", help="leave out measuring its speed")
    get.set_defaults(handler="fetching:get")
