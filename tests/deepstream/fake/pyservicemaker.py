"""A fake of the documented part of pyservicemaker that plays recordings through the probes.

It has the manners the sources describe: `*_items` are iterators that hand out one wrapper again and again,
metadata dies with its batch and its tensors' memory is used again, tensors say they lie on the GPU, object
metadata has no names beyond the documented ones, a probe on a sink is refused, and `wait` blocks.

A recording is a list of steps, each a batch (`Batch`) or a message (`Message`), pickled.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

CUDA = 2


@dataclass
class Person:
    object_id: int
    confidence: float
    rect: list[float]
    """left, top, width, height in pixels of the muxed frame."""
    tensors: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """Layers by the element that makes them."""
    seen_by: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """The rectangle each element was given; filled while playing."""
    text: str = ""


@dataclass
class Frame:
    pad_index: int
    frame_number: int
    pts: int
    ntp: int
    size: tuple[int, int]
    muxed: tuple[int, int]
    persons: list[Person]


@dataclass
class Batch:
    frames: list[Frame]
    alive: bool = True


@dataclass
class Message:
    """A camera gets (`added`) or loses a slot."""

    added: bool
    source_id: int
    sensor_id: str


@dataclass
class Wait:
    """Let wall-clock time pass."""

    seconds: float


@dataclass
class Die:
    """End the process as an error inside DeepStream would."""

    code: int


class DynamicSourceMessage:
    def __init__(self, message: Message) -> None:
        self.source_added = message.added
        self.source_id = message.source_id
        self.sensor_id = message.sensor_id
        self.sensor_name = message.sensor_id
        self.uri = ""


class StateTransitionMessage:
    pass


class BatchMetadataOperator:
    def __init__(self) -> None:
        self.ready = True

    def handle_metadata(self, batch_meta: Any) -> None:
        raise NotImplementedError


class Probe:
    def __init__(self, name: str, operator: BatchMetadataOperator) -> None:
        if not operator.ready:  # what a forgotten super().__init__() does in C++
            raise TypeError("the operator was not initialised")
        self.name, self.operator = name, operator


class Tensor:
    def __init__(self, array: np.ndarray, batch: Batch, device: int) -> None:
        self._array, self._batch, self._device = array, batch, device

    def __dlpack__(self) -> object:
        _require(self._batch)
        capsule = self._array.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        kind = ctypes.c_int32.from_address(pointer(capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p))
        kind.value = self._device
        return capsule


class _Output:
    def __init__(self, layers: dict[str, Tensor]) -> None:
        self._layers = layers

    def get_layers(self) -> dict[str, Tensor]:
        return dict(self._layers)


class _UserMeta:
    def __init__(self, layers: dict[str, Tensor]) -> None:
        self._layers = layers

    def as_tensor_output(self) -> _Output:
        return _Output(self._layers)


class _Rect:
    __slots__ = ("_rect",)

    _rect: list[float]

    def __init__(self, rect: list[float]) -> None:
        object.__setattr__(self, "_rect", rect)

    def __getattr__(self, name: str) -> float:
        return self._rect[("left", "top", "width", "height").index(name)]

    def __setattr__(self, name: str, value: float) -> None:
        self._rect[("left", "top", "width", "height").index(name)] = float(value)


class _Text:
    __slots__ = ("_person",)

    _person: Person

    def __init__(self, person: Person) -> None:
        object.__setattr__(self, "_person", person)

    def __setattr__(self, name: str, value: str) -> None:
        assert name == "display_text"
        self._person.text = value


class _ObjectMeta:
    """One wrapper for all objects of an iteration."""

    __slots__ = ("_batch", "_pipeline", "person")

    person: Person

    def __init__(self, batch: Batch, pipeline: Pipeline) -> None:
        self._batch, self._pipeline = batch, pipeline

    def _now(self) -> Person:
        _require(self._batch)
        return self.person

    object_id = property(lambda self: self._now().object_id)
    class_id = property(lambda self: 0)
    confidence = property(lambda self: self._now().confidence)
    tracker_confidence = property(lambda self: 1.0)
    rect_params = property(lambda self: _Rect(self._now().rect))
    text_params = property(lambda self: _Text(self._now()))

    @property
    def tensor_items(self) -> Iterator[_UserMeta]:
        person = self._now()
        for element, layers in person.tensors.items():
            if element in self._pipeline.passed:
                yield _UserMeta({n: Tensor(a, self._batch, self._pipeline.device) for n, a in layers.items()})


class _FrameMeta:
    __slots__ = ("_batch", "_pipeline", "frame")

    frame: Frame

    def __init__(self, batch: Batch, pipeline: Pipeline) -> None:
        self._batch, self._pipeline = batch, pipeline

    def _now(self) -> Frame:
        _require(self._batch)
        return self.frame

    pad_index = property(lambda self: self._now().pad_index)
    source_id = property(lambda self: self._now().pad_index)
    batch_id = property(lambda self: 0)
    frame_number = property(lambda self: self._now().frame_number)
    buffer_pts = property(lambda self: self._now().pts)
    ntp_timestamp = property(lambda self: self._now().ntp)
    source_width = property(lambda self: self._now().size[0])
    source_height = property(lambda self: self._now().size[1])
    pipeline_width = property(lambda self: self._now().muxed[0])
    pipeline_height = property(lambda self: self._now().muxed[1])

    @property
    def object_items(self) -> Iterator[_ObjectMeta]:
        meta = _ObjectMeta(self._batch, self._pipeline)
        for person in self._now().persons:
            meta.person = person
            yield meta


class _BatchMeta:
    __slots__ = ("_batch", "_pipeline")

    def __init__(self, batch: Batch, pipeline: Pipeline) -> None:
        self._batch, self._pipeline = batch, pipeline

    @property
    def frame_items(self) -> Iterator[_FrameMeta]:
        _require(self._batch)
        meta = _FrameMeta(self._batch, self._pipeline)
        for frame in self._batch.frames:
            meta.frame = frame
            yield meta


class _Node:
    def __init__(self, kind: str, properties: dict[str, Any]) -> None:
        self.kind, self.properties = kind, dict(properties)

    def set(self, properties: dict[str, Any]) -> None:
        self.properties.update(properties)


class Pipeline:
    """Plays what `recording` holds, or the file that GAITSTREAM_FAKE_RECORDING names."""

    recording: list[Any] | None = None
    device = CUDA
    last: Pipeline | None = None

    def __init__(self, name: str, config_file: str | None = None) -> None:
        self.name = name
        self.nodes: dict[str, _Node] = {}
        self.links: list[tuple[Any, ...]] = []
        self.probes: dict[str, list[Probe]] = {}
        self.passed: set[str] = set()
        self._on_message: Callable[[Any], None] = lambda message: None
        self._over, self._stopped = threading.Event(), threading.Event()
        Pipeline.last = self

    def __getitem__(self, name: str) -> _Node:
        return self.nodes[name]

    def add(self, element_type: str, name: str, properties: dict[str, Any] | None = None) -> Pipeline:
        assert name not in self.nodes
        self.nodes[name] = _Node(element_type, properties or {})
        return self

    def link(self, *names: Any) -> Pipeline:
        pair = names[0] if isinstance(names[0], tuple) else names
        assert all(name in self.nodes for name in pair)
        self.links.append(names)
        return self

    def attach(self, target: str, what: Probe, name: str = "", tips: str = "") -> Pipeline:
        if self.nodes[target].kind.endswith("sink"):
            raise RuntimeError("Probe failure")
        self.probes.setdefault(target, []).append(what)
        return self

    def prepare(self, on_message: Callable[[Any], None]) -> Pipeline:
        self._on_message = on_message
        return self

    def activate(self) -> Pipeline:
        threading.Thread(target=self._play, daemon=True).start()
        return self

    def wait(self) -> None:
        self._over.wait()

    def stop(self) -> Pipeline:
        self._stopped.set()
        self._over.set()
        return self

    def _play(self) -> None:
        steps = self.recording
        if steps is None:
            steps = pickle.loads(Path(os.environ["GAITSTREAM_FAKE_RECORDING"]).read_bytes())
            Pipeline.device = 1
        for step in steps:
            if self._stopped.is_set():
                break
            kind = type(step).__name__  # a pickled step may come from another import of this file
            if kind == "Message":
                self._on_message(DynamicSourceMessage(step))
            elif kind == "Wait":
                time.sleep(step.seconds)
            elif kind == "Die":
                os._exit(step.code)
            else:
                self._flow(step)
        self._over.set()

    def _flow(self, batch: Batch) -> None:
        """One buffer through the elements in their order."""
        self.passed = set()
        for name, node in self.nodes.items():
            if node.kind == "nvinfer":
                self.passed.add(name)
                for frame in batch.frames:
                    for person in frame.persons:
                        person.seen_by[name] = tuple(person.rect)
            for probe in self.probes.get(name, []):
                probe.operator.handle_metadata(_BatchMeta(batch, self))
        batch.alive = False
        for layers in (layers for f in batch.frames for p in f.persons for layers in p.tensors.values()):
            for array in layers.values():
                array.fill(0)  # the next buffer's, as far as anybody who still looks here can tell


def _require(batch: Batch) -> None:
    if not batch.alive:
        raise RuntimeError("metadata was used after its batch was gone")
