"""From checkpoint to bundle: load, write the graphs, prove them, seal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import onnx

from gaitstream.engines.cache import file_sha256
from gaitstream.errors import ConfigError, ExportError
from gaitstream.evaluate.distances import CONTRACTS, Metric
from gaitstream.export import masks
from gaitstream.export.calibration import LabelledCalibration
from gaitstream.export.eight_bits import add_eight_bits
from gaitstream.export.parity import prove
from gaitstream.export.placing import check_destination, check_sources, put, unproved
from gaitstream.export.quantise import EightBits, require_nncf
from gaitstream.export.report import write_report
from gaitstream.export.sensitivity import Quantisation
from gaitstream.export.sources import read_judged, read_walks, require_names, require_source
from gaitstream.export.verdicts import ParityReport
from gaitstream.models.bundle import Bundle, write_manifest
from gaitstream.models.graphs.checkpoint import recognise_checkpoint
from gaitstream.models.manifest import Graphs, Manifest
from gaitstream.models.spec import find_family
from gaitstream.models.trained import Description, TrainedModel

LICENCE = "as the checkpoint's: the published gait models are for academic use only; DINOv2 is Apache-2.0"
AUTO = "auto"
Stored = Literal["fp32", "fp16", "int8", "fp8"]
EIGHT_BITS: tuple[EightBits, ...] = get_args(EightBits)
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What an export may be told whatever the family.

    Attributes:
        precisions: graphs to store; `fp32` is always among them, because it is the yardstick. One named here
            fails the export when it does not hold; None stores fp16 where it holds.
        window: frames of a tracklet.
        version: name of this model's version; the checkpoint's hash where empty.
        licence: note for the manifest.
        calibration: labelled inputs by which lower precisions are judged, and which int8 and fp8 take the
            ranges of activations from; see `sources.read_walks`.
        overwrite: replace a bundle that lies at the destination.
        deepstream: also write the graphs for DeepStream's nvinfer.
        masks: also write the model's own masks of people as a segmentation model.
        metric: by which two embeddings are compared, `euc` or `cos`; None: the family's published one.
    """

    precisions: tuple[Stored, ...] | None = None
    window: int = 30
    version: str = ""
    licence: str = LICENCE
    calibration: str | Path | None = None
    overwrite: bool = False
    deepstream: bool = False
    masks: bool = False
    metric: Metric | None = None


@dataclass(frozen=True)
class Exported:
    """A sealed bundle and its proof."""

    bundle: Bundle
    report: ParityReport


def export_bundle(
    model: str,
    checkpoint: str | Path,
    out: str | Path,
    *,
    options: ExportOptions | None = None,
    say: Say = lambda _: None,
    **family_options: Any,
) -> Exported:
    """Export a checkpoint as a bundle, and prove that the bundle computes what the checkpoint does.

    The bundle appears at `out` only when the proof holds.

    Args:
        model: name of the family whose checkpoint it is, or `auto` to tell by its keys.
        checkpoint: see `graphs.checkpoint.read_state`.
        out: the bundle's directory.
        options: what is not in the checkpoint and is asked of every family.
        say: told of every step, one line each.
        family_options: what is asked of this family alone, by the names of its options' fields.

    Raises:
        ConfigError: there is no such family, or it has no such option, or a window has no frames.
        CheckpointError: a checkpoint cannot be read or does not fit.
        ExportError: the graphs do not compute what the model does; the message says where they part.
        ExportError: the calibration source is wrong, or eight bits are asked for without one.
        MissingExtraError: eight bits are asked for and NNCF is not installed.
        ExportError: `out` holds something already, cannot be written, or is what the sources lie in.
        ExportError: masks are asked for of a model that makes none.
    """
    options = options or ExportOptions()
    if options.window < 1:
        raise ConfigError(f"a window of {options.window} frames: give 1 or more, such as --window 30")
    for name, text in (("version", options.version), ("licence", options.licence)):
        if _readable(text) != text:
            raise ConfigError(f"the {name} {text!r} is no text in UTF-8: write it in letters that are")
    place = Path(out).resolve()
    check_destination(place, overwrite=options.overwrite)
    _check_calibration(options)
    say(f"reading {Path(checkpoint).name}")
    family = recognise_checkpoint(checkpoint) if model == AUTO else find_family(model)
    if model == AUTO:
        say(f"it is a checkpoint of {family.title}")
    trained = family.load(checkpoint, **family_options)
    branch = trained.mask_branch() if options.masks else None
    sources = [Path(checkpoint), *trained.sources()]
    check_sources(place, [*sources, *([Path(options.calibration)] if options.calibration else [])])
    with unproved(place) as root:
        say("writing graphs")
        manifest = write_bundle(trained, root, options, sources)
        bundle, labelled, quantised = _calibrated(Bundle(root, manifest), options, say)
        if branch is not None:
            masks.write_graph(branch, root)
        report = prove(trained, bundle, labelled, say, branch)
        report = msgspec.structs.replace(report, quantised=quantised)
        report.require(options.precisions or ())
        manifest, report = _leave_out(bundle.manifest, report, root, say)
        write_report(report, root)
        if branch is not None:
            masks.write_manifest(branch, root, options.licence, report.holds_in("masks"))
        write_manifest(msgspec.structs.replace(manifest, allowed_precisions=report.allowed_precisions), root)
        put(root, place, overwrite=options.overwrite)
    say(f"sealed {out}")
    return Exported(Bundle.open(out), report)


def write_bundle(
    trained: TrainedModel, root: Path, options: ExportOptions | None = None, sources: Iterable[Path] = ()
) -> Manifest:
    """Write a model's graphs and manifest into a directory, without proving them; see also `add_eight_bits`.

    Returns:
        The sealed manifest, which allows fp32 alone.
    """
    options = options or ExportOptions()
    fronts = {role: _save(root, role, graph) for role, graph in trained.fronts().items()}
    asked = {"fp32", *(options.precisions or ("fp16",))}
    precisions = sorted(asked.difference(EIGHT_BITS), reverse=True)
    graphs: dict[str, Graphs] = {
        precision: _write_graphs(trained, root, fronts, options, half=precision == "fp16")
        for precision in precisions
    }
    hashes = {_readable(path.name): file_sha256(path) for path in sources}
    manifest = Manifest(
        model=trained.family,
        version=options.version or (next(iter(hashes.values()))[:12] if hashes else "unversioned"),
        window=options.window,
        graphs=graphs,
        licence=options.licence,
        source=hashes,
        **_described(trained, options.metric),
    )
    return write_manifest(manifest, root)


def _readable(text: str) -> str:
    """As a manifest can hold it: file names and arguments may have bytes that are no text."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _check_calibration(options: ExportOptions) -> None:
    """See that quantised graphs can be made before anything else is, and that the source is there."""
    asked = _eight_bits(options)
    if options.calibration is not None:
        require_source(options.calibration)
        if not asked:
            require_names(options.calibration)
    if not asked:
        return
    if options.calibration is None:
        raise ExportError(
            f"{asked[0]} needs inputs to take the ranges of activations from: give --calibration synth, a "
            "video, or an .npz file of labelled inputs"
        )
    require_nncf()


def _eight_bits(options: ExportOptions) -> list[EightBits]:
    return [one for one in EIGHT_BITS if one in (options.precisions or ())]


def _calibrated(
    bundle: Bundle, options: ExportOptions, say: Say
) -> tuple[Bundle, LabelledCalibration | None, tuple[Quantisation, ...]]:
    """The bundle with quantised graphs where they are asked for, and what its precisions are judged by."""
    source = options.calibration
    if source is None:
        return bundle, None, ()
    say(f"reading the calibration source {source}")
    asked = _eight_bits(options)
    if not asked:
        return bundle, read_judged(source, bundle), ()
    walks = read_walks(source, bundle)
    found = []
    for precision in asked:
        bundle, how = add_eight_bits(bundle, walks.calibrating, precision, say)
        found.append(how)
    return bundle, walks.judged, tuple(found)


def _described(trained: TrainedModel, metric: Metric | None) -> Description:
    """What the family says of its model, which may have to run for it, and the metric that was asked for.

    Raises:
        ExportError: it does not run.
    """
    try:
        found = trained.describe()
    except RuntimeError as error:
        raise ExportError(
            f"{trained.family} does not run with this checkpoint's sizes, which do not fit together: {error}"
        ) from error
    if metric is not None:
        found["embedding"] = msgspec.structs.replace(found["embedding"], metric=CONTRACTS[metric])
    return found


def _write_graphs(
    trained: TrainedModel, root: Path, fronts: Mapping[str, str], options: ExportOptions, *, half: bool
) -> Graphs:
    """Save one precision's graphs; fronts are the same file for all."""
    models = trained.graphs(half=half)
    if options.deepstream:
        before = {role: onnx.load(root / name) for role, name in fronts.items()}
        plain = {**before, **models}
        models = {**models, "deepstream": trained.for_nvinfer(plain, half=half)}
        by_plugin = trained.for_nvinfer_plugin(plain, half=half)
        if by_plugin is not None:
            models = {**models, "deepstream_plugin": by_plugin}
    suffix = ".fp16" if half else ""
    return Graphs(**fronts, **{role: _save(root, role + suffix, graph) for role, graph in models.items()})


def _leave_out(
    manifest: Manifest, report: ParityReport, root: Path, say: Say
) -> tuple[Manifest, ParityReport]:
    """Take out the graphs of precisions that do not hold and that nobody asked for by name."""
    failing = [precision for precision in manifest.graphs if report.failed(precision)]
    if not failing:
        return manifest, report
    kept = {name: graphs for name, graphs in manifest.graphs.items() if name not in failing}
    wanted = {file for graphs in kept.values() for file in msgspec.structs.astuple(graphs)}
    for precision in failing:
        for file in msgspec.structs.astuple(manifest.graphs[precision]):
            if file is not None and file not in wanted:
                (root / file).unlink(missing_ok=True)
    manifest = write_manifest(msgspec.structs.replace(manifest, graphs=kept), root)
    report = report.without(manifest.fingerprint, failing)
    for precision, reasons in report.left_out.items():
        say(f"{precision} is left out of the bundle: {'; '.join(reasons)}")
    return manifest, report


def _save(root: Path, stem: str, graph: onnx.ModelProto) -> str:
    name = f"{stem}.onnx"
    onnx.save(graph, root / name)
    return name
