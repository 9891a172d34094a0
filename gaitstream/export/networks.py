"""Detectors and pose models in int8: quantised, judged by what they find, written with a manifest.

Scenes of the synthetic world have a truth to judge by. In the frames of a video, what the network finds in
float32 is taken for it. Scenes that calibrate are never among those that are judged.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import onnx

from gaitstream.data import Floats
from gaitstream.engines import open_engine
from gaitstream.engines.cache import EngineCache
from gaitstream.engines.graph_files import weight_files
from gaitstream.errors import ExportError
from gaitstream.export.calibration import spread
from gaitstream.export.eight_bits import RUNTIME
from gaitstream.export.finding import FINDERS
from gaitstream.export.quantise import Feeds, quantise, quantised_names, require_nncf
from gaitstream.export.scenes import read_scenes
from gaitstream.export.sensitivity import Quantisation, keep_sensitive
from gaitstream.export.sources import MOST_FRAMES
from gaitstream.models.detector_layouts import DetectorContract
from gaitstream.models.pose import PoseContract

Kind = Literal["detector", "pose"]
Say = Callable[[str], None]
Contract = DetectorContract | PoseContract
NOISE_FEEDS = 6
"""Inputs that the noise is measured on: it is measured some dozens of times."""


class NetworkReport(msgspec.Struct, frozen=True, kw_only=True):
    """The proof beside a network's int8 graph.

    Attributes:
        network: file name of its graph.
        judged_by: whether the scenes have a `truth`, or float32's own `findings` stand in for it.
        scenes: how many were judged.
        fp32: what the network finds in float32.
        int8: the same in int8.
        kept: whether it is as good, so that `auto` may take int8.
    """

    network: str
    quantisation: Quantisation
    judged_by: Literal["truth", "findings"]
    scenes: int
    fp32: dict[str, float]
    int8: dict[str, float]
    kept: bool

    def sentences(self) -> list[str]:
        """What came out, for people."""
        changes = ", ".join(
            f"{name} {self.fp32[name]:.2f} -> {self.int8[name]:.2f}" for name in sorted(self.fp32)
        )
        verdict = "as good: auto may take int8" if self.kept else "not as good: auto will not take int8"
        return [
            self.quantisation.sentence(),
            f"{self.network} over {self.scenes} scenes, judged by {self.judged_by}: {changes}; {verdict}",
        ]


def quantise_network(kind: Kind, model: str | Path, out: Path, source: str, say: Say) -> NetworkReport:
    """Write a detector or pose model with its int8 graph, its manifest and its proof into a folder.

    Args:
        kind: which of the two.
        model: an ONNX file, a manifest, or a name of the model zoo.
        out: the folder; made when missing.
        source: `synth`, a video, or a `cams.yaml` that names videos and a detector.
        say: told of every step, one line each.

    Raises:
        MissingExtraError: NNCF or ONNX Runtime is not installed.
        ConfigError: there is no such model, or its manifest is wrong.
        ExportError: the source is wrong, the graph cannot be quantised, or the folder cannot be written.
    """
    require_nncf()
    finder = FINDERS[kind](model)
    stem = finder.graph.stem
    contract = msgspec.structs.replace(
        finder.contract,
        graph=finder.graph.name,
        int8=f"{stem}.int8.onnx",
        precisions=_without(finder.contract),
    )
    files = [finder.graph, *(finder.graph.parent / name for name in weight_files(finder.graph))]
    copies = {file: out / file.relative_to(finder.graph.parent) for file in files}
    new = [copy for file, copy in copies.items() if not _same(file, copy)]
    made = [out / name for name in (f"{stem}.json", contract.int8, f"{stem}.int8.json")]
    for path in (*made, *new):
        if path.exists():
            raise ExportError(f"{out} holds {path.relative_to(out)} already: choose another --out")
    with _unproved(out) as folder:
        say(f"reading the calibration source {source}")
        scenes = read_scenes(source)
        feeds = finder.feeds(scenes.calibrating)
        chosen = [feeds[index] for index in spread(np.arange(len(feeds)), MOST_FRAMES)]
        quantised, how = _quantise(finder.graph, chosen, source, say)
        manifest = folder / f"{stem}.json"
        with _writing(out):
            for file, copy in copies.items():
                target = folder / copy.relative_to(out)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            onnx.save(quantised, folder / contract.int8)
            _write(manifest, contract)
        say(f"judging {len(scenes.judged)} scenes")
        fp32, int8, kept = finder.judge(manifest, scenes.judged, true=scenes.true)
        report = NetworkReport(
            network=contract.graph,
            quantisation=how,
            judged_by="truth" if scenes.true else "findings",
            scenes=len(scenes.judged),
            fp32=fp32,
            int8=int8,
            kept=kept,
        )
        with _writing(out):
            if kept:
                allowed = (*contract.precisions, "int8")
                _write(manifest, msgspec.structs.replace(contract, precisions=allowed))
            _write(folder / f"{stem}.int8.json", report)
            # The manifest last: what it names is there whenever it is.
            for path in (*new, *reversed(made)):
                path.parent.mkdir(parents=True, exist_ok=True)
                (folder / path.relative_to(out)).replace(path)
    return report


@contextmanager
def _unproved(out: Path) -> Iterator[Path]:
    """A folder within `out` for what is not proved yet; what fails leaves neither of the two behind.

    Raises:
        ExportError: nothing can be written there.
    """
    new = not out.exists()
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        beside = tempfile.TemporaryDirectory(prefix=".quantise-", dir=out)
    try:
        with beside as folder:
            yield Path(folder)
    finally:
        if new and not any(out.iterdir()):
            out.rmdir()


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"{out} cannot be written ({error.strerror or error}): choose another --out, or free some space"
        ) from error


def _same(file: Path, other: Path) -> bool:
    return other.exists() and file.samefile(other)


def _quantise(
    graph: Path, feeds: Sequence[Feeds], source: str, say: Say
) -> tuple[onnx.ModelProto, Quantisation]:
    """The int8 graph, and how it came about."""
    original = onnx.load(graph)
    say(f"quantising with {len(feeds)} inputs")
    quantised = quantise(original, feeds)
    say("looking for layers that eight bits disturb")
    few = feeds[:: max(len(feeds) // NOISE_FEEDS, 1)][:NOISE_FEEDS]
    chosen = keep_sensitive(quantised, original, _Noise(graph, few))
    return chosen.graph, Quantisation(
        precision="int8",
        source=source,
        frames=len(feeds),
        layers=len(quantised_names(chosen.graph)),
        kept=chosen.kept,
        noise_all=chosen.noise_all,
        noise=chosen.noise,
    )


@dataclass
class _Noise:
    """Relative error of a network's outputs, every kind of value by its own spread."""

    graph: Path
    feeds: Sequence[Feeds]
    _reference: list[Floats] | None = None

    def __call__(self, graph: onnx.ModelProto) -> float:
        if self._reference is None:
            self._reference = self._run(self.graph)
        with tempfile.TemporaryDirectory(prefix="gaitstream-noise-") as folder:
            path = Path(folder) / "int8.onnx"
            onnx.save(graph, path)
            found = self._run(path)
        pairs = zip(found, self._reference, strict=True)
        return float(np.sqrt(np.mean([_relative(mine, true) ** 2 for mine, true in pairs])))

    def _run(self, graph: Path) -> list[Floats]:
        with tempfile.TemporaryDirectory(prefix="gaitstream-noise-") as folder:
            cache = EngineCache(Path(folder))
            with open_engine(graph, RUNTIME, "fp32", cache=cache, for_once=True) as engine:
                return [one for feeds in self.feeds for one in engine.infer(feeds).values()]


def _relative(found: Floats, reference: Floats) -> float:
    """Error over the spread, of maps as a whole and of lists by column: boxes and scores count alike."""
    axis = None if reference.ndim > 3 else int(np.argmax(reference.shape))
    deviation = reference.std(axis=axis, keepdims=True) + 1e-6
    return float(np.sqrt(np.mean(((found - reference) / deviation) ** 2)))


def _without(contract: Contract) -> tuple[Literal["bf16", "int8"], ...]:
    """The precisions a manifest allows, before int8 was shown."""
    return tuple(one for one in contract.precisions if one != "int8")


def _write(path: Path, found: msgspec.Struct) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
