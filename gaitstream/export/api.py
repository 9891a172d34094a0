"""From checkpoint to bundle: load, write the graphs, prove them, seal."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
import onnx

from gaitstream.engines.cache import file_sha256
from gaitstream.errors import ExportError
from gaitstream.export import biggait_graph, deepstream, gaitheat_graph
from gaitstream.export.alignment import write_align
from gaitstream.export.biggait import CROP, BigGait
from gaitstream.export.checkpoints import load_biggait, load_gaitheat
from gaitstream.export.gaitheat import HEATMAP, GaitHeat
from gaitstream.export.parity import Report, prove
from gaitstream.models.bundle import MANIFEST, Bundle, write_manifest
from gaitstream.models.manifest import (
    AlignmentContract,
    EmbeddingContract,
    FeatureContract,
    Graphs,
    InputContract,
    InputKind,
    Manifest,
)

UPPER_LOWER = (tuple(range(11)), tuple(range(11, 17)))
"""Joints of the upper body (nose to wrists) and of the lower (hips to ankles), COCO order."""
LICENCE = "as the checkpoint's: the published gait models are for academic use only; DINOv2 is Apache-2.0"
Stored = Literal["fp32", "fp16"]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What an export may be told beside the checkpoint.

    Attributes:
        precisions: graphs to store; `fp32` is always among them, because it is the yardstick.
        groups: GaitHeat's part groups, joint indices of each.
        gamma_deg: GaitHeat's spine tilt up to which a frame is not aligned (CCPG uses 20).
        small_angle: what happens up to `gamma_deg`.
        normalization: of GaitHeat's heatmaps: `tracklet` as released, or `fixed` to encode frame by frame.
        min_pose_score: mean joint score under which GaitHeat drops a frame.
        window: frames of a tracklet.
        version: name of this model's version; the checkpoint's hash where empty.
        licence: note for the manifest.
        calibration: labelled features by which lower precisions are judged; see `calibration.Calibration`.
        overwrite: replace a bundle that lies at the destination.
        deepstream: also write the frame graphs for DeepStream's nvinfer.
        pose: the pose model that GaitHeat's graph for DeepStream holds.
    """

    precisions: tuple[Stored, ...] = ("fp32", "fp16")
    groups: tuple[tuple[int, ...], ...] = UPPER_LOWER
    gamma_deg: float = 5.0
    small_angle: Literal["identity", "align"] = "identity"
    normalization: Literal["fixed", "tracklet"] = "fixed"
    min_pose_score: float = 0.4
    window: int = 30
    version: str = ""
    licence: str = LICENCE
    calibration: Path | None = None
    overwrite: bool = False
    deepstream: bool = False
    pose: Path | None = None


@dataclass(frozen=True)
class Exported:
    """A sealed bundle and its proof."""

    bundle: Bundle
    report: Report


@dataclass
class _Files:
    """Graph files being written, by precision."""

    root: Path
    graphs: dict[str, Graphs] = field(default_factory=dict)

    def save(self, model: onnx.ModelProto, role: str, precision: str) -> str:
        name = f"{role}.onnx" if precision == "fp32" else f"{role}.{precision}.onnx"
        onnx.save(model, self.root / name)
        return name


def export_bundle(
    model: Literal["biggait", "gaitheat"],
    checkpoint: str | Path,
    out: str | Path,
    *,
    dinov2: str | Path | None = None,
    options: Options | None = None,
    say: Say = lambda _: None,
) -> Exported:
    """Export a checkpoint as a bundle, and prove that the bundle computes what the checkpoint does.

    The bundle appears at `out` only when the proof holds.

    Args:
        model: whose checkpoint it is.
        checkpoint: see `checkpoints.read_state`.
        out: the bundle's directory.
        dinov2: BigGait's backbone, where the checkpoint does not hold it.
        options: everything that is not in the checkpoint.
        say: told of every step, one line each.

    Raises:
        CheckpointError: a checkpoint cannot be read or does not fit.
        ExportError: the graphs do not compute what the model does; the message says where they part.
        ExportError: `out` holds something already.
    """
    options = options or Options()
    out = Path(out)
    _check_destination(out, options.overwrite)
    sources = [Path(checkpoint), *([Path(dinov2)] if dinov2 is not None else [])]
    say(f"reading {', '.join(path.name for path in sources)}")
    loaded = load_biggait(checkpoint, dinov2) if model == "biggait" else load_gaitheat(checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        root = Path(folder) / "bundle"
        root.mkdir()
        say("writing graphs")
        manifest = write_bundle(loaded, root, options, sources)
        report = prove(loaded, Bundle(root, manifest), options.calibration, say, pose=options.pose)
        report.write(root)
        report.require()
        write_manifest(msgspec.structs.replace(manifest, allowed_precisions=report.allowed_precisions), root)
        if out.exists():
            shutil.rmtree(out)
        root.rename(out)
    say(f"sealed {out}")
    return Exported(Bundle.open(out), report)


def write_bundle(
    model: BigGait | GaitHeat, root: Path, options: Options, sources: Iterable[Path] = ()
) -> Manifest:
    """Write a model's graphs and manifest into a directory, without proving them.

    Returns:
        The sealed manifest, which allows fp32 alone.
    """
    files = _Files(root)
    precisions: Sequence[str] = sorted({"fp32", *options.precisions}, reverse=True)
    for precision in precisions:
        _write_graphs(model, files, precision, options)
    hashes = {path.name: file_sha256(path) for path in sources}
    describe = _describe_biggait if isinstance(model, BigGait) else _describe_gaitheat
    version = options.version or (next(iter(hashes.values()))[:12] if hashes else "unversioned")
    return write_manifest(describe(model, files.graphs, options, version, hashes), root)  # type: ignore[arg-type]


def _check_destination(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST).is_file():
        raise ExportError(f"{out} exists and is not a bundle: choose another --out")
    if not overwrite:
        raise ExportError(
            f"{out} holds a bundle already: choose another --out, or replace it with --overwrite"
        )


def _write_graphs(model: BigGait | GaitHeat, files: _Files, precision: str, options: Options) -> None:
    half = precision == "fp16"
    align = None
    if isinstance(model, BigGait):
        frame = biggait_graph.write_frame(model, half=half)
        head = biggait_graph.write_head(model, half=half)
    else:
        frame = gaitheat_graph.write_frame(model, len(options.groups), half=half)
        head = gaitheat_graph.write_head(model, half=half)
        # Alignment stays in float32: half coordinates move pixels.
        graph = write_align(
            options.groups,
            gamma_deg=options.gamma_deg,
            small_angle=options.small_angle,
            normalization=options.normalization,
        )
        align = files.save(graph, "align", "fp32")
    for_nvinfer = None
    if options.deepstream:
        prepared = _for_deepstream(model, frame, files, align, options, half=half)
        for_nvinfer = files.save(prepared, "deepstream", precision)
    files.graphs[precision] = Graphs(
        frame=files.save(frame, "frame", precision),
        head=files.save(head, "head", precision),
        align=align,
        deepstream=for_nvinfer,
    )


def _for_deepstream(
    model: BigGait | GaitHeat,
    frame: onnx.ModelProto,
    files: _Files,
    align: str | None,
    options: Options,
    *,
    half: bool,
) -> onnx.ModelProto:
    if isinstance(model, BigGait):
        return deepstream.biggait_graph(frame)
    if align is None or options.pose is None:
        raise ExportError("GaitHeat's graph for DeepStream holds a pose model: give it with --pose FILE")
    if options.normalization != "fixed":
        raise ExportError(
            f"normalization {options.normalization!r} needs the whole tracklet, which DeepStream never sees: "
            "export with --normalization fixed"
        )
    pose, contract = deepstream.read_pose(options.pose)
    return deepstream.gaitheat_graph(pose, contract, onnx.load(files.root / align), frame, half=half)


def _describe_biggait(
    model: BigGait, graphs: dict[str, Graphs], options: Options, version: str, hashes: dict[str, str]
) -> Manifest:
    parts, channels, dim = model.gait_net.FCs.fc_bin.shape
    return Manifest(
        model="biggait",
        version=version,
        window=options.window,
        input=InputContract(
            kind=InputKind.CROP, height=CROP[0], width=CROP[1], channels=3, crop_rule="pad_to_aspect"
        ),
        feature=FeatureContract(channels=channels, height=16, width=8),
        embedding=EmbeddingContract(parts=parts, dim=dim, tap="before the neck"),
        graphs=graphs,
        licence=options.licence,
        source=hashes,
    )


def _describe_gaitheat(
    model: GaitHeat, graphs: dict[str, Graphs], options: Options, version: str, hashes: dict[str, str]
) -> Manifest:
    channels, height, width = gaitheat_graph.feature_shape(model)
    parts, dim = gaitheat_graph.embedding_shape(model)
    return Manifest(
        model="gaitheat",
        version=version,
        window=options.window,
        input=InputContract(
            kind=InputKind.POSE,
            height=HEATMAP[0],
            width=HEATMAP[1],
            channels=1 + len(options.groups),
            crop_rule="pose",
        ),
        alignment=AlignmentContract(
            groups=options.groups,
            gamma_deg=options.gamma_deg,
            small_angle=options.small_angle,
            normalization=options.normalization,
            min_pose_score=options.min_pose_score,
        ),
        feature=FeatureContract(channels=channels, height=height, width=width),
        embedding=EmbeddingContract(
            parts=parts, dim=dim, tap="the fusion branch after the neck, every part of unit length"
        ),
        graphs=graphs,
        licence=options.licence,
        source=hashes,
    )
