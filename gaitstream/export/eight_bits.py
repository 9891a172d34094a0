"""A bundle's graphs in eight bits: quantised, their disturbing layers kept, written beside the others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import onnx

from gaitstream.engines.base import Engine, Precision
from gaitstream.engines.cache import EngineCache
from gaitstream.export.calibration import Array, LabelledCalibration
from gaitstream.export.compare import measure
from gaitstream.export.quantise import (
    EightBits,
    Feeds,
    prepared,
    quantise,
    quantised_names,
    weighted_names,
)
from gaitstream.export.running import BundleRunner, windows
from gaitstream.export.sensitivity import Quantisation, as_it_is, keep_sensitive
from gaitstream.models.bundle import Bundle, Role, write_manifest

Say = Callable[[str], None]
RUNTIME = "openvino"
"""Measures the noise: it is in every install, computes integers and emulates fp8."""
NOISE_SEQUENCES, NOISE_FRAMES = 8, 2
"""What the noise is measured on: it is measured some dozens of times."""


def add_eight_bits(
    bundle: Bundle,
    calibrating: LabelledCalibration,
    precision: EightBits = "int8",
    say: Say = lambda _: None,
    *,
    search: bool = True,
) -> tuple[Bundle, Quantisation]:
    """Write quantised graphs into a bundle that has been sealed.

    The frame graph, or clip graph, is quantised. The head graph runs once a window and makes the embedding:
    it stays as it is.

    Args:
        bundle: with its fp32 graphs.
        calibrating: inputs that the ranges of activations are read from.
        precision: int8, or fp8.
        search: look for layers that eight bits disturb; where only speed is of interest it takes too long.
        say: told of every step, one line each.

    Raises:
        MissingExtraError: NNCF is not installed.
        ExportError: the graph cannot be quantised.
    """
    role: Role = "clip" if bundle.manifest.shape == "clip" else "frame"
    original = onnx.load(bundle.graph(role, "fp32"))
    products = len(weighted_names(prepared(original)))
    say(f"quantising {products} products with {len(calibrating.sequence)} frames")
    quantised = quantise(original, samples(calibrating, role), precision)
    graphs = msgspec.structs.replace(
        bundle.manifest.graphs["fp32"],
        **{role: f"{role}.{precision}.onnx"}, deepstream=None, deepstream_plugin=None, chunk=None,
    )  # fmt: skip
    people = np.unique(calibrating.label)
    few = calibrating.of_people(people[:NOISE_SEQUENCES], NOISE_FRAMES if role == "frame" else None)
    say("looking for layers that eight bits disturb" if search else "measuring the noise")
    with tempfile.TemporaryDirectory(prefix="gaitstream-noise-") as folder:
        noise = _Noise(bundle, role, few, EngineCache(Path(folder)))
        chosen = keep_sensitive(quantised, original, noise) if search else as_it_is(quantised, noise)
    onnx.save(chosen.graph, bundle.root / f"{role}.{precision}.onnx")
    manifest = msgspec.structs.replace(bundle.manifest, graphs={**bundle.manifest.graphs, precision: graphs})
    found = Quantisation(
        precision=precision,
        source=calibrating.source,
        frames=len(calibrating.sequence),
        people=len(people),
        layers=len(quantised_names(chosen.graph)),
        kept=chosen.kept,
        noise_all=chosen.noise_all,
        noise=chosen.noise,
    )
    say(found.sentence())
    return Bundle(bundle.root, write_manifest(manifest, bundle.root)), found


def samples(calibrating: LabelledCalibration, role: Role) -> Sequence[Feeds]:
    """Feeds of a frame graph, one frame each, or of a clip graph, one window each."""
    if role == "clip":
        return [
            {name: array[row : row + 1] for name, array in group.items()}
            for group in windows(calibrating.feeds, calibrating.sequence)
            for row in range(len(next(iter(group.values()))))
        ]
    count = len(calibrating.sequence)
    return [{name: array[row : row + 1] for name, array in calibrating.feeds.items()} for row in range(count)]


@dataclass
class _Noise:
    """Relative error of the embedding, of the part that differs between sequences.

    What eight bits leave alone runs in fp32, so that it is their error and no other's.
    """

    bundle: Bundle
    role: Role
    data: LabelledCalibration
    cache: EngineCache
    """Of the bundle's own graphs: what follows the graph under trial is the same in every trial."""
    _reference: Array | None = None

    def __call__(self, graph: onnx.ModelProto) -> float:
        if self._reference is None:
            runner = BundleRunner(self.bundle, RUNTIME, "fp32", self.cache, for_once=True)
            self._reference = runner.embed(self.data.feeds, self.data.sequence).embedding
        with tempfile.TemporaryDirectory(prefix="gaitstream-noise-") as folder:
            trial = _Trial(self._candidate(Path(folder), graph), self.role, Path(folder), self.cache)
            found = trial.embed(self.data.feeds, self.data.sequence).embedding
        distance = measure(found, self._reference, embedding=True)
        if len(found) == 1 or distance.centred_relative is None:
            return distance.relative
        return distance.centred_relative

    def _candidate(self, root: Path, graph: onnx.ModelProto) -> Bundle:
        """The bundle with a graph under trial in the place of its own."""
        onnx.save(graph, root / f"{self.role}.onnx")
        plain = self.bundle.manifest.graphs["fp32"]
        for role in self.bundle.manifest.roles:
            if role != self.role:
                (root / str(getattr(plain, role))).symlink_to(self.bundle.graph(role, "fp32").resolve())
        graphs = msgspec.structs.replace(plain, **{self.role: f"{self.role}.onnx"})
        return Bundle(root, msgspec.structs.replace(self.bundle.manifest, graphs={"fp32": graphs}))


class _Trial(BundleRunner):
    """A bundle with a graph under trial, whose engine goes with its folder; the others come from a cache."""

    def __init__(self, bundle: Bundle, role: Role, folder: Path, others: EngineCache) -> None:
        super().__init__(bundle, RUNTIME, "fp32", others, for_once=True)
        self._role, self._own = role, EngineCache(folder / "cache")

    def open(self, graph: Path, precision: Precision | None = None) -> Engine:
        """From the folder, if it is the graph under trial."""
        if graph != self.bundle.graph(self._role, "fp32"):
            return super().open(graph, precision)
        return self.open_from(self._own, graph, precision)
