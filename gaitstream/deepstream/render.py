"""Writes the graph and its configuration files as something to read, check and run.

`pipeline.yaml` is in service-maker's own format; in it, cameras' credentials are masked. nvinfer's and the
tracker's files are the ones DeepStream reads.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from gaitstream.config.masking import mask
from gaitstream.config.schema import Config
from gaitstream.deepstream.drawing import draw
from gaitstream.deepstream.elements import Graph
from gaitstream.deepstream.graph import (
    DETECTOR,
    TRACKER_FILE,
    build_graph,
    encoder_name,
    nvinfer_file,
)
from gaitstream.deepstream.nvinfer import detector_sections, encoder_sections, to_ini
from gaitstream.deepstream.plan import Plan
from gaitstream.deepstream.tracker import to_yaml, tracker_sections
from gaitstream.errors import ConfigError

PIPELINE_FILE = "pipeline.yaml"
DRAWING_FILE = "graph.svg"


def render(config: Config, plan: Plan, folder: Path, *, view: bool = False) -> tuple[Graph, list[Path]]:
    """Write all files.

    Args:
        config: the site.
        plan: its models.
        folder: made when missing; files of the same names are replaced.
        view: add the annotated pictures.

    Returns:
        The graph, and the files written.

    Raises:
        ConfigError: DeepStream would refuse or ignore something, or the folder cannot be written.
    """
    folder = folder.resolve()
    graph = build_graph(config, plan, folder, view=view)
    texts = {
        nvinfer_file(DETECTOR): to_ini(detector_sections(config, plan)),
        TRACKER_FILE: to_yaml(tracker_sections(config)),
        PIPELINE_FILE: pipeline_yaml(graph),
        DRAWING_FILE: draw(graph),
    }
    for index, encoder in enumerate(plan.encoders):
        texts[nvinfer_file(encoder_name(encoder.name))] = to_ini(encoder_sections(config, plan, index))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written ({error.strerror}); give another --out") from error
    return graph, [folder / name for name in sorted(texts)]


def pipeline_yaml(graph: Graph) -> str:
    """The graph in service-maker's format, credentials masked."""
    nodes = []
    for node in graph.nodes:
        properties = {
            key: mask(value) if isinstance(value, str) else value for key, value in node.properties.items()
        }
        nodes.append(
            {"type": node.kind, "name": node.name, **({"properties": properties} if properties else {})}
        )
    edges: dict[str, list[str]] = {}
    for link in graph.links:
        edges.setdefault(link.source, []).append(link.target)
    flat = {source: targets[0] if len(targets) == 1 else targets for source, targets in edges.items()}
    probes = "".join(f"#   {where}: {what}\n" for where, what in graph.probes)
    head = (
        f"# Written by `gaitstream deepstream render`; URLs are masked.\n# Probes on source pads:\n{probes}"
    )
    return head + yaml.safe_dump({"deepstream": {"nodes": nodes, "edges": flat}}, sort_keys=False, width=120)
