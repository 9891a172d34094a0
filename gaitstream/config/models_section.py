"""What cams.yaml says of the networks and of what runs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)

from gaitstream.config.fields import (
    Fraction,
    ModelName,
    RecognizerName,
    from_name,
    misfit,
    one_of,
)
from gaitstream.config.section import Section
from gaitstream.models.detector_layouts import LAYOUTS as DETECTOR_LAYOUTS
from gaitstream.models.segmentation_layouts import LAYOUTS as SEGMENTATION_LAYOUTS
from gaitstream.models.spec import FAMILIES


class Detector(Section):
    """The person detector."""

    model: ModelName = "demo"
    """An ONNX file, a manifest beside one, or a name of the model zoo."""
    layout: Annotated[str, one_of(DETECTOR_LAYOUTS)] = "auto"
    """How its outputs are read, by name; `auto` recognises it from names and shapes."""
    score: Fraction = 0.3
    """Lowest score of a person."""
    nms_iou: Fraction = 0.5
    """Boxes that overlap more are one person; end-to-end layouts need none."""


class Pose(Section):
    """The top-down pose model: needed by recognizers on poses, and for judging frames by their pose."""

    model: ModelName = "demo"
    """An ONNX file, a manifest beside one, or a name of the model zoo."""


class SegmenterSection(Section):
    """The segmentation model: needed by recognizers that work on silhouettes."""

    model: ModelName
    """An ONNX file, a manifest beside one, a bundle exported with --masks, or a name of the model zoo."""
    layout: Annotated[str, one_of(SEGMENTATION_LAYOUTS)] = "auto"
    """How its output is read, by name; `auto` takes its manifest's word, or recognises it from the shape."""


class RecognizerModel(Section):
    """One gait recognizer."""

    model: ModelName
    """A bundle directory or a name of the model zoo."""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """Share of this model's distance when several are fused; weights are normalised to sum to one."""
    threshold: Annotated[float, Field(gt=0)] | None = None
    """This model's own largest distance of one person, its unit when several are fused. null: the gallery's
    calibrated value."""


class Models(Section):
    """Which networks run."""

    detector: Annotated[Detector, BeforeValidator(from_name)] = Detector()
    """Finds people."""
    pose: Annotated[Pose | None, BeforeValidator(from_name)] = None
    """Finds joints. null: none, unless a recognizer needs one; then `demo`."""
    segmenter: Annotated[SegmenterSection | None, BeforeValidator(from_name)] = None
    """Finds silhouettes. null: none."""
    recognizers: dict[RecognizerName, Annotated[RecognizerModel, BeforeValidator(from_name)]] = {}
    """Gait recognizers by name; events and the gallery have them under it. A family's own name may stand
    beside `detector`: `models.FAMILY` is short for `models.recognizers.FAMILY`."""

    @model_validator(mode="before")
    @classmethod
    def _gather_families(cls, data: Any) -> Any:
        """Families' own keys are recognizers."""
        if not isinstance(data, dict) or not isinstance(data.get("recognizers") or {}, dict):
            return data
        named = data.get("recognizers") or {}
        families = [key for key in data if key not in cls.model_fields and key in cls.allowed_keys()]
        for key in families:
            if key in named:
                raise misfit(f"{key!r} is given under recognizers too; give it once", key)
        rest = {key: value for key, value in data.items() if key not in families}
        found = {**named, **{key: data[key] for key in families if data[key] is not None}}
        return {**rest, "recognizers": dict(sorted(found.items()))} if found else rest

    def family(self, name: str) -> str:
        """The family that a recognizer must be of, because it is named after it; empty for other names."""
        return name if name in FAMILIES.names() else ""

    def thresholds(self, calibrated: Mapping[str, float | None]) -> dict[str, float | None]:
        """Each model's own threshold: the configured one, or else the calibrated."""
        own = {name: model.threshold for name, model in self.recognizers.items()}
        return {name: own.get(name) or limit for name, limit in calibrated.items()}

    @classmethod
    def allowed_keys(cls) -> list[str]:
        """The section's keys, and the families that are installed."""
        return [*cls.model_fields, *FAMILIES.names()]

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Editors should know the families' keys too."""
        schema = handler.resolve_ref_schema(handler(core))
        (recognizer,) = schema["properties"]["recognizers"]["patternProperties"].values()
        schema["properties"] |= {
            name: {
                "anyOf": [recognizer, {"type": "null"}],
                "description": f"A recognizer of the family {name}.",
            }
            for name in FAMILIES.names()
        }
        return schema


class RuntimeSection(Section):
    """How the networks run."""

    name: Literal["auto", "tensorrt", "tensorrt-rtx", "onnxruntime", "openvino"] = "auto"
    """`gaitstream doctor` says what `auto` picks here and why."""
    precision: Literal["auto", "fp32", "fp16", "bf16", "int8", "fp8"] = "auto"
    """`auto` picks among the precisions that the bundle's parity report, or the model's manifest, allows."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPU threads of each engine. null: the runtime's choice."""
    batch: Annotated[int, Field(ge=1, le=256)] = 16
    """Most person crops, or frames, in one call of an engine."""
    deadline_ms: Annotated[float, Field(ge=0, le=1000)] = 10.0
    """How long a batch waits to fill across cameras."""
    latency_ms: Annotated[float, Field(ge=20, le=60_000)] | None = None
    """Objective for 95% of the live frames, from capture to analysed: under load the least valuable work is
    left out, counted as `overload`. null: nothing is left out."""
    gpu: Annotated[int, Field(ge=0, le=63)] = 0
    """Number of the GPU, for runtimes that have one. Another than the first one is asked of every network."""

    @property
    def device(self) -> str | None:
        """What `open_engine` is told: None leaves it to the runtime."""
        return f"cuda:{self.gpu}" if self.gpu else None
