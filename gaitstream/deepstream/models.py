"""From a configuration's models to a plan: what nvinfer needs to know, read from the files themselves."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from gaitstream.config.schema import Config
from gaitstream.deepstream.plan import DetectorPlan, EncoderKind, EncoderPlan, Plan
from gaitstream.engines.cache import default_root, file_sha256
from gaitstream.engines.opening import graph_precision, graph_shapes, graph_types
from gaitstream.errors import BundleError, ConfigError
from gaitstream.models.bundle import Bundle
from gaitstream.models.detector import find_detector, settle_contract
from gaitstream.models.detector_layouts import DetectorContract
from gaitstream.models.pose import CROP_HEIGHT, CROP_WIDTH
from gaitstream.models.resolve import find_bundle, resolve

PARSER_FILE = "libgaitstream_parser.so"
DEFAULT_NATIVE = Path("/opt/gaitstream-native")


def make_plan(config: Config) -> Plan:
    """Look at the models of a configuration.

    Raises:
        ConfigError: no recognizer is configured, a detector cannot run in nvinfer.
        BundleError: a bundle has no graphs for DeepStream.
    """
    kinds = list(config.models.recognizers.items())
    if not kinds:
        raise ConfigError("no recognizer is configured; set models.biggait or models.gaitheat to a bundle")
    encoders = tuple(_encoder(kind, model.model, config) for kind, model in kinds)  # type: ignore[arg-type]
    folder = default_root() / "deepstream"
    return Plan(_detector(config), encoders, parser_library(), folder, config.deepstream.gpu)


def parser_library() -> Path:
    """Where our parser for nvinfer lies: in $GAITSTREAM_NATIVE, or where the image has it."""
    return Path(os.environ.get("GAITSTREAM_NATIVE", DEFAULT_NATIVE)) / PARSER_FILE


def _encoder(kind: EncoderKind, model: str, config: Config) -> EncoderPlan:
    bundle = find_bundle(model, family=kind)
    precision = _precision(bundle, config)
    graph = bundle.graph("deepstream", precision)
    feature, size = bundle.manifest.features["features"], bundle.manifest.input
    height, width = (CROP_HEIGHT, CROP_WIDTH) if kind == "gaitheat" else (size.height, size.width)
    return EncoderPlan(
        kind,
        graph,
        height,
        width,
        batch=config.runtime.batch,
        shape=feature.shape,
        half=precision == "fp16",
        digest=file_sha256(graph)[:12],
    )


def _precision(bundle: Bundle, config: Config) -> Literal["fp16", "fp32"]:
    """Half where the bundle holds it: it was proved at export. Some small models are in fp32 alone."""
    stored = bundle.manifest.graphs
    for precision in ("fp16", "fp32"):
        if precision in stored and stored[precision].deepstream is not None:
            return precision
    pose = config.models.pose.model if config.models.pose else "demo"
    raise BundleError(
        f"{bundle.root} has no graph for DeepStream; export its checkpoint with it and set "
        f"models.{bundle.manifest.model} to the new bundle:\n  {export_command(bundle, pose)}"
    )


def export_command(bundle: Bundle, pose: str) -> str:
    """The command that exports a bundle's checkpoint again, with the graphs for DeepStream.

    Args:
        bundle: whose options are kept; they are part of the model.
        pose: the pose model in the configuration, a path or a name of the zoo.
    """
    manifest = bundle.manifest
    options = {"--target": "deepstream"}
    if manifest.alignment is not None:
        align = manifest.alignment
        options["--pose"] = str(resolve(pose, "pose"))
        options["--groups"] = ",".join(map(_joints, align.groups))
        options["--gamma"] = f"{align.gamma_deg:g}"
        options["--small-angle"] = align.small_angle
        options["--min-pose-score"] = f"{align.min_pose_score:g}"
    options["--window"] = str(manifest.window)
    options["--precision"] = ",".join(sorted(manifest.graphs, reverse=True))
    checkpoint, *backbone = manifest.source or ("CHECKPOINT",)
    if backbone:
        options["--dinov2"] = backbone[0]
    files = ["--checkpoint", checkpoint, "--out", f"{bundle.root.name}-deepstream"]
    words = ["gaitstream", "export", manifest.model, *files, *(w for pair in options.items() for w in pair)]
    return shlex.join(words)


def _joints(group: Sequence[int]) -> str:
    first, last = group[0], group[-1]
    if len(group) > 1 and tuple(group) == tuple(range(first, last + 1)):
        return f"{first}-{last}"
    return "+".join(map(str, group))


def _detector(config: Config) -> DetectorPlan:
    graph, contract = find_detector(config.models.detector.model)
    inputs, outputs = graph_shapes(graph)
    if len(inputs) != 1 or len(next(iter(inputs.values()))) != 4:
        raise ConfigError(
            f"{graph.name} has inputs {', '.join(inputs)}, and nvinfer feeds images [n, 3, height, width] "
            "alone; export it with its other inputs fixed"
        )
    _require_floats(graph)
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
        digest=file_sha256(graph)[:12],
    )


def _require_floats(graph: Path) -> None:
    """Nvinfer writes single floats into a network's input whatever its type: a half one is half as large.

    Raises:
        ConfigError: the input is not float32, or an output neither that nor a label.
    """
    inputs, outputs = graph_types(graph)
    wrong = [f"input {name} is {kind}" for name, kind in inputs.items() if kind != "f32"]
    wrong += [
        f"output {name} is {kind}" for name, kind in outputs.items() if kind not in ("f32", "i32", "i64")
    ]
    if wrong:
        raise ConfigError(
            f"{graph.name}: {', '.join(wrong)}, and nvinfer reads and writes float32: convert it with its "
            "inputs and outputs kept (keep_io_types=True in onnxconverter-common and in ONNX Runtime's tools)"
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
