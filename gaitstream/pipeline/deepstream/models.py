"""From a configuration's models to a plan: what nvinfer needs to know, read from the files themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gaitstream.bundle import Bundle, file_sha256
from gaitstream.errors import BundleError, ConfigError
from gaitstream.pipeline.config import Config
from gaitstream.pipeline.deepstream.plan import DetectorPlan, EncoderKind, EncoderPlan, Plan
from gaitstream.pipeline.detect import find_detector
from gaitstream.pipeline.detect_layouts import DetectorContract, recognise, usual_contract
from gaitstream.pipeline.encode import locate
from gaitstream.pose import CROP_HEIGHT, CROP_WIDTH

PARSER_FILE = "libgaitstream_parser.so"
DEFAULT_NATIVE = Path("/opt/gaitstream-native")


def make_plan(config: Config) -> Plan:
    """Look at the models of a configuration.

    Raises:
        ConfigError: no recognizer is configured, a detector cannot run in nvinfer.
        BundleError: a bundle has no graphs for DeepStream.
    """
    from gaitstream.engines.cache import default_root

    kinds = list(config.models.recognizers.items())
    if not kinds:
        raise ConfigError("no recognizer is configured; set models.biggait or models.gaitheat to a bundle")
    encoders = tuple(_encoder(kind, model.model, config) for kind, model in kinds)  # type: ignore[arg-type]
    return Plan(_detector(config), encoders, parser_library(), default_root() / "deepstream")


def parser_library() -> Path:
    """Where our parser for nvinfer lies: in $GAITSTREAM_NATIVE, or where the image has it."""
    return Path(os.environ.get("GAITSTREAM_NATIVE", DEFAULT_NATIVE)) / PARSER_FILE


def _encoder(kind: EncoderKind, model: str, config: Config) -> EncoderPlan:
    bundle = Bundle.open(locate(model, kind))
    if "fp16" not in bundle.manifest.graphs or bundle.manifest.graphs["fp16"].deepstream is None:
        pose = " --pose POSE.onnx" if kind == "gaitheat" else ""
        raise BundleError(
            f"{bundle.root} has no graph for DeepStream: export it with "
            f"'gaitstream export {kind} --target deepstream{pose} ...'"
        )
    graph = bundle.graph("deepstream", "fp16")
    feature, size = bundle.manifest.feature, bundle.manifest.input
    height, width = (CROP_HEIGHT, CROP_WIDTH) if kind == "gaitheat" else (size.height, size.width)
    return EncoderPlan(
        kind,
        graph,
        height,
        width,
        batch=config.runtime.batch,
        shape=(feature.channels, feature.height, feature.width),
        digest=file_sha256(graph)[:12],
    )


def _detector(config: Config) -> DetectorPlan:
    from gaitstream.engines.opening import graph_precision

    graph, contract = find_detector(config.models.detector.model)
    batch, size, outputs = _shapes(graph)
    layout = config.models.detector.layout
    if contract is None or layout not in ("auto", contract.layout):
        chosen = layout if layout != "auto" else recognise(graph.name, outputs, size)
        contract = usual_contract(graph.name, chosen)
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


def _one_scale(contract: DetectorContract) -> float:
    """Nvinfer scales all channels alike; ImageNet's deviations differ by 2% from their mean."""
    mean_std = sum(contract.std) / len(contract.std)
    if any(abs(std / mean_std - 1) > 0.05 for std in contract.std):
        raise ConfigError(
            f"{contract.graph}: std {contract.std} differs between channels, and nvinfer has one scale; "
            "put the normalisation into the graph"
        )
    return 1.0 / (contract.scale * mean_std)


def _shapes(graph: Path) -> tuple[int, tuple[int, int], dict[str, tuple[int, ...]]]:
    """Batch (-1 when open) and size of the input, shapes of the outputs."""
    import openvino as ov

    try:
        model = ov.Core().read_model(graph)
    except RuntimeError as error:
        raise ConfigError(f"{graph} is not an ONNX graph that can be read: {error}") from error

    def shape(port: Any) -> tuple[int, ...]:
        return tuple(d.get_length() if d.is_static else -1 for d in port.get_partial_shape())

    if len(model.inputs) != 1 or len(shape(model.inputs[0])) != 4:
        names = ", ".join(min(port.get_names(), default="?") for port in model.inputs)
        raise ConfigError(
            f"{graph.name} has inputs {names}, and nvinfer feeds "
            "images [n, 3, height, width] alone; export it with its other inputs fixed"
        )
    batch, _, height, width = shape(model.inputs[0])
    outputs = {min(port.get_names(), default=""): shape(port) for port in model.outputs}
    return batch, (height, width), outputs
