"""Commands of the group run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add this group's commands."""
    _add_config(commands)


def _add_config(commands: Commands) -> None:
    config = commands.add_parser("config", help="check and describe cams.yaml")
    actions = config.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="check a file; exit code 2 when it is wrong")
    check.add_argument("file", help="the cams.yaml")
    check.add_argument("--open", action="store_true", help="also read one picture of every camera")
    check.set_defaults(handler=_config_check)
    schema = actions.add_parser("schema", help="print the JSON Schema, for editors")
    schema.set_defaults(handler=_config_schema)
    reference = actions.add_parser("reference", help="print the configuration reference in Markdown")
    reference.set_defaults(handler=_config_reference)


def _config_check(args: argparse.Namespace) -> int:
    from gaitstream.pipeline.config_file import load_config

    config = load_config(args.file)
    enabled = sum(camera.enabled for camera in config.cameras)
    print(f"{args.file}: correct; {len(config.cameras)} cameras, {enabled} enabled")
    if not args.open:
        return 0
    from gaitstream.pipeline.config_probe import probe

    answers = probe(config)
    for answer in answers:
        size = f"{answer.size[0]} x {answer.size[1]}" if answer.size else "no picture"
        print(f"  {answer.camera}: {answer.problem or size}")
    return int(any(answer.problem for answer in answers))


def _config_schema(_: argparse.Namespace) -> int:
    import json

    from gaitstream.pipeline.config import Config

    print(json.dumps(Config.model_json_schema(), indent=2))
    return 0


def _config_reference(_: argparse.Namespace) -> int:
    from gaitstream.pipeline.config_reference import reference

    print(reference(), end="")
    return 0
