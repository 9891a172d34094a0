"""nvinfer's configuration files: sections of keys, as its INI parser reads them."""

from __future__ import annotations

from gaitstream.config.schema import Config
from gaitstream.deepstream.geometry import SMALLEST_PX
from gaitstream.deepstream.graph import DETECTOR_ID, FIRST_ENCODER_ID, enabled
from gaitstream.deepstream.plan import DetectorPlan, EncoderPlan, Plan
from gaitstream.deepstream.table import Value, check_nvinfer
from gaitstream.errors import ConfigError
from gaitstream.models.detector_layouts import LAYOUTS

Sections = dict[str, dict[str, Value]]

MOST_PEOPLE = 200
"""Boxes kept per frame."""

_BILINEAR = 1
_HALF, _FLOAT = 2, 0
_DETECTOR, _OTHER = 0, 100
_NMS, _NONE = 2, 4


def detector_sections(config: Config, plan: Plan) -> Sections:
    """The detector's configuration; `fps`-independent limits are the loosest of all cameras.

    Each camera's own lowest score is applied where its frames come out again.
    """
    model = plan.detector
    layout = LAYOUTS.get(model.layout)
    if layout.nvinfer is None:
        raise ConfigError(
            f"the detector layout {model.layout!r} has no parser for nvinfer: give its DetectorLayout one, "
            "or use --frontend native"
        )
    suppress = model.doubles or not layout.end_to_end
    cameras = enabled(config)
    keys: dict[str, Value] = {
        "gpu-id": config.deepstream.gpu,
        "gie-unique-id": DETECTOR_ID,
        "process-mode": 1,
        "network-type": _DETECTOR,
        "onnx-file": str(model.onnx),
        "model-engine-file": str(engine_path(plan, model)),
        "batch-size": model.batch,
        "network-mode": _HALF if model.half else _FLOAT,
        "strongly-typed": 1,
        "infer-dims": f"3;{model.height};{model.width}",
        "model-color-format": 1 if model.bgr else 0,
        "net-scale-factor": model.scale,
        "maintain-aspect-ratio": int(model.keep_aspect),
        "symmetric-padding": int(model.centred),
        "scaling-filter": _BILINEAR,
        "num-detected-classes": model.person + 1,
        "interval": min(camera.detect_every for camera in cameras) - 1,
        "cluster-mode": _NMS if suppress else _NONE,
        "custom-lib-path": str(layout.nvinfer.library or plan.parser),
        "parse-bbox-func-name": layout.nvinfer.function,
    }
    if model.offsets:
        keys["offsets"] = ";".join(f"{offset:g}" for offset in model.offsets)
    limits: dict[str, Value] = {
        "pre-cluster-threshold": lowest_score(config),
        "topk": MOST_PEOPLE,
        "detected-min-w": SMALLEST_PX,
        "detected-min-h": SMALLEST_PX,
    }
    if suppress:
        limits["nms-iou-threshold"] = config.models.detector.nms_iou
    return _checked({"property": keys, "class-attrs-all": limits})


def lowest_score(config: Config) -> float:
    """Score under which boxes do not leave the detector: the loosest of all cameras."""
    return min(config.detection_score(camera) for camera in enabled(config))


def encoder_sections(config: Config, plan: Plan, index: int) -> Sections:
    """A frame graph's configuration: every tracked person of every frame, outputs attached as tensors."""
    model = plan.encoders[index]
    keys: dict[str, Value] = {
        "gpu-id": config.deepstream.gpu,
        "gie-unique-id": FIRST_ENCODER_ID + index,
        "process-mode": 2,
        # 100 has no rule about objects seen before: classifiers would run once in a lifetime.
        "network-type": _OTHER,
        "onnx-file": str(model.onnx),
        "model-engine-file": str(engine_path(plan, model)),
        "batch-size": model.batch,
        "network-mode": _HALF if model.half else _FLOAT,
        # The graph's own types decide, as they were proved at export.
        "strongly-typed": 1,
        "infer-dims": f"3;{model.height};{model.width}",
        "model-color-format": 0,
        "net-scale-factor": 1.0,
        "maintain-aspect-ratio": 1,
        "symmetric-padding": 1,
        "scaling-filter": _BILINEAR,
        "output-tensor-meta": 1,
        # Enough buffers for the batches that wait in the queues behind.
        "tensor-meta-pool-size": 16,
        # Outputs are copied from the GPU once, by our probe.
        "disable-output-host-copy": 1,
        "operate-on-gie-id": DETECTOR_ID,
        "operate-on-class-ids": str(plan.detector.person),
        "input-object-min-width": SMALLEST_PX,
        "input-object-min-height": SMALLEST_PX,
    }
    return _checked({"property": keys})


def engine_path(plan: Plan, model: DetectorPlan | EncoderPlan) -> str:
    """Where the compiled engine lies; the name carries what it depends on beside the graph."""
    precision = "fp16" if model.half else "fp32"
    own = model.name if isinstance(model, EncoderPlan) else model.onnx.stem
    name = "-".join(part for part in (own, model.digest) if part)
    return str(plan.engines / f"{name}_b{model.batch}_gpu{plan.gpu}_{precision}.engine")


def to_ini(sections: Sections) -> str:
    """The text of the file."""
    blocks = [
        "[" + name + "]\n" + "".join(f"{k}={_text(v)}\n" for k, v in keys.items())
        for name, keys in sections.items()
    ]
    return "# Written by `gaitstream deepstream render`.\n" + "\n".join(blocks)


def _text(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(int(value)) if isinstance(value, bool) else str(value)


def _checked(sections: Sections) -> Sections:
    if problems := check_nvinfer(sections):
        raise ConfigError("this configuration does not fit nvinfer:\n" + "\n".join(problems))
    return sections
