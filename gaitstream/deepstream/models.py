"""From a configuration's models to a plan: what nvinfer needs to know, read from the files themselves."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from gaitstream.config.schema import Config
from gaitstream.deepstream.plan import DetectorPlan, EncoderPlan, Plan
from gaitstream.engines.cache import default_root, file_sha256
from gaitstream.engines.graph_files import keep_graph
from gaitstream.engines.opening import graph_precision, graph_shapes, graph_types
from gaitstream.errors import BundleError, ConfigError
from gaitstream.kernels import plugin_library
from gaitstream.models.bundle import Bundle
from gaitstream.models.detector import find_detector, settle_contract
from gaitstream.models.detector_layouts import LAYOUTS, DetectorContract, holds_doubles
from gaitstream.models.inputs import kept_shape
from gaitstream.models.manifest import CropContract, InputKind
from gaitstream.models.pose import check_heatmaps, read_contract
from gaitstream.models.pose_outputs import CROP_HEIGHT, CROP_WIDTH
from gaitstream.models.resolve import find_bundle, resolve
from gaitstream.models.spec import FAMILIES, find_family

PARSER_FILE = "libgaitstream_parser.so"
PRECISIONS: tuple[Literal["fp16", "fp32"], ...] = ("fp16", "fp32")
"""Of graphs for nvinfer, the better one first."""


def make_plan(config: Config) -> Plan:
    """Look at the models of a configuration.

    Raises:
        ConfigError: no recognizer is configured, a detector cannot run in nvinfer.
        BundleError: a bundle has no graphs for DeepStream.
    """
    recognizers = config.models.recognizers
    if not recognizers:
        raise ConfigError("no recognizer is configured; set models.recognizers to a bundle")
    encoders = tuple(_encoder(name, model.model, config) for name, model in recognizers.items())
    folder = default_root() / "deepstream"
    return Plan(_detector(config), encoders, parser_library(), folder, config.deepstream.gpu)


def parser_library() -> Path:
    """Where our parser for nvinfer lies: beside our plugins for TensorRT."""
    return plugin_library.native_folder() / PARSER_FILE


def _encoder(name: str, model: str, config: Config) -> EncoderPlan:
    bundle = find_bundle(model, family=config.models.family(name))
    manifest = bundle.manifest
    # Not a wheel's own: it may be for another TensorRT than DeepStream's.
    compiled = (plugin_library.native_folder() / plugin_library.FILE).is_file()
    found = _stored(bundle, compiled=compiled) or _joined(bundle, name, config, compiled=compiled)
    if not found.plugins:  # with our own operator it is our own graph, and only TensorRT can read it
        _require_floats(found.graph, ("f32", "f16"))
    crop = _crop(bundle)
    return EncoderPlan(
        name,
        found.graph,
        crop.height,
        crop.width,
        batch=config.runtime.batch,
        shape=kept_shape(manifest),
        half=found.precision == "fp16",
        digest=file_sha256(found.graph)[:12],
        model=manifest.model,
        rule=crop.rule,
        has_joints=manifest.needs_pose,
        waits=manifest.keeps == "inputs",
        plugins=found.plugins,
    )


class _Graph(NamedTuple):
    """A graph for nvinfer, the precision of its bundle's graphs, and whether it needs our plugins."""

    graph: Path
    precision: Literal["fp16", "fp32"]
    plugins: bool


def _stored(bundle: Bundle, *, compiled: bool) -> _Graph | None:
    """The one that a bundle holds. Half where there is: it was proved. Some small models have fp32 alone."""
    for precision in PRECISIONS:
        if bundle.holds("deepstream", precision):
            plugins = compiled and bundle.holds("deepstream_plugin", precision)
            graph = bundle.graph("deepstream_plugin" if plugins else "deepstream", precision)
            return _Graph(graph, precision, plugins)
    return None


def _joined(bundle: Bundle, name: str, config: Config, *, compiled: bool) -> _Graph:
    """One made of the bundle's graphs and the configured pose model, kept among the engines."""
    pose = config.models.pose.model if config.models.pose else "demo"
    precision = next(one for one in PRECISIONS if one in bundle.manifest.graphs)
    model = None
    with contextlib.suppress(BundleError):  # it lacks a graph for it
        if bundle.manifest.model in FAMILIES.names():
            family = find_family(bundle.manifest.model)
            if "pose" in family.flags():
                _check_pose(pose)
            model = family.join(bundle, resolve(pose, "pose"), half=precision == "fp16", operator=compiled)
    if model is None:
        _require_crops(bundle)
        raise BundleError(
            f"{bundle.root} has no graph for DeepStream; export its checkpoint with it and give the new "
            f"bundle as the recognizer {name}:\n  {export_command(bundle, pose)}"
        )
    return _Graph(_keep(model.SerializeToString(), bundle.manifest.model), precision, compiled)


def _check_pose(pose: str) -> None:
    """See that a model makes heatmaps.

    Raises:
        EngineError: it does not.
    """
    graph, _ = read_contract(resolve(pose, "pose"))
    name, shape = next(iter(graph_shapes(graph)[1].items()))
    if min(shape[1:], default=0) >= 0:  # else it is open until it is compiled
        check_heatmaps(graph.name, name, shape)


def _require_crops(bundle: Bundle) -> None:
    """See that another export of a model could have a graph for nvinfer, which gives it crops alone.

    Raises:
        BundleError: it looks at something that the pipeline makes of pictures.
    """
    manifest = bundle.manifest
    kinds = [one.kind for one in manifest.inputs]
    joined = manifest.model in FAMILIES.names() and "pose" in find_family(manifest.model).flags()
    if kinds != [InputKind.CROP] and not joined and manifest.nvinfer is None:
        raise BundleError(
            f"{bundle.root} looks at {' and '.join(kinds)} and not at crops alone, and no "
            f"{manifest.model} has a graph for DeepStream; use --frontend native"
        )


def _keep(graph: bytes, model: str) -> Path:
    """Write a joined graph, unless it is there already."""
    name = f"{model}-{hashlib.sha256(graph).hexdigest()[:12]}.onnx"
    path = default_root() / "deepstream" / "graphs" / name
    return path if path.is_file() else keep_graph(path, graph, "the graph for DeepStream")


def _crop(bundle: Bundle) -> CropContract:
    """What nvinfer cuts out for a bundle: as its manifest says, or as follows from its input."""
    manifest = bundle.manifest
    if manifest.nvinfer is not None:
        return manifest.nvinfer
    if manifest.input.kind is InputKind.CROP:
        return CropContract(height=manifest.input.height, width=manifest.input.width, rule="pad_to_aspect")
    if manifest.needs_pose:
        return CropContract(height=CROP_HEIGHT, width=CROP_WIDTH, rule="pose")
    raise BundleError(
        f"{bundle.root} does not say what its graph for DeepStream is given: its manifest has no `nvinfer`; "
        "export it again with --target deepstream"
    )


def export_command(bundle: Bundle, pose: str) -> str:
    """The command that exports a bundle's checkpoint again, with the graphs for DeepStream.

    Args:
        bundle: whose options are kept; they are part of the model.
        pose: the pose model in the configuration, a path or a name of the zoo.
    """
    manifest = bundle.manifest
    options = {"target": "deepstream"}
    if manifest.model in FAMILIES.names():
        family = find_family(manifest.model)
        if "pose" in family.flags():
            options["pose"] = str(resolve(pose, "pose"))
        options |= family.restate(manifest)
    if manifest.embedding.by_cosine:
        options["metric"] = "cos"
    options["window"] = str(manifest.window)
    options["precision"] = ",".join(sorted(manifest.graphs, reverse=True))
    checkpoint = next(iter(manifest.source), "CHECKPOINT")
    files = ["--checkpoint", checkpoint, "--out", f"{bundle.root.name}-deepstream"]
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    return shlex.join(["gaitstream", "export", manifest.model, *files, *flags])


def _detector(config: Config) -> DetectorPlan:
    graph, contract = find_detector(config.models.detector.model)
    inputs, outputs = graph_shapes(graph)
    if len(inputs) != 1 or len(next(iter(inputs.values()))) != 4:
        raise ConfigError(
            f"{graph.name} has inputs {', '.join(inputs)}, and nvinfer feeds images [n, 3, height, width] "
            "alone; export it with its other inputs fixed"
        )
    _require_floats(graph, ("f32", "i32", "i64"))
    batch, _, *size = next(iter(inputs.values()))
    contract = settle_contract(graph, contract, config.models.detector.layout, outputs, (size[0], size[1]))
    height, width = size if min(size) > 0 else contract.size
    return DetectorPlan(
        graph,
        contract.layout,
        height,
        width,
        batch=1 if batch == 1 else config.runtime.batch,
        scale=_one_scale(contract),
        offsets=tuple(contract.scale * value for value in contract.mean) if any(contract.mean) else (),
        bgr=contract.colour == "bgr",
        keep_aspect=contract.fit != "stretch",
        centred=contract.fit == "center",
        person=contract.person,
        half=graph_precision(graph) == "fp16",
        doubles=holds_doubles(LAYOUTS.get(contract.layout), outputs, (height, width)),
        digest=file_sha256(graph)[:12],
    )


def _require_floats(graph: Path, taken: Sequence[str]) -> None:
    """Nvinfer writes single floats into a network's input whatever its type: a half one is half as large.

    Args:
        graph: of a detector or an encoder.
        taken: types that may come out.

    Raises:
        ConfigError: the input is not float32, or an output of another type.
    """
    inputs, outputs = graph_types(graph)
    wrong = [f"input {name} is {kind}" for name, kind in inputs.items() if kind != "f32"]
    wrong += [f"output {name} is {kind}" for name, kind in outputs.items() if kind not in taken]
    if wrong:
        raise ConfigError(
            f"{graph.name}: {', '.join(wrong)}; nvinfer writes f32, and what comes out may be "
            f"{', '.join(taken)}: convert it with its inputs and outputs kept (keep_io_types=True in "
            "onnxconverter-common and in ONNX Runtime's tools)"
        )


def _one_scale(contract: DetectorContract) -> float:
    """Nvinfer scales all channels alike; ImageNet's deviations differ by 2% from their mean."""
    mean_std = sum(contract.std) / len(contract.std)
    if any(abs(std / mean_std - 1) > 0.05 for std in contract.std):
        raise ConfigError(
            f"{contract.graph}: std {contract.std} differs between channels, and nvinfer has one scale; "
            "put the normalisation into the graph"
        )
    return 1.0 / (contract.scale * mean_std)
