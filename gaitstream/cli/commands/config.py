"""Commands that describe cams.yaml."""

from __future__ import annotations

import argparse
import json

from gaitstream.config.descriptions import describe_sections
from gaitstream.config.reference import reference
from gaitstream.config.schema import Config


def schema(_: argparse.Namespace) -> int:
    """Print the JSON Schema."""
    describe_sections()
    print(json.dumps(Config.model_json_schema(), indent=2))
    return 0


def print_reference(_: argparse.Namespace) -> int:
    """Print the reference in Markdown."""
    print(reference(), end="")
    return 0
