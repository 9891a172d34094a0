"""A gait model's own masks of people as a segmentation model beside its bundle."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec
import numpy as np
import onnx

from gaitstream.engines.base import Precision
from gaitstream.export.compare import Distance, measure
from gaitstream.export.running import BundleRunner
from gaitstream.models.segmentation_layouts import PROBABILITY
from gaitstream.models.segmenter import SegmenterContract
from gaitstream.models.trained import MaskBranch

GRAPH = "segmenter.onnx"
MANIFEST = "segmenter.json"
MOST_CHANGED = 0.1
"""Largest relative error of masks of 0 and 1 in bf16: one in a hundred of the person's pixels changes."""


def write_graph(branch: MaskBranch, root: Path) -> None:
    """Save the graph beside the bundle's, which `models.segmenter` opens once it has a manifest."""
    onnx.save(branch.graph, root / GRAPH)


def measure_masks(branch: MaskBranch, runner: BundleRunner) -> tuple[Distance, float | None] | None:
    """How far the graph is from the module on one runtime, and the limit where it is not the runtime's own.

    In float32 probabilities are compared, in bf16 the masks that are made of them. None for precisions that
    graphs are stored for: there is the one in float32 alone.
    """
    if runner.precision not in ("fp32", "bf16"):
        return None
    (source,) = (one.name for one in branch.graph.graph.input)
    with runner.open(runner.bundle.root / GRAPH) as engine:
        (found,) = engine.infer({source: branch.crops.astype(np.float32)}).values()
    if runner.precision == "fp32":
        return measure(found, branch.expected), None
    masks, expected = (
        PROBABILITY.read([one], 1, one.shape[-2:]).astype(np.float32) for one in (found, branch.expected)
    )
    return measure(masks, expected), MOST_CHANGED


def write_manifest(branch: MaskBranch, root: Path, licence: str, same_in: Collection[Precision]) -> None:
    """Say what the graph expects.

    Args:
        branch: whose graph it is.
        root: of the bundle.
        licence: of the weights.
        same_in: lower precisions in which it was measured to find the same masks.
    """
    contract = SegmenterContract(
        graph=GRAPH,
        layout="probability",
        crop="pad_to_aspect",
        scale=1.0,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        size=branch.crops.shape[2:],
        precisions=("bf16",) if "bf16" in same_in else (),
        licence=licence,
    )
    text = msgspec.json.format(msgspec.json.encode(contract), indent=2)
    (root / MANIFEST).write_bytes(text + b"\n")
