"""Commands of the group deepstream."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add(commands: Commands) -> None:
    """Add `deepstream render`."""
    parser = commands.add_parser("deepstream", help="the GPU front end: look at what it will run")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    render = actions.add_parser(
        "render",
        help="write the DeepStream graph and its configuration files",
        description="Write the pipeline, nvinfer and tracker files and a drawing of the graph that "
        "'gaitstream run --frontend deepstream' would use. Needs no GPU and no DeepStream. Every name and "
        "value is checked against DeepStream 9.1; credentials in URLs are masked.",
    )
    render.add_argument("--cameras", type=Path, required=True, metavar="FILE", help="the cams.yaml")
    render.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    render.add_argument("--view", action="store_true", help="with the annotated pictures")
    render.set_defaults(handler="deepstream:render")
    build = actions.add_parser(
        "build",
        help="compile the engines that DeepStream will load",
        description="Compile detector and encoders for this machine's GPU, as the first start would.",
    )
    build.add_argument("--cameras", type=Path, required=True, metavar="FILE", help="the cams.yaml")
    build.set_defaults(handler="deepstream:build")
