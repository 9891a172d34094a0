"""The names of pyservicemaker that we use, as types, and the one place that imports it.

mypy holds our code to these protocols and a test holds the protocols to `table.json`, so a name that
DeepStream 9.1 does not document cannot be written. Two rules of its metadata are not visible in types:

- `*_items` are iterators that hand out one wrapper again and again: what is kept must be copied in the loop.
- Everything reached from a batch dies with it: nothing of it may outlive the probe's call.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from gaitstream.deepstream.table import Value
from gaitstream.errors import MissingExtraError

UNTRACKED = 0xFFFF_FFFF_FFFF_FFFF
"""Object id before the tracker has seen it."""

SHADOW_CONFIDENCE = -0.1
"""Confidence of boxes that the tracker predicted without a detection."""


class RectParams(Protocol):
    """A box in pixels of the muxed frame; writable."""

    left: float
    top: float
    width: float
    height: float
    border_width: int
    """How the overlay draws it, pixels."""


class Tensor(Protocol):
    """A layer of one object, without a batch dimension; its memory belongs to the batch."""

    def __dlpack__(self) -> object:
        """The DLPack capsule."""


class TensorOutput(Protocol):
    """The outputs of one network for one object."""

    def get_layers(self) -> Mapping[str, Tensor]:
        """Tensors by layer name."""


class TensorUserMeta(Protocol):
    """User metadata that may be a tensor output."""

    def as_tensor_output(self) -> TensorOutput:
        """The tensor output."""


class ObjectMeta(Protocol):
    """One person in one frame."""

    @property
    def class_id(self) -> int:
        """Class given by the detector."""

    @property
    def object_id(self) -> int:
        """Unique per stream and run of the pipeline; `UNTRACKED` before the tracker."""

    @property
    def confidence(self) -> float:
        """Of the detector, or `SHADOW_CONFIDENCE`."""

    @property
    def tracker_confidence(self) -> float:
        """Of the tracker."""

    @property
    def rect_params(self) -> RectParams:
        """The box."""

    @property
    def text_params(self) -> Any:
        """What the overlay writes."""

    @property
    def tensor_items(self) -> Iterator[TensorUserMeta]:
        """Outputs of the encoders."""


class FrameMeta(Protocol):
    """One camera's frame in a batch."""

    @property
    def pad_index(self) -> int:
        """The camera's pad of the muxer."""

    @property
    def batch_id(self) -> int:
        """Place in the batch."""

    @property
    def frame_number(self) -> int:
        """Counts the stream's frames; the tracker overwrites it with its own count."""

    @property
    def buffer_pts(self) -> int:
        """Presentation time, ns."""

    @property
    def ntp_timestamp(self) -> int:
        """Wall clock, ns: of arrival or of the camera, as `attach-sys-ts` says."""

    @property
    def source_width(self) -> int:
        """Width of the camera's frames."""

    @property
    def source_height(self) -> int:
        """Height of the camera's frames."""

    @property
    def pipeline_width(self) -> int:
        """Width after the muxer."""

    @property
    def pipeline_height(self) -> int:
        """Height after the muxer."""

    @property
    def object_items(self) -> Iterator[ObjectMeta]:
        """The persons."""


class BatchMeta(Protocol):
    """The metadata of one muxed buffer."""

    @property
    def frame_items(self) -> Iterator[FrameMeta]:
        """Its frames; a camera may have several."""


class DynamicSourceMessage(Protocol):
    """A camera got or lost a pad."""

    source_added: bool
    source_id: int
    sensor_id: str


class StateTransitionMessage(Protocol):
    """An element, or the pipeline, came into another state."""

    origin: str
    new_state: Any


class ElementNode(Protocol):
    """An element of a pipeline."""

    def set(self, properties: Mapping[str, Value]) -> object:
        """Set properties."""


class ServiceMakerPipeline(Protocol):
    """A pipeline of elements."""

    def add(self, element_type: str, name: str, properties: Mapping[str, Value]) -> object:
        """Add an element."""

    def link(self, *names: Any) -> object:
        """Link elements, or two pads as `(source, target), (pad, pad)`."""

    def attach(self, target: str, what: Any) -> object:
        """Hang a probe on an element's source pad."""

    def prepare(self, on_message: Callable[[Any], None]) -> object:
        """Get ready; messages go to the callback. A failure is -1, or not told at all."""

    def activate(self) -> object:
        """Play."""

    def wait(self) -> object:
        """Block until the end of all streams, or until the pipeline did not start."""

    def stop(self) -> object:
        """Send end of stream and wait for it."""


class ServiceMaker(Protocol):
    """The module itself."""

    Pipeline: Callable[[str], ServiceMakerPipeline]
    Probe: Callable[[str, Any], Any]
    BatchMetadataOperator: type[Any]
    DynamicSourceMessage: type[Any]
    EOSMessage: type[Any]
    StateTransitionMessage: type[Any]
    PipelineState: Any


PROTOCOLS: Mapping[str, type[Any]] = {
    "import_names": ServiceMaker,
    "Pipeline": ServiceMakerPipeline,
    "element_node": ElementNode,
    "batch_meta": BatchMeta,
    "frame_meta": FrameMeta,
    "object_meta": ObjectMeta,
    "rect_params": RectParams,
    "tensor_user_meta": TensorUserMeta,
    "tensor_output": TensorOutput,
    "Tensor": Tensor,
    "DynamicSourceMessage": DynamicSourceMessage,
    "StateTransitionMessage": StateTransitionMessage,
}
"""Section of the table's `api` that lists each protocol's names."""


def load_service_maker() -> ServiceMaker:
    """Import pyservicemaker.

    Raises:
        MissingExtraError: DeepStream is not installed here.
    """
    try:
        module: ServiceMaker = importlib.import_module("pyservicemaker")
    except ImportError as error:
        raise MissingDeepStreamError(str(error)) from None
    return module


class MissingDeepStreamError(MissingExtraError):
    """DeepStream's Python API cannot be imported."""

    def __init__(self, cause: str) -> None:
        super().__init__("pyservicemaker", "deepstream", "the GPU front end")
        self.cause = cause

    def __str__(self) -> str:
        return (
            f"the GPU front end needs DeepStream 9.1 ({self.cause}): run it in the image "
            "gaitstream:gpu, or install pyservicemaker*.whl from "
            "/opt/nvidia/deepstream/deepstream/service-maker/python; --frontend native runs without it"
        )
