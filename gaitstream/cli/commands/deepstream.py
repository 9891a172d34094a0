"""Commands of the group deepstream."""

from __future__ import annotations

import argparse

from gaitstream.config.reading import load_config
from gaitstream.deepstream.engines import prepare_engines, print_progress
from gaitstream.deepstream.models import make_plan
from gaitstream.deepstream.render import render as render_graph


def render(args: argparse.Namespace) -> int:
    """Write the graph and its files."""
    config = load_config(args.cameras)
    plan = make_plan(config)
    graph, files = render_graph(config, plan, args.out, view=args.view)
    print(
        f"{len(graph.nodes)} elements, {len(graph.links)} links, {len(graph.probes)} probes; all names known"
    )
    for path in files:
        print(f"  {path}")
    if not plan.parser.is_file():
        print(
            f"note: {plan.parser} is not here; the GPU image has it, or build it from the parser's CMakeLists"
        )
    return 0


def build(args: argparse.Namespace) -> int:
    """Compile the engines."""
    files = prepare_engines(make_plan(load_config(args.cameras)), print_progress())
    for path in files:
        print(path)
    if not files:
        print("nothing was built: TensorRT's Python module is needed; run it in the image gaitstream:gpu")
    return 0 if files else 3
